"""When a server saves by itself."""

from __future__ import annotations

import threading

import pytest

from paramserver.checkpoint.automatic import RETRY_S, Automatic, Covered, is_due


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
