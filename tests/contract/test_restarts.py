from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import paramserver_client as ps
from paramserver_wire.messages import Message
from support.contract import everything, f32
from support.server import Server


@pytest.fixture
def without_data_dir(request: pytest.FixtureRequest) -> Iterator[ps.ParameterClient]:
    if request.param == "embedded":
        with ps.ParameterClient() as client:
            yield client
    else:
        with Server() as server, ps.ParameterClient(server.url) as client:
            yield client


@pytest.mark.parametrize("without_data_dir", ["embedded", "socket"], indirect=True)
def test_without_a_data_directory_there_are_no_checkpoints(without_data_dir: ps.ParameterClient) -> None:
    client = without_data_dir
    for call in (client.save, client.restore, client.checkpoints, client.get_checkpoint):
        with pytest.raises(ps.NoDataDirError, match="data-dir"):
            call()


def test_names_of_slots_outlive_a_kill(tmp_path: Path) -> None:
    with Server(data_dir=tmp_path / "data") as server, ps.ParameterClient(server.url) as client:
        client.create_variable("w", value=f32(1, 2))
        names = {"slots": {"w": ["w/Adam_4", "w/Adam_5"]}, "scalars": ["beta1_power_2", "beta2_power_2"]}
        client.create_optimizer("Adam_2", "adam", **names)
        client.push_gradients({"w": f32(1, 1)}, "Adam_2")
        told, saved = client.get_optimizer("Adam_2"), everything(client)
        server.kill()
        server.start()
        assert client.get_optimizer("Adam_2") == told
        assert {name: raw for name, (_, raw) in everything(client).items()} == {
            name: raw for name, (_, raw) in saved.items()
        }
        client.push_gradients({"w": f32(1, 1)}, "Adam_2")
        assert client.get_variable("w/Adam_5").version == 2
        assert len(client.list_variables()) == 5


@pytest.mark.parametrize("durability", ["everysec", "always"])
def test_a_killed_server_has_lost_nothing(tmp_path: Path, durability: str) -> None:
    with (
        Server("--durability", durability, data_dir=tmp_path / "data") as server,
        ps.ParameterClient(server.url) as client,
    ):
        client.create_variable("w", value=f32(1, 2))
        client.create_variable("u", (3,), "float32", {"type": "random_normal"})
        client.save("good")
        client.initialize()
        client.assign_add("w", [1, 1])
        saved = everything(client)
        server.kill()
        server.start()
        after = everything(client)
        assert {name: raw for name, (_, raw) in after.items()} == {name: raw for name, (_, raw) in saved.items()}
        assert {name: info.version for name, (info, _) in after.items()} == {"w": 2, "u": 1}
        # Only `always` can prove that nothing is missing.
        assert (after["w"][0].incarnation == saved["w"][0].incarnation) == (durability == "always")
        assert client.assign_add("w", [1, 1]).versions == {"w": 3}


def test_a_killed_server_without_a_journal_comes_back(tmp_path: Path) -> None:
    with Server("--durability", "none", data_dir=tmp_path / "data") as server, ps.ParameterClient(server.url) as client:
        client.create_variable("w", value=f32(1, 2))
        client.create_variable("u", (3,), "float32", {"type": "random_normal", "seed": 3})
        saved = everything(client)
        client.save("good")
        client.assign_add("w", [1, 1])
        server.kill()
        server.start()
        after = everything(client)
        assert {name: raw for name, (_, raw) in after.items()} == {name: raw for name, (_, raw) in saved.items()}
        assert after["w"][0].version == 1
        assert after["w"][0].incarnation != saved["w"][0].incarnation
        assert client.assign_add("w", [1, 1]).versions == {"w": 2}


def test_collections_keep_their_order_over_restarts(tmp_path: Path) -> None:
    with Server(data_dir=tmp_path / "data") as server, ps.ParameterClient(server.url) as client:
        for name in "abc":
            client.create_variable(name, value=f32(1))
        client.remove_from_collection("trainable_variables", ["a"])
        client.add_to_collection("trainable_variables", ["a"])
        client.add_to_collection("mine", ["c", "b", "a"])
        client.create_variable("d", value=f32(1), collections=["variables", "mine"])
        for _ in range(2):
            assert client.get_collection("trainable_variables") == ["b", "c", "a", "d"]
            assert client.get_collection("mine") == ["c", "b", "a", "d"]
            assert client.get_collection("variables") == ["a", "b", "c", "d"]
            server.stop()
            server.start()
        client.delete_variable("c")
        client.create_variable("c", value=f32(1), collections=["mine"])
        assert client.get_collection("mine") == ["b", "a", "d", "c"]


def test_a_repeat_after_a_restart_is_known(tmp_path: Path) -> None:
    add = Message("assign_add", {"name": "w", "value": f32(1, 1)}, "before-1")
    with Server(data_dir=tmp_path / "data") as server, ps.ParameterClient(server.url) as client:
        client.create_variable("w", value=f32(1, 2))
        client.transport.deliver(add, 10)
        server.stop()
        server.start()
        assert client.transport.deliver(add, 10).replayed
        assert client.read("w").tolist() == [2, 3]


def test_a_worker_rides_out_a_restart(tmp_path: Path) -> None:
    """Calls made while the server is down are answered by the one that takes its place."""
    with Server(data_dir=tmp_path / "data") as server, ps.ParameterClient(server.url) as client:
        client.create_variable("w", value=f32(0))
        client.save()
        server.kill()
        with ps.ParameterClient(server.url) as other:
            found: list[float] = []
            thread = threading.Thread(target=lambda: found.append(float(other.read("w")[0])))
            thread.start()
            server.start()
            assert client.assign_add("w", [1.0]).versions == {"w": 2}
            thread.join(30)
        assert found[0] in (0, 1)


def test_a_server_that_was_stopped_loses_nothing(tmp_path: Path) -> None:
    with Server(data_dir=tmp_path / "data") as server, ps.ParameterClient(server.url) as client:
        client.create_variable("w", value=f32(1, 2))
        client.assign_add("w", [1, 1])
        before = everything(client)
        server.stop()
        server.start()
        assert everything(client) == before
