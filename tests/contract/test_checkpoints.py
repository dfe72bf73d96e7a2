from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import paramserver_client as ps
from support.contract import f32, refused, value


@pytest.fixture(autouse=True)
def _two_variables(client: ps.ParameterClient) -> None:
    client.create_variable("s/a", value=f32(1, 2))
    client.create_variable("b", value=np.array([10], np.int64))


def test_a_save(client: ps.ParameterClient) -> None:
    commit = client.server()["commit"]
    info = client.save("run/first", step=7, metadata={"loss": 0.5, "tags": ["x"]})
    assert (info.id, info.state, info.step, info.commit) == ("run/first", "complete", 7, commit)
    assert (info.variables, info.full, info.skipped, info.metadata) == (2, True, (), {"loss": 0.5, "tags": ["x"]})
    assert info.nbytes > 16
    assert all(set(file) >= {"name", "nbytes", "sha256"} for file in info.files)
    assert client.get_checkpoint("run/first") == client.get_checkpoint() == info
    assert client.checkpoints() == [info]
    assert client.server()["commit"] == commit


def test_a_save_without_an_id(client: ps.ParameterClient) -> None:
    info = client.save()
    assert info.id == f"ckpt-{info.commit}"


def test_newest_first(client: ps.ParameterClient) -> None:
    for id in ("one", "two", "three"):
        client.save(id)
    assert [info.id for info in client.checkpoints()] == ["three", "two", "one"]
    assert client.get_checkpoint("latest").id == "three"


def test_an_id_that_exists_is_replaced(client: ps.ParameterClient) -> None:
    client.save("x")
    client.assign("b", [11])
    client.save("x")
    assert len(client.checkpoints()) == 1
    client.assign("b", [12])
    client.restore("x")
    assert value(client, "b")[0] == [11]


def test_no_more_are_kept_than_asked(client: ps.ParameterClient) -> None:
    client.save("other")
    for step in range(4):
        client.save(f"mine-{step}", series="mine", max_to_keep=2)
    assert [info.id for info in client.checkpoints()] == ["mine-3", "mine-2", "other"]


def test_one_is_kept_for_every_so_many_hours(client: ps.ParameterClient) -> None:
    for step in range(3):
        client.save(f"all-{step}", series="all", max_to_keep=1, keep_checkpoint_every_n_hours=0)
        client.save(f"few-{step}", series="few", names=["b"], max_to_keep=1, keep_checkpoint_every_n_hours=5.0)
    assert [info.id for info in client.checkpoints()] == ["few-2", "all-2", "all-1", "all-0"]


def test_values_in_several_files(client: ps.ParameterClient) -> None:
    for number in range(3):
        client.create_variable(f"big{number}", value=np.full(512, number, np.float32))
    info = client.save("x", shard_nbytes=2048)
    assert [file["name"] for file in info.files] == [
        *(f"model-0000{number}-of-00004.safetensors" for number in (1, 2, 3, 4)),
        "model.safetensors.index.json",
    ]
    before = client.pull()
    client.push({f"big{number}": np.ones(512, np.float32) for number in range(3)})
    client.restore("x")
    after = client.pull()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])
    assert [file["name"] for file in client.save("y", shard_nbytes=0).files] == ["model.safetensors"]


def test_a_save_in_the_background(client: ps.ParameterClient) -> None:
    begun = client.save("x", step=4, respond_async=True)
    assert (begun.id, begun.state, begun.step, begun.variables, begun.problem) == ("x", "saving", 4, 2, None)
    done = completed(client, "x")
    assert (done.state, done.commit, done.variables) == ("complete", begun.commit, 2)
    assert client.checkpoints() == [done]
    client.assign("b", [12])
    client.restore("x")
    assert value(client, "b")[0] == [10]
    assert client.save(respond_async=True).id == f"ckpt-{client.server()['commit']}"
    assert completed(client, f"ckpt-{client.server()['commit']}").state == "complete"


def completed(client: ps.ParameterClient, id: str) -> ps.CheckpointInfo:
    while (info := client.get_checkpoint(id)).state == "saving":
        continue
    return info


def test_a_restore(client: ps.ParameterClient) -> None:
    before = client.pull()
    client.save("x")
    client.push({"s/a": [1, 1], "b": [5]})
    commit = client.server()["commit"]
    done = client.restore("x")
    assert (done.commit, set(done.restored), done.missing, done.unexpected) == (commit + 1, {"s/a", "b"}, (), ())
    after = client.pull()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])
        assert after.versions[name].endswith("-3")
        assert after.versions[name].partition("-")[0] == before.versions[name].partition("-")[0]


def test_a_restore_makes_what_was_deleted(client: ps.ParameterClient) -> None:
    made = client.update_variable("s/a", trainable=False, collections=["mine"])
    client.save("x")
    client.delete_variable("s/a")
    with refused(client, ps.CheckpointIncompatibleError, "s/a"):
        client.restore("x", create=False)
    assert client.restore("x", create=False, strict=False).unexpected == ("s/a",)
    assert "s/a" in client.restore("x").restored
    found = client.get_variable("s/a")
    assert (found.shape, found.dtype, found.trainable, found.collections) == (
        made.shape,
        made.dtype,
        made.trainable,
        made.collections,
    )
    assert client.read("s/a").tolist() == [1, 2]


def test_what_the_checkpoint_lacks_is_left_alone(client: ps.ParameterClient) -> None:
    client.save("x")
    client.create_variable("new", value=f32(7))
    done = client.restore("x")
    assert done.missing == ("new",)
    assert value(client, "new") == ([7], 1)


def test_a_part(client: ps.ParameterClient) -> None:
    info = client.save("part", prefix="s")
    assert (info.variables, info.full) == (1, False)
    assert client.save("named", names=["b"]).variables == 1
    client.push({"s/a": [1, 1], "b": [5]})
    assert client.restore("part").restored == ("s/a",)
    assert value(client, "b")[0] == [15]


def test_some_names_and_new_names(client: ps.ParameterClient) -> None:
    client.save("x")
    client.push({"s/a": [1, 1], "b": [5]})
    assert client.restore("x", names=["b"]).restored == ("b",)
    assert (value(client, "s/a")[0], value(client, "b")[0]) == ([2, 3], [10])
    client.create_variable("copy", value=f32(0, 0))
    client.restore("x", names=["copy"], rename={"copy": "s/a"})
    assert value(client, "copy")[0] == [1, 2]


def test_a_restore_is_refused_whole(client: ps.ParameterClient) -> None:
    client.save("x")
    client.delete_variable("b")
    client.create_variable("b", value=f32(1))
    client.assign("s/a", [9, 9])
    with refused(client, ps.CheckpointIncompatibleError, "b"):
        client.restore("x")
    with refused(client, ps.CheckpointIncompatibleError, "nope"):
        client.restore("x", names=["s/a", "nope"])


def test_what_there_is_not(client: ps.ParameterClient) -> None:
    for call in (client.restore, client.get_checkpoint, client.delete_checkpoint):
        with refused(client, ps.CheckpointNotFoundError):
            call("nope")


@pytest.mark.parametrize("id", ["..", "a/../b", "/etc/passwd", "a//b", "latest", "x" * 300, "a:b", "", "a b"])
def test_bad_ids(client: ps.ParameterClient, id: str) -> None:
    with refused(client, ps.InvalidNameError):
        client.save(id)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"names": ["b", "b"]}, ps.InvalidRequestError),
        ({"names": ["b"], "prefix": "s"}, ps.InvalidRequestError),
        ({"step": -1}, ps.InvalidRequestError),
        ({"max_to_keep": -1}, ps.InvalidRequestError),
        ({"keep_checkpoint_every_n_hours": -0.5}, ps.InvalidRequestError),
        ({"shard_nbytes": 1}, ps.InvalidRequestError),
        ({"shard_nbytes": -1}, ps.InvalidRequestError),
        ({"metadata": {"much": "x" * 200_000}}, ps.InvalidRequestError),
        ({"collection": "nope"}, ps.CollectionNotFoundError),
    ],
)
def test_saves_that_are_refused(client: ps.ParameterClient, arguments: Any, kind: Any) -> None:
    with refused(client, kind):
        client.save("x", **arguments)
    with refused(client, kind):
        client.save("x", respond_async=True, **arguments)


def test_uninitialized_ones_are_skipped_or_refused(client: ps.ParameterClient) -> None:
    client.create_variable("u", (2,))
    assert client.save("x").skipped == ("u",)
    with refused(client, ps.UninitializedError, "u"):
        client.save("y", names=["u", "b"])


def test_deletes(client: ps.ParameterClient) -> None:
    client.save("one")
    client.save("two")
    client.delete_checkpoint("one")
    assert [info.id for info in client.checkpoints()] == ["two"]
    client.delete_checkpoint("latest")
    assert client.checkpoints() == []
    with refused(client, ps.CheckpointNotFoundError):
        client.restore()


def test_a_save_during_pushes_is_one_cut(client: ps.ParameterClient) -> None:
    client.create_variable("c", value=np.array([10], np.int64))
    done = threading.Event()

    def push() -> None:
        while not done.is_set():
            client.push({"b": [1], "c": [1]})

    thread = threading.Thread(target=push)
    thread.start()
    for number in range(5):
        client.save(f"cut-{number}")
    done.set()
    thread.join()
    for number in range(5):
        client.restore(f"cut-{number}")
        assert value(client, "b")[0] == value(client, "c")[0]
