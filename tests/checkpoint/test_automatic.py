"""When a server saves by itself."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from paramserver.checkpoint import Disk
from paramserver.checkpoint.automatic import RETRY_S, Automatic, Covered, is_due
from paramserver.store import NewVariable, Store
from support.checkpoints import ManualClock, opened, put, store_with, value_of, vector
from support.disks import FailingDisk


@pytest.mark.parametrize(
    ("commit", "now", "every_s", "every_commits", "due"),
    [
        (5, 1000.0, 60.0, 1, False),
        (6, 59.0, 60.0, 0, False),
        (6, 60.0, 60.0, 0, True),
        (6, 1e9, 0.0, 0, False),
        (7, 0.0, 0.0, 3, False),
        (8, 0.0, 0.0, 3, True),
        (8, 0.0, 60.0, 3, True),
        (6, 60.0, 60.0, 100, True),
        # A server that came back after a crash counts on from an older commit.
        (3, 60.0, 60.0, 0, True),
    ],
)
def test_by_time_or_commits_when_anything_changed(
    commit: int, now: float, every_s: float, every_commits: int, due: bool
) -> None:
    found = is_due(Covered(5, 0.0), now=now, commit=commit, every_s=every_s, every_commits=every_commits)
    assert found is due


def test_after_a_failure_it_waits() -> None:
    failed = Covered(5, 100.0, failed=True)
    assert not is_due(failed, now=100.0 + RETRY_S - 0.1, commit=9, every_s=1.0, every_commits=1)
    assert is_due(failed, now=100.0 + RETRY_S, commit=9, every_s=1.0, every_commits=1)


def test_the_thread_saves_and_stops() -> None:
    saved = threading.Event()
    commits = iter([0])

    def save() -> bool:
        saved.set()
        return True

    automatic = Automatic(save, lambda: 0.0, 0.0, 1)
    automatic.start(lambda: next(commits, 1))
    assert saved.wait(60)
    automatic.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "paramserver-checkpoints"]


def test_no_thread_when_nothing_is_ever_due() -> None:
    before = threading.active_count()
    automatic = Automatic(lambda: True, lambda: 0.0, 0.0, 0)
    automatic.start(lambda: 0)
    assert threading.active_count() == before
    automatic.stop()


def test_any_failure_is_logged_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> bool:
        raise RuntimeError("a bug")

    automatic = Automatic(broken, lambda: 0.0, 0.0, 1)
    automatic.cover(0)
    assert not automatic.run_if_due(1)
    assert "a bug" in caplog.text


# ---------------------------------------------------------------- a whole manager


@pytest.fixture
def store() -> Store:
    return store_with(w=1, b=2)


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The manager's thread sleeps through the test, which asks itself."""
    monkeypatch.setattr("paramserver.checkpoint.automatic.POLL_S", 3600.0)


@pytest.mark.usefixtures("by_hand")
def test_by_time_when_anything_changed(tmp_path: Path, store: Store) -> None:
    now = ManualClock(0.0)
    with opened(tmp_path / "data", store, every_s=3600.0, monotonic=now, max_to_keep=2) as manager:
        now.now += 3600
        assert not manager.save_if_due()
        for number in range(4):
            put(store, "w", number)
            assert manager.save_if_due()
            put(store, "w", number)
            now.now += 3599
            assert not manager.save_if_due()
            now.now += 1
        assert [info["id"] for info in manager.list()] == [f"auto-{store.commit - 1}", f"auto-{store.commit - 3}"]
        assert manager.get("latest")["series"] == "automatic"
        put(store, "w", 9)
        now.now += 3000
        assert manager.save("mine")["full"]
        now.now += 3000
        assert not manager.save_if_due()


def test_by_commits_from_a_thread_of_its_own(tmp_path: Path, store: Store) -> None:
    saved = threading.Event()

    class Telling(Disk):
        def rename(self, source: Path, target: Path) -> None:
            super().rename(source, target)
            if target.name == "checkpoint.json":
                saved.set()

    with opened(tmp_path / "data", store, every_commits=2, disk=Telling()) as manager:
        put(store, "w", 1)
        assert not manager.save_if_due()
        put(store, "w", 2)
        assert saved.wait(60)
    listing = json.loads((tmp_path / "data" / "checkpoints" / "checkpoint.json").read_text())
    assert len(listing["checkpoints"]) == 1


def test_local_variables_are_in_automatic_ones(tmp_path: Path, store: Store) -> None:
    store.create(NewVariable("counter", value=vector(3), collections=["local_variables"]))
    with opened(tmp_path / "data", store):
        pass
    again = store_with()
    with opened(tmp_path / "data", again):
        assert value_of(again, "counter") == 3


@pytest.mark.usefixtures("by_hand")
def test_a_failing_automatic_save_is_logged_and_tried_again_later(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    now, disk = ManualClock(0.0), FailingDisk()
    with opened(tmp_path / "data", store, every_s=1000.0, monotonic=now, disk=disk) as manager:
        put(store, "w", 3)
        now.now += 1000
        disk.steps, disk.first = 0, 3
        assert not manager.save_if_due()
        assert "the disk is full" in caplog.text
        put(store, "w", 4)
        assert not manager.save_if_due()
        now.now += 1000
        assert manager.save_if_due()
        assert manager.get("latest")["commit"] == store.commit
