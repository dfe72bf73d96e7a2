"""Saving and restoring on request: what is in a checkpoint, what is refused, what stays when the disk fails."""

from __future__ import annotations

import errno
import json
import logging
import threading
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paramserver.checkpoint import (
    CheckpointBusy,
    CheckpointCorrupt,
    CheckpointError,
    CheckpointManager,
    CheckpointNotFound,
    Disk,
    DiskFull,
)
from paramserver.checkpoint.shards import MODEL
from paramserver.store import NewVariable, Selection, Store, Update
from paramserver.store.errors import (
    CheckpointIncompatible,
    CollectionNotFound,
    InvalidName,
    InvalidRequest,
    MemoryLimitExceeded,
    StoreError,
    Uninitialized,
    VariableNotFound,
)
from paramserver.store.requests import Claim, Digest
from support.checkpoints import opened, put, store_with, value_of, vector
from support.disks import FailingDisk
from support.stores import seeded_store


@pytest.fixture
def store() -> Store:
    return store_with(w=1, b=2)


@pytest.fixture
def manager(store: Store, tmp_path: Path) -> Iterator[CheckpointManager]:
    with opened(tmp_path / "data", store) as manager:
        yield manager


def ids(manager: CheckpointManager) -> list[str]:
    return [info["id"] for info in manager.list()]


def ids_on_disk(tmp_path: Path) -> list[str]:
    listing = json.loads((tmp_path / "data" / "checkpoints" / "checkpoint.json").read_text())
    return [row["id"] for row in listing["checkpoints"]]


def directories(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "data" / "checkpoints").iterdir())


def test_save_tells_what_it_saved(manager: CheckpointManager, store: Store, tmp_path: Path) -> None:
    store.create(NewVariable("empty", shape=(2,)))
    info = manager.save("run/m-3", step=3, metadata={"loss": 0.5}, series="mine")
    files = info.pop("files")
    (path,) = (tmp_path / "data" / "checkpoints").glob("*/model.safetensors")
    assert path.parent.name.startswith("run%2Fm-3.")
    assert [file["name"] for file in files] == [MODEL]
    assert info == {
        "id": "run/m-3",
        "state": "complete",
        "commit": store.commit,
        "step": 3,
        "created": 1_790_000_000.0,
        "nbytes": path.stat().st_size,
        "variables": 2,
        "skipped": ["empty"],
        "series": "mine",
        "full": True,
        "metadata": {"loss": 0.5},
        "problem": None,
    }
    assert manager.get("run/m-3") == manager.get("latest") == manager.list()[0] == {**info, "files": files}
    listing = json.loads((tmp_path / "data" / "checkpoints" / "checkpoint.json").read_text())
    assert listing["checkpoints"] == [{"id": "run/m-3", "directory": path.parent.name, "sequence": 1}]


def test_the_id_is_of_the_commit_unless_given(manager: CheckpointManager, store: Store) -> None:
    assert manager.save()["id"] == f"ckpt-{store.commit}"


def test_a_part_can_be_saved(manager: CheckpointManager, store: Store) -> None:
    store.create(NewVariable("conv/w", value=vector(1), collections=["own"]))
    store.create(NewVariable("conv/u", shape=(2,)))
    assert manager.save("names", names=["b", "w"])["variables"] == 2
    assert manager.save("prefix", prefix="conv")["skipped"] == ["conv/u"]
    assert manager.save("collection", collection="own")["variables"] == 1
    assert [info["full"] for info in manager.list()] == [False] * 3
    assert list(manager.load("collection").snapshot.variables) == ["conv/w"]
    assert manager.load("names").snapshot.requests == ()


def test_local_variables_are_left_out_of_a_save_on_request(manager: CheckpointManager, store: Store) -> None:
    store.create(NewVariable("counter", shape=(2,), collections=["local_variables"]))
    assert manager.save("one")["full"] is True
    store.push([Update("counter", "assign", vector(3))])
    info = manager.save("two")
    assert info["variables"] == 2
    assert info["full"] is False
    assert manager.save("three", collection="local_variables")["variables"] == 1


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"names": ["w", "b", "w"]}, InvalidRequest, "'w' is named 2 times"),
        ({"names": "w"}, InvalidRequest, "wanted a list of names"),
        ({"names": []}, InvalidRequest, "no variables to save"),
        ({"names": ["w", "nope"]}, VariableNotFound, "'nope'"),
        ({"names": ["w", "empty"]}, Uninitialized, "'empty' has no value"),
        ({"names": ["w"], "prefix": "w"}, InvalidRequest, "one or the other"),
        ({"prefix": "nothing/here"}, InvalidRequest, "no variables to save"),
        ({"collection": "unheard"}, CollectionNotFound, "unheard"),
        ({"id": "latest"}, InvalidName, "reserved"),
        ({"id": "../../etc/passwd"}, InvalidName, "not allowed"),
        ({"id": "a" * 201}, InvalidName, "201 characters"),
        ({"step": -1}, InvalidRequest, "step: wanted a whole number"),
        ({"step": True}, InvalidRequest, "step: wanted a whole number"),
        ({"step": 1.5}, InvalidRequest, "step: wanted a whole number"),
        ({"max_to_keep": -1}, InvalidRequest, "max_to_keep: wanted"),
        ({"series": ""}, InvalidRequest, "series: wanted"),
        ({"series": "a\n"}, InvalidRequest, "series: wanted"),
        ({"metadata": {"x": float("nan")}}, InvalidRequest, "metadata: wanted"),
        ({"metadata": {"x": object()}}, InvalidRequest, "metadata: wanted"),
        ({"metadata": {"x": "y" * (1 << 16)}}, InvalidRequest, "metadata: wanted at most"),
    ],
)
def test_a_save_that_does_not_fit_is_refused_and_leaves_nothing(
    manager: CheckpointManager, store: Store, tmp_path: Path, arguments: Any, kind: type[StoreError], words: str
) -> None:
    store.create(NewVariable("empty", shape=(2,)))
    with pytest.raises(kind, match=words):
        manager.save(**arguments)
    assert manager.list() == []
    assert directories(tmp_path) == []


def test_refused_names_are_all_listed(manager: CheckpointManager, store: Store) -> None:
    for name in ("e1", "e2"):
        store.create(NewVariable(name, shape=(2,)))
    with pytest.raises(Uninitialized) as caught:
        manager.save(names=["e1", "w", "e2"])
    assert [difference.name for difference in caught.value.errors] == ["e1", "e2"]


def test_an_id_of_any_length_and_shape_gets_a_directory(manager: CheckpointManager, tmp_path: Path) -> None:
    long = "/".join("a" * 100)
    other = "/".join("a" * 99 + "b")
    manager.save(long, max_to_keep=0)
    manager.save(other, max_to_keep=0)
    manager.save(".hidden/x.saving", max_to_keep=0)
    assert ids(manager) == [".hidden/x.saving", other, long]
    assert manager.get(long)["id"] == long
    assert all(len(name) < 255 and "/" not in name for name in directories(tmp_path))


# ---------------------------------------------------------------- replacing and retiring


def test_saving_an_id_again_replaces_it(manager: CheckpointManager, store: Store, tmp_path: Path) -> None:
    manager.save("m")
    manager.save("n")
    put(store, "w", 5)
    manager.save("m")
    assert ids(manager) == ["m", "n"]
    assert len(directories(tmp_path)) == 3
    put(store, "w", 0)
    manager.restore("m")
    assert value_of(store) == 5


def test_of_each_series_the_newest_stay(manager: CheckpointManager, store: Store, tmp_path: Path) -> None:
    """TensorFlow's order: saving an id again moves it to the end."""
    for id in ("1", "1", "2", "1", "3"):
        manager.save(id, names=["w"], series="a", max_to_keep=2)
    assert ids(manager) == ["3", "1"]
    manager.save("other", names=["w"], series="b", max_to_keep=1)
    assert ids(manager) == ["other", "3", "1"]
    for id in ("4", "5", "6"):
        manager.save(id, names=["w"], series="a", max_to_keep=0)
    assert len(ids(manager)) == 6
    assert len(directories(tmp_path)) == 7


def test_the_newest_full_one_is_never_retired(manager: CheckpointManager) -> None:
    manager.save("full", max_to_keep=1)
    manager.save("full2", max_to_keep=1)
    for number in range(3):
        manager.save(f"part{number}", names=["w"], max_to_keep=1)
    assert ids(manager) == ["part2", "full2"]
    manager.save("full3", max_to_keep=1)
    assert ids(manager) == ["full3"]


def test_what_cannot_be_removed_is_gone_all_the_same(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    class Stubborn(Disk):
        def remove(self, path: Path) -> None:
            if not path.name.endswith(".saving"):
                raise OSError(errno.EIO, "no")
            super().remove(path)

    with opened(tmp_path / "data", store, disk=Stubborn()) as manager:
        manager.save("m")
        with caplog.at_level(logging.WARNING):
            manager.delete("m")
        assert "could not be removed" in caplog.text
        assert manager.list() == []
    with opened(tmp_path / "data") as manager:
        assert "m" not in ids(manager) or manager.get("m")["state"] == "complete"


def test_delete(manager: CheckpointManager, tmp_path: Path) -> None:
    manager.save("m")
    manager.save("n")
    manager.delete("m")
    assert ids(manager) == ["n"]
    manager.delete("latest")
    assert directories(tmp_path) == ["checkpoint.json"]
    with pytest.raises(CheckpointNotFound, match="'n' does not exist; there is none yet"):
        manager.delete("n")
    with pytest.raises(CheckpointNotFound):
        manager.get("latest")


# ---------------------------------------------------------------- restoring


def test_restore_brings_values_back_and_versions_only_rise(manager: CheckpointManager, store: Store) -> None:
    manager.save("m")
    before = store.snapshot()
    for value in (7, 8, 9):
        put(store, "w", value)
    commit = store.commit
    done = manager.restore("m")
    assert (done.restored, done.missing, done.unexpected) == (("w", "b"), (), ())
    assert done.commit == store.commit == commit + 1
    assert value_of(store) == 1
    assert store.get("w").version == before.variables["w"].version + 4
    assert store.get("w").incarnation == before.variables["w"].incarnation


def test_restore_creates_what_is_not_there(manager: CheckpointManager, store: Store) -> None:
    store.create(NewVariable("c", shape=(2,), trainable=False, collections=["own"]), initialize=True, seed=3)
    first = store.get("c")
    manager.save("m")
    store.delete(Selection(names=["w", "c"]))
    put_new(store, "later", 4)
    done = manager.restore("m")
    assert done.restored == ("w", "b", "c")
    assert done.missing == ("later",)
    again = store.get("c")
    assert again.value is not None
    assert first.value is not None
    assert np.array_equal(again.value, first.value)
    assert again.incarnation != first.incarnation
    assert again.state.collections == ("own",)
    assert again.state.initializer == first.state.initializer
    assert value_of(store, "later") == 4


def put_new(store: Store, name: str, value: float) -> None:
    store.create(NewVariable(name, value=vector(value)))


def test_restore_by_name_and_under_another_name(manager: CheckpointManager, store: Store) -> None:
    manager.save("m")
    put(store, "w", 5)
    put(store, "b", 6)
    assert manager.restore("m", names=["w"]).restored == ("w",)
    assert (value_of(store, "w"), value_of(store, "b")) == (1, 6)
    assert manager.restore("m", names=["b", "new/w"], rename={"b": "w", "new/w": "w"}).restored == ("b", "new/w")
    assert (value_of(store, "b"), value_of(store, "new/w")) == (1, 1)
    put(store, "b", 6)
    done = manager.restore("m", rename={"moved": "w"})
    assert set(done.restored) == {"moved", "b"}
    assert (value_of(store, "moved"), value_of(store, "b")) == (1, 2)


def test_strict_lists_all_that_does_not_fit_and_changes_nothing(manager: CheckpointManager, store: Store) -> None:
    put_new(store, "c", 3)
    manager.save("m")
    store.delete(Selection(names=["w", "c"]))
    store.create(NewVariable("c", value=np.zeros(3, np.float32)))
    put(store, "b", 9)
    commit = store.commit
    with pytest.raises(CheckpointIncompatible) as caught:
        manager.restore("m", names=["nope", "w", "b", "c"], create=False)
    assert {difference.name for difference in caught.value.errors} == {"nope", "w", "c"}
    assert store.commit == commit
    assert value_of(store, "b") == 9
    done = manager.restore("m", names=["nope", "w", "b", "c"], create=False, strict=False)
    assert (done.restored, done.missing, set(done.unexpected)) == (("b",), ("nope",), {"w", "c"})
    assert value_of(store, "b") == 2


def test_what_had_no_value_cannot_be_restored(manager: CheckpointManager, store: Store) -> None:
    store.create(NewVariable("empty", shape=(2,)))
    manager.save("m")
    assert manager.restore("m").restored == ("w", "b")
    with pytest.raises(CheckpointIncompatible, match="'empty' had no value"):
        manager.restore("m", names=["empty"])


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"names": ["w", "w"]}, InvalidRequest, "named 2 times"),
        ({"names": ["w"], "rename": {"b": "w"}}, InvalidRequest, "b not among the names"),
        ({"rename": {"../x": "w"}}, InvalidName, "rename"),
        ({"rename": {"x": "w:0"}}, InvalidName, "rename"),
    ],
)
def test_a_restore_that_does_not_fit_is_refused(
    manager: CheckpointManager, store: Store, arguments: Any, kind: type[StoreError], words: str
) -> None:
    manager.save("m")
    commit = store.commit
    with pytest.raises(kind, match=words):
        manager.restore("m", **arguments)
    assert store.commit == commit


def test_a_missing_or_damaged_checkpoint_changes_nothing(
    manager: CheckpointManager, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointNotFound, match="there is none yet"):
        manager.restore("latest")
    manager.save("m")
    with pytest.raises(CheckpointNotFound, match="'n' does not exist; there are 'm'"):
        manager.restore("n")
    (path,) = (tmp_path / "data" / "checkpoints").glob("*/model.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    commit, used = store.commit, store.budget.used_nbytes
    with pytest.raises(CheckpointCorrupt, match=r"model\.safetensors is damaged"):
        manager.restore("m")
    assert (store.commit, store.budget.used_nbytes) == (commit, used)
    manager.save("m")
    assert manager.restore("m").restored == ("w", "b")


def test_a_restore_keeps_to_the_memory_budget(tmp_path: Path) -> None:
    with opened(tmp_path / "data", store_with(w=1, b=2)) as manager:
        manager.save("m")
    store = seeded_store(2, memory_limit_nbytes=30)
    with opened(tmp_path / "data", store) as manager:
        manager.restore("m", names=["w"])
        with pytest.raises(MemoryLimitExceeded):
            manager.restore("m")
        assert store.budget.used_nbytes == 16


def test_the_request_id_is_finished_by_the_transaction(manager: CheckpointManager, store: Store) -> None:
    manager.save("m")
    put_new(store, "later", 1)
    claim = store.requests.claim("c-1", Digest(1, 1))
    assert isinstance(claim, Claim)
    manager.restore("m", claim=claim, answer=lambda done: [200, list(done.missing)])
    assert claim.answer == [200, ["later"]]
    rows = store.snapshot(with_requests=True).requests
    assert [row["client"] for row in rows] == ["c"]


# ---------------------------------------------------------------- at once


class GatedDisk(Disk):
    """Stops at the first value that is written, until the test opens the gate."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def write(self, file: FileIO, data: bytes | memoryview) -> None:
        if isinstance(data, memoryview):
            self.reached.set()
            assert self.gate.wait(60)
        super().write(file, data)


def in_thread(work: Any) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_pushes_go_on_while_a_cut_is_written(tmp_path: Path, store: Store) -> None:
    disk = GatedDisk()
    with opened(tmp_path / "data", store, disk=disk) as manager:
        disk.gate.clear()
        saving = in_thread(lambda: manager.save("m"))
        assert disk.reached.wait(60)
        store.push([Update("w", "assign_add", vector(4)), Update("b", "assign_add", vector(4))])
        assert manager.list() == []
        disk.gate.set()
        saving.join()
        assert value_of(store) == 5
        manager.restore("m")
        assert (value_of(store, "w"), value_of(store, "b")) == (1, 2)


def test_the_same_id_at_once_is_busy_another_is_not(tmp_path: Path, store: Store) -> None:
    disk = GatedDisk()
    with opened(tmp_path / "data", store, disk=disk) as manager:
        manager.save("m")
        disk.reached.clear()
        disk.gate.clear()
        saving = in_thread(lambda: manager.save("m"))
        assert disk.reached.wait(60)
        for work in (manager.save, manager.restore, manager.delete, manager.load):
            with pytest.raises(CheckpointBusy, match="'m' is being saved"):
                work("m")
        assert manager.get("m")["state"] == "complete"
        others = [in_thread(lambda name=name: manager.save(name)) for name in ("n", "o")]
        disk.gate.set()
        for thread in (saving, *others):
            thread.join()
        assert sorted(ids(manager)) == ["m", "n", "o"]


def test_a_busy_checkpoint_is_not_retired(tmp_path: Path, store: Store) -> None:
    reading, go_on = threading.Event(), threading.Event()

    class SlowReader(Disk):
        def read_into(self, file: FileIO, buffer: memoryview) -> int:
            if threading.current_thread() is not threading.main_thread():
                reading.set()
                assert go_on.wait(60)
            return super().read_into(file, buffer)

    with opened(tmp_path / "data", store, disk=SlowReader()) as manager:
        manager.save("old", names=["w"], max_to_keep=1)
        put(store, "w", 8)
        restoring = in_thread(lambda: manager.restore("old"))
        assert reading.wait(60)
        manager.save("new", names=["w"], max_to_keep=1)
        assert ids(manager) == ["new", "old"]
        go_on.set()
        restoring.join()
        assert value_of(store) == 1
        manager.save("newer", names=["w"], max_to_keep=1)
        assert ids(manager) == ["newer"]


def test_the_newest_is_the_newest_cut_even_if_it_is_finished_first(tmp_path: Path, store: Store) -> None:
    writing, go_on = threading.Event(), threading.Event()

    class SlowWriter(Disk):
        def write(self, file: FileIO, data: bytes | memoryview) -> None:
            if threading.current_thread() is not threading.main_thread():
                writing.set()
                assert go_on.wait(60)
            super().write(file, data)

    with opened(tmp_path / "data", store, disk=SlowWriter()) as manager:
        saving = in_thread(lambda: manager.save("first"))
        assert writing.wait(60)
        put(store, "w", 8)
        manager.save("second")
        go_on.set()
        saving.join()
        assert ids(manager) == ["second", "first"]
        assert manager.get("latest")["commit"] == store.commit
    assert ids_on_disk(tmp_path) == ["second", "first"]


def test_many_savers_at_once(tmp_path: Path, store: Store) -> None:
    with opened(tmp_path / "data", store) as manager:
        start = threading.Barrier(4)

        def save(name: str) -> None:
            start.wait()
            for number in range(3):
                manager.save(f"{name}-{number}", max_to_keep=2, series=name)

        threads = [in_thread(lambda name=name: save(name)) for name in "abcd"]
        for thread in threads:
            thread.join()
        assert sorted(ids(manager)) == [f"{name}-{number}" for name in "abcd" for number in (1, 2)]
    with opened(tmp_path / "data") as manager:
        assert len(ids(manager)) == 8


# ---------------------------------------------------------------- a disk that fails


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EROFS, CheckpointError)]
)
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
def test_after_an_error_at_any_step_the_old_one_is_the_newest_and_the_server_goes_on(
    tmp_path: Path, code: int, kind: type[CheckpointError], for_ever: bool
) -> None:
    first = failures = 0
    while True:
        first += 1
        root, store, disk = tmp_path / f"{first}", store_with(w=1), FailingDisk(code=code, for_ever=for_ever)
        with opened(root / "data", store, disk=disk) as manager:
            manager.save("m", max_to_keep=1)
            before, listing = directories(root), root / "data" / "checkpoints" / "checkpoint.json"
            listed = listing.read_bytes()
            put(store, "w", 2)
            disk.steps, disk.first = 0, first
            try:
                manager.save("m", max_to_keep=1)
            except CheckpointError as error:
                failures += 1
                assert type(error) is kind
                assert error.code == ("disk_full" if kind is DiskFull else "internal")
                assert [info["commit"] for info in manager.list()] == [store.commit - 1]
                disk.first = None
                assert for_ever or directories(root) == before
                assert for_ever or listing.read_bytes() == listed
                assert manager.load("latest").snapshot.variables["w"].version == 1
                assert manager.save("m", max_to_keep=1)["commit"] == store.commit
                put(store, "w", 3)
            else:
                disk.first = None
                break
        again = store_with()
        with opened(root / "data", again) as manager:
            assert value_of(again) == 3
            assert not [name for name in directories(root) if name.endswith(".saving")]
            assert len(directories(root)) == 1 + len(manager.list())
    assert failures > 10


def test_nothing_works_when_closed(tmp_path: Path) -> None:
    manager = opened(tmp_path / "data")
    with pytest.raises(CheckpointError, match="is not open"):
        manager.save()
    with manager:
        pass
    manager.close()
    for work in (manager.list, manager.save):
        with pytest.raises(CheckpointError, match="is not open"):
            work()
