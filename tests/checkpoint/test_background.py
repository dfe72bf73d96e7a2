"""Saves that go on after their request was answered: what is seen of them, and how they end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest

from paramserver.checkpoint import CheckpointBusy, CheckpointManager, CheckpointNotFound, Disk
from paramserver.checkpoint.background import LIMIT, Background
from paramserver.checkpoint.listing import MAX_FAILED
from paramserver.store import NewVariable, Store
from paramserver.store.errors import Uninitialized, VariableNotFound
from support.checkpoints import opened, put, store_with, value_of


class HeldDisk(Disk):
    """Holds every value that is to be written while the gate is closed, then fails if told to."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.code = 0

    def write(self, file: FileIO, data: bytes | memoryview) -> None:
        assert self.gate.wait(60)
        if self.code and isinstance(data, memoryview):
            raise OSError(self.code, "told to")
        super().write(file, data)


@pytest.fixture
def store() -> Store:
    return store_with(w=1)


@pytest.fixture
def disk() -> HeldDisk:
    return HeldDisk()


@pytest.fixture
def manager(tmp_path: Path, store: Store, disk: HeldDisk) -> Iterator[CheckpointManager]:
    with opened(tmp_path / "data", store, disk=disk) as manager:
        yield manager
        disk.gate.set()
        disk.code = 0


def ended(manager: CheckpointManager) -> None:
    manager._background.wait()


def states(manager: CheckpointManager) -> dict[str, str]:
    return {info["id"]: info["state"] for info in manager.list()}


def test_it_is_seen_saving_then_complete(manager: CheckpointManager, store: Store, disk: HeldDisk) -> None:
    disk.gate.clear()
    begun = manager.begin_save("m", step=3)
    assert (begun["id"], begun["state"], begun["step"], begun["variables"]) == ("m", "saving", 3, 1)
    assert (begun["files"], begun["nbytes"], begun["problem"], begun["full"]) == ([], 0, None, True)
    assert manager.get("m") == begun
    assert manager.list() == [begun]
    with pytest.raises(CheckpointNotFound):
        manager.get("latest")
    put(store, "w", 9)
    disk.gate.set()
    ended(manager)
    done = manager.get("m")
    assert (done["state"], done["commit"]) == ("complete", begun["commit"])
    assert manager.get("latest") == done
    assert manager.list() == [done]
    manager.restore("m")
    assert value_of(store) == 1


def test_its_id_is_busy_meanwhile_and_others_are_not(manager: CheckpointManager, disk: HeldDisk) -> None:
    disk.gate.clear()
    manager.begin_save("m")
    for work in (manager.save, manager.begin_save, manager.restore, manager.delete, manager.rehearse_restore):
        with pytest.raises(CheckpointBusy, match="'m' is being saved"):
            work("m")
    manager.begin_save("n")
    disk.gate.set()
    ended(manager)
    assert states(manager) == {"n": "complete", "m": "complete"}


def test_an_older_one_stays_until_it_is_complete(manager: CheckpointManager, store: Store, disk: HeldDisk) -> None:
    manager.save("m")
    put(store, "w", 2)
    disk.gate.clear()
    manager.begin_save("m")
    assert states(manager) == {"m": "saving"}
    assert manager.get("latest")["state"] == "complete"
    disk.gate.set()
    ended(manager)
    assert states(manager) == {"m": "complete"}
    put(store, "w", 3)
    manager.restore("m")
    assert value_of(store) == 2


@pytest.mark.parametrize(("number", "code"), [(28, "disk_full"), (30, "internal"), (5, "internal")])
def test_a_failure_is_shown_with_its_problem(
    manager: CheckpointManager, store: Store, disk: HeldDisk, number: int, code: str
) -> None:
    manager.save("m")
    put(store, "w", 2)
    disk.code = number
    manager.begin_save("m")
    ended(manager)
    failed = manager.get("m")
    assert (failed["state"], failed["problem"]["code"]) == ("failed", code)
    assert "saving" in failed["problem"]["detail"]
    assert states(manager) == {"m": "failed"}
    disk.code = 0
    # The one before is there still.
    assert manager.get("latest")["state"] == "complete"
    manager.restore("m")
    assert value_of(store) == 1
    manager.save("m")
    assert states(manager) == {"m": "complete"}


def test_a_bug_is_a_failure_too(
    manager: CheckpointManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object, **more: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("paramserver.checkpoint.manager.write_checkpoint", broken)
    manager.begin_save("m")
    ended(manager)
    assert manager.get("m")["problem"] == {"code": "internal", "detail": "saving failed: RuntimeError('a bug')"}
    assert "a bug" in caplog.text
    with pytest.raises(CheckpointNotFound):
        manager.restore("m")
    monkeypatch.undo()


def test_what_failed_is_forgotten_on_request(manager: CheckpointManager, disk: HeldDisk) -> None:
    disk.code = 28
    manager.begin_save("m")
    ended(manager)
    manager.delete("m")
    assert manager.list() == []
    with pytest.raises(CheckpointNotFound):
        manager.delete("m")


def test_only_so_many_failures_are_remembered(manager: CheckpointManager, disk: HeldDisk) -> None:
    disk.code = 28
    for number in range(MAX_FAILED + 3):
        manager.begin_save(f"m-{number}")
        ended(manager)
    assert len(manager.list()) == MAX_FAILED
    assert manager.list()[-1]["id"] == "m-3"


def test_what_does_not_fit_is_refused_at_once(manager: CheckpointManager) -> None:
    manager._store.create(NewVariable("empty", shape=(1,)))
    with pytest.raises(VariableNotFound):
        manager.begin_save("m", names=["nope"])
    with pytest.raises(Uninitialized):
        manager.begin_save("m", names=["empty"])
    assert manager.list() == []
    manager.save("m")


def test_too_many_at_once_are_refused(manager: CheckpointManager, disk: HeldDisk) -> None:
    disk.gate.clear()
    for number in range(LIMIT):
        manager.begin_save(f"m-{number}")
    with pytest.raises(CheckpointBusy, match=f"{LIMIT} saves are running"):
        manager.begin_save("one-more")
    assert "one-more" not in states(manager)
    disk.gate.set()
    ended(manager)
    manager.begin_save("one-more")
    ended(manager)
    assert states(manager)["one-more"] == "complete"


def test_a_shutdown_waits_for_them(tmp_path: Path, store: Store) -> None:
    disk = HeldDisk()
    manager = opened(tmp_path / "data", store, disk=disk)
    manager.start()
    disk.gate.clear()
    manager.begin_save("m")
    closing = threading.Thread(target=manager.close)
    closing.start()
    assert closing.is_alive()
    disk.gate.set()
    closing.join()
    again = store_with()
    with opened(tmp_path / "data", again) as manager:
        # Nothing came after it, so that it is the last word as well.
        assert states(manager) == {"m": "complete"}
        assert value_of(again) == 1


def test_a_thread_that_ends_is_forgotten() -> None:
    background, ran = Background(), threading.Event()
    background.start(ran.set)
    background.wait()
    assert ran.is_set()
    assert not background._threads
