"""Which variables an initialization touches, and what it writes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paramserver.initializers import make, needs_seed
from paramserver.store.errors import NoInitializer
from paramserver.store.updates import Array
from paramserver.store.variables import Variable


def to_initialize(
    variables: Mapping[str, Variable], names: Sequence[str], only_uninitialized: bool, skip: bool
) -> tuple[list[Variable], list[str]]:
    """Which of the variables are to be initialized, and the names skipped; or `NoInitializer` unless those are skipped."""
    todo: list[Variable] = []
    skipped: list[str] = []
    for variable in (variables[name] for name in names):
        if variable.head.initializer is None:
            if not skip:
                raise NoInitializer(
                    f"variable {variable.name!r} was created with a value and has no initializer to run; "
                    "assign a value, or delete it and create it with an initializer",
                    name=variable.name,
                )
            skipped.append(variable.name)
        elif only_uninitialized and variable.head.value is not None:
            skipped.append(variable.name)
        else:
            todo.append(variable)
    return todo, skipped


def draws_unseeded(variable: Variable) -> bool:
    """Whether the variable's initializer needs a seed and has none of its own."""
    spec = variable.head.initializer
    return spec is not None and needs_seed(spec) and spec.get("seed") is None


def first_value(variable: Variable, seed: int | None, drawn: int | None) -> Array:
    """What the variable's initializer makes: `seed` goes before the spec's own, `drawn` steps in for neither."""
    spec = variable.head.initializer
    assert spec is not None, "only variables with an initializer are initialized"
    used = seed if seed is not None else (None if spec.get("seed") is not None else drawn)
    return make(spec, variable.shape, variable.dtype, used, variable.name)
