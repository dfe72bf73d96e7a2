"""The engine against the table of operations, and what a repeat of a request is told."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from paramserver.engine import Engine
from paramserver.store import Claim, Digest, Replay, Running
from paramserver.store import errors as e
from paramserver_wire.messages import OPERATIONS, Answer, Message
from paramserver_wire.tensors import Tensor, Untyped

DIGEST = Digest(5, 77)


@pytest.fixture
def engine() -> Engine:
    engine = Engine.open()
    ask(engine, "create_variable", name="w", value=np.array([1, 2, 3], np.float32))
    ask(engine, "create_variable", name="b", shape=[2], initializer={"type": "ones"})
    return engine


def ask(
    engine: Engine, operation: str, request_id: str | None = None, /, digest: Digest = DIGEST, **arguments: object
) -> Answer:
    return engine.perform(Message(operation, arguments, request_id), digest)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_a_method_with_the_tables_arguments(name: str) -> None:
    method = getattr(Engine, name)
    parameters = inspect.signature(method).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        parameters = {**parameters, **inspect.signature(Engine._write).parameters}
    assert {argument for argument, place in OPERATIONS[name].places.items() if place != "sink"} <= set(parameters)


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("create_variable", {"name": "new", "shape": [1]}),
        ("update_variable", {"name": "w", "trainable": False}),
        ("assign", {"name": "w", "value": Untyped(0)}),
        ("assign_add", {"name": "w", "value": np.ones(3, np.float32)}),
        ("push", {"updates": [{"name": "w", "op": "assign_sub", "value": Untyped([1, 1, 1])}]}),
        ("scatter_update", {"name": "w", "indices": Untyped([0]), "value": Untyped([5])}),
        ("scatter_add", {"name": "w", "indices": np.array([1, 1]), "value": np.ones(2, np.float32)}),
        ("scatter_sub", {"name": "w", "indices": Untyped([0]), "value": Untyped([5])}),
        ("initialize", {}),
        ("initialize_variable", {"name": "b"}),
        ("delete_variable", {"name": "w"}),
        ("delete_variables", {"prefix": "w", "confirm": True}),
    ],
)
def test_every_mutation_is_done_once(engine: Engine, operation: str, arguments: dict[str, object]) -> None:
    first = ask(engine, operation, "c-1", **arguments)
    commit = engine.store.commit
    again = ask(engine, operation, "c-1", **arguments)
    assert (again.body, again.status, again.replayed) == (first.body, first.status, True)
    assert engine.store.commit == commit
    with pytest.raises(e.IdempotencyKeyReused):
        ask(engine, operation, "c-1", digest=Digest(5, 78), **arguments)


def test_a_repeat_reads_tensors_afresh(engine: Engine) -> None:
    push = {"updates": [{"name": "w", "op": "assign_add", "value": Untyped([1, 1, 1])}], "returns": ["w"]}
    ask(engine, "push", "c-1", **push)
    represented = {"name": "w", "value": Untyped([1, 1, 1]), "return_representation": True}
    ask(engine, "assign_add", "c-2", **represented)
    ask(engine, "assign", name="w", value=Untyped([7, 7, 7]))
    replayed = ask(engine, "push", "c-1", **push)
    assert replayed.body["versions"] == {"w": 2}
    assert replayed.body["tensors"]["w"].array.tolist() == [7, 7, 7]
    body = ask(engine, "assign_add", "c-2", **represented).body
    assert isinstance(body, Tensor)
    assert (body.array.tolist(), body.meta["version"]) == ([7, 7, 7], 3)
    ask(engine, "delete_variable", name="w")
    assert ask(engine, "push", "c-1", **push).body["tensors"] == {}


def test_a_refused_request_may_come_again_corrected(engine: Engine) -> None:
    with pytest.raises(e.ShapeMismatch):
        ask(engine, "assign", "c-1", name="w", value=np.ones(4, np.float32))
    ask(engine, "assign", "c-1", digest=Digest(1, 1), name="w", value=np.ones(3, np.float32))
    assert engine.store.get("w").version == 2


def test_a_call_that_would_block_keeps_its_claim(engine: Engine) -> None:
    message = Message("assign", {"name": "w", "value": Untyped(1)}, "c-1")
    claim = engine.claim(message, DIGEST)
    assert isinstance(claim, Claim)
    with engine.store._commits.writing(["w"], blocking=True), pytest.raises(e.WouldBlock):
        engine.run(message, claim, blocking=False)
    assert isinstance(engine.claim(message, DIGEST), Running)
    engine.run(message, claim)
    assert isinstance(engine.claim(message, DIGEST), Replay)


def test_draining_refuses_and_leaves_no_claim(engine: Engine) -> None:
    engine.drain()
    with pytest.raises(e.Draining):
        ask(engine, "assign", "c-1", name="w", value=Untyped(1))
    assert engine.store.requests.rows(99) == ()


def test_one_scalar_fills_an_assign_and_nothing_else(engine: Engine) -> None:
    ask(engine, "assign", name="w", value=Untyped(5))
    assert engine.store.get("w").value.tolist() == [5, 5, 5]
    for operation in ("assign_add", "assign_sub"):
        with pytest.raises(e.ShapeMismatch):
            ask(engine, operation, name="w", value=Untyped(1))
    with pytest.raises(e.ShapeMismatch):
        ask(engine, "assign", name="w", value=Untyped([1]))


def test_values_given_by_the_caller_stay_the_callers(engine: Engine) -> None:
    mine = np.ones(3, np.float32)
    ask(engine, "assign", name="w", value=mine)
    mine[:] = 9
    ask(engine, "create_variable", name="n", value=mine)
    mine[:] = 8
    assert engine.store.get("w").value.tolist() == [1, 1, 1]
    assert engine.store.get("n").value.tolist() == [9, 9, 9]


def test_pages_follow_each_other_through_all_names() -> None:
    engine = Engine.open()
    names = sorted(f"v{number:03}" for number in range(25))
    for name in names:
        ask(engine, "create_variable", name=name, shape=[], trainable=name.endswith("0"))

    def listed(**asked: object) -> list[str]:
        seen, token = [], None
        while True:
            page = ask(engine, "list_variables", page_token=token, **asked).body
            seen += [entry["name"] for entry in page["variables"]]
            token = page["next_page_token"]
            if token is None:
                return seen

    assert listed(page_size=10) == names
    assert listed(page_size=25) == names
    assert listed(page_size=10, collection="variables") == names
    assert listed(page_size=100, trainable=True) == ["v000", "v010", "v020"]
    assert listed(page_size=2, trainable=True) == ["v000", "v010", "v020"]
    assert ask(engine, "list_variables", initialized=True).body["variables"] == []
    with pytest.raises(e.InvalidRequest, match="page_size"):
        ask(engine, "list_variables", page_size=0)


def test_a_read_tells_newer_from_same(engine: Engine) -> None:
    tag = engine.store.get("w").tag
    assert ask(engine, "read", name="w", after_version=tag).status == 204
    assert ask(engine, "read", name="w", after_version="1").status == 204
    assert ask(engine, "read", name="w", after_version="0").status == 200
    assert ask(engine, "read", name="w", after_version=f"{'0' * 16}-9").status == 200
    assert ask(engine, "read", name="w", if_none_match=f'"x-1", "{tag}"').status == 304
    assert ask(engine, "read", name="b", after_version="0").status == 204
    with pytest.raises(e.InvalidRequest, match="wait_s"):
        ask(engine, "read", name="w", wait_s=61.0)
    with pytest.raises(e.InvalidRequest, match="version"):
        ask(engine, "read", name="w", after_version="soon")
    with pytest.raises(e.Uninitialized):
        ask(engine, "read", name="b")


def test_assert_initialized_lists_all_that_are_not(engine: Engine) -> None:
    ask(engine, "create_variable", name="c", shape=[])
    with pytest.raises(e.Uninitialized) as caught:
        ask(engine, "assert_initialized")
    assert [found.name for found in caught.value.errors] == ["b", "c"]
    assert ask(engine, "report_uninitialized").body == {"names": ["b", "c"]}
    ask(engine, "initialize")
    assert ask(engine, "assert_initialized").status == 204
