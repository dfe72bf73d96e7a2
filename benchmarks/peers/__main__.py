"""`python -m benchmarks.peers [--quick] [--only NAME ...]`: installs the peers, runs all in turns, prints one table, and writes
docs/performance.md with its pictures (not with --quick or --only)."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.peers import curves, table
from benchmarks.peers.contestants import CONTESTANTS, OURS, FailedError, Running
from benchmarks.peers.installing import PLACE, PLOTS, python_of, versions_of
from benchmarks.peers.measuring import CASES, Rates, measure
from benchmarks.report import machine, write_between


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of the small cases: whether all works")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="only those whose names begin so, and ours")
    options = parser.parse_args()
    wanted = [each for each in CONTESTANTS if each.name == OURS or _is_asked_for(each.name, options.only)]
    cases = [replace(case, rounds=1) for case in CASES if case.nbytes < 5e6] if options.quick else CASES
    began, rates = time.monotonic(), Rates()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {what}", file=sys.stderr, flush=True)

    about = machine()
    with tempfile.TemporaryDirectory(prefix="peers-") as place:
        running = []
        with ExitStack() as stack:
            for contestant in wanted:
                try:
                    python = python_of(contestant.environment)
                    running.append(stack.enter_context(Running(contestant, python, Path(place))))
                except (FailedError, OSError, subprocess.CalledProcessError) as error:
                    rates.missing[contestant.name] = f"it does not start: {error}"
            measure(running, rates, tell, [case for case in cases if not case.afresh])
        # Nobody else is there any more.
        measure(running, rates, tell, [case for case in cases if case.afresh])
    if options.quick or options.only:
        table.print_table(rates, [each.name for each in wanted], cases)
        return 0
    tell("how cost grows")
    grown = {"bytes": curves.by_bytes(), "count": curves.by_count()}
    table.print_table(rates, [each.name for each in wanted])
    _write(rates, about, grown)
    tell(f"{table.PAGE} is written")
    return 0


def _is_asked_for(name: str, only: list[str] | None) -> bool:
    return not only or any(name.startswith(each) for each in only)


def _write(rates: Rates, about: dict[str, object], grown: dict[str, curves.Curve]) -> None:
    environments = dict.fromkeys(each.environment for each in CONTESTANTS)
    versions = [version for each in environments for version in versions_of(each)]
    where = ", ".join(f"{name} {value}" for name, value in about.items())
    told = f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {where}"
    write_between(table.PAGE, "peers", table.markdown(rates, told, versions))
    write_between(table.PAGE, "curves", curves.markdown(grown))
    results = PLACE / "results.json"
    results.write_text(json.dumps(table.as_json(rates, grown), indent=1))
    drawing = Path(__file__).parent / "drivers" / "plotting.py"
    subprocess.run([python_of(PLOTS), drawing, results, table.PAGE.parent / "images"], check=True)


if __name__ == "__main__":
    sys.exit(main())
