"""`python -m faults`: every check in its long form, a table, and the table in docs/reliability.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from faults import (
    cost,
    cuts,
    damage,
    disk,
    drains,
    duplicates,
    kills,
    linearizability,
    network,
    oracle,
    powercut,
    syscalls,
)
from faults.outcome import Run
from support.figures import run_all

# The long forms: all of it takes less than an hour on two cores.
LONG: Final[Sequence[tuple[Run, int]]] = (
    (kills.run, 1_000),
    (syscalls.run, 0),
    (powercut.run, 50),
    (disk.run, 10),
    (damage.run, 100_000),
    (network.run, 50_000),
    (duplicates.run, 500),
    (linearizability.run, 2_000),
    (cuts.run, 2_000),
    (oracle.run, 5_000),
    (drains.run, 50),
    (drains.run_starts, 1_000),
    (cost.run, 9),
)


if __name__ == "__main__":
    raise SystemExit(run_all("faults", LONG, __doc__))
