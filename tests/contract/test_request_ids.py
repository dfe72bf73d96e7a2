from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import paramserver_client as ps
from paramserver_client.files import FileSource
from paramserver_wire.messages import OPERATIONS, Answer, Message
from paramserver_wire.tensors import Untyped
from support.contract import everything, f32, refused, value
from support.doors import Door

GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoint-v1" / "model.safetensors"
_clients = count(1)


@pytest.fixture
def me(door: Door) -> str:
    """A client id that this server has not seen."""
    return f"{door.kind}{next(_clients)}"


def deliver(client: ps.ParameterClient, operation: str, request_id: str, **arguments: Any) -> Answer:
    return client.transport.deliver(Message(operation, arguments, request_id), 10)


REPEATED: dict[str, Callable[[], dict[str, Any]]] = {
    "create_variable": lambda: {"name": "new", "value": f32(1, 2)},
    "update_variable": lambda: {"name": "w", "trainable": False},
    "delete_variable": lambda: {"name": "w"},
    "delete_variables": lambda: {"prefix": "w", "confirm": True},
    "assign": lambda: {"name": "w", "value": f32(1, 2)},
    "assign_add": lambda: {"name": "w", "value": Untyped([1.0, 2.0])},
    "assign_sub": lambda: {"name": "w", "value": f32(1, 2)},
    "scatter_update": lambda: {"name": "w", "indices": [0], "value": f32(5)},
    "scatter_add": lambda: {"name": "w", "indices": np.array([1, 1]), "value": f32(5, 6)},
    "scatter_sub": lambda: {"name": "w", "indices": Untyped([1]), "value": Untyped([5])},
    "initialize_variable": lambda: {"name": "u", "only_uninitialized": False},
    "initialize": lambda: {"names": ["u"], "only_uninitialized": False},
    "push": lambda: {"updates": [{"name": "w", "op": "assign_add", "value": f32(1, 2)}]},
    "create_optimizer": lambda: {"name": "P", "spec": {"type": "adam"}},
    "delete_optimizer": lambda: {"name": "O"},
    "apply_gradients": lambda: {"name": "O", "gradients": {"w": f32(1, 2)}},
    "import_variables": lambda: {"file": FileSource(GOLDEN), "prefix": "taken", "allow_non_finite": True},
    "set_scope": lambda: {"name": "net", "dtype": "float64"},
    "delete_scope": lambda: {"name": "scope"},
    "add_to_collection": lambda: {"name": "own", "names": ["w"]},
    "remove_from_collection": lambda: {"name": "trainable_variables", "names": ["w"]},
    "save": lambda: {"id": "again"},
    "delete_checkpoint": lambda: {"id": "made"},
    "restore": lambda: {"id": "made"},
}


def test_every_write_is_listed_here() -> None:
    assert REPEATED.keys() == {name for name, operation in OPERATIONS.items() if operation.mutates}


@pytest.mark.parametrize("operation", REPEATED)
def test_a_repeat_is_answered_and_not_done_again(client: ps.ParameterClient, me: str, operation: str) -> None:
    client.create_variable("w", value=f32(10, 20))
    client.create_variable("u", (2,), "float32", "random_normal")
    client.create_optimizer("O", "adam")
    client.set_scope("scope", dtype="float64")
    client.save("made")
    first = deliver(client, operation, f"{me}-1", **REPEATED[operation]())
    after, commit, checkpoints = everything(client), client.server()["commit"], client.checkpoints()
    for _ in range(2):
        again = deliver(client, operation, f"{me}-1", **REPEATED[operation]())
        assert (first.replayed, again.replayed) == (False, True)
        assert (again.status, again.body) == (first.status, first.body)
    assert everything(client) == after
    assert client.server()["commit"] == commit
    assert client.checkpoints() == checkpoints


def test_tensors_of_a_repeat_are_read_afresh(client: ps.ParameterClient, me: str) -> None:
    client.create_variable("w", value=f32(1))
    push = {"updates": [{"name": "w", "op": "assign_add", "value": f32(1)}], "returns": ["w"]}
    deliver(client, "push", f"{me}-1", **push)
    deliver(client, "assign_add", f"{me}-2", name="w", value=f32(1), return_representation=True)
    client.assign("w", f32(100))
    again = deliver(client, "push", f"{me}-1", **push)
    assert again.replayed
    assert again.body["versions"] == {"w": 2}
    assert again.body["tensors"]["w"].array.tolist() == [100]
    again = deliver(client, "assign_add", f"{me}-2", name="w", value=f32(1), return_representation=True)
    assert (again.body.meta["version"], again.body.array.tolist()) == (3, [100])


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("assign_add", {"name": "w", "value": f32(1, 3)}),
        ("assign_add", {"name": "w", "value": Untyped([1.0, 2.0])}),
        ("assign_add", {"name": "v", "value": f32(1, 2)}),
        ("assign_sub", {"name": "w", "value": f32(1, 2)}),
        ("assign_add", {"name": "w", "value": f32(1, 2), "use_locking": False}),
        ("delete_variable", {"name": "w"}),
    ],
)
def test_an_id_stands_for_one_request(client: ps.ParameterClient, me: str, operation: str, arguments: Any) -> None:
    for name in ("w", "v"):
        client.create_variable(name, value=f32(0, 0))
    deliver(client, "assign_add", f"{me}-1", name="w", value=f32(1, 2))
    with refused(client, ps.IdempotencyKeyReusedError) as raised:
        deliver(client, operation, f"{me}-1", **arguments)
    assert raised.value.request_id == f"{me}-1"
    assert value(client, "w") == ([1, 2], 2)


def test_a_refused_request_may_be_mended_under_its_id(client: ps.ParameterClient, me: str) -> None:
    with refused(client, ps.VariableNotFoundError):
        deliver(client, "assign", f"{me}-1", name="w", value=f32(1))
    client.create_variable("w", value=f32(0))
    assert not deliver(client, "assign", f"{me}-1", name="w", value=f32(1)).replayed
    assert value(client, "w") == ([1], 2)


def test_ids_may_come_in_any_order(client: ps.ParameterClient, me: str) -> None:
    client.create_variable("w", value=f32(0))
    for number in (5, 3, 1, 4, 2):
        deliver(client, "assign_add", f"{me}-{number}", name="w", value=f32(number))
    assert value(client, "w") == ([15], 6)


def test_what_has_left_the_window_is_too_old(client: ps.ParameterClient, me: str) -> None:
    client.create_variable("w", value=f32(0))
    deliver(client, "assign_add", f"{me}-1", name="w", value=f32(1))
    deliver(client, "assign_add", f"{me}-1024", name="w", value=f32(1))
    assert deliver(client, "assign_add", f"{me}-1", name="w", value=f32(1)).replayed
    deliver(client, "assign_add", f"{me}-1026", name="w", value=f32(1))
    for number in (1, 2):
        with refused(client, ps.TooOldError):
            deliver(client, "assign_add", f"{me}-{number}", name="w", value=f32(1))
    assert not deliver(client, "assign_add", f"{me}-3", name="w", value=f32(1)).replayed
    assert value(client, "w") == ([4], 5)


def test_a_stranger_with_a_high_number_is_too_old(client: ps.ParameterClient, me: str) -> None:
    client.create_variable("w", value=f32(0))
    with refused(client, ps.TooOldError):
        deliver(client, "assign_add", f"{me}-1025", name="w", value=f32(1))
    deliver(client, "assign_add", f"{me}-1024", name="w", value=f32(1))


def test_a_client_that_was_forgotten_takes_a_new_name(client: ps.ParameterClient) -> None:
    client.create_variable("w", value=f32(0))
    client._request_ids._series.seq = 5000
    client._request_ids._series.client = "from-before-the-crash"
    assert client.assign_add("w", f32(1)).versions == {"w": 2}
    assert client._request_ids.next().endswith("-2")


@pytest.mark.parametrize("request_id", ["x" * 201, "a-0", "", "a\tb"])
def test_ids_that_are_none(client: ps.ParameterClient, request_id: str) -> None:
    client.create_variable("w", value=f32(0))
    with refused(client, ps.InvalidRequestError):
        deliver(client, "assign_add", request_id, name="w", value=f32(1))


def test_an_id_without_a_number_is_a_client_of_one(client: ps.ParameterClient, me: str) -> None:
    client.create_variable("w", value=f32(0))
    for replayed in (False, True):
        assert deliver(client, "assign_add", f"{me}-x", name="w", value=f32(1)).replayed is replayed
    assert value(client, "w") == ([1], 2)


def test_a_request_without_an_id_is_done_each_time(client: ps.ParameterClient) -> None:
    client.create_variable("w", value=f32(0))
    for _ in range(2):
        message = Message("assign_add", {"name": "w", "value": f32(1)})
        assert not client.transport.deliver(message, 10).replayed
    assert value(client, "w") == ([2], 3)


def test_repeats_at_the_same_moment_are_one(client: ps.ParameterClient, me: str) -> None:
    count = 500_000
    client.create_variable("w", value=np.zeros(count, np.float32))
    message = Message("assign_add", {"name": "w", "value": np.ones(count, np.float32)}, f"{me}-1")
    barrier = threading.Barrier(6)
    answers: list[Answer] = []

    def send() -> None:
        barrier.wait()
        answers.append(client.transport.deliver(message, 30))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.replayed for answer in answers) == [False, True, True, True, True, True]
    assert len({str(answer.body) for answer in answers}) == 1
    assert set(client.read("w").tolist()) == {1.0}
    assert client.get_variable("w").version == 2


def test_a_restore_leaves_the_ids_alone(client: ps.ParameterClient, me: str) -> None:
    client.create_variable("w", value=f32(0))
    client.save("before")
    deliver(client, "assign_add", f"{me}-1", name="w", value=f32(1))
    client.restore("before")
    assert deliver(client, "assign_add", f"{me}-1", name="w", value=f32(1)).replayed
    assert value(client, "w") == ([0], 3)


def test_a_header_says_that_an_answer_was_replayed(door: Door, client: ps.ParameterClient, me: str) -> None:
    if door.url is None:
        return
    client.create_variable("w", value=f32(0))
    for expected in (None, "true"):
        answer = httpx.post(
            f"{door.url}/v1/variables/w:assign_add",
            json={"value": [1]},
            headers={"Idempotency-Key": f"{me}-1"},
            trust_env=False,
        )
        assert answer.status_code == 200
        assert answer.headers.get("idempotent-replayed") == expected
