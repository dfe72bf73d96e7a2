"""Optimizers as the store keeps them: a rule with its hyper-parameters, and which variables are its memory. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from paramserver.optim import InvalidHyperParameters, Optimizer, check_optimizer
from paramserver.store.errors import Difference, InvalidRequest, OptimizerNotFound, SpecMismatch
from paramserver_wire.errors import InvalidName
from paramserver_wire.names import MAX_SLOT_NAME, check_name


@dataclass(frozen=True, slots=True)
class OptimizerState:
    """A named optimizer at one moment. Its slots (by the variable they serve) and scalars are variables; they are named
    here from the first step that needed them on, which is how a variable that only looks like a slot stays its owner's.
    """

    optimizer: Optimizer
    slots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scalars: tuple[str, ...] = ()

    @property
    def memory(self) -> Iterator[str]:
        """The names of all its variables."""
        yield from self.scalars
        for names in self.slots.values():
            yield from names

    def without(self, variables: Collection[str]) -> OptimizerState:
        """The same, once `variables` and what serves them is gone."""
        return replace(self, slots={name: slots for name, slots in self.slots.items() if name not in variables})

    def row(self) -> dict[str, Any]:
        """Plain JSON values, of which `of_row` makes it again."""
        slots = {name: list(slots) for name, slots in self.slots.items()}
        return {"spec": dict(self.optimizer.spec), "slots": slots, "scalars": list(self.scalars)}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> OptimizerState:
        """What a row says. Raises KeyError, TypeError or ValueError for what `row` did not make."""
        slots = {name: tuple(slots) for name, slots in row["slots"].items()}
        return cls(check_optimizer(row["spec"]), slots, tuple(row["scalars"]))


def checked_optimizer(name: str, spec: Mapping[str, Any]) -> Optimizer:
    """The optimizer that `spec` describes, or `InvalidRequest` listing every hyper-parameter that is wrong."""
    try:
        return check_optimizer(spec)
    except InvalidHyperParameters as error:
        raise InvalidRequest(f"optimizer {name!r}: {error}", errors=hyper_differences(name, error)) from None


def hyper_differences(name: str, error: InvalidHyperParameters) -> list[Difference]:
    """Each fault of an optimizer's hyper-parameters as a difference."""
    return [Difference(name, InvalidRequest.code, f"optimizer {name!r}: {fault}") for fault in error.faults]


@dataclass(frozen=True, slots=True)
class MemoryNames:
    """What whoever creates an optimizer wants its variables to be called: the slots of each variable, in the order of the
    optimizer's own, and the scalars. What is not named is called after the optimizer."""

    slots: Mapping[str, Sequence[str]] = field(default_factory=dict)
    scalars: Sequence[str] = ()

    def added_to(self, name: str, state: OptimizerState) -> OptimizerState:
        """The optimizer `name` with its variables called so.

        Raises `InvalidRequest` with every name that cannot be, is given twice, or is one too many or too few, and
        `SpecMismatch` when the optimizer calls them otherwise already.
        """
        faults = [*self._misfits(state), *self._bad_names()]
        if faults:
            told = [Difference(name, InvalidRequest.code, f"optimizer {name!r}: {fault}") for fault in faults]
            raise InvalidRequest(f"optimizer {name!r}: {'; '.join(faults)}", errors=told)
        slots = {variable: tuple(names) for variable, names in self.slots.items()}
        scalars = tuple(self.scalars) or state.scalars
        called = {variable: state.slots[variable] for variable in slots if variable in state.slots}
        others = [
            f"the slots of {variable!r} {list(is_now)}"
            for variable, is_now in called.items()
            if is_now != slots[variable]
        ]
        if state.scalars and scalars != state.scalars:
            others.append(f"its scalars {list(state.scalars)}")
        if others:
            raise SpecMismatch(
                f"optimizer {name!r} calls {' and '.join(others)} already; take another name, or delete the optimizer first: "
                "its slots go with it",
                name=name,
            )
        return replace(state, slots={**state.slots, **slots}, scalars=scalars)

    def _misfits(self, state: OptimizerState) -> Iterator[str]:
        kind = state.optimizer.kind
        wanted = len(state.optimizer.slots)
        for variable, names in self.slots.items():
            if len(names) != wanted:
                yield f"slots of {variable!r}: wanted {wanted} names for {kind.type}, got {len(names)}"
        if self.scalars and len(self.scalars) != len(kind.scalars):
            yield f"scalars: wanted {len(kind.scalars)} names for {kind.type}, got {len(self.scalars)}"

    def _bad_names(self) -> Iterator[str]:
        seen: set[str] = set()
        for each in (*self.scalars, *(slot for names in self.slots.values() for slot in names)):
            if each in seen:
                yield f"{each!r} is given twice; each slot is a variable of its own"
            seen.add(each)
            try:
                check_name(each, limit=MAX_SLOT_NAME)
            except InvalidName as error:
                yield f"a slot cannot be called so: {error}"
        for variable in self.slots:
            try:
                check_name(variable)
            except InvalidName as error:
                yield f"no variable is called so: {error}"


def check_settled(name: str, existing: OptimizerState, wanted: Optimizer) -> None:
    """Raise `SpecMismatch` if `wanted` would make another thing of the memory that `existing` has."""
    if not existing.slots and not existing.scalars:
        return
    before, after = existing.optimizer.spec, wanted.spec
    parameters = wanted.kind.parameters
    settled = ["type", *(key for key, parameter in parameters.items() if not parameter.per_step)]
    found = [key for key in settled if before.get(key) != after[key]]
    if found:
        told = ", ".join(f"{key} is {before.get(key)!r} and not {after[key]!r}" for key in found)
        raise SpecMismatch(
            f"optimizer {name!r} has slots already, and its {told}; take another name, or delete the optimizer first: its "
            "slots go with it",
            name=name,
        )


def no_optimizer(name: str) -> OptimizerNotFound:
    """The error of every operation on an optimizer that is not there."""
    return OptimizerNotFound(f"optimizer {name!r} does not exist; create it with PUT /v1/optimizers/{name}", name=name)
