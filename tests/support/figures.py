"""Checks in their long form, one after the other: a table for the terminal, and one in docs/reliability.md."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from benchmarks.report import between, write_between
from rich.console import Console
from rich.table import Table

from faults.outcome import SHOWN, Outcome, Run

PAGE: Final = Path(__file__).parents[2] / "docs" / "reliability.md"


def run_all(name: str, runs: Sequence[tuple[Run, int]], about: str | None) -> int:
    """Run what the command line says of `runs`, each with its count, and show it; the exit status. `name` is what the table is
    called, and its marks in the page."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=about)
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="another seed, another run (default: the clock)"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="this share of every count")
    parser.add_argument("--only", action="append", help="a module's name; may be given several times")
    parser.add_argument("--no-write", action="store_true", help="leave docs/reliability.md as it is")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    outcomes = []
    for run, count in runs:
        module = run.__module__.rpartition(".")[2]
        if options.only and module not in options.only:
            continue
        console.print(f"[dim]{datetime.now():%H:%M:%S}[/] {module} ...")
        scaled = 0 if count == 0 else max(1, int(count * options.scale))
        outcomes.append(run(options.seed, scaled))
        for each in outcomes[-1].wrong[:SHOWN]:
            console.print(f"  [red]{each}[/]", highlight=False)
    console.print(shown(name, outcomes, options.seed))
    if not options.no_write:
        write(name, outcomes, options.seed, options.scale)
    return 1 if any(outcome.wrong for outcome in outcomes) else 0


def shown(name: str, outcomes: Sequence[Outcome], seed: int) -> Table:
    """The table for a terminal."""
    table = Table(title=f"{name}, seed {seed}")
    for heading in ("check", "cases", "wrong", "seconds", "figures"):
        table.add_column(heading, justify="right" if heading in ("cases", "wrong", "seconds") else "left")
    for each in outcomes:
        wrong = str(len(each.wrong)) if not each.skipped else "skipped"
        figures = "\n".join(f"{name}: {value}" for name, value in each.figures.items())
        style = "red" if each.wrong else None
        table.add_row(each.name, f"{each.cases:,}", wrong, f"{each.seconds:.0f}", each.skipped or figures, style=style)
    return table


def write(name: str, outcomes: Sequence[Outcome], seed: int, scale: float) -> None:
    """Put the rows of these checks into the page, between its two marks; those of others stay, and say of when they are."""
    kept = between(PAGE.read_text(), name)[1].splitlines()
    rows = {row.split("|")[1].strip(): row for row in kept if row.startswith("| ") and not row.startswith("| check |")}
    share = "" if scale == 1 else f", {scale:g} of the counts"
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M}, seed {seed}{share}"
    for each in outcomes:
        figures = each.skipped or "<br>".join(f"{label}: {value}" for label, value in each.figures.items())
        wrong = "skipped" if each.skipped else str(len(each.wrong))
        rows[each.name] = f"| {each.name} | {each.cases:,} | {wrong} | {each.seconds:.0f} | {figures} | {when} |"
    lines = [
        f"On {machine()}; times are UTC.",
        "",
        "| check | cases | wrong | seconds | figures | ended |",
        "|---|---:|---:|---:|---|---|",
        *rows.values(),
    ]
    write_between(PAGE, name, "\n".join(lines))


def machine() -> str:
    """What it ran on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    file_system = next(
        (line.split()[2] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[1] == "/"), "unknown"
    )
    return (
        f"{os.cpu_count()} cores of {cpu}, Linux {platform.release()}, {file_system}, Python {platform.python_version()}, "
        f"numpy {np.__version__}"
    )
