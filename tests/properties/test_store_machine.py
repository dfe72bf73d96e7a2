"""Any sequence of calls agrees with a plain dictionary that is kept beside the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from paramserver.journal.records import decode_entry, encode_entry
from paramserver.store import (
    Claim,
    Digest,
    Gradient,
    GradientPush,
    ImmediatePublisher,
    NewVariable,
    Replay,
    Selection,
    Snapshot,
    Store,
    Update,
)
from paramserver.store import errors as e
from paramserver.store.entries import entry_of
from paramserver.store.publisher import Transaction
from support.journals import assert_same
from support.stores import seeded_store

NAMES = st.sampled_from(["w", "b", "net/w", "net/b", "net/deep/w", "local"])
SHAPES = st.sampled_from([(), (2,), (2, 3), (0, 2)])
DTYPES = st.sampled_from(["float32", "float64", "int32"])
OPS = st.sampled_from(["assign", "assign_add", "assign_sub"])


@dataclass
class Plain:
    """A variable as the model sees it."""

    shape: tuple[int, ...]
    dtype: str
    value: Any
    version: int
    collections: set[str]
    can_initialize: bool
    pending: Any = None


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = self.new_store()
        self.model: dict[str, Plain] = {}
        self.commit = 0
        self.rate: float | None = None
        self.seq = 0
        self.done: dict[str, tuple[Digest, Any]] = {}

    @rule(
        name=NAMES,
        shape=SHAPES,
        dtype=DTYPES,
        valued=st.booleans(),
        initialize=st.booleans(),
        reuse=st.sampled_from([True, False, None]),
        own=st.booleans(),
    )
    def create(
        self, name: str, shape: Any, dtype: str, valued: bool, initialize: bool, reuse: bool | None, own: bool
    ) -> None:
        spec = None if valued else {"type": "constant", "value": 3}
        value = np.full(shape, 5, dtype) if valued else None
        collections = ["own"] if own else None
        new = NewVariable(name, shape, dtype, spec, value, collections=collections)
        there = self.model.get(name)
        refused: type[Exception] | None = None
        if there is None and reuse is True:
            refused = e.VariableNotFound
        elif there is not None and reuse is False:
            refused = e.VariableExists
        elif there is not None and (there.shape, there.dtype) != (shape, dtype):
            refused = e.SpecMismatch
        if refused is None and there is not None and initialize and there.value is None:
            there.value, there.version = np.full(there.shape, 3, there.dtype), there.version + 1
            self.commit += 1
        if refused is None and there is None:
            starts = np.full(shape, 5 if valued else 3, dtype) if valued or initialize else None
            keys = {"own" if own else "variables", "trainable_variables"}
            self.model[name] = Plain(shape, dtype, starts, int(starts is not None), keys, not valued)
            self.commit += 1
        self._expect(refused, lambda: self.store.create(new, reuse=reuse, initialize=initialize))

    @rule(
        updates=st.lists(st.tuples(NAMES, OPS, st.integers(-3, 3), SHAPES, DTYPES), max_size=4),
        honest=st.booleans(),
        locking=st.booleans(),
    )
    def push(self, updates: list[Any], honest: bool, locking: bool) -> None:
        sent, after, bad = [], {name: (v.value, v.version) for name, v in self.model.items()}, False
        for name, op, number, shape, dtype in updates:
            there = self.model.get(name)
            if there is not None and honest:
                shape, dtype = there.shape, there.dtype
            value = np.full(shape, number, dtype)
            sent.append(Update(name, op, value))
            if there is None or shape != there.shape or not np.can_cast(dtype, there.dtype):
                bad = True
                continue
            old, version = after[name]
            if op != "assign" and old is None:
                bad = True
                continue
            new = value.astype(there.dtype) if op == "assign" else old + value if op == "assign_add" else old - value
            after[name] = (new, version + 1)
        if not bad:
            self.commit += 1
            for name, (value, version) in after.items():
                self.model[name].value, self.model[name].version = value, version
        self._expect(e.StoreError if bad else None, lambda: self.store.push(sent, use_locking=locking))

    @rule(
        writes=st.lists(
            st.tuples(
                NAMES,
                st.sampled_from(["scatter_update", "scatter_add", "scatter_sub", "assign_add"]),
                st.lists(st.tuples(st.integers(-1, 3), st.integers(-3, 3)), max_size=4),
            ),
            max_size=3,
        )
    )
    def scatter(self, writes: list[Any]) -> None:
        """Rows one after the other, the slow way; mixed with updates of whole values."""
        sent, after, bad = [], {name: (v.value, v.version) for name, v in self.model.items()}, False
        for name, op, rows in writes:
            there = self.model.get(name)
            shape = there.shape if there is not None else ()
            row = shape[1:]
            indices = None if op == "assign_add" else np.array([index for index, _ in rows], np.int64)
            value = np.ones(shape, "int8")
            if indices is not None:
                value = np.array([np.full(row, number) for _, number in rows], "int8").reshape(len(rows), *row)
            sent.append(Update(name, op, value, indices=indices))
            bad = bad or there is None or after[name][0] is None
            bad = bad or (indices is not None and (not shape or any(not 0 <= i < shape[0] for i, _ in rows)))
            if bad:
                continue
            old, version = after[name]
            new = old + 1 if indices is None else old.copy()
            for index, number in rows if indices is not None else ():
                new[index] = {"update": number, "add": new[index] + number, "sub": new[index] - number}[op[8:]]
            after[name] = (new.astype(there.dtype), version + 1)
        if not bad:
            self.commit += 1
            for name, (value, version) in after.items():
                self.model[name].value, self.model[name].version = value, version
        self._expect(e.StoreError if bad else None, lambda: self.store.push(sent))

    @rule(into=NAMES, source=NAMES, decay=st.sampled_from([0.0, 0.5, 0.75, 1.0, 2.0]), first=st.booleans())
    def average(self, into: str, source: str, decay: float, first: bool) -> None:
        """An average sees what the same push wrote before it."""
        to, of = self.model.get(into), self.model.get(source)
        sent = [Update(into, "ema", source=source, decay=decay)]
        if first and of is not None:
            sent.insert(0, Update(source, "assign", np.full(of.shape, 6, of.dtype)))
        bad = to is None or of is None or decay > 1 or to.shape != of.shape or not to.dtype.startswith("float")
        bad = bad or not np.can_cast(of.dtype, to.dtype)
        bad = bad or (of.value is None and not first) or (to.value is None and not (first and to is of))
        if not bad:
            self.commit += 1
            if first:
                of.value, of.version = np.full(of.shape, 6, of.dtype), of.version + 1
            to.value = (to.value - (1 - decay) * (to.value - of.value)).astype(to.dtype)
            to.version += 1
        self._expect(e.StoreError if bad else None, lambda: self.store.push(sent))

    @rule(rate=st.sampled_from([0.5, 1.0, -1.0]))
    def set_optimizer(self, rate: float) -> None:
        spec = {"type": "momentum", "learning_rate": rate, "momentum": 0.5}
        if rate > 0 and self.rate != rate:
            self.rate = rate
            self.commit += 1
        self._expect(e.InvalidRequest if rate < 0 else None, lambda: self.store.set_optimizer("M", spec))

    @rule()
    def delete_optimizer(self) -> None:
        refused = e.OptimizerNotFound if self.rate is None else None
        if refused is None:
            self.commit += 1
            self.rate = None
            self.model = {name: plain for name, plain in self.model.items() if not name.endswith("/M")}
        self._expect(refused, lambda: self.store.delete_optimizer("M"))

    @rule(names=st.lists(NAMES, min_size=1, max_size=3, unique=True), number=st.integers(-2, 2), row=st.booleans())
    def apply_gradients(self, names: list[str], number: int, row: bool) -> None:
        """Momentum, by the formula: a = a / 2 + g; v -= rate a. Of one row, or of all."""
        found = {name: self.model[name] for name in names if name in self.model}
        bad = self.rate is None or len(found) < len(names)
        gradients = []
        for name, there in found.items():
            rows = row and there.shape[:1] not in ((), (0,))
            bad = bad or there.value is None or there.dtype == "int32"
            value = np.full((1, *there.shape[1:]) if rows else there.shape, number, "float16")
            gradients.append(Gradient(name, value, np.array([0]) if rows else None))
            if bad:
                continue
            slot = self.model.get(f"{name}/M")
            slot = slot or Plain(there.shape, there.dtype, np.zeros(there.shape, there.dtype), 0, {"variables"}, True)
            at = 0 if rows else ...
            there.pending = (there.value.copy(), slot.value.copy(), slot)
            moved, memory, _ = there.pending
            memory[at] = memory[at] / 2 + number
            moved[at] -= self.rate * memory[at]
        gradients += [Gradient(name, np.zeros(())) for name in names if name not in found]
        if not bad:
            self.commit += 1
            for name, there in found.items():
                there.value, memory, slot = there.pending
                there.version += 1
                slot.value, slot.version = memory, slot.version + 1
                self.model[f"{name}/M"] = slot
        self._expect(e.StoreError if bad else None, lambda: self.store.apply_gradients(GradientPush("M", gradients)))

    @rule(names=st.lists(NAMES, max_size=3) | st.none(), only=st.booleans())
    def initialize(self, names: list[str] | None, only: bool) -> None:
        chosen = list(self.model) if names is None else list(dict.fromkeys(names))
        refused = None if all(name in self.model for name in chosen) else e.VariableNotFound
        if refused is None:
            self.commit += 1
            for name, there in ((name, self.model[name]) for name in chosen):
                if there.can_initialize and not (only and there.value is not None):
                    starts = 0 if name.endswith("/M") else 3
                    there.value, there.version = np.full(there.shape, starts, there.dtype), there.version + 1
        self._expect(refused, lambda: self.store.initialize(Selection(names=names), only_uninitialized=only))

    @rule(name=NAMES, trainable=st.booleans())
    def change(self, name: str, trainable: bool) -> None:
        refused = None if name in self.model else e.VariableNotFound
        if refused is None:
            self.commit += 1
            (self.model[name].collections.add if trainable else self.model[name].collections.discard)(
                "trainable_variables"
            )
        self._expect(refused, lambda: self.store.change(name, trainable=trainable))

    @rule(prefix=st.sampled_from(["net", "net/deep", "w", "nothing"]))
    def delete(self, prefix: str) -> None:
        self.commit += 1
        self.model = {n: v for n, v in self.model.items() if n != prefix and not n.startswith(prefix + "/")}
        self.store.delete(Selection(prefix=prefix))

    @rule(name=NAMES, again=st.booleans(), other_body=st.booleans())
    def push_with_id(self, name: str, again: bool, other_body: bool) -> None:
        there = self.model.get(name)
        if not again or not self.done:
            self.seq += 1
        request_id, digest = f"c-{self.seq}", Digest(1, 2 if other_body else 1)
        known = self.done.get(request_id)
        try:
            claim = self.store.requests.claim(request_id, digest)
        except e.IdempotencyKeyReused:
            assert known is not None
            assert known[0] != digest
            return
        if isinstance(claim, Replay):
            assert known == (digest, claim.answer)
            return
        assert known is None
        assert isinstance(claim, Claim)
        if there is None:
            self.store.requests.abandon(claim, e.VariableNotFound(name))
            return
        self.commit += 1
        there.value, there.version = np.full(there.shape, 8, there.dtype), there.version + 1
        self.done[request_id] = (digest, self.commit)
        self.store.push([Update(name, "assign", there.value)], claim=claim, answer=lambda receipt: receipt.commit)

    @rule()
    def reload(self) -> None:
        """A store that is loaded from the cut is the same store."""
        cut = self.store.snapshot(with_requests=True)
        self.store = self.new_store(seed=self.commit)
        self.store.load(cut)

    def new_store(self, seed: int = 0) -> Store:
        return seeded_store(seed)

    @rule()
    def restore_whole(self) -> None:
        cut = {name: v for name, v in self.store.snapshot().variables.items() if v.value is not None}
        self.commit += 1
        for name in cut:
            self.model[name].version += 1
        self.store.restore(cut)

    def _expect(self, refused: type[Exception] | None, call: Any) -> None:
        try:
            call()
        except e.StoreError as error:
            assert refused is not None, f"refused: {error}"
            assert isinstance(error, refused)
        else:
            assert refused is None, f"{refused} was expected"

    @invariant()
    def agrees_with_the_model(self) -> None:
        cut = self.store.snapshot()
        assert cut.commit == self.commit
        assert self.store.names() == sorted(self.model)
        assert set(cut.variables) == set(self.model)
        for name, plain in self.model.items():
            found = cut.variables[name]
            assert (found.shape, found.dtype.name, found.version) == (plain.shape, plain.dtype, plain.version)
            assert set(found.state.collections) == plain.collections
            assert (found.value is None) == (plain.value is None)
            if plain.value is not None:
                np.testing.assert_array_equal(found.value, plain.value)
        counts: dict[str, int] = {}
        for plain in self.model.values():
            for key in plain.collections:
                counts[key] = counts.get(key, 0) + 1
        assert self.store.collections() == counts
        assert self.store.budget.used_nbytes == cut.nbytes


class RecordingPublisher(ImmediatePublisher):
    """Publishes at once, as what is journalled may be seen once it is written, and keeps the records."""

    durable = True

    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[str, int, bytes]] = []

    def submit(self, transaction: Transaction) -> None:
        super().submit(transaction)
        if not transaction.is_note or transaction.claim is not None:
            entry = entry_of(transaction)
            self.records.append((entry.kind, entry.commit, b"".join(encode_entry(entry))))


class JournalledStoreMachine(StoreMachine):
    """The same, over a store that is journalled; in the end its records make the same store once more."""

    def new_store(self, seed: int = 0) -> Store:
        self.publisher = RecordingPublisher()
        self.since: Snapshot | None = None
        return seeded_store(seed, publisher=self.publisher)

    @rule()
    def reload(self) -> None:
        super().reload()
        self.since = self.store.snapshot(with_requests=True)

    def teardown(self) -> None:
        again = seeded_store()
        if self.since is not None:
            again.load(self.since)
        for kind, commit, payload in self.publisher.records:
            again.replay(decode_entry(kind, commit, memoryview(bytearray(payload))))
        assert_same(self.store, again)
        assert again.budget.used_nbytes == self.store.budget.used_nbytes


JournalledStoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestJournalledStoreMachine = JournalledStoreMachine.TestCase
StoreMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
TestStoreMachine = StoreMachine.TestCase
