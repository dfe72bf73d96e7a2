"""Rounds in turns, and what comes out of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

KB: Final = 1000
MB: Final = 1000 * KB

Trial = Callable[[], float]


class WrongResultError(Exception):
    """A value is not what exact arithmetic says: the figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What the rounds measured: the median one, the lowest, the highest."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Target:
    """What a result should keep to: its `ratio` or its `value`, at least or at most `limit`."""

    of: Literal["ratio", "value"]
    rule: Literal["at least", "at most"]
    limit: float


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the report. `ratio` compares with raw TCP, or with the tensor where memory is measured."""

    group: str
    name: str
    nbytes: int | None
    unit: str
    value: Figure
    raw: Figure | None = None
    ratio: float | None = None
    target: Target | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None without one."""
        if self.target is None:
            return None
        got = self.ratio if self.target.of == "ratio" else self.value.median
        if got is None:
            return None
        return got >= self.target.limit if self.target.rule == "at least" else got <= self.target.limit


def seconds_each(action: Callable[[], object], times: int) -> float:
    """Run `action` so often, and return how long one took."""
    began = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - began) / times


def in_turns(trials: Mapping[str, Trial], rounds: int) -> dict[str, list[float]]:
    """What each trial gave in each round. The order changes from round to round; one more round warms up, uncounted."""
    taken: dict[str, list[float]] = {name: [] for name in trials}
    for number in range(rounds + 1):
        for name in list(trials)[:: 1 if number % 2 else -1]:
            seconds = trials[name]()
            if number:
                taken[name].append(seconds)
    return taken


def figure(values: list[float]) -> Figure:
    """The figure of some measured values."""
    return Figure(median(values), min(values), max(values))


def rates(nbytes: int, seconds: list[float]) -> Figure:
    """GB/s from the seconds that so many bytes took."""
    return figure([nbytes / each / 1e9 for each in seconds])
