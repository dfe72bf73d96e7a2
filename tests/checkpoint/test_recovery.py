"""What a start brings back: after a clean shutdown, after a crash at any step, and from a damaged directory."""

from __future__ import annotations

import errno
import json
import shutil
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from paramserver.checkpoint import (
    CheckpointCorrupt,
    CheckpointError,
    CheckpointTooNew,
    DataDirInUse,
    Disk,
    DiskFull,
    StartReport,
)
from paramserver.checkpoint.catalogue import LISTING, decode_listing
from paramserver.checkpoint.data_dir import CLEAN, IDENTITY
from paramserver.checkpoint.format import FORMAT_VERSION, MANIFEST
from paramserver.checkpoint.shards import MODEL
from paramserver.store import NewVariable, Selection
from paramserver.store.requests import Digest, Replay
from support.checkpoints import assert_same, cut, opened, put, rich_store, store_with, value_of
from support.disks import FailingDisk, PowerCut, PowerCutDisk
from support.stores import seeded_store


def checkpoints(directory: Path) -> Path:
    return directory / "checkpoints"


def started(directory: Path, **options: Any) -> tuple[StartReport, Any]:
    """Start on a directory, look, and let go of it without a word."""
    store = seeded_store(99)
    manager = opened(directory, store, **options)
    report = manager.start()
    manager.close(final=False)
    return report, store


def of(directory: Path, id: str, file: str) -> Path:
    """A file of the checkpoint of that id."""
    for manifest in checkpoints(directory).glob(f"*/{MANIFEST}"):
        if f'"id": "{id}"' in manifest.read_text():
            return manifest.parent / file
    raise AssertionError(f"no checkpoint {id}")


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def test_an_empty_start(tmp_path: Path) -> None:
    report, store = started(tmp_path / "new" / "data")
    assert (report.checkpoint, report.commit, report.variables, store.commit) == (None, 0, 0, 0)
    assert str(report) == "started empty: there is no checkpoint yet"
    assert (tmp_path / "new" / "data" / IDENTITY).read_text().startswith('{"format_version": 1,')


def test_a_server_that_never_wrote_leaves_no_checkpoint(tmp_path: Path) -> None:
    with opened(tmp_path / "data") as manager:
        assert manager.list() == []
    assert list(checkpoints(tmp_path / "data").iterdir()) == []


def test_a_clean_shutdown_brings_everything_back(tmp_path: Path) -> None:
    store = rich_store()
    with opened(tmp_path / "data", store):
        pass
    report, again = started(tmp_path / "data")
    assert_same(cut(again), cut(store))
    assert report.clean
    assert report.checkpoint == f"auto-{store.commit}"
    assert (report.commit, report.variables) == (store.commit, len(store.names()))
    assert "after a clean shutdown" in str(report)
    assert again.requests.claim("client-a-1", Digest(10, 20)) == Replay([200, {"commit": store.commit}], store.commit)
    again.create(NewVariable("next", shape=(1,)))
    assert again.commit == store.commit + 1


def test_after_a_crash_incarnations_are_new(tmp_path: Path) -> None:
    store = rich_store()
    manager = opened(tmp_path / "data", store)
    manager.start()
    manager.save("m")
    kept = cut(store)
    put_float32(store)
    manager.close(final=False)
    report, again = started(tmp_path / "data")
    assert not report.clean
    assert "is lost" in str(report)
    assert_same(cut(again), kept, incarnations=False)


def put_float32(store: Any) -> None:
    store.create(NewVariable("lost", shape=(2,)), initialize=True)


def test_the_clean_mark_is_good_for_one_start(tmp_path: Path) -> None:
    with opened(tmp_path / "data", store_with(w=1)):
        pass
    assert (tmp_path / "data" / CLEAN).exists()
    assert started(tmp_path / "data")[0].clean
    assert not (tmp_path / "data" / CLEAN).exists()
    assert not started(tmp_path / "data")[0].clean


def test_an_unclean_start_cannot_end_in_a_clean_mark_for_the_old_checkpoint(tmp_path: Path) -> None:
    """Tags of the lost run must never look unchanged: what was restored with new incarnations is saved with them."""
    with opened(tmp_path / "data", store_with(w=1)) as manager:
        manager.save("m")
    (tmp_path / "data" / CLEAN).unlink()
    store = seeded_store(3)
    with opened(tmp_path / "data", store) as manager:
        tag = store.get("w").tag
    report, again = started(tmp_path / "data")
    assert report.clean
    assert report.checkpoint != "m"
    assert again.get("w").tag == tag


def test_a_mark_that_cannot_be_made_costs_new_incarnations_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FailingDisk(for_ever=True)
    with opened(tmp_path / "data", store_with(w=1), disk=disk) as manager:
        manager.save("m")
        disk.steps, disk.first = 0, 1
    assert "could not be marked" in caplog.text
    report, store = started(tmp_path / "data")
    assert (report.checkpoint, report.clean, value_of(store)) == ("m", False, 1)


def test_a_final_save_that_fails_is_told_and_lets_the_directory_go(tmp_path: Path) -> None:
    disk = FailingDisk(for_ever=True)
    manager = opened(tmp_path / "data", store_with(w=1), disk=disk)
    manager.start()
    disk.steps, disk.first = 0, 1
    with pytest.raises(DiskFull):
        manager.close()
    manager.close()
    assert started(tmp_path / "data")[0].checkpoint is None


def test_a_clean_start_without_writes_needs_no_new_checkpoint(tmp_path: Path) -> None:
    with opened(tmp_path / "data", store_with(w=1)) as manager:
        manager.save("m")
    with opened(tmp_path / "data") as manager:
        assert [info["id"] for info in manager.list()] == ["m"]
    assert started(tmp_path / "data")[0].clean


def test_a_last_word_that_was_deleted_is_said_again(tmp_path: Path) -> None:
    with opened(tmp_path / "data", store_with(w=1)) as manager:
        manager.save("m")
        manager.delete("m")
    report, store = started(tmp_path / "data")
    assert report.clean
    assert value_of(store) == 1


def test_partial_ones_are_no_recovery_points(tmp_path: Path) -> None:
    store = store_with(w=1, b=2)
    manager = opened(tmp_path / "data", store)
    manager.start()
    manager.save("full")
    put(store, "w", 5)
    manager.save("part", names=["w"])
    manager.close(final=False)
    report, again = started(tmp_path / "data")
    assert report.checkpoint == "full"
    assert value_of(again) == 1


def test_another_servers_checkpoint_is_no_recovery_point(tmp_path: Path) -> None:
    with opened(tmp_path / "a", store_with(w=1)) as manager:
        manager.save("theirs")
    with opened(tmp_path / "b", store_with(w=2), entropy=lambda count: b"\x05" * count) as manager:
        manager.save("ours")
    theirs = of(tmp_path / "a", "theirs", "").resolve()
    shutil.copytree(theirs, checkpoints(tmp_path / "b") / "theirs.0123ab")
    store = seeded_store()
    with opened(tmp_path / "b", store) as manager:
        assert value_of(store) == 2
        assert {info["id"] for info in manager.list()} == {"ours", "theirs"}
        manager.restore("theirs")
        assert value_of(store) == 1


def test_only_another_servers_checkpoints_start_empty_and_say_so(tmp_path: Path) -> None:
    with opened(tmp_path / "a", store_with(w=1)) as manager:
        manager.save("theirs")
    started(tmp_path / "b", entropy=lambda count: b"\x05" * count)
    shutil.copytree(of(tmp_path / "a", "theirs", ""), checkpoints(tmp_path / "b") / "theirs.0123ab")
    report, store = started(tmp_path / "b")
    assert report.checkpoint is None
    assert report.skipped == (("theirs", "another server wrote it; restore it by request if it is wanted"),)
    assert store.commit == 0


def test_a_second_server_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "data", store_with(w=1)) as manager:
        with pytest.raises(DataDirInUse, match="used by another server"):
            opened(tmp_path / "data").start()
        manager.save("m")
    assert started(tmp_path / "data")[0].checkpoint == "m"


# ---------------------------------------------------------------- damage


def two_full(directory: Path) -> None:
    """Checkpoints "old" (w=1) and "new" (w=2) of a server that crashed."""
    store = store_with(w=1)
    manager = opened(directory, store)
    manager.start()
    manager.save("old")
    put(store, "w", 2)
    manager.save("new")
    manager.close(final=False)


@pytest.mark.parametrize("file", [MODEL, MANIFEST])
def test_a_damaged_newest_one_is_skipped_and_named(tmp_path: Path, file: str) -> None:
    two_full(tmp_path / "data")
    damage(of(tmp_path / "data", "new", file))
    report, store = started(tmp_path / "data")
    assert report.checkpoint == "old"
    assert [id for id, _ in report.skipped] == ["new"]
    assert file in report.skipped[0][1]
    assert "skipped 'new'" in str(report)
    assert value_of(store) == 1


def test_a_damaged_one_stays_listed_refuses_and_can_be_deleted(tmp_path: Path) -> None:
    two_full(tmp_path / "data")
    damage(of(tmp_path / "data", "new", MANIFEST))
    with opened(tmp_path / "data") as manager:
        info = manager.get("latest")
        assert (info["id"], info["state"]) == ("new", "damaged")
        with pytest.raises(CheckpointCorrupt, match=r"manifest\.json is damaged"):
            manager.restore("new")
        manager.delete("new")
        assert manager.get("latest")["id"] != "new"


def test_a_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    two_full(tmp_path / "data")
    shutil.rmtree(of(tmp_path / "data", "new", ""))
    report, _ = started(tmp_path / "data")
    assert report.checkpoint == "old"
    assert report.skipped == (("new", "its directory is gone"),)


def test_no_sound_checkpoint_at_all_is_no_empty_start(tmp_path: Path) -> None:
    two_full(tmp_path / "data")
    for id in ("old", "new"):
        damage(of(tmp_path / "data", id, MODEL))
    with pytest.raises(CheckpointCorrupt, match=r"no full checkpoint .* is sound \('new': .*'old': "):
        started(tmp_path / "data")
    assert len(list(checkpoints(tmp_path / "data").glob("*/*"))) == 4
    with pytest.raises(CheckpointCorrupt):
        started(tmp_path / "data")


def test_a_newer_format_keeps_the_server_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_full(tmp_path / "data")
    monkeypatch.setattr("paramserver.checkpoint.format.FORMAT_VERSION", FORMAT_VERSION + 1)
    with opened(tmp_path / "data") as manager:
        manager.save("newer")
    monkeypatch.undo()
    with pytest.raises(CheckpointTooNew, match="newer version"):
        started(tmp_path / "data")


def test_an_unreadable_disk_is_not_taken_for_damage(tmp_path: Path) -> None:
    two_full(tmp_path / "data")

    class Reading(Disk):
        code = errno.EACCES

        def open(self, path: Path) -> FileIO:
            if path.name == MODEL and "new" in path.parent.name:
                raise OSError(self.code, "no")
            return super().open(path)

    with pytest.raises(CheckpointError, match="the disk refused"):
        started(tmp_path / "data", disk=Reading())
    Reading.code = errno.EIO
    assert started(tmp_path / "data", disk=Reading())[0].checkpoint == "old"


def test_the_listing_can_be_lost(tmp_path: Path) -> None:
    two_full(tmp_path / "data")
    listing = checkpoints(tmp_path / "data") / LISTING
    before = json.loads(listing.read_text())["checkpoints"]
    for content in (None, "", "{", "[]", '{"format_version": 1, "checkpoints": [{"id": 3}]}', "[" * 100_000):
        if content is None:
            listing.unlink()
        else:
            listing.write_text(content)
        assert started(tmp_path / "data")[0].checkpoint == "new"
        assert json.loads(listing.read_text())["checkpoints"] == before


def test_a_lost_identity_is_found_again(tmp_path: Path) -> None:
    two_full(tmp_path / "data")
    before = (tmp_path / "data" / IDENTITY).read_text()
    for content in (None, "{", "[1]"):
        (tmp_path / "data" / IDENTITY).unlink()
        if content is not None:
            (tmp_path / "data" / IDENTITY).write_text(content)
        assert started(tmp_path / "data")[0].checkpoint == "new"
        assert (tmp_path / "data" / IDENTITY).read_text() == before


@pytest.mark.parametrize("name", [LISTING, IDENTITY, CLEAN])
def test_any_damaged_byte_of_the_small_files_gives_the_right_values_or_none(tmp_path: Path, name: str) -> None:
    template = tmp_path / "template"
    store = store_with(w=1)
    with opened(template, store) as manager:
        manager.save("old")
        put(store, "w", 2)
    tag = store.get("w").tag
    where = Path("checkpoints") / name if name == LISTING else Path(name)
    content = (template / where).read_bytes()
    for position in range(len(content)):
        data = tmp_path / f"{position}"
        shutil.copytree(template, data)
        bad = bytearray(content)
        bad[position] ^= 1 << position % 8
        (data / where).write_bytes(bad)
        try:
            report, again = started(data)
        except CheckpointTooNew:
            continue
        assert value_of(again) == 2
        assert (again.get("w").tag == tag) is report.clean
        shutil.rmtree(data)


# ---------------------------------------------------------------- leftovers


def test_leftovers_are_swept_and_strangers_left_alone(tmp_path: Path) -> None:
    two_full(tmp_path / "data")
    root = checkpoints(tmp_path / "data")
    for name in ("m.0a1b2c.saving", "m.0a1b2c"):
        (root / name).mkdir()
        (root / name / MODEL).write_bytes(b"half")
    (root / "checkpoint.json.saving").write_text("{")
    shutil.copytree(of(tmp_path / "data", "new", ""), root / "new.ffffff")
    for stranger in ("notes", "m.backup", "readme.txt"):
        (root / stranger).mkdir()
    report, _ = started(tmp_path / "data")
    assert report.swept == ("checkpoint.json.saving", "m.0a1b2c", "m.0a1b2c.saving", "new.ffffff")
    left = {path.name for path in root.iterdir()}
    assert {"notes", "m.backup", "readme.txt"} < left
    assert len(left) == 6
    assert started(tmp_path / "data")[0].swept == ()


def test_a_leftover_that_cannot_be_removed_does_no_harm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    two_full(tmp_path / "data")
    leftover = checkpoints(tmp_path / "data") / "m.0a1b2c.saving"
    (leftover / "inner").mkdir(parents=True)
    report, _ = started(tmp_path / "data")
    assert report.checkpoint == "new"
    assert report.swept == ()
    assert "could not be removed" in caplog.text


def test_a_full_disk_does_not_keep_a_server_from_starting(tmp_path: Path) -> None:
    with opened(tmp_path / "data", store_with(w=1)):
        pass
    disk = FailingDisk()
    original = disk.create

    def no_room(path: Path) -> FileIO:
        original(path).close()
        raise OSError(errno.ENOSPC, "full")

    disk.create = no_room  # type: ignore[method-assign]
    report, store = started(tmp_path / "data", disk=disk)
    assert report.clean
    assert value_of(store) == 1


# ---------------------------------------------------------------- power cuts


def crashed_at(root: Path, last: int, losing: bool) -> tuple[float, str]:
    """A life under a power cut at step `last`: which value was acknowledged last, and how far it came."""
    store = store_with(w=1)
    with opened(root, store) as manager:
        manager.save("m", max_to_keep=1)
    disk = PowerCutDisk(last)
    again = seeded_store(4)
    manager = opened(root, again, disk=disk)
    acknowledged, reached = 1.0, "nothing"
    try:
        manager.start()
        reached = "started"
        put(again, "w", 2)
        manager.save("m", max_to_keep=1)
        acknowledged = 2.0
        put(again, "w", 3)
        manager.save("n", max_to_keep=1)
        acknowledged = 3.0
        put(again, "w", 4)
        manager.close()
        return 4.0, "end"
    except PowerCut:
        # The lock would have gone with the process; nothing of this touches the disk.
        manager._release()
        if losing:
            disk.lose(root)
        return acknowledged, reached


@pytest.mark.parametrize("losing", [False, True], ids=["all reached the disk", "unsynced is lost"])
def test_a_power_cut_at_any_step_loses_nothing_that_was_saved(tmp_path: Path, losing: bool) -> None:
    last, reached = 0, ""
    while reached != "end":
        root = tmp_path / f"{last}"
        acknowledged, reached = crashed_at(root, last, losing)
        decode_listing((checkpoints(root) / LISTING).read_bytes(), f"step {last}")
        report, store = started(root)
        value = value_of(store)
        # What was saved but not yet acknowledged may be there or not; nothing else may.
        assert value in (acknowledged, acknowledged + 1), f"step {last}: {report}"
        # Once it has started it may have told tags of values that are lost: only its own last word is clean.
        assert not report.clean or value == 4 or reached == "nothing", f"step {last}: {report}"
        assert report.skipped == (), f"step {last}: {report}"
        with opened(root, seeded_store(5)) as manager:
            listed = {info["id"] for info in manager.list()}
            names = {path.name for path in checkpoints(root).iterdir()}
            assert len(names) == len(listed) + 1, f"step {last}: {names}"
        shutil.rmtree(root)
        last += 1
    assert last > 40


def test_a_snapshot_taken_before_a_delete_can_be_restored(tmp_path: Path) -> None:
    store = store_with(w=1)
    with opened(tmp_path / "data", store) as manager:
        manager.save("m")
        store.delete(Selection())
    report, again = started(tmp_path / "data")
    assert report.variables == 0
    assert again.names() == []
