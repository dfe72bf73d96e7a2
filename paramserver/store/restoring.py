"""What a restore is going to do, decided before anything is changed. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paramserver.store.creation import Settlement
from paramserver.store.errors import CheckpointIncompatible, Difference
from paramserver.store.snapshot import VariableSnapshot, VariableState
from paramserver.store.updates import Array
from paramserver.store.variables import Variable
from paramserver_wire.dtypes import name_of


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did, or would do: the names written, those asked for but not there, and those it left out.

    `differences` says of each that was asked for and left out why; one that is strict has none.
    """

    commit: int
    restored: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    differences: tuple[Difference, ...] = ()

    def as_answer(self) -> dict[str, object]:
        """The answer of a restore."""
        return {
            "commit": self.commit,
            "restored": list(self.restored),
            "missing": list(self.missing),
            "unexpected": list(self.unexpected),
            "differences": [{"name": one.name, "code": one.code, "detail": one.detail} for one in self.differences],
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """Which names are to be written, which of them are new, and what is reported beside them."""

    names: tuple[str, ...]
    to_create: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    differences: tuple[Difference, ...]

    def done(self, commit: int) -> Restored:
        return Restored(commit, self.names, self.missing, self.unexpected, self.differences)


def plan(
    saved: Mapping[str, VariableSnapshot],
    existing: Mapping[str, Variable],
    *,
    strict: bool,
    create: bool,
    reshape: bool,
    absent: Sequence[Difference],
) -> Plan:
    """Decide about every saved variable; their values are not looked at.

    With `strict`, raises `CheckpointIncompatible` listing all that does not fit.
    """
    names: list[str] = []
    unfit: list[Difference] = []
    for name, variable in saved.items():
        difference = _difference(variable, existing.get(name), name, create=create, reshape=reshape)
        if difference is None:
            names.append(name)
        else:
            unfit.append(difference)
    found = (*absent, *unfit)
    if strict and found:
        more = f" (and {len(found) - 1} more differences)" if len(found) > 1 else ""
        raise CheckpointIncompatible(found[0].detail + more, errors=found)
    return Plan(
        tuple(names),
        tuple(name for name in names if name not in existing),
        tuple(difference.name for difference in absent),
        tuple(difference.name for difference in unfit),
        found,
    )


def value_for(saved: VariableSnapshot, here: Variable | None) -> Array:
    """The saved value in the shape that the variable has here; a view."""
    assert saved.value is not None, "uninitialized variables are not restored"
    return saved.value if here is None else saved.value.reshape(here.shape)


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
    return state._replace(value=value)


def _difference(
    saved: VariableSnapshot, here: Variable | None, name: str, *, create: bool, reshape: bool
) -> Difference | None:
    if here is None:
        if create:
            return None
        code = "variable_not_found"
        detail = f"variable {name!r} is in the checkpoint but not on the server; create it first, or pass create=true"
    elif here.shape != saved.shape and not (reshape and math.prod(here.shape) == math.prod(saved.shape)):
        code = "shape_mismatch"
        detail = (
            f"variable {name!r} has shape {list(here.shape)}, the checkpoint holds {list(saved.shape)}; "
            f"{_way_out(here.shape, saved.shape, reshape)}"
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


def _way_out(here: tuple[int, ...], saved: tuple[int, ...], reshape: bool) -> str:
    if math.prod(here) == math.prod(saved):
        return "pass reshape=true to fill it in row-major order, or restore other names"
    counted = f"{math.prod(saved)} elements do not fill {math.prod(here)}; " if reshape else ""
    return f"{counted}restore other names, or delete the variable first"
