"""`python -m benchmarks [--quick] [--json]`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.bulk import measure_model, measure_values, resnet50_shapes
from benchmarks.files import measure_files
from benchmarks.graph import measure_graph
from benchmarks.measuring import KB, MB, Result, WrongResultError
from benchmarks.memory import measure_memory
from benchmarks.processes import ServerProcess
from benchmarks.raw import RawPeer
from benchmarks.report import as_json, machine, print_table
from benchmarks.routes import measure_routes
from benchmarks.small import callers_text, measure_small
from paramserver_client import ParameterClient


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    sizes: tuple[int, ...]
    model_divisor: int
    memory_nbytes: int
    file_nbytes: int
    rounds: int
    small_rounds: int
    small_s: float
    listed: int
    graph_steps: int


FULL: Final = Plan(
    (KB, MB, 16 * MB, 100 * MB), 1, 400 * MB, 1000 * MB, rounds=9, small_rounds=3, small_s=1.5, listed=100_000,
    graph_steps=20,
)  # fmt: skip
QUICK: Final = Plan(
    (KB, 64 * KB, MB), 8, 20 * MB, 20 * MB, rounds=3, small_rounds=1, small_s=0.5, listed=2_000, graph_steps=5
)


def main() -> int:
    """Measure, print, and return the exit status: 1 when a value came out wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: seconds, and rough")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    about = {"machine": machine(), "quick": options.quick, "rounds": plan.rounds}
    began = time.monotonic()
    results = []
    try:
        for result in measure(plan):
            # The targets are about large values on a warm machine: a rough run does not judge.
            results.append(replace(result, target=None) if options.quick else result)
            print(f"measured: {result.group}, {result.name}", file=sys.stderr)
    except WrongResultError as error:
        print(f"benchmarks: wrong result: {error}", file=sys.stderr)
        return 1
    took_s = time.monotonic() - began
    if options.json:
        print(as_json(results, {**about, "took_s": took_s}))
        return 0
    notes = [
        f"medians of {plan.rounds} rounds in turns (small calls: {plan.small_rounds}); all sums were exact; "
        f"{took_s:.0f} s in all",
        "local graph: 784-256-10 at batch 128, and the demo's network at 50; the column of raw TCP is numpy written by hand, "
        "or PyTorch on one thread where it is installed",
        f"many connections: {callers_text()}",
        "raw TCP: a blocking socket to a process that adds what it receives to an array in place, and sends that array; "
        "it checks, locks and remembers nothing; beside bytes only moved: the same calls to one that does not even add",
    ]
    print_table(results, about, notes)
    return 0


def measure(plan: Plan) -> Iterator[Result]:
    """All measurements of a plan, one after the other."""
    shapes = resnet50_shapes(plan.model_divisor)
    largest = max(*plan.sizes, 102 * MB + MB)
    with ServerProcess() as server, RawPeer(largest) as raw, ParameterClient(server.url) as client:
        yield from measure_values(client, raw, list(plan.sizes), plan.rounds)
        yield from measure_model(client, raw, shapes, plan.rounds)
        yield from measure_small(server.url, plan.small_rounds, plan.small_s)
        yield from measure_routes(server.url, plan.rounds, plan.listed)
    yield from measure_memory(plan.memory_nbytes)
    yield from measure_files(plan.file_nbytes, plan.rounds)
    yield from measure_graph(plan.rounds, plan.graph_steps)


if __name__ == "__main__":
    sys.exit(main())
