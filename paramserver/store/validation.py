"""From updates to computations: everything is checked, every difference listed, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from paramserver.store.buffers import BufferPool
from paramserver.store.errors import Difference, StoreError, refuse_any
from paramserver.store.selection import missing, no_value
from paramserver.store.snapshot import VariableSnapshot
from paramserver.store.updates import OPS, Array, Update, apply, check_value, is_finite
from paramserver.store.variables import Variable

Write = Callable[[Array | None], Array | None]
"""One step of computing a variable's new value from the one before."""


def check_push(
    head: Mapping[str, Variable],
    held: Mapping[str, Variable],
    updates: Sequence[Update],
    returns: Sequence[str],
    *,
    allow_non_finite: bool,
    pool: BufferPool,
) -> tuple[dict[Variable, list[Write]], list[Variable]]:
    """The steps that carry out a push, by variable, and the variables it is to return.

    `held` are the variables being written, `head` all there are. Refuses with every difference listed, the updates'
    in their order and then those of `returns`.
    """
    differences: list[Difference] = []
    writes: dict[Variable, list[Write]] = {}
    for update in updates:
        variable = held.get(update.name)
        if variable is None:
            differences.append(missing(update.name))
            continue
        steps = writes.setdefault(variable, [])
        try:
            value = _typed(variable, update)
        except StoreError as error:
            differences.extend(error.errors)
            continue
        differences.extend(_differences(variable, update, value, len(steps), allow_non_finite))
        steps.append(_step(variable, update, value, pool))
    fetches = [head[name] for name in dict.fromkeys(returns) if name in head]
    differences.extend(missing(name) for name in dict.fromkeys(returns) if name not in head)
    differences.extend(no_value(v.name) for v in fetches if v.head.value is None and v not in writes)
    refuse_any(differences)
    return writes, fetches


def compute(variable: Variable, steps: Sequence[Write]) -> Array:
    """The variable's new value: the steps one after the other from its head, frozen."""
    value = variable.head.value
    for step in steps:
        value = step(value)
    assert value is not None, "every write ends in a value"
    if value.flags.writeable:
        # A view of its own, so that freezing it cannot surprise the giver of the array.
        value = value.view()
        value.flags.writeable = False
    return value


def _typed(variable: Variable, update: Update) -> Array:
    if callable(update.value):
        return update.value(variable.dtype, variable.shape)
    return update.value


def _differences(
    variable: Variable, update: Update, value: Array, writes_before: int, allow_non_finite: bool
) -> list[Difference]:
    name = variable.name
    if update.op not in OPS:
        detail = f"variable {name!r}: op is one of {', '.join(OPS)}; got {update.op!r}"
        return [Difference(name, "invalid_request", detail)]
    found = check_value(name, update.op, value, variable.shape, variable.dtype)
    if update.op != "assign" and variable.head.value is None and not writes_before:
        found.append(no_value(name))
    if not allow_non_finite and not is_finite(value):
        detail = (
            f"variable {name!r}: the value holds NaN or infinity; send finite numbers, or set allow_non_finite=true"
        )
        found.append(Difference(name, "non_finite", detail))
    if update.if_version is not None:
        now = _as_found(variable, writes_before)
        if not now.matches(update.if_version):
            detail = f"variable {name!r} is at version {now.tag!r}, not {update.if_version!r}; read it again and retry"
            found.append(Difference(name, "version_mismatch", detail))
    return found


def _as_found(variable: Variable, writes_before: int) -> VariableSnapshot:
    found = variable.at_head()
    return replace(found, state=replace(found.state, version=found.version + writes_before))


def _step(variable: Variable, update: Update, value: Array, pool: BufferPool) -> Write:
    def step(old: Array | None) -> Array:
        return apply(update.op, old, value, variable.dtype, donated=update.donated, pool=pool)

    return step
