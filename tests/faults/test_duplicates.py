from __future__ import annotations

import pytest

from faults import duplicates
from paramserver.store import commits
from paramserver.store.publisher import Transaction


def test_a_repeat_waits_for_its_original() -> None:
    outcome = duplicates.run(seed=1, count=16)
    assert outcome.wrong == ()


def test_a_repeat_that_is_answered_too_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the answer is remembered once the transaction is staged, not once it is durable."""
    stage = commits.Commits.stage

    def stage_and_finish(self: commits.Commits, transaction: Transaction) -> None:
        stage(self, transaction)
        claim = transaction.claim
        if claim is not None and transaction.receipt is not None and not transaction.callbacks:
            self.requests.finish(claim, transaction.receipt.commit, transaction.stored)
            transaction.claim = None

    monkeypatch.setattr(commits.Commits, "stage", stage_and_finish)
    assert duplicates.run(seed=2, count=10).wrong
