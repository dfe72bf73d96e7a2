"""The part of the store that knows optimizers: named resources, whose slots are variables like all others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from paramserver.initializers import check_spec
from paramserver.store.base import Answering, Writer, no_answer
from paramserver.store.creation import Settlement, checked_name
from paramserver.store.entries import Gradients
from paramserver.store.gradients import GradientPush, Memory, StepDraft, stale
from paramserver.store.optimizers import MemoryNames, OptimizerState, check_settled, checked_optimizer, no_optimizer
from paramserver.store.publisher import Receipt, Transaction
from paramserver.store.requests import Claim
from paramserver.store.slots import memory_of
from paramserver.store.validation import Draft
from paramserver.store.variables import VARIABLES, Variable
from paramserver.store.workspace import Step


class Optimizing(Writer):
    """Optimizers of a store, and the pushes of gradients through them."""

    def set_optimizer(
        self,
        name: str,
        spec: Mapping[str, Any],
        names: MemoryNames | None = None,
        *,
        claim: Claim | None = None,
        answer: Callable[[OptimizerState, bool], Any] = lambda *_: None,
        blocking: bool = True,
    ) -> tuple[OptimizerState, bool]:
        """Create an optimizer, or change the hyper-parameters of one. Returns it and whether it was created.

        Once it has slots, its type and what settles them can no longer change, nor can their names (`SpecMismatch`).
        Raises `InvalidName` and `InvalidRequest`, the latter with every wrong hyper-parameter.
        """
        checked_name(name, "optimizer")
        optimizer = checked_optimizer(name, spec)
        commits = self._commits
        with commits.structure(blocking):
            existing = commits.head.optimizers.get(name)
            if existing is not None:
                check_settled(name, existing, optimizer)
            state = OptimizerState(optimizer) if existing is None else replace(existing, optimizer=optimizer)
            if names is not None:
                state = names.added_to(name, state)
            if existing == state:
                transaction = commits.note(claim, answer(state, False))
            else:
                transaction = commits.begin("set_optimizer", None, claim, lambda _: answer(state, existing is None))
                transaction.optimizers[name] = state
                commits.stage(transaction)
        self._settled(transaction)
        return state, existing is None

    def delete_optimizer(
        self, name: str, *, claim: Claim | None = None, answer: Answering = no_answer, blocking: bool = True
    ) -> Receipt:
        """Delete an optimizer with its slots and scalars, in one transaction. Raises `OptimizerNotFound`."""
        commits = self._commits
        with commits.structure(blocking):
            state = commits.head.optimizers.get(name)
            if state is None:
                raise no_optimizer(name)
            with commits.writing(memory_of(state, commits.head.variables), blocking) as held:
                transaction = commits.begin("delete_optimizer", None, claim, answer)
                transaction.deleted = list(held.values())
                transaction.optimizers[name] = None
                commits.stage(transaction)
        return self._settled(transaction)

    def apply_gradients(
        self,
        push: GradientPush,
        *,
        claim: Claim | None = None,
        answer: Answering = no_answer,
        blocking: bool = True,
    ) -> Receipt:
        """One step of an optimizer over all variables that have a gradient here, as one transaction.

        In this order: the gradients, the optimizer's scalars, the global step, the updates of `then`, which see all of
        it. Slots and scalars that are not there yet are created in the same transaction. The receipt's `fetched` holds
        the variables named in `returns`, in one cut right behind it.

        Raises, with every difference listed and nothing changed: `OptimizerNotFound`, `StaleUpdate`,
        `VariableNotFound`, `Uninitialized`, `SpecMismatch` (another variable stands where a slot would), `ShapeMismatch`,
        `DtypeMismatch`, `IndexOutOfRange`, `NonFinite`, `InvalidRequest` (hyper-parameters), `MemoryLimitExceeded`.
        """
        transaction: Transaction | None = None
        creating = False
        while transaction is None:
            with ExitStack() as locks:
                if creating:
                    locks.enter_context(self._commits.structure(blocking))
                state = self._commits.head.optimizers.get(push.optimizer)
                if state is None:
                    raise no_optimizer(push.optimizer)
                memory = Memory.of(push, state)
                held = locks.enter_context(self._commits.writing(memory.names(push), blocking))
                if self._commits.head.optimizers.get(push.optimizer) is not state:
                    continue
                grows = memory.grows(state, held)
                if grows and not creating:
                    # Names come and go under the structure lock only, and that is taken first.
                    creating = True
                    continue
                transaction = self._commits.begin("apply_gradients", None, claim, answer)
                steps = self._step_onto(transaction, held, push, state)
                if grows:
                    transaction.optimizers[push.optimizer] = memory.added_to(state)
                self._stage_computed(transaction, steps)
        return self._settled(transaction)

    # ---------------------------------------------------------------- inside

    def _step_onto(
        self,
        transaction: Transaction,
        held: Mapping[str, Variable],
        push: GradientPush,
        state: OptimizerState,
    ) -> Sequence[Step]:
        """Check the push and note what it does beside writing values; the steps that do that."""
        commits = self._commits
        draft = Draft(dict(held), allow_non_finite=push.allow_non_finite, recording=commits.durable)
        others = {name: other for name, other in commits.head.optimizers.items() if other is not state}
        # Before the differences of single variables, as it says of all of them that they are not wanted.
        draft.differences.extend(stale(push, commits.head_commit))
        step = StepDraft(draft, push, state, others, self._new_memory)
        step.add()
        for update in push.then:
            draft.update(update)
        transaction.fetches = draft.returning(commits.head.variables, push.returns)
        draft.refuse_any()
        transaction.created = step.created
        if commits.durable:
            as_taken = replace(push, gradients=step.recorded, then=draft.recorded, returns=(), base_commit=None)
            transaction.work = Gradients(as_taken, step.optimizer.spec)
        return draft.steps

    def _new_memory(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], start: float) -> Variable:
        spec = check_spec({"type": "constant", "value": start}, shape, dtype, like=None).spec
        return self._new_variable(name, Settlement(shape, dtype, dict(spec), None, False, (VARIABLES,)))
