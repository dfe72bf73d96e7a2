"""From gradients to computations: one optimizer's step over many variables, checked whole and then computed in blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from paramserver.optim import InvalidHyperParameters, Optimizer
from paramserver.store.errors import Difference, StoreError
from paramserver.store.optimizers import OptimizerState, hyper_differences
from paramserver.store.selection import missing, no_value
from paramserver.store.slots import serves
from paramserver.store.updates import Array, Typed, Update, check_rows, check_value, is_finite
from paramserver.store.validation import Draft, not_finite
from paramserver.store.variables import Variable
from paramserver.store.workspace import Step, Workspace
from paramserver_wire.dtypes import DTYPES, name_of
from paramserver_wire.errors import InvalidName
from paramserver_wire.names import MAX_SLOT_NAME, check_name

Create = Callable[[str, tuple[int, ...], np.dtype[Any], float], Variable]
"""Makes a variable for a slot or scalar that is not there yet: its name, shape, dtype and the number it starts with."""


@dataclass(frozen=True, slots=True)
class Gradient:
    """The gradient of one variable: all of it, or the rows that `indices` name. `donated` is as for an `Update`."""

    name: str
    value: Array | Typed
    indices: Array | Typed | None = None
    donated: bool = False


@dataclass(frozen=True, slots=True)
class GradientPush:
    """Everything one push of gradients asks for.

    `hyper` are hyper-parameters of this step only; `global_step` names a variable that is counted up behind the
    gradients, `then` are updates behind that. It is refused as stale when both `base_commit` and `max_staleness` are given
    and the store is further on than that.
    """

    optimizer: str
    gradients: Sequence[Gradient]
    hyper: Mapping[str, Any] = field(default_factory=dict)
    global_step: str | None = None
    then: Sequence[Update] = ()
    returns: Sequence[str] = ()
    base_commit: int | None = None
    max_staleness: int | None = None
    allow_non_finite: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """The names of the slots of each variable in a push, and of the optimizer's scalars."""

    slots: Mapping[str, tuple[str, ...]]
    scalars: tuple[str, ...]

    @classmethod
    def of(cls, push: GradientPush, state: OptimizerState) -> Memory:
        optimizer, name = state.optimizer, push.optimizer
        slots = {
            each.name: state.slots.get(each.name) or optimizer.slot_names(each.name, name) for each in push.gradients
        }
        return cls(slots, state.scalars or optimizer.scalar_names(name))

    def names(self, push: GradientPush) -> list[str]:
        """Every variable that the push reads or writes."""
        named = [*self.slots, *self.scalars, *(slot for slots in self.slots.values() for slot in slots)]
        if push.global_step is not None:
            named.append(push.global_step)
        return [*named, *(name for update in push.then for name in update.names)]

    def grows(self, state: OptimizerState, held: Mapping[str, Variable]) -> bool:
        """Whether a slot or scalar has to be created, or taken on, for variables that exist."""
        found = {name: slots for name, slots in self.slots.items() if slots and name in held}
        lacking = any(slot not in held for slots in (*found.values(), self.scalars) for slot in slots)
        return lacking or not found.keys() <= state.slots.keys() or self.scalars != state.scalars

    def added_to(self, state: OptimizerState) -> OptimizerState:
        """The optimizer with this memory, too."""
        slots = {name: slots for name, slots in self.slots.items() if slots}
        return replace(state, slots={**state.slots, **slots}, scalars=self.scalars)


class StepDraft:
    """The gradients of a push, being added to a draft. `created` are the slots and scalars it brings into being."""

    def __init__(
        self,
        draft: Draft,
        push: GradientPush,
        state: OptimizerState,
        others: Mapping[str, OptimizerState],
        create: Create,
    ) -> None:
        self.created: dict[Variable, None] = {}
        self.recorded: list[Gradient] = []
        self.memory = Memory.of(push, state)
        self._draft = draft
        self._push = push
        self._taken = {name: key for key, other in others.items() for name in other.memory}
        self._create = create
        self.optimizer = self._hyper(state.optimizer)
        self._scalars = self._scalar_variables()

    def add(self) -> None:
        """Check every gradient and add the steps: one a variable, one for the scalars, one for the global step."""
        if not self._push.gradients:
            self._draft.differ("", "invalid_request", "no gradients were given; send that of one variable at least")
        for gradient in self._push.gradients:
            try:
                self._gradient(gradient)
            except StoreError as error:
                self._draft.differences.extend(error.errors)
        if self._scalars:
            self._draft.add(Step(self._scalars, self._advance))
        if self._push.global_step is not None:
            self._count(self._push.global_step)

    # ---------------------------------------------------------------- inside

    def _hyper(self, optimizer: Optimizer) -> Optimizer:
        try:
            return optimizer.with_hyper(self._push.hyper)
        except InvalidHyperParameters as error:
            self._draft.differences.extend(hyper_differences(self._push.optimizer, error))
            return optimizer

    def _scalar_variables(self) -> tuple[Variable, ...]:
        starts = self.optimizer.init_scalars()
        return tuple(
            self._own(name, (), start.dtype, float(start))
            for name, start in zip(self.memory.scalars, starts, strict=True)
        )

    def _own(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], start: float) -> Variable:
        """The variable of that name as a slot or scalar of this optimizer, made if it is not there."""
        found = self._draft.held.get(name)
        if found is None:
            try:
                check_name(name, limit=MAX_SLOT_NAME)
            except InvalidName as error:
                self._draft.differ(name, InvalidName.code, f"a slot cannot be called so: {error}")
            variable = self._create(name, shape, dtype, start)
            self.created[variable] = None
            self._draft.held[name] = variable
            return variable
        other = self._taken.get(name)
        if other is not None or not serves(found, shape, dtype):
            is_now = f"a slot of optimizer {other!r}" if other is not None else _described(found)
            self._draft.differ(
                name,
                "spec_mismatch",
                f"variable {name!r} stands where optimizer {self._push.optimizer!r} keeps its own: wanted "
                f"{list(shape)} of {name_of(dtype)}, not trainable, but it is {is_now}; delete it, or name the optimizer "
                "otherwise",
            )
        elif not self._draft.has_value(found):
            self._draft.differences.append(no_value(name))
        return found

    def _gradient(self, gradient: Gradient) -> None:
        draft, name = self._draft, gradient.name
        variable = draft.held.get(name)
        if variable is None:
            draft.differences.append(missing(name))
            return
        misfits = self.optimizer.misfits(variable.dtype)
        for misfit in misfits:
            draft.differ(name, "dtype_mismatch", f"variable {name!r} cannot be trained: {misfit}")
        if not draft.has_value(variable):
            draft.differences.append(no_value(name))
        value = gradient.value(variable.dtype, variable.shape) if callable(gradient.value) else gradient.value
        shape, rows, indices = variable.shape, None, None
        if gradient.indices is not None:
            given = gradient.indices
            indices = given(DTYPES["int64"], None) if callable(given) else given
            draft.differences.extend(check_rows(name, indices, variable.shape))
            shape = (*indices.shape, *variable.shape[1:]) if variable.shape else value.shape
            rows = indices.reshape(-1)
        draft.differences.extend(check_value(name, "gradient", value, shape, variable.dtype, rows=rows is not None))
        if not draft.allow_non_finite and not is_finite(value):
            draft.differ(name, "non_finite", not_finite(name))
        if misfits:
            return
        slots = tuple(
            self._own(slot_name, variable.shape, variable.dtype, slot.start)
            for slot_name, slot in zip(self.memory.slots[name], self.optimizer.slots, strict=True)
        )
        if draft.recording:
            self.recorded.append(Gradient(name, value, indices))
        draft.add(self._step(variable, slots, value, rows, gradient.donated and not draft.recording))

    def _step(
        self, variable: Variable, slots: tuple[Variable, ...], gradient: Array, rows: Array | None, donated: bool
    ) -> Step:
        def run(workspace: Workspace) -> None:
            pool, shape, dtype = workspace.pool, variable.shape, variable.dtype
            found = [workspace.find(slot) for slot in slots]
            olds = [old for old in found if old is not None]
            if len(olds) < len(found):
                starts = self.optimizer.init_slots(shape, dtype)
                olds = [_or(old, start) for old, start in zip(found, starts, strict=True)]
            reusable = donated and rows is None and gradient.dtype == dtype and gradient.flags.writeable
            in_place = reusable and gradient.flags.c_contiguous and gradient.flags.aligned
            out = gradient if in_place else pool.empty(shape, dtype)
            outs = [pool.empty(shape, dtype) for _ in slots]
            laid_out = gradient
            if rows is not None:
                laid_out = gradient.reshape((rows.size, *shape[1:]))
            self.optimizer.update(
                workspace.value(variable), olds, self._scalars_now(workspace), laid_out, out, outs, indices=rows
            )
            workspace.put(variable, out)
            for slot, new in zip(slots, outs, strict=True):
                workspace.put(slot, new)

        return Step((variable, *slots), run)

    def _scalars_now(self, workspace: Workspace) -> list[Array]:
        starts = self.optimizer.init_scalars()
        return [_or(workspace.find(each), start) for each, start in zip(self._scalars, starts, strict=True)]

    def _advance(self, workspace: Workspace) -> None:
        for scalar, new in zip(self._scalars, self.optimizer.advance(self._scalars_now(workspace)), strict=True):
            workspace.put(scalar, new)

    def _count(self, name: str) -> None:
        draft, variable = self._draft, self._draft.held.get(name)
        if variable is None:
            draft.differences.append(missing(name))
            return
        if variable.dtype.kind not in "iu":
            detail = f"variable {name!r}: a global step is an integer, but it holds {name_of(variable.dtype)}"
            draft.differ(name, "dtype_mismatch", f"{detail}; create one of int64")
        if variable.shape:
            detail = f"variable {name!r}: a global step has shape [], but it has {list(variable.shape)}"
            draft.differ(name, "shape_mismatch", f"{detail}; create one without axes")
        if not draft.has_value(variable):
            draft.differences.append(no_value(name))
        step = variable

        def run(workspace: Workspace) -> None:
            with np.errstate(over="ignore"):
                workspace.put(step, np.asarray(workspace.value(step) + step.dtype.type(1)))

        draft.add(Step((step,), run))


def stale(push: GradientPush, commit: int) -> list[Difference]:
    """Whether the push is older than it may be at `commit`, as a difference."""
    if push.base_commit is None or push.max_staleness is None:
        return []
    staleness = commit - push.base_commit
    if staleness <= push.max_staleness:
        return []
    detail = (
        f"the gradients were computed at commit {push.base_commit}, {staleness} commits ago, and may be "
        f"{push.max_staleness} old at most; pull again, and send those of the new values"
    )
    return [Difference("", "stale_update", detail)]


def _or(found: Array | None, start: Array) -> Array:
    return start if found is None else found


def _described(variable: Variable) -> str:
    kind = "trainable" if variable.head.trainable else "not trainable"
    return f"{list(variable.shape)} of {name_of(variable.dtype)}, {kind}"
