"""Stores whose clock and entropy come from one seed, and a publisher that the test drives by hand."""

from __future__ import annotations

import itertools
import random
from collections import deque
from typing import Any

from paramserver.store import ImmediatePublisher, Store
from paramserver.store.publisher import Ledger, Transaction


def seeded_store(seed: int = 0, **options: Any) -> Store:
    """A store whose ticks and random bytes are the same at every run."""
    ticks = itertools.count(1_000_000)
    return Store(clock=lambda: float(next(ticks)), entropy=random.Random(seed).randbytes, **options)


class HeldPublisher(ImmediatePublisher):
    """Keeps staged transactions until the test releases or refuses them, as a journal would while it writes."""

    def __init__(self) -> None:
        super().__init__()
        self.held: deque[Transaction] = deque()
        self.holding = True

    @property
    def ledger(self) -> Ledger:
        assert self._ledger is not None
        return self._ledger

    def submit(self, transaction: Transaction) -> None:
        if self.holding:
            self.held.append(transaction)
        else:
            super().submit(transaction)

    def settle(self, transaction: Transaction) -> None:
        """The test decides when transactions become visible, so nobody waits; a refused one raises on request."""

    def release(self, count: int = 1) -> None:
        for _ in range(count):
            self.ledger.swap(self.held.popleft())

    def refuse(self, error: BaseException) -> None:
        self.held.clear()
        self.ledger.refuse(error)
