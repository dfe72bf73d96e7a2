"""The store under threads: exact sums, no deadlock, no torn read; and the same checks against planted bugs."""

from __future__ import annotations

import numpy as np
import pytest

from paramserver.store import NewVariable, Selection, Store, Update, commits, validation
from support.planted_server import in_place, no_sort
from support.races import LEFT, RIGHT, Verdict, race
from support.stores import seeded_store

BOTH = Selection(names=[LEFT, RIGHT])


class StoreAccess:
    def __init__(self, store: Store, size: int) -> None:
        self.store = store
        self.ones = np.ones(size, np.float32)

    def push_ones(self, first: str, second: str) -> None:
        self.store.push([Update(first, "assign_add", self.ones), Update(second, "assign_add", self.ones)])

    def pull(self) -> tuple[np.ndarray, int, np.ndarray, int]:
        cut = self.store.snapshot(BOTH).variables
        left, right = cut[LEFT], cut[RIGHT]
        assert left.value is not None
        assert right.value is not None
        return left.value, left.version, right.value, right.version


def raced(size: int, *, writers: int, pushes: int, deadline_s: float) -> tuple[Store, Verdict]:
    store = seeded_store()
    for name in (LEFT, RIGHT):
        store.create(NewVariable(name, value=np.zeros(size, np.float32)))
    verdict = race(lambda: StoreAccess(store, size), writers=writers, pushes=pushes, readers=2, deadline_s=deadline_s)
    return store, verdict


@pytest.mark.parametrize(("size", "pushes"), [(16, 200), (300_000, 20)])
def test_pushes_in_opposite_orders_add_up_and_are_never_seen_half(size: int, pushes: int) -> None:
    store, verdict = raced(size, writers=8, pushes=pushes, deadline_s=80)
    assert (verdict.finished, verdict.errors, verdict.torn) == (True, [], [])
    assert verdict.reads > 0
    for name in (LEFT, RIGHT):
        assert store.get(name).version == 1 + 8 * pushes
        assert set(store.get(name).value.tolist()) == {8 * pushes}
    assert store.budget.used_nbytes == 2 * 4 * size


def test_the_check_catches_locks_taken_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "lock_order", no_sort)
    _, verdict = raced(300_000, writers=8, pushes=100, deadline_s=8)
    assert not verdict.finished


def test_the_check_catches_writing_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "apply", in_place)
    _, verdict = raced(3_000_000, writers=4, pushes=20, deadline_s=80)
    assert verdict.torn
