"""Heads, the publisher between them and the readers, and what happens when it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from paramserver.store import Digest, NewVariable, Selection, Store, Update
from paramserver.store import errors as e
from support.stores import HeldPublisher, seeded_store

ONE = np.ones(2, np.float32)


@pytest.fixture
def held() -> tuple[Store, HeldPublisher]:
    publisher = HeldPublisher()
    publisher.holding = False
    store = seeded_store(publisher=publisher)
    store.create(NewVariable("w", value=np.zeros(2, np.float32)))
    publisher.holding = True
    return store, publisher


def test_writers_build_on_the_head_while_readers_see_the_published(held: tuple[Store, HeldPublisher]) -> None:
    store, publisher = held
    for _ in range(3):
        store.push([Update("w", "assign_add", ONE)])
    assert (store.get("w").value.tolist(), store.get("w").version, store.commit) == ([0, 0], 1, 1)
    publisher.release()
    assert (store.get("w").value.tolist(), store.get("w").version, store.commit) == ([1, 1], 2, 2)
    publisher.release(2)
    assert (store.get("w").value.tolist(), store.get("w").version, store.commit) == ([3, 3], 4, 4)
    assert store.budget.used_nbytes == 8


def test_if_version_is_held_against_the_head(held: tuple[Store, HeldPublisher]) -> None:
    store, publisher = held
    store.push([Update("w", "assign_add", ONE)])
    with pytest.raises(e.VersionMismatch):
        store.push([Update("w", "assign_add", ONE, if_version="1")])
    store.push([Update("w", "assign_add", ONE, if_version="2")])
    publisher.release(2)
    assert store.get("w").version == 3


def test_created_and_deleted_names_are_seen_only_once_published(held: tuple[Store, HeldPublisher]) -> None:
    store, publisher = held
    store.create(NewVariable("new", value=ONE))
    store.push([Update("new", "assign_add", ONE)])
    store.change("new", collections=["mine"])
    store.delete(Selection(names=["w"]))
    assert (store.names(), store.collections()) == (["w"], {"variables": 1, "trainable_variables": 1})
    publisher.release()
    assert (store.names(), store.get("new").value.tolist()) == (["new", "w"], [1, 1])
    assert store.collections() == {"variables": 2, "trainable_variables": 2}
    publisher.release(3)
    assert (store.names(), store.get("new").value.tolist()) == (["new"], [2, 2])
    assert store.collections() == {"mine": 1, "trainable_variables": 1}
    assert store.budget.used_nbytes == 8


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_a_refusal_takes_back_the_transaction_and_all_behind_it(held: tuple[Store, HeldPublisher], first: int) -> None:
    store, publisher = held
    store.push([Update("w", "assign_add", ONE)])
    store.create(NewVariable("new", value=ONE))
    store.push([Update("w", "assign_add", ONE), Update("new", "assign_add", ONE)])
    store.change("w", trainable=False)
    publisher.release(first)
    publisher.refuse(e.DiskFull("the journal found no room"))
    publisher.holding = False
    assert store.commit == 1 + first
    assert store.get("w").value.tolist() == [[0, 0], [1, 1], [1, 1], [2, 2]][first]
    assert store.names() == (["w"] if first < 2 else ["new", "w"])
    assert store.get("w").state.trainable
    assert store.budget.used_nbytes == 8 * len(store.names())
    receipt = store.push([Update("w", "assign", ONE * 9)])
    assert (receipt.commit, store.get("w").value.tolist()) == (2 + first, [9, 9])


def test_a_transaction_computed_from_a_refused_state_is_refused_too(held: tuple[Store, HeldPublisher]) -> None:
    store, publisher = held
    store.push([Update("w", "assign_add", ONE)])
    error = e.DiskFull("the journal found no room")

    def value(_dtype: object, _shape: object) -> np.ndarray:
        publisher.refuse(error)
        return ONE

    with pytest.raises(e.DiskFull):
        store.push([Update("w", "assign_add", value)])
    assert (store.get("w").value.tolist(), store.budget.used_nbytes) == ([0, 0], 8)
    publisher.holding = False
    assert store.push([Update("w", "assign_add", ONE)]).commit == 2


def test_a_journalled_store_locks_even_without_use_locking() -> None:
    publisher = HeldPublisher()
    publisher.durable = True
    publisher.holding = False
    store = seeded_store(publisher=publisher)
    store.create(NewVariable("w", value=ONE))
    with store._commits.writing(["w"], blocking=True), pytest.raises(e.WouldBlock):
        store.push([Update("w", "assign", ONE)], use_locking=False, blocking=False)


def test_an_update_without_locks_can_be_lost_but_is_never_torn() -> None:
    store = seeded_store()
    store.create(NewVariable("w", value=np.zeros(2, np.float32)))

    def meanwhile(_dtype: object, _shape: object) -> np.ndarray:
        return ONE

    def racing(_dtype: object, _shape: object) -> np.ndarray:
        store.push([Update("w", "assign", ONE * 5)], use_locking=False)
        return ONE

    store.push([Update("w", "assign_add", meanwhile)], use_locking=False)
    store.push([Update("w", "assign_add", racing)], use_locking=False)
    assert store.get("w").version == 4
    assert store.get("w").value.tolist() == [6, 6]


def test_a_lock_free_write_to_a_variable_deleted_meanwhile_is_refused() -> None:
    store = seeded_store()
    store.create(NewVariable("w", value=ONE))

    def racing(_dtype: object, _shape: object) -> np.ndarray:
        store.delete(Selection(names=["w"]))
        return ONE

    with pytest.raises(e.VariableNotFound, match="meanwhile"):
        store.push([Update("w", "assign", racing)], use_locking=False)
    assert (store.names(), store.budget.used_nbytes) == ([], 0)


def test_the_request_id_becomes_known_with_the_effect(held: tuple[Store, HeldPublisher]) -> None:
    store, publisher = held
    claim = store.requests.claim("c-1", Digest(1, 2))
    store.push([Update("w", "assign_add", ONE)], claim=claim, answer=lambda receipt: receipt.commit)
    assert store.snapshot(with_requests=True).requests == ()
    publisher.release()
    assert store.snapshot(with_requests=True).requests == ({"client": "c", "floor": 0, "done": [[1, 1, 2, 2, 2]]},)
