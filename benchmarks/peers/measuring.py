"""One case after the other, everybody in turns, every sum checked."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.bulk import resnet50_shapes
from benchmarks.measuring import KB, MB, WrongResultError
from benchmarks.peers.contestants import OURS, FailedError, Running

STEPS: Final = ("push", "pull")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Case:
    """Variables of these shapes, so many calls a turn, so many rounds. Where it is `afresh`, each turn has processes of its own:
    what all of them keep of 400 MB is more than a small machine has."""

    name: str
    shapes: tuple[tuple[int, ...], ...]
    calls: int
    rounds: int
    afresh: bool = False

    @property
    def nbytes(self) -> int:
        """Of all together, in float32."""
        return 4 * sum(math.prod(shape) for shape in self.shapes)


def _one(name: str, nbytes: int, calls: int, rounds: int) -> Case:
    return Case(name, ((nbytes // 4,),), calls, rounds)


CASES: Final[Sequence[Case]] = (
    _one("1 KB", KB, 200, 5),
    _one("64 KB", 64 * KB, 200, 5),
    _one("1 MB", MB, 50, 5),
    _one("16 MB", 16 * MB, 6, 5),
    _one("100 MB", 100 * MB, 2, 5),
    Case("model, 161 variables, 102 MB", tuple(resnet50_shapes().values()), 2, 5),
    Case("400 MB", ((100_000_000,),), 1, 2, afresh=True),
)

Key = tuple[str, str, int, str]
"""Contestant, case, workers, step."""


class Rates:
    """Bytes a second of every round, by contestant, case, workers and step; and why there are none."""

    def __init__(self) -> None:
        self.of: dict[Key, list[float]] = defaultdict(list)
        self.missing: dict[str, str] = {}

    def median(self, key: Key) -> float | None:
        """The median round's, if there was one."""
        found = self.of.get(key)
        return median(found) if found else None

    def ratio(self, key: Key) -> float | None:
        """To ours in the same rounds, the median of it."""
        found, ours = self.of.get(key), self.of.get((OURS, *key[1:]))
        if not found or not ours:
            return None
        return median(one / other for one, other in zip(found, ours, strict=False))


def measure(
    running: Sequence[Running],
    rates: Rates,
    tell: Callable[[str], None],
    cases: Sequence[Case] = CASES,
    workers: Sequence[int] = (1, 2),
) -> None:
    """All cases with one worker and with two. Who fails is left out from then on, and why is kept. Raises `WrongResultError`
    for a sum that is not exact."""
    for case, count in itertools.product(cases, workers):
        tell(f"{case.name}, {count} worker{'s' if count > 1 else ''}")
        for number in range(case.rounds):
            for each in running[:: 1 if number % 2 else -1]:
                name = each.contestant.name
                if name in rates.missing:
                    continue
                try:
                    with each.afresh() if case.afresh else nullcontext(each) as at_it:
                        found = turn(at_it, case, count)
                    for step, rate in found.items():
                        rates.of[name, case.name, count, step].append(rate)
                except FailedError as error:
                    rates.missing[name] = f"{case.name}: {error}"
                    tell(f"{name} is out: {error}")


def turn(running: Running, case: Case, count: int) -> dict[str, float]:
    """One turn of one contestant: bytes a second, of all workers together, for each step."""
    running.resume()
    try:
        workers, rates, case_number = running.workers[:count], {}, next(_numbers)
        for worker in workers:
            worker.send(do="begin", shapes=case.shapes, creates=worker is workers[0], case=case_number)
            worker.receive()
        for step in STEPS:
            for calls in (1, case.calls):
                for worker in workers:
                    worker.send(do=step, calls=calls)
                slowest_s = max(worker.receive()["seconds"] for worker in workers)
            rates[step] = count * case.calls * case.nbytes / slowest_s
        _check(running, case, wanted=count * (1 + case.calls))
        for worker in reversed(workers):
            worker.send(do="end", deletes=worker is workers[0])
            worker.receive()
    finally:
        running.pause()
    return rates


def _check(running: Running, case: Case, wanted: int) -> None:
    running.workers[0].send(do="check", wanted=wanted)
    told = running.workers[0].receive()
    if told["wrong"] or told["elements"] != case.nbytes // 4:
        raise WrongResultError(
            f"{running.contestant.name}, {case.name}: wanted {case.nbytes // 4} elements of {wanted}, got {told['wrong']} others "
            f"among {told['elements']}"
        )
