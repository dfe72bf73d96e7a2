"""Which checkpoints of a series go, and which are kept for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paramserver.checkpoint import About
from paramserver.checkpoint.catalogue import LISTING, Entry, Summary
from paramserver.checkpoint.retention import Retention, judge
from paramserver.store.errors import InvalidRequest
from support.checkpoints import ManualClock, opened, put, store_with

HOUR_S = 3600.0


def entry(
    id: str, sequence: int, *, hours: float = 0.0, series: str = "s", full: bool = False, server: str = "me"
) -> Entry:
    about = About(id, hours * HOUR_S, full=full, series=series, sequence=sequence, server=server)
    return Entry(id, f"{id}.{sequence:06x}", sequence, Summary(about, sequence, 1, (), ()))


def retired(entries: list[Entry], max_to_keep: int, **more: list[str]) -> list[str]:
    verdict = judge(entries, "s", Retention(max_to_keep), None, server="me", spared=more.get("spared", ()))
    assert verdict.kept == ()
    return [old.id for old in verdict.retired]


def test_the_oldest_of_a_series_go() -> None:
    entries = [entry("c", 3), entry("a", 1), entry("d", 4), entry("b", 2)]
    assert retired(entries, 2) == ["a", "b"]
    assert retired(entries, 4) == []
    assert retired(entries, 0) == []
    assert retired(entries, 1, spared=["b"]) == ["a", "c"]
    assert retired([*entries, entry("x", 9, series="t")], 4) == []
    assert retired([], 1) == []


def test_the_newest_full_one_of_this_server_stays() -> None:
    entries = [entry("old", 1, full=True), entry("full", 2, full=True), entry("p", 3), entry("q", 4)]
    assert retired(entries, 1) == ["old", "p"]
    assert retired([*entries, entry("elsewhere", 5, full=True, series="t")], 1) == ["old", "full", "p"]
    assert retired([*entries, entry("foreign", 5, full=True, server="you")], 1) == ["old", "p", "q"]


def test_a_damaged_one_is_nobodys_to_retire() -> None:
    damaged = Entry("bad", "bad.000001", 1, None, "damaged", "checkpoint_corrupt", "broken")
    assert retired([damaged, entry("a", 2), entry("b", 3)], 1) == ["a"]


def tensorflow(times: list[float], max_to_keep: int, hours: float) -> list[int]:
    """Which saves are left, as TensorFlow 1's Saver decides it: `_MaybeDeleteOldCheckpoints`, in its own words."""
    last: list[tuple[int, float]] = []
    left: set[int] = set()
    next_time = times[0] + hours
    for number, now in enumerate(times):
        last.append((number, now))
        left.add(number)
        while len(last) > max_to_keep:
            oldest = last.pop(0)
            if oldest[1] > next_time:
                next_time += hours
            else:
                left.discard(oldest[0])
    return sorted(left)


@pytest.mark.parametrize("max_to_keep", [1, 3])
@pytest.mark.parametrize("hours", [0.5, 2.0, 3.5])
@pytest.mark.parametrize("step", [0.7, 1.0])
@pytest.mark.parametrize("restarting", [False, True])
def test_as_tensorflow_keeps_them(
    tmp_path: Path, max_to_keep: int, hours: float, step: float, restarting: bool
) -> None:
    now, rule = ManualClock(), {"max_to_keep": max_to_keep, "keep_checkpoint_every_n_hours": hours}
    begin, times = now.now, []
    manager = opened(tmp_path / "data", store_with(w=1), clock=now)
    manager.start()
    for number in range(12):
        times.append((now.now - begin) / HOUR_S)
        # Of a part: the newest full one would stay in any case.
        manager.save(f"m-{number}", names=["w"], series="mine", **rule)
        now.now += step * HOUR_S
        if restarting:
            manager.close(final=False)
            manager = opened(tmp_path / "data", store_with(), clock=now)
            manager.start()
            manager.restore(f"m-{number}")
    left = sorted(int(info["id"].removeprefix("m-")) for info in manager.list())
    manager.close(final=False)
    assert left == tensorflow(times, max_to_keep, hours)


def test_no_hours_keep_all(tmp_path: Path) -> None:
    with opened(tmp_path / "data", store_with(w=1)) as manager:
        for number in range(5):
            manager.save(f"m-{number}", names=["w"], max_to_keep=1, keep_checkpoint_every_n_hours=0.0)
        assert len(manager.list()) == 5


def test_each_series_counts_its_own_hours(tmp_path: Path) -> None:
    now = ManualClock()
    with opened(tmp_path / "data", store_with(w=1), clock=now) as manager:
        for number in range(6):
            for series, hours in (("a", 1.5), ("b", 100.0)):
                manager.save(
                    f"{series}-{number}",
                    names=["w"],
                    series=series,
                    max_to_keep=1,
                    keep_checkpoint_every_n_hours=hours,
                )
            now.now += HOUR_S
        assert sorted(info["id"] for info in manager.list()) == ["a-2", "a-4", "a-5", "b-5"]


def test_other_hours_count_from_the_last_that_was_kept() -> None:
    entries = [entry(str(hours), hours, hours=hours) for hours in (3, 4, 5, 6)]
    slow = judge(entries, "s", Retention(1, 100.0), 0.0, server="me")
    assert ([one.id for one in slow.retired], slow.kept, slow.since) == (["3", "4", "5"], (), 0.0)
    fast = judge(entries, "s", Retention(1, 2.0), 0.0, server="me")
    assert [one.id for one in fast.kept] == ["3", "5"]
    assert fast.since == 4 * HOUR_S


def test_the_servers_rule_holds_for_its_own(tmp_path: Path) -> None:
    now = ManualClock()
    store = store_with(w=1)
    with opened(
        tmp_path / "data", store, clock=now, every_commits=1, max_to_keep=1, keep_checkpoint_every_n_hours=1.5
    ) as manager:
        for number in range(4):
            put(store, "w", number)
            manager._save_automatic()
            now.now += HOUR_S
        kept = [info["created"] for info in manager.list()]
        assert len(kept) == 2


def test_without_the_listing_nothing_is_lost(tmp_path: Path) -> None:
    now, rule = ManualClock(), {"max_to_keep": 1, "keep_checkpoint_every_n_hours": 1.5}
    with opened(tmp_path / "data", store_with(w=1), clock=now) as manager:
        for number in range(5):
            manager.save(f"m-{number}", names=["w"], **rule)
            now.now += HOUR_S
        before = [info["id"] for info in manager.list()]
    (tmp_path / "data" / "checkpoints" / LISTING).unlink()
    with opened(tmp_path / "data", clock=now) as manager:
        assert [info["id"] for info in manager.list() if info["series"] == "default"] == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"keep_checkpoint_every_n_hours": -1.0},
        {"keep_checkpoint_every_n_hours": float("nan")},
        {"keep_checkpoint_every_n_hours": float("inf")},
        {"keep_checkpoint_every_n_hours": True},
        {"keep_checkpoint_every_n_hours": "1"},
        {"shard_nbytes": -1},
        {"shard_nbytes": 1},
        {"shard_nbytes": 1023},
        {"shard_nbytes": 2.0},
        {"shard_nbytes": True},
        {"max_to_keep": -1},
    ],
)
def test_rules_that_make_no_sense(tmp_path: Path, arguments: dict[str, Any]) -> None:
    with opened(tmp_path / "data", store_with(w=1)) as manager:
        with pytest.raises(InvalidRequest, match=next(iter(arguments))):
            manager.save("m", **arguments)
        assert manager.list() == []
