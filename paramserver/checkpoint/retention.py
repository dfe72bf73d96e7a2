"""Which checkpoints of a series are to go, and which of them are kept for good, as TensorFlow's Saver has it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from paramserver.checkpoint.catalogue import Entry, newest_first, recovery_points

KEEP_EVERY_N_HOURS: Final = 10_000.0
_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Retention:
    """Of a series the newest `max_to_keep` stay (0: all), and of those beyond one for every so many hours (0: all)."""

    max_to_keep: int = 5
    keep_every_n_hours: float = KEEP_EVERY_N_HOURS


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be deleted, what is kept for good from now on, and from when the next hours count."""

    retired: tuple[Entry, ...]
    kept: tuple[Entry, ...]
    since: float


def judge(
    entries: Iterable[Entry],
    series: str,
    retention: Retention,
    since: float | None,
    *,
    server: str,
    spared: Collection[str] = (),
    spared_points: int = 1,
) -> Verdict:
    """Decide about a series, the oldest checkpoint first.

    One that is due is kept for good when it was saved more than the hours after `since`, which then moves on by them.
    Without a `since` the hours count from the oldest of the series. Never due are the newest `spared_points` full ones of the
    server, of whatever series, and the ids that are `spared`.
    """
    ordered = newest_first(entries)
    points = recovery_points(ordered, server)[:spared_points]
    of_series = [
        entry
        for entry in ordered
        if entry.summary is not None and entry.summary.about.series == series and not entry.kept
    ]
    now_since = _created(of_series[-1]) if since is None and of_series else since or 0.0
    beyond = of_series[retention.max_to_keep :] if retention.max_to_keep else []
    retired: list[Entry] = []
    kept: list[Entry] = []
    hours_s = retention.keep_every_n_hours * _HOUR_S
    for entry in reversed(beyond):
        if entry in points or entry.id in spared:
            continue
        if hours_s == 0 or _created(entry) > now_since + hours_s:
            kept.append(entry)
            now_since += hours_s
        else:
            retired.append(entry)
    return Verdict(tuple(retired), tuple(kept), now_since)


def _created(entry: Entry) -> float:
    assert entry.summary is not None, "damaged ones belong to no series"
    return entry.summary.about.created
