"""Gradients inside the store: one transaction, taken back whole, in blocks and within the budget."""

from __future__ import annotations

import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest

from paramserver.store import Gradient, GradientPush, NewVariable, OptimizerState, Selection, Store, Update
from paramserver.store import errors as e
from paramserver.store.entries import Gradients
from support.stores import HeldPublisher, seeded_store

ONE = np.ones(2, np.float32)
MOMENTUM = {"type": "momentum", "learning_rate": 1.0, "momentum": 1.0}


def pushed(*names: str, optimizer: str = "M", value: Any = ONE, **settings: Any) -> GradientPush:
    return GradientPush(optimizer, [Gradient(name, value) for name in names], **settings)


def trained(**options: Any) -> Store:
    store = seeded_store(**options)
    for name in ("a", "b"):
        store.create(NewVariable(name, value=np.zeros(2, np.float32)))
    store.set_optimizer("M", MOMENTUM)
    store.set_optimizer("A", {"type": "adam"})
    return store


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_a_refusal_takes_back_steps_slots_and_optimizers(first: int) -> None:
    publisher = HeldPublisher()
    publisher.holding = False
    store = trained(publisher=publisher)
    before = store.snapshot()
    publisher.holding = True
    store.apply_gradients(pushed("a"))
    store.apply_gradients(pushed("a", "b", then=[Update("a/M", "assign_add", ONE)]))
    store.delete(Selection(names=["a"]))
    assert store.snapshot() == before
    publisher.release(first)
    publisher.refuse(e.DiskFull("the journal found no room"))
    publisher.holding = False
    held = [{}, {"a": ("a/M",)}, {"a": ("a/M",), "b": ("b/M",)}, {"b": ("b/M",)}]
    assert store.optimizer("M").slots == held[first]
    assert store.names() == [["a", "b"], ["a", "a/M", "b"], ["a", "a/M", "b", "b/M"], ["b", "b/M"]][first]
    assert store.budget.used_nbytes == 8 * len(store.names())
    store.apply_gradients(pushed("b"))
    assert store.get("b").value.tolist() == [[-1, -1], [-1, -1], [-3, -3], [-3, -3]][first]


def test_a_deleted_optimizer_is_gone_for_readers_only_once_published() -> None:
    publisher = HeldPublisher()
    publisher.holding = False
    store = trained(publisher=publisher)
    store.apply_gradients(pushed("a", "b"))
    publisher.holding = True
    store.delete_optimizer("M")
    assert store.optimizer("M").slots.keys() == {"a", "b"}
    with pytest.raises(e.OptimizerNotFound):
        store.apply_gradients(pushed("a"))
    publisher.release()
    assert (list(store.optimizers()), store.names()) == (["A"], ["a", "b"])


def test_what_was_made_in_the_place_of_a_deleted_slot_is_not_deleted_as_one() -> None:
    store = trained()
    store.apply_gradients(pushed("a", "b"))
    store.apply_gradients(pushed("a", optimizer="A"))
    mine = ("a/M", "a/A", "A/beta1_power")
    for name in mine:
        store.delete(Selection(names=[name]))
        store.create(NewVariable(name, value=np.zeros(3, np.float32)))
    store.delete(Selection(names=["a"]))
    assert store.names() == sorted((*mine, "A/beta2_power", "b", "b/M"))
    store.delete_optimizer("A")
    store.delete_optimizer("M")
    assert store.names() == sorted((*mine, "b"))
    assert store.budget.used_nbytes == 3 * 12 + 8


def test_a_step_is_within_the_budget_or_not_at_all() -> None:
    store = trained(memory_limit_nbytes=16 + 3 * 8 + 8 - 1)
    with pytest.raises(e.MemoryLimitExceeded):
        store.apply_gradients(pushed("a", optimizer="A"))
    assert (store.names(), store.optimizer("A").slots, store.budget.used_nbytes) == (["a", "b"], {}, 16)
    store.apply_gradients(pushed("a"))
    assert store.budget.used_nbytes == 24


def test_a_large_step_takes_pooled_memory_and_no_temporaries() -> None:
    store = seeded_store()
    size = 4_000_000
    store.create(NewVariable("w", value=np.zeros(size, np.float32)))
    store.set_optimizer("A", {"type": "adam"})
    for _ in range(3):
        gradient = store.pool.empty((size,), np.dtype(np.float32))
        gradient[:] = 1
        push = GradientPush("A", [Gradient("w", gradient, donated=True)])
        del gradient
        store.apply_gradients(push)
        del push
    gradient = store.pool.empty((size,), np.dtype(np.float32))
    gradient[:] = 1
    tracemalloc.start()
    try:
        store.apply_gradients(GradientPush("A", [Gradient("w", gradient, donated=True)]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # One block may be new; whole-array temporaries would be three more at least.
    assert peak < 2 * 4 * size


def test_a_journalled_store_keeps_what_came_in() -> None:
    publisher = HeldPublisher()
    publisher.holding = False
    publisher.durable = True
    store = trained(publisher=publisher)
    publisher.holding = True
    gradient, update = ONE.copy(), ONE.copy()
    store.apply_gradients(
        GradientPush(
            "M",
            [Gradient("a", gradient, donated=True)],
            {"learning_rate": 0.5},
            then=[Update("b", "assign_add", update, donated=True)],
        )
    )
    assert (gradient.tolist(), update.tolist()) == ([1, 1], [1, 1])
    work = publisher.held[0].work
    assert isinstance(work, Gradients)
    assert work.spec == {**MOMENTUM, "learning_rate": 0.5, "use_nesterov": False}
    assert [each.value is gradient for each in work.push.gradients] == [True]
    assert [each.value is update for each in work.push.then] == [True]


def test_first_steps_of_many_threads_make_each_slot_once() -> None:
    """Opposite orders, two optimizers, deletions in between: no deadlock, and every step counted."""
    store = trained()
    store.create(NewVariable("step", value=np.int64(0)))
    begin = threading.Barrier(6)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        names = ("a", "b") if number % 2 else ("b", "a")
        try:
            begin.wait()
            for _ in range(40):
                store.apply_gradients(pushed(*names, optimizer="MA"[number % 3 == 0], global_step="step"))
        except BaseException as error:
            errors.append(error)

    def delete() -> None:
        begin.wait()
        for name in ("a/M", "b/A", "A/beta1_power") * 10:
            try:
                store.delete(Selection(names=[name]))
            except e.VariableNotFound:
                continue

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    threads.append(threading.Thread(target=delete))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert errors == []
    assert store.get("step").value == 200
    assert store.get("a").version == store.get("b").version == 201
    assert np.array_equal(store.get("a").value, store.get("b").value)
    assert store.optimizer("M").slots == {name: (f"{name}/M",) for name in ("a", "b")}
    assert store.budget.used_nbytes == store.snapshot().nbytes


def test_a_reader_never_sees_a_value_without_its_slot() -> None:
    store = trained()
    store.apply_gradients(pushed("a"))
    done = threading.Event()
    torn: list[Any] = []

    def look() -> None:
        while not done.is_set():
            cut = store.snapshot(Selection(names=["a", "a/M"])).variables
            value, slot = cut["a"].value, cut["a/M"].value
            assert value is not None
            assert slot is not None
            if cut["a"].version != cut["a/M"].version + 1 or value[0] != -slot[0] * (slot[0] + 1) / 2:
                torn.append((value, slot))

    reader = threading.Thread(target=look)
    reader.start()
    for _ in range(300):
        store.apply_gradients(pushed("a"))
    done.set()
    reader.join()
    assert torn == []


def test_it_never_waits_unless_it_may() -> None:
    store = trained()
    with store._commits.structure(blocking=True), pytest.raises(e.WouldBlock):
        store.apply_gradients(pushed("a"), blocking=False)
    store.apply_gradients(pushed("a"), blocking=False)
    with store._commits.structure(blocking=True):
        store.apply_gradients(pushed("a"), blocking=False)
    with store._commits.writing(["a/M"], blocking=True), pytest.raises(e.WouldBlock):
        store.apply_gradients(pushed("a"), blocking=False)


def test_a_state_goes_through_its_row() -> None:
    store = trained()
    store.apply_gradients(pushed("a", optimizer="A"))
    state = store.optimizer("A")
    assert OptimizerState.of_row(state.row()) == state
    assert state.row()["scalars"] == ["A/beta1_power", "A/beta2_power"]


def test_a_loaded_store_goes_on_with_its_optimizers() -> None:
    store = trained()
    store.apply_gradients(pushed("a", optimizer="A"))
    other = seeded_store(9)
    other.load(store.snapshot(with_requests=True))
    other.renew_incarnations()
    assert other.optimizers() == store.optimizers()
    for each in (store, other):
        each.apply_gradients(pushed("a", "b", optimizer="A"))
    assert [v.value.tolist() for v in store.snapshot().variables.values()] == [
        v.value.tolist() for v in other.snapshot().variables.values()
    ]
