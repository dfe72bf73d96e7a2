"""Restores one by one and rehearsed: bounded memory, damage found before anything changes, and who waits."""

from __future__ import annotations

import threading
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paramserver.checkpoint import CheckpointCorrupt, CheckpointError, CheckpointManager, Disk
from paramserver.checkpoint.shards import MODEL
from paramserver.store import NewVariable, Store, Update
from paramserver.store.errors import MemoryLimitExceeded, Restoring
from support.checkpoints import ManualClock, opened, put, store_with, value_of, vector
from support.stores import seeded_store


class GatedReader(Disk):
    """Once armed, stops at the read that is number `at` until the test opens the gate, then fails there if told to."""

    def __init__(self) -> None:
        self.at = 0
        self.reads = 0
        self.fails = False
        self.reached, self.gate = threading.Event(), threading.Event()

    def read_into(self, file: FileIO, buffer: memoryview) -> int:
        self.reads += 1
        if self.at and self.reads == self.at:
            self.reached.set()
            assert self.gate.wait(60)
            if self.fails:
                raise OSError(5, "broken")
        return super().read_into(file, buffer)

    def arm(self, at: int, *, fails: bool = False) -> None:
        self.reads, self.at, self.fails = 0, at, fails


def reads_of_a_restore(manager: CheckpointManager, disk: GatedReader) -> int:
    disk.arm(0)
    manager.restore_sequentially("m")
    return disk.reads


def test_meanwhile_it_is_restoring_and_nothing_is_saved(tmp_path: Path) -> None:
    store, disk, now = store_with(a=1, b=2, c=3), GatedReader(), ManualClock(0.0)
    with opened(tmp_path / "data", store, disk=disk, every_s=1000.0, monotonic=now) as manager:
        manager.save("m")
        reads = reads_of_a_restore(manager, disk)
        for name in "abc":
            put(store, name, 9)
        now.now += 1000
        disk.arm(reads)
        thread = threading.Thread(target=manager.restore_sequentially, args=("m",))
        thread.start()
        assert disk.reached.wait(60)
        assert manager.restoring
        # The last value is not read yet: who looked now would see a mixture.
        assert [value_of(store, name) for name in "abc"] == [1, 2, 9]
        assert not manager.save_if_due()
        with pytest.raises(Restoring):
            manager.save("n")
        manager_busy(manager)
        disk.gate.set()
        thread.join()
        assert not manager.restoring
        assert [value_of(store, name) for name in "abc"] == [1, 2, 3]
        assert manager.save_if_due()


def manager_busy(manager: CheckpointManager) -> None:
    for work in (manager.restore, manager.delete):
        with pytest.raises(CheckpointError, match="'m' is being"):
            work("m")


def test_a_second_one_has_to_wait(tmp_path: Path) -> None:
    store, disk = store_with(a=1), GatedReader()
    with opened(tmp_path / "data", store, disk=disk) as manager:
        manager.save("m")
        manager.save("n")
        disk.arm(reads_of_a_restore(manager, disk))
        thread = threading.Thread(target=manager.restore_sequentially, args=("m",))
        thread.start()
        assert disk.reached.wait(60)
        with pytest.raises(Restoring, match="another checkpoint is being restored"):
            manager.restore_sequentially("n")
        disk.gate.set()
        thread.join()
        assert manager.restore_sequentially("n").restored == ("a",)


def test_a_disk_that_fails_half_way_is_told_with_what_was_done(tmp_path: Path) -> None:
    store, disk = store_with(a=1, b=2), GatedReader()
    with opened(tmp_path / "data", store, disk=disk) as manager:
        manager.save("m")
        reads = reads_of_a_restore(manager, disk)
        put(store, "a", 9)
        disk.arm(reads, fails=True)
        disk.gate.set()
        with pytest.raises(CheckpointError, match=r"only 1 of 2 variables were restored.*are a mixture"):
            manager.restore_sequentially("m")
        assert not manager.restoring
        assert value_of(store, "a") == 1
        assert store.budget.used_nbytes == 16
        disk.arm(0)
        assert manager.restore_sequentially("m").restored == ("a", "b")


@pytest.mark.parametrize("how", ["restore", "restore_sequentially", "rehearse_restore"])
def test_damage_is_found_before_anything_changes(tmp_path: Path, how: str) -> None:
    store = store_with(a=1, b=2)
    with opened(tmp_path / "data", store) as manager:
        manager.save("m")
        (path,) = (tmp_path / "data").rglob(MODEL)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        put(store, "a", 9)
        commit = store.commit
        with pytest.raises(CheckpointCorrupt, match="variable 'b' does not match its checksum"):
            getattr(manager, how)("m")
        assert (store.commit, value_of(store, "a")) == (commit, 9)
        assert getattr(manager, how)("m", names=["a"]).restored == ("a",)


def big(value: float) -> np.ndarray[Any, Any]:
    return np.full(1000, value, np.float32)


def test_it_needs_memory_for_one_value_only(tmp_path: Path) -> None:
    store = seeded_store(1, memory_limit_nbytes=9 * 4000)
    names = tuple(f"v{number}" for number in range(8))
    with opened(tmp_path / "data", store) as manager:
        for number, name in enumerate(names):
            store.create(NewVariable(name, value=big(number)))
        manager.save("m")
        for name in names:
            store.push([Update(name, "assign", big(-1))])
        with pytest.raises(MemoryLimitExceeded):
            manager.restore("m")
        with pytest.raises(MemoryLimitExceeded):
            manager.rehearse_restore("m")
        assert manager.rehearse_restore("m", sequentially=True).restored == names
        manager.restore_sequentially("m")
        assert [float(value(store, name)[0]) for name in names] == list(range(8))
        assert store.budget.used_nbytes == 8 * 4000


def value(store: Store, name: str) -> np.ndarray[Any, Any]:
    found = store.get(name).value
    assert found is not None
    return found


def test_what_cannot_fit_in_the_end_is_refused_before_it_begins(tmp_path: Path) -> None:
    manager = opened(tmp_path / "data", store_with(a=1, b=2, c=3))
    manager.start()
    manager.save("m", names=["a", "b", "c"])
    manager.close(final=False)
    store = seeded_store(2, memory_limit_nbytes=24)
    with opened(tmp_path / "data", store) as manager:
        with pytest.raises(MemoryLimitExceeded):
            manager.restore_sequentially("m")
        assert store.commit == 0
        assert manager.restore_sequentially("m", names=["a", "b"]).restored == ("a", "b")


def test_a_reshaped_value_shares_no_memory_with_another(tmp_path: Path) -> None:
    store = store_with(w=1)
    with opened(tmp_path / "data", store) as manager:
        manager.save("m")
        store.create(NewVariable("column", value=np.zeros((2, 1), np.float32)))
        manager.restore("m", names=["w", "column"], rename={"column": "w"}, reshape=True)
        assert value(store, "column").tolist() == [[1], [1]]
        put(store, "w", 5)
        assert value(store, "column").tolist() == [[1], [1]]
        assert vector(5).tolist() == value(store, "w").tolist()
