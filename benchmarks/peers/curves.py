"""How cost grows: with the bytes of one variable, and with the number of variables of the same bytes in all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Final

import numpy as np

from benchmarks.measuring import KB, MB, in_turns, seconds_each
from benchmarks.processes import ServerProcess
from paramserver_client import ParameterClient

SIZES: Final = tuple(KB * 4**power for power in range(11))
COUNTS: Final = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
TOTAL_NBYTES: Final = 40 * MB
_TRIAL_NBYTES: Final = 50 * MB
_ROUNDS: Final = 5

Curve = list[tuple[int, float, float]]
"""What it grows with, and the milliseconds of a push and of a pull."""


def by_bytes(sizes: Sequence[int] = SIZES) -> Curve:
    """One variable of each size."""
    return [_cost(size, [size // 4]) for size in sizes]


def by_count(counts: Sequence[int] = COUNTS, total_nbytes: int = TOTAL_NBYTES) -> Curve:
    """So many variables in one request, `total_nbytes` in all."""
    return [_cost(count, [total_nbytes // 4 // count] * count) for count in counts]


def _cost(what: int, elements: Sequence[int]) -> tuple[int, float, float]:
    deltas = {f"curve/v{index:05}": np.ones(count, np.float32) for index, count in enumerate(elements)}
    out = {name: np.zeros_like(delta) for name, delta in deltas.items()}
    calls = max(1, min(200, _TRIAL_NBYTES // (4 * sum(elements))))
    with ServerProcess() as server, ParameterClient(server.url, timeout_s=300) as client:
        _create(client, deltas)
        trials = {
            "push": partial(seconds_each, partial(client.push, deltas), calls),
            "pull": partial(seconds_each, partial(client.pull, out=out), calls),
        }
        taken = in_turns(trials, _ROUNDS)
    return what, median(taken["push"]) * 1e3, median(taken["pull"]) * 1e3


def _create(client: ParameterClient, deltas: dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]]) -> None:
    for name, delta in deltas.items():
        client.create_variable(name, delta.shape, "float32", "zeros", initialize=True)


def markdown(grown: dict[str, Curve]) -> str:
    """Both curves as tables for the page."""
    lines = []
    for what, title in (("bytes", "bytes of one variable"), ("count", f"variables, {TOTAL_NBYTES // MB} MB in all")):
        lines += ["", f"| {title} | push, ms | pull, ms |", "|---:|---:|---:|"]
        lines += [f"| {number:,} | {push:.3g} | {pull:.3g} |" for number, push, pull in grown[what]]
    return "\n".join(lines).lstrip()
