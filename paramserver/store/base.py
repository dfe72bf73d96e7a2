"""What every part of the store that writes is made of: computing, staging and settling transactions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from paramserver.store.commits import Commits
from paramserver.store.creation import Settlement
from paramserver.store.errors import StoreError
from paramserver.store.publisher import ImmediatePublisher, Publisher, Receipt, Transaction
from paramserver.store.reading import Reader
from paramserver.store.requests import Claim
from paramserver.store.snapshot import VariableState
from paramserver.store.updates import Array
from paramserver.store.variables import Variable
from paramserver.store.workspace import Step, computed, written_by

Answering = Callable[[Receipt], Any]


def no_answer(receipt: Receipt) -> None:
    """For those who keep no answer."""
    return


def itself(value: Array) -> Array:
    """A value that is there already, for a step that wants a function."""
    return value


def private_copy(value: Array, dtype: np.dtype[Any]) -> Array:
    """The value of a new variable: what its creator holds may change, what is published may not."""
    return np.array(value, dtype=dtype, order="C", copy=True)


class Writer(Reader):
    """The ground under the writing half of a store; see `Store` for what it is made with."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
        publisher: Publisher | None = None,
        memory_limit_nbytes: int | None = None,
        tensor_limit_nbytes: int | None = None,
    ) -> None:
        self._entropy = entropy
        self.tensor_limit_nbytes = tensor_limit_nbytes
        super().__init__(
            Commits(clock=clock, publisher=publisher or ImmediatePublisher(), memory_limit_nbytes=memory_limit_nbytes)
        )

    def _stage_computed(self, transaction: Transaction, steps: Sequence[Step]) -> None:
        """Compute the new values within the memory budget and stage the transaction; all of it or nothing."""
        writes = written_by(steps)
        transaction.staged_nbytes = sum(variable.nbytes for variable in writes)
        self.budget.reserve(transaction.staged_nbytes)
        try:
            transaction.changes.update(computed(steps, writes, self.pool))
            self._commits.stage(transaction)
        except BaseException:
            self.budget.release(transaction.staged_nbytes)
            raise

    def remember(self, claim: Claim, answer: Any) -> None:
        """Remember the answer of a request that was done and is no transaction of this store. Waits as a push does.

        Where a journal cannot take it, it is remembered for as long as the process lives: what was done stays done.
        """
        try:
            self._settled(self._commits.note(claim, answer))
        except StoreError:
            self.requests.finish(claim, self.commit, answer)
            self.requests.announce(claim)

    def _settled(self, transaction: Transaction) -> Receipt:
        self._commits.settle(transaction)
        assert transaction.receipt is not None
        return transaction.receipt

    def _new_variable(self, name: str, settlement: Settlement) -> Variable:
        state = VariableState(
            None, 0, settlement.trainable, settlement.collections, settlement.initializer, self._commits.clock()
        )
        return Variable(name, settlement.shape, settlement.dtype, self._incarnation(), threading.Lock(), state, state)

    def _incarnation(self) -> str:
        return self._entropy(8).hex()
