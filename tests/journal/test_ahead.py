"""Arrays that are written ahead: they are in the record once, or were never there."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

import numpy as np
import pytest

from paramserver.disk import Disk
from paramserver.journal import journal as journal_module
from paramserver.journal.ahead import head_nbytes_for
from paramserver.journal.format import ALIGNMENT
from paramserver.journal.packing import pack, unpack
from paramserver.store import Digest, NewVariable, Update
from paramserver.store import errors as e
from paramserver.store.publisher import Transaction
from support.journals import JournalledStore, assert_same, claimed, journalled

LARGE = 20_000
DELTA = np.arange(LARGE, dtype=np.float32)
OPTIONS = {"segment_nbytes": 1 << 20}


@pytest.fixture(autouse=True)
def _all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "AHEAD_NBYTES", 1)


class Counting(Disk):
    """Counts the bytes of large parts that are written. `fails` makes the next large one fail."""

    def __init__(self) -> None:
        self.large_nbytes = 0
        self.fails = False

    def write_at(self, file: FileIO, parts: Sequence[bytes | memoryview], offset: int) -> None:
        nbytes = sum(len(part) for part in parts if len(part) >= DELTA.nbytes)
        if nbytes:
            if self.fails:
                self.fails = False
                raise OSError(5, "the disk is tired")
            self.large_nbytes += nbytes
        super().write_at(file, parts, offset)


def copied(directory: Path) -> Path:
    """The directory as a kill would leave it right now."""
    target = directory.with_name(f"{directory.name}-copy-{len(list(directory.parent.iterdir()))}")
    shutil.copytree(directory, target)
    return target


def assert_comes_back(opened: JournalledStore, directory: Path) -> None:
    with journalled(copied(directory)) as again:
        assert_same(opened.store, again.store)


def _push_often(opened: JournalledStore) -> None:
    for _ in range(5):
        opened.store.push([Update("w", "assign_add", DELTA)])


@pytest.mark.parametrize("always", [True, False])
def test_a_large_array_is_written_once_and_comes_back(tmp_path: Path, always: bool) -> None:
    disk = Counting()
    with journalled(tmp_path / "wal", disk=disk, always=always, **OPTIONS) as opened:
        store = opened.store
        store.create(NewVariable("w", shape=[LARGE], dtype="float32", initializer={"type": "zeros"}, value=None))
        store.push([Update("w", "assign", np.ones(LARGE, np.float32))])
        disk.large_nbytes = 0
        for number in range(1, 4):
            assert store.write_ahead([DELTA])
            claim = claimed(store, f"a-{number}", Digest(DELTA.nbytes, number))
            store.push([Update("w", "assign_add", DELTA)], claim=claim, answer=lambda r: [200, {"commit": r.commit}])
            store.end_turn()
            assert_comes_back(opened, tmp_path / "wal")
        assert disk.large_nbytes == 3 * DELTA.nbytes
        assert np.array_equal(store.get("w").value, 1 + 3 * DELTA)


def test_several_arrays_with_gaps_between_them(tmp_path: Path) -> None:
    disk = Counting()
    with journalled(tmp_path / "wal", disk=disk, **OPTIONS) as opened:
        store = opened.store
        values = {"a": DELTA, "b": np.arange(3, dtype=np.int8), "c": np.ones((), np.float64), "d": DELTA.reshape(2, -1)}
        for name, value in values.items():
            store.create(NewVariable(name, value=value))
        disk.large_nbytes = 0
        rows = np.array([0, 1])
        assert store.write_ahead([*values.values(), DELTA.reshape(2, -1), rows])
        updates = [Update(name, "assign_add", value) for name, value in values.items()]
        store.push([*updates, Update("d", "scatter_add", DELTA.reshape(2, -1), indices=rows)])
        store.end_turn()
        assert disk.large_nbytes == 3 * DELTA.nbytes
        assert_comes_back(opened, tmp_path / "wal")


def test_what_is_given_up_is_no_record(tmp_path: Path) -> None:
    with journalled(tmp_path / "wal", **OPTIONS) as opened:
        store = opened.store
        store.create(NewVariable("w", value=DELTA))
        assert store.write_ahead([DELTA * np.float32(np.nan)])
        with pytest.raises(e.NonFinite):
            store.push([Update("w", "assign_add", DELTA * np.float32(np.nan))])
        store.end_turn()
        assert_comes_back(opened, tmp_path / "wal")
        store.push([Update("w", "assign_add", DELTA)])
        assert_comes_back(opened, tmp_path / "wal")


def test_a_kill_before_the_head_leaves_nothing(tmp_path: Path) -> None:
    with journalled(tmp_path / "wal", always=False, **OPTIONS) as opened:
        store = opened.store
        store.create(NewVariable("w", value=DELTA))
        assert store.write_ahead([DELTA])
        opened.journal._ahead.settle()
        assert_comes_back(opened, tmp_path / "wal")
        store.push([Update("w", "assign_add", DELTA)])
        store.end_turn()
        assert_comes_back(opened, tmp_path / "wal")


def test_another_record_comes_first(tmp_path: Path) -> None:
    disk = Counting()
    with journalled(tmp_path / "wal", disk=disk, **OPTIONS) as opened:
        store, journal = opened.store, opened.journal
        store.create(NewVariable("w", value=DELTA))
        store.create(NewVariable("other", value=DELTA))
        disk.large_nbytes = 0
        assert store.write_ahead([DELTA])
        other = threading.Thread(target=lambda: store.push([Update("other", "assign_add", DELTA)]))
        other.start()
        while not journal._waiting:
            other.join(0.001)
        commit = store.push([Update("w", "assign_add", DELTA)]).commit
        store.end_turn()
        other.join(30)
        assert commit == store.commit == 4
        # Ahead, in vain, and both records whole: the one that came first stands where the array stood.
        assert disk.large_nbytes == 3 * DELTA.nbytes
        assert_comes_back(opened, tmp_path / "wal")


def test_another_record_comes_behind_in_the_same_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with journalled(tmp_path / "wal", **OPTIONS) as opened:
        store, journal = opened.store, opened.journal
        store.create(NewVariable("w", value=DELTA))
        store.create(NewVariable("other", value=DELTA))
        assert store.write_ahead([DELTA])
        real = journal.settle

        def settle(transaction: Transaction) -> None:
            if threading.current_thread() is threading.main_thread():
                # Staged, and nothing of it is written: now the other one gets behind it.
                other.start()
                while len(journal._waiting) < 2:
                    other.join(0.001)
            real(transaction)

        other = threading.Thread(target=lambda: store.push([Update("other", "assign_add", DELTA)]))
        monkeypatch.setattr(journal, "settle", settle)
        store.push([Update("w", "assign_add", DELTA)])
        store.end_turn()
        other.join(30)
        assert journal.counts.largest_group == 2
        assert store.commit == 4
        assert_comes_back(opened, tmp_path / "wal")


def test_other_arrays_than_were_announced(tmp_path: Path) -> None:
    with journalled(tmp_path / "wal", **OPTIONS) as opened:
        store = opened.store
        store.create(NewVariable("w", value=DELTA))
        for announced in ([DELTA.copy()], [DELTA[:-1]], [DELTA, DELTA], [np.ones(3, np.float32)]):
            assert store.write_ahead(announced)
            store.push([Update("w", "assign_add", DELTA)])
            store.end_turn()
            assert_comes_back(opened, tmp_path / "wal")


def test_a_head_that_takes_more_room_than_was_left(tmp_path: Path) -> None:
    with journalled(tmp_path / "wal", **OPTIONS) as opened:
        store = opened.store
        store.create(NewVariable("w", value=DELTA))
        assert store.write_ahead([DELTA])
        told = "x" * 2 * head_nbytes_for(1)
        claim = claimed(store, "a-1")
        store.push([Update("w", "assign_add", DELTA)], claim=claim, answer=lambda _: [200, told])
        store.end_turn()
        assert_comes_back(opened, tmp_path / "wal")


def test_a_write_ahead_that_fails_is_done_again(tmp_path: Path) -> None:
    disk = Counting()
    with journalled(tmp_path / "wal", disk=disk, **OPTIONS) as opened:
        store = opened.store
        store.create(NewVariable("w", value=DELTA))
        disk.fails = True
        assert store.write_ahead([DELTA])
        store.push([Update("w", "assign_add", DELTA)])
        store.end_turn()
        assert not disk.fails
        assert_comes_back(opened, tmp_path / "wal")


def test_it_makes_room_first_and_does_without_where_there_is_none(tmp_path: Path) -> None:
    class Full(Disk):
        full = False

        def allocate(self, file: FileIO, nbytes: int) -> None:
            if self.full:
                raise OSError(28, "no space")
            super().allocate(file, nbytes)

    disk = Full()
    with journalled(tmp_path / "wal", disk=disk, segment_nbytes=1 << 17) as opened:
        store = opened.store
        store.create(NewVariable("w", value=DELTA))
        for _ in range(5):
            assert store.write_ahead([DELTA])
            store.push([Update("w", "assign_add", DELTA)])
            store.end_turn()
        assert len(list((tmp_path / "wal").glob("*.wal"))) > 3
        disk.full = True
        assert not all(store.write_ahead([DELTA]) and store.end_turn() is None for _ in range(5))
        with pytest.raises(e.DiskFull):
            _push_often(opened)
        disk.full = False
        store.push([Update("w", "assign_add", DELTA)])
        assert_comes_back(opened, tmp_path / "wal")


def test_small_ones_and_a_turn_that_is_taken_are_not_written_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with journalled(tmp_path / "wal", always=False, **OPTIONS) as opened:
        store = opened.store
        assert not store.write_ahead([])
        assert store.try_turn(100)
        assert not store.write_ahead([DELTA])
        store.end_turn()
        monkeypatch.setattr(journal_module, "AHEAD_NBYTES", DELTA.nbytes + 1)
        assert not store.write_ahead([DELTA])


@pytest.mark.parametrize("extra", [0, 1, 100, 300, 70_000])
def test_a_payload_with_room_before_its_arrays(extra: int) -> None:
    tree = {"at": 1.0, "text": "x" * extra, "value": DELTA}
    plain = pack(tree)
    for head_nbytes in (len(plain[0]) + more * ALIGNMENT for more in (0, 1, 5, 1000, 2000)):
        parts = pack(tree, head_nbytes)
        assert len(parts[0]) in (head_nbytes, len(plain[0]))
        assert len(parts[0]) == head_nbytes or head_nbytes < len(plain[0]) + ALIGNMENT
        found = unpack(memoryview(b"".join(parts)))
        found.pop("room", None)
        assert found.pop("value").tolist() == DELTA.tolist()
        assert found == {"at": 1.0, "text": "x" * extra}
