"""What durability costs, as the benchmark has it: the same load at each durability, in one run."""

from __future__ import annotations

from typing import Final

from benchmarks.durability import measure_durability
from benchmarks.measuring import MB

from faults.outcome import Outcome, main, timed

NAME: Final = "cost of durability"
SIZES: Final = (1_000, MB, 16 * MB, 100 * MB)


def run(seed: int, count: int) -> Outcome:
    """Measure `count` rounds; what misses its target is wrong."""
    figures = {}
    wrong = []
    with timed() as seconds:
        for result in measure_durability(list(SIZES), count, 6_000 * MB):
            size = "" if result.nbytes is None else f", {result.nbytes:,} bytes"
            value = f"{result.value.median:.3g} {result.unit}"
            ratio = "" if result.ratio is None else f", {result.ratio:.2f} times"
            figures[f"{result.name}{size}"] = value + ratio
            if result.met is False:
                wrong.append(f"{result.name}{size}: {value}{ratio}")
    return Outcome(NAME, count, tuple(wrong), figures, seconds())


if __name__ == "__main__":
    main(run, 5)
