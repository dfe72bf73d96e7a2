"""A journalled store: what was acknowledged is there again, bit by bit, and nothing else is."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import threading
from io import FileIO
from pathlib import Path

import numpy as np
import pytest

from paramserver.disk import Disk
from paramserver.journal import JournalCorrupt, JournalForeign, recover
from paramserver.store import Digest, NewVariable, Update
from paramserver.store import errors as e
from paramserver.store.publisher import Transaction
from paramserver.store.requests import Replay
from support.journals import BUILDS, SERVER, JournalledStore, assert_same, claimed, journalled, live
from support.stores import seeded_store

ONE = np.ones(2, np.float32)


def copied(directory: Path) -> Path:
    """The directory as a kill would leave it right now."""
    target = directory.with_name(f"{directory.name}-copy-{len(list(directory.parent.iterdir()))}")
    shutil.copytree(directory, target)
    return target


@pytest.mark.parametrize("always", [True, False])
def test_everything_is_there_again_bit_by_bit(tmp_path: Path, always: bool) -> None:
    with journalled(tmp_path / "wal", always=always) as first:
        live(first.store)
        killed = copied(tmp_path / "wal")
        with journalled(killed, always=always) as second:
            assert_same(first.store, second.store)
            assert second.report.records == first.journal.counts.records
            assert second.report.is_proven == always
            second.store.push([Update("w", "assign_add", ONE)])
            with journalled(copied(killed)) as third:
                assert_same(second.store, third.store)
    with journalled(tmp_path / "wal") as after:
        assert_same(first.store, after.store)


def test_a_store_without_a_journal_ends_up_the_same(tmp_path: Path) -> None:
    plain = seeded_store()
    live(plain)
    with journalled(tmp_path / "wal") as other:
        live(other.store)
        assert_same(plain, other.store)


def test_nothing_is_seen_before_it_is_on_the_disk(tmp_path: Path) -> None:
    holding, held = threading.Event(), threading.Event()

    class Slow(Disk):
        def sync_data(self, file: FileIO) -> None:
            if holding.is_set():
                held.set()
                go_on.wait(30)
            super().sync_data(file)

    go_on = threading.Event()
    with journalled(tmp_path / "wal", disk=Slow()) as opened:
        store = opened.store
        store.create(NewVariable("w", value=ONE))
        holding.set()
        claim = claimed(store, "c-1")
        writer = threading.Thread(target=lambda: store.push([Update("w", "assign_add", ONE)], claim=claim))
        writer.start()
        assert held.wait(30)
        assert (store.get("w").value.tolist(), store.commit) == ([1, 1], 1)
        # A repeat joins the one that runs: it is not told of what is not durable.
        assert not isinstance(store.requests.claim("c-1", Digest(1, 2)), Replay)
        go_on.set()
        writer.join(30)
        assert (store.get("w").value.tolist(), store.commit) == ([2, 2], 2)
        assert isinstance(store.requests.claim("c-1", Digest(1, 2)), Replay)


def test_those_who_wait_share_one_write(tmp_path: Path) -> None:
    holding, held, go_on = threading.Event(), threading.Event(), threading.Event()

    class Slow(Disk):
        def sync_data(self, file: FileIO) -> None:
            if holding.is_set():
                held.set()
                go_on.wait(30)
            super().sync_data(file)

    with journalled(tmp_path / "wal", disk=Slow()) as opened:
        store, journal = opened.store, opened.journal
        store.create(NewVariable("w", value=ONE))
        holding.set()
        writers = [threading.Thread(target=lambda: store.push([Update("w", "assign_add", ONE)])) for _ in range(16)]
        writers[0].start()
        assert held.wait(30)
        for writer in writers[1:]:
            writer.start()
        while len(journal._waiting) < 15:
            threading.Event().wait(0.001)
        groups = journal.counts.groups
        go_on.set()
        for writer in writers:
            writer.join(30)
        assert store.get("w").value.tolist() == [17, 17]
        assert journal.counts.groups - groups == 2
        assert journal.counts.largest_group == 15


class Failing(Disk):
    """Fails with `code` at the next call of the method called `method`, once, or for as long as `for_ever`."""

    def __init__(self) -> None:
        self.method: str | None = None
        self.code = errno.ENOSPC
        self.for_ever = False

    def _may(self, method: str) -> None:
        if self.method == method:
            if not self.for_ever:
                self.method = None
            raise OSError(self.code, os.strerror(self.code))

    def allocate(self, file: FileIO, nbytes: int) -> None:
        self._may("allocate")
        super().allocate(file, nbytes)

    def sync_data(self, file: FileIO) -> None:
        self._may("sync_data")
        super().sync_data(file)

    def write_at(self, file: FileIO, parts: object, offset: int) -> None:
        if self.method == "write_at_half" and len(parts) > 2:  # type: ignore[arg-type]
            half = b"".join(bytes(part) for part in parts)  # type: ignore[attr-defined]
            super().write_at(file, [half[: len(half) - 1]], offset)
            self._may("write_at_half")
        self._may("write_at")
        super().write_at(file, parts, offset)  # type: ignore[arg-type]


def test_a_full_disk_changes_nothing_and_heals(tmp_path: Path) -> None:
    disk = Failing()
    with journalled(tmp_path / "wal", disk=disk, segment_nbytes=1 << 16) as opened:
        store = opened.store
        store.create(NewVariable("w", value=np.zeros(10_000, np.float32)))
        disk.method, disk.for_ever = "allocate", True
        taken = 0
        while opened.journal._segment is not None and opened.journal._segment.has_room(41_000):
            store.push([Update("w", "assign_add", np.ones(10_000, np.float32))])
            taken += 1
        with pytest.raises(e.DiskFull, match="nothing was changed"):
            store.push([Update("w", "assign_add", np.ones(10_000, np.float32))])
        assert store.get("w").version == 1 + taken
        assert store.get("w").value is not None
        disk.method = None
        store.push([Update("w", "assign_add", np.ones(10_000, np.float32))])
        assert store.get("w").version == 2 + taken
        with journalled(copied(tmp_path / "wal")) as again:
            assert_same(store, again.store)


@pytest.mark.parametrize("method", ["write_at", "write_at_half"])
@pytest.mark.parametrize("always", [True, False])
def test_a_write_that_fails_is_refused_and_not_done_at_the_next_start(
    tmp_path: Path, method: str, always: bool
) -> None:
    disk = Failing()
    with journalled(tmp_path / "wal", disk=disk, always=always) as opened:
        store = opened.store
        store.create(NewVariable("w", value=ONE))
        disk.code, disk.method = errno.EIO, method
        with pytest.raises(e.DiskFull, match="nothing was changed"):
            store.push([Update("w", "assign_add", ONE)])
        assert store.get("w").value.tolist() == [1, 1]
        with journalled(copied(tmp_path / "wal")) as again:
            assert_same(store, again.store)
        store.push([Update("w", "assign_sub", ONE)])
        with journalled(copied(tmp_path / "wal")) as again:
            assert_same(store, again.store)


def test_after_a_failed_fdatasync_nothing_is_taken_and_reads_go_on(tmp_path: Path) -> None:
    disk = Failing()
    opened = JournalledStore(tmp_path / "wal", disk=disk)
    store = opened.store
    store.create(NewVariable("w", value=ONE))
    disk.code, disk.method = errno.EIO, "sync_data"
    with pytest.raises(e.StoreError, match="unknown") as raised:
        store.push([Update("w", "assign_add", ONE)])
    assert raised.value.code == "internal"
    for _ in range(2):
        with pytest.raises(e.Draining, match="nothing was changed"):
            store.push([Update("w", "assign_add", ONE)])
    assert store.get("w").value.tolist() == [1, 1]
    opened.journal.close()
    with journalled(tmp_path / "wal") as again:
        # It was unknown; here it is known.
        assert again.store.get("w").value.tolist() == [2, 2]


def test_too_little_room_is_told_before_anything_is_written(tmp_path: Path) -> None:
    free = [1 << 40]

    class Small(Disk):
        def free_nbytes(self, path: Path) -> int:
            return free[0]

    with journalled(tmp_path / "wal", disk=Small(), min_free_nbytes=1 << 20) as opened:
        store = opened.store
        store.create(NewVariable("w", value=ONE))
        free[0] = 1 << 10
        opened.journal._keep()
        with pytest.raises(e.DiskFull, match="Make room"):
            store.push([Update("w", "assign_add", ONE)])
        assert store.get("w").value.tolist() == [1, 1]
        free[0] = 1 << 30
        opened.journal._keep()
        store.push([Update("w", "assign_add", ONE)])
        assert store.get("w").value.tolist() == [2, 2]


def test_segments_take_an_eighth_of_what_is_free(tmp_path: Path) -> None:
    class Small(Disk):
        def free_nbytes(self, path: Path) -> int:
            return 16 << 20

    with journalled(tmp_path / "wal", disk=Small(), segment_nbytes=64 << 20) as opened:
        store = opened.store
        store.create(NewVariable("w", value=np.zeros(100_000, np.float32)))
        for _ in range(20):
            store.push([Update("w", "assign_add", np.ones(100_000, np.float32))])
        sizes = [path.stat().st_size for path in (tmp_path / "wal").glob("*.wal")]
        assert len(sizes) > 3
        assert max(sizes) == 2 << 20
        # On such a disk they are the largest there are: they are kept, and written again.
        opened.journal.forget_before(store.commit)
        assert [path.stat().st_size for path in (tmp_path / "wal").glob("spare-*")] != []
        # What is needed is taken all the same.
        store.create(NewVariable("large", value=np.zeros(1_000_000, np.float32)))
        assert max(path.stat().st_size for path in (tmp_path / "wal").glob("*.wal")) > 4_000_000


def test_segments_go_once_they_are_not_needed_and_are_written_again(tmp_path: Path) -> None:
    with journalled(tmp_path / "wal", segment_nbytes=1 << 17) as opened:
        store = opened.store
        store.create(NewVariable("w", value=np.zeros(10_000, np.float32)))
        for _ in range(20):
            store.push([Update("w", "assign_add", np.ones(10_000, np.float32))])
        names = sorted(path.name for path in (tmp_path / "wal").glob("*.wal"))
        assert len(names) > 3
        opened.journal.forget_before(1)
        assert sorted(path.name for path in (tmp_path / "wal").glob("*.wal")) == names
        cut = store.snapshot(with_requests=True)
        opened.journal.forget_before(cut.commit)
        left = sorted(path.name for path in (tmp_path / "wal").glob("*.wal"))
        assert len(left) == 1
        assert opened.journal.first_commit == int(left[0].removesuffix(".wal"))
        assert list((tmp_path / "wal").glob("spare-*"))
        for _ in range(9):
            store.push([Update("w", "assign_sub", np.ones(10_000, np.float32))])
        assert len(list((tmp_path / "wal").glob("spare-*"))) < len(names) - 1
        other = seeded_store()
        other.load(cut)
        recover(copied(tmp_path / "wal"), other, Disk(), server=SERVER, builds=BUILDS)
        assert_same(store, other)
        with pytest.raises(JournalCorrupt, match="the journal begins with commit"):
            recover(copied(tmp_path / "wal"), seeded_store(), Disk(), server=SERVER, builds=BUILDS)


def test_another_directorys_journal_is_refused(tmp_path: Path) -> None:
    with journalled(tmp_path / "wal") as opened:
        opened.store.create(NewVariable("w", value=ONE))
    with pytest.raises(JournalForeign, match="belongs to the data directory"):
        recover(tmp_path / "wal", seeded_store(), Disk(), server="f" * 16, builds=BUILDS)


def test_answers_move_with_the_segment_that_has_nothing_else(tmp_path: Path) -> None:
    with journalled(tmp_path / "wal") as opened:
        store = opened.store
        store.remember(claimed(store, "saver-1"), [201, {"id": "m"}])
        store.create(NewVariable("w", value=np.zeros(100_000, np.float32)))
        assert [path.name for path in (tmp_path / "wal").glob("*.wal")] == ["00000000000000000001.wal"]
        with journalled(copied(tmp_path / "wal")) as again:
            assert_same(store, again.store)
            assert isinstance(again.store.requests.claim("saver-1", Digest(1, 2)), Replay)
        store.push([Update("w", "assign_add", np.ones(100_000, np.float32))])
        opened.journal.forget_before(store.commit)
        assert [path.name for path in (tmp_path / "wal").glob("*.wal")] == ["00000000000000000002.wal"]


def test_what_is_acknowledged_is_let_go(tmp_path: Path) -> None:
    with journalled(tmp_path / "wal") as opened:
        store = opened.store
        store.create(NewVariable("w", value=np.zeros(100_000, np.float32)))
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                store.push([Update("w", "assign_add", np.ones(100_000, np.float32))])
            alive = [each for each in gc.get_objects() if isinstance(each, Transaction)]
            assert not alive, "they hold values that nobody reads any more until the next collection of garbage"
        finally:
            gc.enable()


def test_a_turn_that_is_quick_is_taken_without_waiting(tmp_path: Path) -> None:
    with journalled(tmp_path / "wal", always=False, segment_nbytes=1 << 20) as opened:
        store = opened.store
        store.create(NewVariable("w", value=ONE))
        assert store.try_turn(100)
        seen = []
        other = threading.Thread(target=lambda: seen.append(store.push([Update("w", "assign_add", ONE)]).commit))
        other.start()
        store.push([Update("w", "assign_add", ONE)], blocking=True)
        store.end_turn()
        other.join(30)
        assert store.get("w").value.tolist() == [3, 3]
        assert sorted([*seen, store.commit]) in ([2, 3], [3, 3])
        with journalled(copied(tmp_path / "wal")) as again:
            assert_same(store, again.store)


def test_no_turn_is_quick_that_would_wait(tmp_path: Path) -> None:
    with journalled(tmp_path / "one", always=True) as opened:
        assert not opened.store.try_turn(100)
    now = [0.0]

    class Slow(Disk):
        def write_at(self, file: FileIO, parts: object, offset: int) -> None:
            now[0] += 0.01
            super().write_at(file, parts, offset)  # type: ignore[arg-type]

    with journalled(
        tmp_path / "two", always=False, segment_nbytes=1 << 20, disk=Slow(), monotonic=lambda: now[0]
    ) as opened:
        store, journal = opened.store, opened.journal
        store.create(NewVariable("w", value=ONE))
        assert not store.try_turn(1 << 21), "no room in the segment"
        with journal._turn:
            assert not store.try_turn(100), "somebody is writing"
        assert store.try_turn(100)
        store.push([Update("w", "assign_add", ONE)])
        store.end_turn()
        assert not store.try_turn(100), "the last one was slow"
        now[0] += 0.1
        assert not store.try_turn(100), "it has not been long since"
        now[0] += 0.2
        assert store.try_turn(100)
        store.end_turn()


def test_a_full_disk_in_mid_group_refuses_all_of_it(tmp_path: Path) -> None:
    holding, held, go_on = threading.Event(), threading.Event(), threading.Event()

    class Full(Failing):
        def sync_data(self, file: FileIO) -> None:
            if holding.is_set():
                held.set()
                go_on.wait(30)
            super().sync_data(file)

    disk = Full()
    with journalled(tmp_path / "wal", disk=disk) as opened:
        store, journal = opened.store, opened.journal
        for number in range(8):
            store.create(NewVariable(f"w{number}", value=ONE))
        holding.set()
        fates: dict[int, str] = {}

        def push(number: int) -> None:
            try:
                store.push([Update(f"w{number}", "assign_add", ONE)])
                fates[number] = "applied"
            except e.DiskFull:
                fates[number] = "refused"

        writers = [threading.Thread(target=push, args=(number,)) for number in range(8)]
        writers[0].start()
        assert held.wait(30)
        for writer in writers[1:]:
            writer.start()
        while len(journal._waiting) < 7:
            threading.Event().wait(0.001)
        # The first is on its way already; the write of the seven behind it finds the disk full.
        disk.method = "write_at_half"
        holding.clear()
        go_on.set()
        for writer in writers:
            writer.join(30)
        refused = [number for number, fate in fates.items() if fate == "refused"]
        assert len(refused) >= 6
        for number in range(8):
            assert store.get(f"w{number}").value.tolist() == ([1, 1] if number in refused else [2, 2])
        with journalled(copied(tmp_path / "wal")) as again:
            assert_same(store, again.store)
        store.push([Update("w1", "assign_add", ONE)])
