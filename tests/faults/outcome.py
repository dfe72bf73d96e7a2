"""What a check found, and the command line that every check has."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """`cases` were tried; `wrong` says what was wrong, each with what is needed to see it again. `skipped` says why not."""

    name: str
    cases: int
    wrong: tuple[str, ...]
    figures: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    skipped: str = ""


Run = Callable[[int, int], Outcome]
"""Takes a seed and a count. The same two do the same, as far as threads and disks can be made to."""


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """How many seconds have passed since the beginning."""
    began = time.monotonic()
    yield lambda: time.monotonic() - began


def main(run: Run, count: int) -> None:
    """Run a check as its flags say, print what it found, and exit with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=run.__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=count)
    options = parser.parse_args()
    outcome = run(options.seed, options.count)
    print(f"{outcome.name}: {outcome.cases} cases in {outcome.seconds:.1f} s, {len(outcome.wrong)} wrong")
    if outcome.skipped:
        print(f"skipped: {outcome.skipped}")
    for name, value in outcome.figures.items():
        print(f"  {name}: {value}")
    for each in outcome.wrong[:SHOWN]:
        print(f"  WRONG: {each}")
    raise SystemExit(1 if outcome.wrong else 0)
