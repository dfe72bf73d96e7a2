"""The store: variables, scopes and collections, changed by transactions and read by cuts.

    store = Store(clock=time.time, entropy=os.urandom)
    store.create(NewVariable("w", value=np.zeros(3, np.float32)))
    store.push([Update("w", "assign_add", np.ones(3, np.float32))]).commit

Every method is thread-safe. Every change is one transaction: checked whole, applied whole, visible whole; when one is
refused nothing has changed. Readers never wait for a writer's arithmetic. Writers of different variables do not wait
for each other. With `blocking=False` a writer raises `WouldBlock` instead of waiting for a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from paramserver.store import importing, restoring
from paramserver.store.base import Answering, itself, no_answer, private_copy
from paramserver.store.creation import (
    NewVariable,
    checked_collections,
    checked_dtype,
    checked_name,
    checked_shape,
    settle,
)
from paramserver.store.entries import FirstValues, Updates, Values
from paramserver.store.errors import (
    Difference,
    SpecMismatch,
    VariableExists,
    VariableNotFound,
    refuse_any,
)
from paramserver.store.grouping import Grouping
from paramserver.store.initializing import draws_unseeded, first_value, to_initialize
from paramserver.store.optimizing import Optimizing
from paramserver.store.publisher import Change, Receipt, Transaction
from paramserver.store.replaying import Replaying
from paramserver.store.requests import Claim
from paramserver.store.selection import Selection, missing, select
from paramserver.store.slots import slots_of
from paramserver.store.snapshot import Snapshot, VariableSnapshot
from paramserver.store.updates import Array, Update
from paramserver.store.validation import Draft
from paramserver.store.variables import Variable, changed_collections
from paramserver.store.workspace import Step, giving


class Store(Optimizing, Grouping, Replaying):
    """Holds the variables of one server.

    `clock` gives seconds since the epoch, `entropy(n)` gives n random bytes; both are arguments so that a test can
    replay a run. `memory_limit_nbytes` bounds the bytes of all values, published and staged; `tensor_limit_nbytes` those
    of each variable that is created.
    """

    # ---------------------------------------------------------------- writing values

    def push(
        self,
        updates: Sequence[Update],
        *,
        returns: Sequence[str] = (),
        use_locking: bool = True,
        allow_non_finite: bool = False,
        claim: Claim | None = None,
        answer: Answering = no_answer,
        blocking: bool = True,
    ) -> Receipt:
        """Apply all updates as one transaction, in their order; updates of one name build on each other.

        The receipt's `fetched` holds the variables named in `returns`, in one cut right behind the transaction.

        Raises, with every difference listed and nothing changed: `VariableNotFound`, `Uninitialized`,
        `ShapeMismatch`, `DtypeMismatch`, `IndexOutOfRange`, `NonFinite`, `VersionMismatch`, `InvalidRequest`,
        `MemoryLimitExceeded`.

        With `use_locking=False` the write locks are not taken: concurrent updates may be lost, but every value that
        is ever visible was written whole. A store with a journal locks all the same.
        """
        names = [name for update in updates for name in update.names]
        transaction: Transaction
        if use_locking or self._commits.durable:
            with self._commits.writing(names, blocking) as variables:
                transaction = self._push_onto(variables, updates, returns, allow_non_finite, claim, answer)
        else:
            head = self._commits.head.variables
            variables = {name: head[name] for name in names if name in head}
            transaction = self._push_onto(variables, updates, returns, allow_non_finite, claim, answer)
        return self._settled(transaction)

    def initialize(
        self,
        selection: Selection,
        *,
        only_uninitialized: bool = True,
        seed: int | None = None,
        skip_without_initializer: bool = True,
        claim: Claim | None = None,
        answer: Callable[[Receipt, Sequence[str], int | None], Any] = lambda *_: None,
        blocking: bool = True,
    ) -> tuple[Receipt, list[str], int | None]:
        """Run initializers, all in one transaction. Returns the receipt, the names skipped, and the seed drawn, if any.

        `seed` goes before a spec's own; where neither is given one is drawn for the whole request. With
        `only_uninitialized` variables that have a value are skipped, so a second worker cannot wipe trained ones.
        Those without an initializer are skipped too, or refused (`NoInitializer`).
        """
        commits = self._commits
        with commits.publish_lock:
            names = [variable.name for variable in select(commits.published, selection)]
        with commits.writing(names, blocking) as variables:
            refuse_any([missing(name) for name in names if name not in variables])
            todo, skipped = to_initialize(variables, names, only_uninitialized, skip_without_initializer)
            drawn = None
            if seed is None and any(draws_unseeded(variable) for variable in todo):
                drawn = int.from_bytes(self._entropy(6), "little")
            work = FirstValues([variable.name for variable in todo], seed, drawn)
            transaction = commits.begin("initialize", work, claim, lambda receipt: answer(receipt, skipped, drawn))
            self._stage_computed(
                transaction, [giving(variable, partial(first_value, variable, seed, drawn)) for variable in todo]
            )
        return self._settled(transaction), skipped, drawn

    # ---------------------------------------------------------------- structure

    def create(
        self,
        new: NewVariable,
        *,
        reuse: bool | None = False,
        initialize: bool = False,
        seed: int | None = None,
        claim: Claim | None = None,
        answer: Callable[[VariableSnapshot, bool], Any] = lambda *_: None,
        blocking: bool = True,
    ) -> tuple[VariableSnapshot, bool]:
        """Create a variable, or find the one that exists. Returns it and whether it was created.

        `reuse` False: it must not exist (`VariableExists`); True: it must (`VariableNotFound`); None: either. One that
        is found must have the shape and dtype that were given, if any (`SpecMismatch`); its value is left alone. With
        `initialize` it has a value afterwards: its initializer is run if it has none.
        """
        checked_name(new.name)
        commits = self._commits
        with commits.structure(blocking), commits.writing([new.name], blocking) as found:
            existing = found.get(new.name)
            if existing is not None:
                if reuse is False:
                    raise VariableExists(
                        f"variable {new.name!r} exists already, with shape {list(existing.shape)} and dtype "
                        f"{existing.dtype.name}; pass reuse=auto to share it, or choose another name",
                        name=new.name,
                    )
                self._check_same(existing, new)
                variable = existing
            else:
                if reuse is True:
                    raise VariableNotFound(
                        f"variable {new.name!r} does not exist, so it cannot be reused; create it first, or pass reuse=auto",
                        name=new.name,
                    )
                defaults = commits.head.defaults_for(new.name)
                settlement = settle(
                    new,
                    defaults,
                    lambda name: _head_of(commits.head.variables.get(name)),
                    self.tensor_limit_nbytes,
                )
                variable = self._new_variable(new.name, settlement)
            transaction = commits.begin(
                "create", None, claim, lambda receipt: answer(receipt.variables[new.name], existing is None)
            )
            steps: list[Step] = []
            if existing is None:
                transaction.created[variable] = None
                if settlement.value is not None:
                    steps.append(giving(variable, partial(private_copy, settlement.value, variable.dtype)))
                    transaction.work = Values({new.name: settlement.value})
            if initialize and variable.head.value is None and not steps:
                seed = int.from_bytes(self._entropy(6), "little") if seed is None else seed
                steps.append(giving(variable, partial(first_value, variable, None, seed)))
                transaction.work = FirstValues([new.name], None, seed)
            if existing is not None and not steps:
                snapshot = existing.at_head()
                transaction = commits.note(claim, answer(snapshot, False))
            else:
                self._stage_computed(transaction, steps)
                snapshot = variable.at_head()
        self._settled(transaction)
        return snapshot, existing is None

    def change(
        self,
        name: str,
        *,
        trainable: bool | None = None,
        collections: Sequence[str] | None = None,
        claim: Claim | None = None,
        answer: Answering = no_answer,
        blocking: bool = True,
    ) -> VariableSnapshot:
        """Change whether a variable is trainable and its collections; the version stays. Raises `VariableNotFound`."""
        checked_collections(name, collections)
        with self._commits.writing([name], blocking) as found:
            refuse_any([missing(name)] if name not in found else [])
            variable = found[name]
            wanted, keys = changed_collections(variable.head, trainable, collections)
            transaction = self._commits.begin("change", None, claim, answer)
            transaction.changes[variable] = Change(trainable=wanted, collections=keys)
            self._commits.stage(transaction)
        return self._settled(transaction).variables[name]

    def delete(
        self,
        selection: Selection,
        *,
        claim: Claim | None = None,
        answer: Answering = no_answer,
        blocking: bool = True,
    ) -> Receipt:
        """Delete the selected variables, and their slots, as one transaction. Raises as `select`; long polls on them end."""
        commits = self._commits
        with commits.structure(blocking):
            chosen = dict.fromkeys(variable.name for variable in select(commits.head, selection))
            served = {
                name: state
                for name, state in commits.head.optimizers.items()
                if not chosen.keys().isdisjoint(state.slots)
            }
            slots = [slot for state in served.values() for slot in slots_of(state, chosen, commits.head.variables)]
            names = list(dict.fromkeys((*chosen, *slots)))
            with commits.writing(names, blocking) as variables:
                transaction = commits.begin("delete", None, claim, answer)
                transaction.deleted = [variables[name] for name in names]
                transaction.optimizers.update({name: state.without(chosen) for name, state in served.items()})
                commits.stage(transaction)
        return self._settled(transaction)

    # ---------------------------------------------------------------- whole states

    def restore(
        self,
        saved: Mapping[str, VariableSnapshot],
        *,
        strict: bool = True,
        create: bool = True,
        reshape: bool = False,
        absent: Sequence[Difference] = (),
        claim: Claim | None = None,
        answer: Callable[[restoring.Restored], Any] = lambda _: None,
        blocking: bool = True,
    ) -> restoring.Restored:
        """Write saved values (by the name they are to have here) in one transaction; each version rises by one.

        Variables that do not exist are created with what was saved about them, or reported as unexpected without
        `create`. With `reshape` another shape of as many elements is filled in row-major order. `absent` are differences
        found before. With `strict`, any of these, and any value that does not fit, refuses the whole
        (`CheckpointIncompatible`, all listed); without it they are left out.
        """
        commits = self._commits
        with commits.structure(blocking), commits.writing(saved, blocking) as existing:
            plan = restoring.plan(saved, existing, strict=strict, create=create, reshape=reshape, absent=absent)
            values = {name: restoring.value_for(saved[name], existing.get(name)) for name in plan.names}
            transaction = commits.begin(
                "restore", Values(values), claim, lambda receipt: answer(plan.done(receipt.commit))
            )
            variables = dict(existing)
            for name in plan.to_create:
                variables[name] = self._new_variable(name, restoring.settlement(saved[name]))
                transaction.created[variables[name]] = None
            self._stage_computed(
                transaction,
                [giving(variables[name], partial(itself, value)) for name, value in values.items()],
            )
        return plan.done(self._settled(transaction).commit)

    def check_import(self, offers: Mapping[str, importing.Offer], *, create: bool) -> int:
        """Refuse values that would not fit, before they have come; return the memory that they are going to take.

        Raises as `import_values`, from names, shapes and dtypes alone. Variables may change until then.
        """
        existing = self._commits.head.variables
        importing.check(offers, existing, create=create, tensor_limit_nbytes=self.tensor_limit_nbytes)
        return importing.needed_nbytes(offers, existing)

    def import_values(
        self,
        values: Mapping[str, Array],
        *,
        create: bool = True,
        allow_non_finite: bool = False,
        reserved_nbytes: int = 0,
        claim: Claim | None = None,
        answer: Callable[[Receipt, Sequence[str]], Any] = lambda *_: None,
        blocking: bool = True,
    ) -> tuple[Receipt, Sequence[str]]:
        """Write whole values in one transaction, creating variables that do not exist. Returns the names created.

        The arrays become the values: nobody may touch them again. `reserved_nbytes` of the memory budget are the
        caller's already, and the store's from here on, however this ends. Raises, with every difference listed and
        nothing changed: `VariableNotFound` (without `create`), `InvalidName`, `ShapeMismatch`, `DtypeMismatch`,
        `NonFinite`, `MemoryLimitExceeded`.
        """
        commits = self._commits
        try:
            if not allow_non_finite:
                importing.check_finite(values)
            offers = {name: importing.Offer(value.shape, value.dtype) for name, value in values.items()}
            with commits.structure(blocking), commits.writing(values, blocking) as existing:
                created = importing.check(offers, existing, create=create, tensor_limit_nbytes=self.tensor_limit_nbytes)
                transaction = commits.begin("import", Values(values), claim, lambda receipt: answer(receipt, created))
                variables = dict(existing)
                for name in created:
                    settlement = importing.settlement(values[name], commits.head.defaults_for(name))
                    variables[name] = self._new_variable(name, settlement)
                    transaction.created[variables[name]] = None
                # Given back just before the same is reserved again: what is received is what is staged.
                self.budget.release(reserved_nbytes)
                reserved_nbytes = 0
                self._stage_computed(
                    transaction,
                    [importing.write(variables[name], value, self.pool) for name, value in values.items()],
                )
        finally:
            self.budget.release(reserved_nbytes)
        return self._settled(transaction), created

    def load(self, snapshot: Snapshot) -> None:
        """Become what `snapshot` says: its variables with their versions and incarnations, scopes, request ids and commit.

        Only for a store that has seen no transaction yet, before it is shared. `renew_incarnations` is for those who
        cannot prove that nothing happened after the snapshot.
        """
        self.budget.reserve(snapshot.nbytes)
        variables = {}
        for name, saved in snapshot.variables.items():
            state = restoring.published(saved.state)
            variables[Variable(name, saved.shape, saved.dtype, saved.incarnation, threading.Lock(), state, state)] = (
                state.collections
            )
        for directory in (self._commits.head, self._commits.published):
            directory.add(variables)
            directory.scopes.update(snapshot.scopes)
            directory.optimizers.update(snapshot.optimizers)
            directory.reorder(snapshot.orders)
        self._commits.start_from(snapshot.commit)
        self.requests.load(snapshot.requests)

    # ---------------------------------------------------------------- inside

    def _push_onto(
        self,
        variables: Mapping[str, Variable],
        updates: Sequence[Update],
        returns: Sequence[str],
        allow_non_finite: bool,
        claim: Claim | None,
        answer: Answering,
    ) -> Transaction:
        draft = Draft(dict(variables), allow_non_finite=allow_non_finite, recording=self._commits.durable)
        work = Updates(draft.recorded) if self._commits.durable else None
        transaction = self._commits.begin("push", work, claim, answer)
        for update in updates:
            draft.update(update)
        transaction.fetches = draft.returning(self._commits.head.variables, returns)
        draft.refuse_any()
        self._stage_computed(transaction, draft.steps)
        return transaction

    @staticmethod
    def _check_same(existing: Variable, new: NewVariable) -> None:
        found: list[str] = []
        dtype = existing.dtype if new.dtype is None else checked_dtype(new.name, new.dtype)
        if new.shape is not None and checked_shape(new.name, new.shape, dtype) != existing.shape:
            found.append(f"shape {list(new.shape)} was asked for, but it has {list(existing.shape)}")
        if dtype != existing.dtype:
            found.append(f"dtype {dtype.name} was asked for, but it has {existing.dtype.name}")
        if found:
            raise SpecMismatch(
                f"variable {new.name!r} exists, but {' and '.join(found)}; ask for what it is, or choose another name",
                name=new.name,
            )


def _head_of(variable: Variable | None) -> VariableSnapshot | None:
    return None if variable is None else variable.at_head()
