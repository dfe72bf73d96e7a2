"""What a restore is going to do, decided before anything is changed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from paramserver.store.creation import Settlement
from paramserver.store.errors import CheckpointIncompatible, Difference
from paramserver.store.snapshot import VariableSnapshot, VariableState
from paramserver.store.updates import Array
from paramserver.store.variables import Variable
from paramserver_wire.dtypes import name_of


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: the names written, those asked for but not there, and those it left out."""

    commit: int
    restored: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def as_answer(self) -> dict[str, object]:
        """The answer of a restore."""
        return {
            "commit": self.commit,
            "restored": list(self.restored),
            "missing": list(self.missing),
            "unexpected": list(self.unexpected),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """The values to write by name, which of the names are new, and what is reported beside them."""

    values: Mapping[str, Array]
    to_create: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def done(self, commit: int) -> Restored:
        return Restored(commit, tuple(self.values), self.missing, self.unexpected)


def plan(
    saved: Mapping[str, VariableSnapshot],
    existing: Mapping[str, Variable],
    *,
    strict: bool,
    create: bool,
    absent: Sequence[Difference],
) -> Plan:
    """Decide about every saved value. With `strict`, raises `CheckpointIncompatible` listing all that does not fit."""
    found = list(absent)
    values: dict[str, Array] = {}
    to_create: list[str] = []
    unexpected: list[str] = []
    for name, variable in saved.items():
        assert variable.value is not None, "uninitialized variables are not in a checkpoint"
        difference = _difference(variable, existing.get(name), create, name)
        if difference is not None:
            found.append(difference)
            unexpected.append(name)
            continue
        values[name] = variable.value
        if name not in existing:
            to_create.append(name)
    if strict and found:
        more = f" (and {len(found) - 1} more differences)" if len(found) > 1 else ""
        raise CheckpointIncompatible(found[0].detail + more, errors=found)
    return Plan(values, tuple(to_create), tuple(difference.name for difference in absent), tuple(unexpected))


def settlement(saved: VariableSnapshot) -> Settlement:
    """A variable as the checkpoint remembers it, to be created anew."""
    state = saved.state
    return Settlement(saved.shape, saved.dtype, state.initializer, None, state.trainable, state.collections)


def published(state: VariableState) -> VariableState:
    """A loaded state with its value frozen."""
    if state.value is None or not state.value.flags.writeable:
        return state
    value = state.value.view()
    value.flags.writeable = False
    return replace(state, value=value)


def _difference(saved: VariableSnapshot, here: Variable | None, create: bool, name: str) -> Difference | None:
    if here is None:
        if create:
            return None
        code = "variable_not_found"
        detail = f"variable {name!r} is in the checkpoint but not on the server; create it first, or pass create=true"
    elif here.shape != saved.shape:
        code = "shape_mismatch"
        detail = (
            f"variable {name!r} has shape {list(here.shape)}, the checkpoint holds {list(saved.shape)}; "
            "restore other names, or delete the variable first"
        )
    elif here.dtype != saved.dtype:
        code = "dtype_mismatch"
        detail = (
            f"variable {name!r} has dtype {name_of(here.dtype)}, the checkpoint holds {name_of(saved.dtype)}; "
            "restore other names, or delete the variable first"
        )
    else:
        return None
    return Difference(name, code, detail)
