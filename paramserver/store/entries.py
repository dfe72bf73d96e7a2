"""What one transaction did, as plain data that a journal can keep and a store can do again, bit for bit.

An entry says what was *settled*: resolved values and hyper-parameters, seeds drawn, incarnations given, the moment. It
holds the inputs of the arithmetic, not its results, so that a step of an optimizer takes the room of its gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

    from paramserver.store.directory import Defaults
    from paramserver.store.gradients import GradientPush
    from paramserver.store.optimizers import OptimizerState
    from paramserver.store.publisher import Transaction
    from paramserver.store.requests import Digest
    from paramserver.store.updates import Array, Update

NOTE: Final = "note"
"""The kind of an entry that changes nothing: a request was done that is no transaction, and this was its answer."""


@dataclass(frozen=True, slots=True)
class Updates:
    """Updates in their order; every value and index is an array."""

    updates: Sequence[Update]


@dataclass(frozen=True, slots=True)
class Gradients:
    """A push of gradients, and the optimizer's hyper-parameters as they were for it."""

    push: GradientPush
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FirstValues:
    """Initializers that ran: `seed` goes before a spec's own, `drawn` steps in where there is neither."""

    names: Sequence[str]
    seed: int | None
    drawn: int | None


@dataclass(frozen=True, slots=True)
class Values:
    """Whole values that were given, by name."""

    values: Mapping[str, Array]


Work = Updates | Gradients | FirstValues | Values


@dataclass(frozen=True, slots=True)
class Made:
    """A variable that came into being, as it was before its first write."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    incarnation: str
    initializer: Mapping[str, Any] | None
    trainable: bool
    collections: tuple[str, ...]
    updated_at: float


@dataclass(frozen=True, slots=True)
class Asked:
    """The request id of a transaction, what tells its body from others, and whose token asked ('' if that makes no difference)."""

    client: str
    seq: int
    digest: Digest
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction: its number, its moment (seconds since the epoch), all it did, who asked and what they were told.

    `regrouped` has `(trainable, collections)` by name. A `NOTE` has the number of the transaction before it.
    """

    kind: str
    commit: int
    at: float
    made: Sequence[Made] = ()
    deleted: Sequence[str] = ()
    regrouped: Mapping[str, tuple[bool, tuple[str, ...]]] = field(default_factory=dict)
    scopes: Mapping[str, Defaults | None] = field(default_factory=dict)
    optimizers: Mapping[str, OptimizerState | None] = field(default_factory=dict)
    work: Work | None = None
    asked: Asked | None = None
    answer: Any = None


def entry_of(transaction: Transaction) -> Entry:
    """What a staged transaction did. Its arrays are those of the transaction, not copies."""
    receipt, claim = transaction.receipt, transaction.claim
    assert receipt is not None, "a transaction has its receipt once it is staged"
    made = []
    for variable in transaction.created:
        state = receipt.variables[variable.name].state
        made.append(
            Made(
                variable.name,
                variable.shape,
                variable.dtype,
                variable.incarnation,
                state.initializer,
                state.trainable,
                state.collections,
                state.updated_at,
            )
        )
    return Entry(
        kind=transaction.kind,
        commit=receipt.commit,
        at=transaction.at,
        made=made,
        deleted=[variable.name for variable in transaction.deleted],
        regrouped={
            variable.name: (change.trainable, change.collections)
            for variable, change in transaction.changes.items()
            if change.trainable is not None and change.collections is not None
        },
        scopes=transaction.scopes,
        optimizers=transaction.optimizers,
        work=transaction.work,
        asked=None if claim is None else Asked(claim.client, claim.seq, claim.digest, claim.holder),
        answer=transaction.stored,
    )
