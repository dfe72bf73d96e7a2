from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import paramserver_client as ps
from paramserver.engine import Engine
from paramserver_client.embedded import EmbeddedTransport
from paramserver_wire.messages import Message
from paramserver_wire.tensors import Untyped

NBYTES = 4 * 200_000  # large enough for the store's pooled memory


@pytest.mark.parametrize("count", [3, NBYTES // 4])
@pytest.mark.parametrize("op", ["assign", "assign_add", "assign_sub"])
def test_writing_to_an_array_that_was_sent_changes_nothing(op: str, count: int) -> None:
    with ps.ParameterClient() as client:
        client.create_variable("w", value=np.zeros(count, np.float32))
        sent = np.full(count, 2, np.float32)
        client.push({"w": sent}, op)
        seen = client.read("w").copy()
        np.testing.assert_array_equal(sent, 2)
        sent[:] = 9
        np.testing.assert_array_equal(client.read("w"), seen)


def test_writing_to_a_value_that_a_variable_was_created_with_changes_nothing() -> None:
    with ps.ParameterClient() as client:
        value, constant = np.ones(3, np.float32), np.ones(3, np.float32)
        client.create_variable("v", value=value)
        client.create_variable("c", (3,), "float32", {"type": "constant", "value": constant})
        value[:] = constant[:] = 9
        client.initialize()
        assert client.read("v").tolist() == client.read("c").tolist() == [1, 1, 1]


def test_writing_to_an_array_that_was_read_changes_nothing() -> None:
    with ps.ParameterClient() as client:
        client.create_variable("w", value=np.zeros(3, np.float32))
        for array in (
            client.read("w"),
            client.read("w", slice="0:2"),
            client.pull()["w"],
            client.push({"w": [0.0, 0.0, 0.0]}, returns=["w"]).values["w"],
            client.assign_add("w", [0.0, 0.0, 0.0], return_value=True).values["w"],
        ):
            array[:] = 9
            assert client.read("w").tolist() == [0, 0, 0]


def test_an_array_that_was_read_does_not_change_by_itself() -> None:
    with ps.ParameterClient() as client:
        client.create_variable("w", value=np.zeros(NBYTES // 4, np.float32))
        before = client.read("w")
        for _ in range(10):
            client.assign_add("w", np.ones(NBYTES // 4, np.float32))
        assert not before.any()


@pytest.mark.parametrize(
    "array", [np.arange(6, dtype=">f4"), np.arange(12, dtype=np.float32)[::2], np.arange(6, dtype=np.float32)[::-1]]
)
def test_arrays_of_any_layout_are_taken(array: np.ndarray) -> None:
    with ps.ParameterClient() as client:
        client.create_variable("w", value=array)
        client.assign_add("w", array)
        np.testing.assert_array_equal(client.read("w"), 2 * array)


@pytest.mark.parametrize("count", [3, NBYTES // 4])
@pytest.mark.parametrize("op", ["assign", "assign_add", "assign_sub"])
def test_lending_shares_what_nobody_can_write_to(op: str, count: int) -> None:
    engine = Engine.open()
    with ps.ParameterClient(transport=EmbeddedTransport(engine)) as owner:
        client = ps.ParameterClient(transport=EmbeddedTransport(engine, lends=True))
        owner.create_variable("w", value=np.zeros(count, np.float32))
        before = client.pull(["w"])["w"]
        assert not before.flags.writeable
        assert np.shares_memory(before, client.pull(["w"])["w"])
        assert not np.shares_memory(before, owner.pull(["w"])["w"])
        sent = np.full(count, 2, np.float32)
        answered = client.push({"w": sent}, op, returns=["w"]).values["w"]
        np.testing.assert_array_equal(sent, 2)
        assert not np.shares_memory(answered, sent)
        seen = owner.read("w")
        sent[:] = 9
        np.testing.assert_array_equal(owner.read("w"), seen)
        np.testing.assert_array_equal(before, 0)


def test_a_lent_answer_is_remembered_as_it_was() -> None:
    lent = EmbeddedTransport.open(lends=True)
    with ps.ParameterClient(transport=lent) as client:
        client.create_variable("w", value=np.zeros(3, np.float32))
        push = Message("push", {"updates": [{"name": "w", "op": "assign_add", "value": np.ones(3, np.float32)}]}, "c-1")
        first = lent.deliver(push, 1.0)
        first.body["versions"]["w"] = 9
        second = lent.deliver(push, 1.0)
        assert (first.replayed, second.replayed) == (False, True)
        assert second.body["versions"] == {"w": 2}
        assert client.read("w").tolist() == [1, 1, 1]


def test_a_repeat_is_told_from_another_request() -> None:
    with Engine.open() as engine:
        transport = EmbeddedTransport(engine)
        transport.deliver(Message("create_variable", {"name": "w", "value": np.zeros(2, np.float32)}), 1)
        add = Message("assign_add", {"name": "w", "value": np.ones(2, np.float32)}, "a-1")
        assert not transport.deliver(add, 1).replayed
        assert transport.deliver(add, 1).replayed
        for other in (
            Message("assign_add", {"name": "w", "value": np.full(2, 2, np.float32)}, "a-1"),
            Message("assign_add", {"name": "w", "value": Untyped(1.0)}, "a-1"),
            Message("assign_sub", {"name": "w", "value": np.ones(2, np.float32)}, "a-1"),
        ):
            with pytest.raises(ps.IdempotencyKeyReusedError) as raised:
                transport.deliver(other, 1)
            assert raised.value.request_id == "a-1"
        assert engine.store.get("w").version == 2


def test_a_stored_answer_cannot_be_changed_by_its_reader() -> None:
    with Engine.open() as engine:
        transport = EmbeddedTransport(engine)
        message = Message("create_variable", {"name": "w", "value": Untyped([1.0])}, "a-1")
        transport.deliver(message, 1).body["shape"].append(7)
        transport.deliver(message, 1).body["shape"].append(8)
        assert transport.deliver(message, 1).body["shape"] == [1]


def test_a_data_directory_that_is_in_use(tmp_path: Path) -> None:
    with ps.ParameterClient(data_dir=tmp_path), pytest.raises(ps.ParameterServerError) as raised:
        ps.ParameterClient(data_dir=tmp_path)
    assert str(tmp_path) in str(raised.value)


def test_closing_twice_does_nothing(tmp_path: Path) -> None:
    client = ps.ParameterClient(data_dir=tmp_path)
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="closed before"):
        client.create_variable("w", value=1.0)


def test_the_client_needs_no_server_until_one_is_asked_for() -> None:
    program = (
        "import sys, paramserver_client\n"
        "assert not any(name.split('.')[0] == 'paramserver' for name in sys.modules)\n"
        "paramserver_client.ParameterClient().close()\n"
        "heavy = {'fastapi', 'pydantic', 'starlette', 'uvicorn', 'orjson', 'typer'}\n"
        "assert not heavy & {name.split('.')[0] for name in sys.modules}, heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
