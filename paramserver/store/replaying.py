"""The part of a store that does again what a journal remembers."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from paramserver.store import importing
from paramserver.store.base import Writer
from paramserver.store.entries import NOTE, Entry, FirstValues, Gradients, Made, Updates, Values
from paramserver.store.errors import StoreError
from paramserver.store.gradients import GradientPush, Memory, StepDraft
from paramserver.store.initializing import first_value
from paramserver.store.optimizers import no_optimizer
from paramserver.store.publisher import Change, Transaction
from paramserver.store.snapshot import VariableState
from paramserver.store.updates import Update
from paramserver.store.validation import Draft
from paramserver.store.variables import Variable
from paramserver.store.workspace import Step, giving


class Replaying(Writer):
    """Entries into a store that nobody else uses yet."""

    def replay(self, entry: Entry) -> None:
        """Do again what `entry` says: values, versions, incarnations, times and the request table end up bit-equal.

        Only for a store that is not shared yet, in commit order; its publisher must publish at once. The entry's arrays
        become the store's. Raises `StoreError`, with nothing changed, for an entry that does not follow what the store
        holds.
        """
        commits = self._commits
        wanted = commits.head_commit + (entry.kind != NOTE)
        if entry.commit != wanted:
            raise StoreError(f"wanted transaction {wanted}, got {entry.commit}")
        asked = entry.asked
        claim = None if asked is None else commits.requests.reclaim(asked.client, asked.seq, asked.digest, asked.holder)
        if entry.kind == NOTE:
            commits.note(claim, entry.answer)
            return
        transaction = commits.begin(entry.kind, None, claim, lambda _: entry.answer)
        transaction.at = entry.at
        made = {each.name: _variable(each) for each in entry.made}
        transaction.created = dict.fromkeys(made.values())
        transaction.deleted = [self._held(name) for name in entry.deleted]
        for name, (trainable, collections) in entry.regrouped.items():
            transaction.changes[self._held(name)] = Change(trainable=trainable, collections=collections)
        transaction.scopes.update(entry.scopes)
        transaction.optimizers.update(entry.optimizers)
        self._stage_computed(transaction, self._steps(entry, made, transaction))

    def renew_incarnations(self) -> None:
        """Give every variable a new incarnation, as nobody can tell what was lost. Only for a store not shared yet."""
        for variable in self._commits.head.variables.values():
            variable.incarnation = self._incarnation()

    # ---------------------------------------------------------------- inside

    def _held(self, name: str) -> Variable:
        found = self._commits.head.variables.get(name)
        if found is None:
            raise StoreError(f"variable {name!r} is not there", name=name)
        return found

    def _steps(self, entry: Entry, made: Mapping[str, Variable], transaction: Transaction) -> Sequence[Step]:
        match entry.work:
            case Updates(updates):
                return self._update_steps(updates)
            case Gradients(push):
                return self._gradient_steps(push, made)
            case FirstValues(names, seed, drawn):
                variables = [made.get(name) or self._held(name) for name in names]
                return [giving(each, partial(first_value, each, seed, drawn)) for each in variables]
            case Values(values):
                return [
                    importing.write(made.get(name) or self._held(name), value, self.pool)
                    for name, value in values.items()
                ]
        return []

    def _update_steps(self, updates: Sequence[Update]) -> Sequence[Step]:
        draft = Draft({name: self._held(name) for each in updates for name in each.names}, allow_non_finite=True)
        for update in updates:
            draft.update(update)
        draft.refuse_any()
        return draft.steps

    def _gradient_steps(self, push: GradientPush, made: Mapping[str, Variable]) -> Sequence[Step]:
        head = self._commits.head
        state = head.optimizers.get(push.optimizer)
        if state is None:
            raise no_optimizer(push.optimizer)

        def create(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], start: float) -> Variable:
            return made[name]

        names = Memory.of(push, state).names(push)
        held = {name: head.variables[name] for name in names if name in head.variables}
        draft = Draft(held, allow_non_finite=True)
        others = {name: other for name, other in head.optimizers.items() if other is not state}
        StepDraft(draft, push, state, others, create).add()
        for update in push.then:
            draft.update(update)
        draft.refuse_any()
        return draft.steps


def _variable(made: Made) -> Variable:
    state = VariableState(None, 0, made.trainable, made.collections, made.initializer, made.updated_at)
    return Variable(made.name, made.shape, made.dtype, made.incarnation, threading.Lock(), state, state)
