"""From staged to visible: the transaction and the publisher that lets it be seen.

A writer stages a transaction (the heads move), hands it to the publisher under the commit lock, so in commit order,
releases its write locks and waits for `settle`. The publisher decides when readers may see it: at once, or when a
journal has made it durable. It calls `swap` in commit order, or `refuse` for all that is left when one cannot be made durable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from paramserver.store.directory import Defaults
from paramserver.store.entries import NOTE, Work
from paramserver.store.optimizers import OptimizerState
from paramserver.store.requests import Claim
from paramserver.store.snapshot import VariableSnapshot, VariableState
from paramserver.store.variables import Variable


@dataclass(slots=True)
class Change:
    """What a transaction does to one variable; fields left None stay as they are.

    The version is settled only when the change meets the head under the commit lock, because a writer without locks
    may have been there meanwhile.
    """

    writes: int = 0
    value: np.ndarray[Any, Any] | None = None
    trainable: bool | None = None
    collections: tuple[str, ...] | None = None

    def upon(self, head: VariableState, now: float) -> VariableState:
        """The state that follows `head`."""
        return VariableState(
            self.value if self.writes else head.value,
            head.version + self.writes,
            head.trainable if self.trainable is None else self.trainable,
            head.collections if self.collections is None else self.collections,
            head.initializer,
            now,
        )


class Receipt(NamedTuple):
    """A transaction's number, and the variables it touched as it left them.

    `fetched` are the variables that were asked for besides, all as they were right after this commit.
    """

    commit: int
    variables: Mapping[str, VariableSnapshot]
    fetched: Mapping[str, VariableSnapshot] = MappingProxyType({})


@dataclass(slots=True)
class Transaction:
    """All that one commit changes, and what to tell whom about it.

    `kind` and `work` are what happened in words a journal can replay; `work` is left out where there is no journal.
    `answer` makes of the receipt what a repeat of the request is told.
    """

    kind: str
    work: Work | None
    epoch: int
    answer: Callable[[Receipt], Any]
    claim: Claim | None = None
    changes: dict[Variable, Change] = field(default_factory=dict)
    created: dict[Variable, None] = field(default_factory=dict)
    deleted: list[Variable] = field(default_factory=list)
    scopes: dict[str, Defaults | None] = field(default_factory=dict)
    optimizers: dict[str, OptimizerState | None] = field(default_factory=dict)
    fetches: list[Variable] = field(default_factory=list)
    staged_nbytes: int = 0
    # Settled when it is staged; `at` may be before, by who does again what happened earlier:
    at: float = 0.0
    states: dict[Variable, VariableState] = field(default_factory=dict)
    receipt: Receipt | None = None
    stored: Any = None
    callbacks: list[Callable[[], None]] = field(default_factory=list)
    # For the publisher's own use.
    ticket: Any = None

    @property
    def is_note(self) -> bool:
        """Whether it changes nothing and has no number of its own: a request was done, and is to be remembered."""
        return self.kind == NOTE


class Ledger(Protocol):
    """The store as a publisher sees it."""

    def swap(self, transaction: Transaction) -> None:
        """Let readers see the transaction. Called once for each, in commit order."""

    def refuse(self, error: BaseException) -> list[Transaction]:
        """Take back all that was submitted and not swapped, and return it: heads fall back to the published states.

        What was computed from the heads meanwhile raises `error` when it is to be staged.
        """


class Publisher(Protocol):
    """Decides when a staged transaction becomes visible. `durable` ones keep a journal."""

    durable: bool

    def attach(self, ledger: Ledger) -> None:
        """Called once, before anything is submitted."""

    def admit(self) -> None:
        """Raise when no transaction can be taken now. Called under the commit lock, before anything is staged."""

    def submit(self, transaction: Transaction) -> None:
        """Take over a staged transaction. Called under the commit lock; must not wait."""

    def settle(self, transaction: Transaction) -> None:
        """Return when the transaction is visible; raise its error when it was refused. May wait; no lock is held."""

    def try_turn(self, nbytes: int) -> bool:
        """Whether one transaction of about `nbytes` would be settled without waiting; then the caller stages and settles it,
        and calls `end_turn`."""

    def write_ahead(self, arrays: Sequence[np.ndarray[Any, Any]]) -> bool:
        """Begin to write down the arrays of one transaction, large ones, while it is computed; then the caller stages and
        settles it, and calls `end_turn`. False: they are written when it is settled."""

    def end_turn(self) -> None:
        """Behind a `try_turn` or a `write_ahead` that was granted."""


class ImmediatePublisher:
    """Durability `none`: a transaction is visible as soon as it is staged."""

    durable = False

    def __init__(self) -> None:
        self._ledger: Ledger | None = None

    def attach(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def admit(self) -> None:
        return

    def submit(self, transaction: Transaction) -> None:
        assert self._ledger is not None, "the store attaches its publisher before it takes transactions"
        self._ledger.swap(transaction)

    def settle(self, transaction: Transaction) -> None:
        return

    def try_turn(self, nbytes: int) -> bool:
        return True

    def write_ahead(self, arrays: Sequence[np.ndarray[Any, Any]]) -> bool:
        return False

    def end_turn(self) -> None:
        return
