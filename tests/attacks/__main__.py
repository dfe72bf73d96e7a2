"""`python -m attacks`: every attack in its long form, a table, and the table in docs/reliability.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attacks import fuzz, fuzz_http, hostile, matrix, soak
from faults.outcome import Run
from support.figures import run_all

# All of it takes less than half an hour on two cores.
LONG: Final[Sequence[tuple[Run, int]]] = (
    (matrix.run, 0),
    (hostile.run, 500),
    (fuzz.run, 1_000_000),
    (fuzz_http.run, 100_000),
    (soak.run, 10_000_000),
)

if __name__ == "__main__":
    raise SystemExit(run_all("attacks", LONG, __doc__))
