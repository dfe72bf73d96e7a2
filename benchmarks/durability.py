"""What durability costs: the same pushes to three servers that differ in `--durability` only, in one run.

The servers have been at work for a while: their journals were shortened by checkpoints and write segments that were
written before, as they do for most of their lives.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.measuring import MB, Result, Target, Trial, WrongResultError, figure, in_turns, seconds_each
from benchmarks.processes import ServerProcess
from paramserver_client import ParameterClient

DURABILITIES: Final = ("none", "everysec", "always")
EVERYSEC: Final = Target("ratio", "at most", 1.3)
CALLERS: Final = 16
_TRIAL_NBYTES: Final = 100 * MB
_MOST_CALLS: Final = 100


def measure_durability(sizes: list[int], rounds: int, warm_nbytes: int) -> Iterator[Result]:
    """`assign_add` of each size at each durability, in ratio to `none`; then how many callers share one fsync."""
    with tempfile.TemporaryDirectory(prefix="paramserver-durability-") as place, ExitStack() as stack:
        clients = {}
        for durability in DURABILITIES:
            data_dir = str(Path(place) / durability)
            server = stack.enter_context(ServerProcess("--data-dir", data_dir, "--durability", durability))
            clients[durability] = stack.enter_context(ParameterClient(server.url))
        for nbytes in sizes:
            yield from _measure_size(clients, nbytes, rounds, warm_nbytes)
        yield from _measure_groups(clients["always"], Path(place))


def _measure_size(clients: dict[str, ParameterClient], nbytes: int, rounds: int, warm_nbytes: int) -> Iterator[Result]:
    name, delta = f"durable/{nbytes}", np.ones(nbytes // 4, np.float32)
    calls = max(1, min(_MOST_CALLS, _TRIAL_NBYTES // nbytes))
    warm = max(2, min(warm_nbytes // nbytes, 20 * _MOST_CALLS))
    for client in clients.values():
        client.create_variable(name, delta.shape, "float32", "zeros", initialize=True)
        for _ in range(warm):
            client.assign_add(name, delta)
    trials: dict[str, Trial] = {
        durability: partial(seconds_each, partial(client.assign_add, name, delta), calls)
        for durability, client in clients.items()
    }
    seconds = in_turns(trials, rounds)
    for client in clients.values():
        if not (client.read(name) == warm + calls * (rounds + 1)).all():
            raise WrongResultError(f"{name}: the sum is not exact")
        client.delete_variable(name)
    base = figure([each * 1e3 for each in seconds["none"]])
    for durability in DURABILITIES[1:]:
        taken = figure([each * 1e3 for each in seconds[durability]])
        # In pairs of one round, so that what the machine does besides hits both.
        ratio = figure([one / other for one, other in zip(seconds[durability], seconds["none"], strict=True)]).median
        target = EVERYSEC if durability == "everysec" and nbytes >= MB else None
        yield Result("durability", f"assign_add, {durability} beside none", nbytes, "ms", taken, base, ratio, target)


def _measure_groups(client: ParameterClient, place: Path) -> Iterator[Result]:
    """Callers of one variable under `always`: how many pushes shared one fsync; and what one alone takes here."""
    client.create_variable("shared", (250,), "float32", "zeros", initialize=True)
    before, began = client.server()["journal"], time.perf_counter()
    delta, calls = np.ones(250, np.float32), 100

    def push() -> None:
        for _ in range(calls):
            client.assign_add("shared", delta)

    threads = [threading.Thread(target=push) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s, after = time.perf_counter() - began, client.server()["journal"]
    if not (client.read("shared") == CALLERS * calls).all():
        raise WrongResultError("shared: the sum is not exact")
    group = (after["records"] - before["records"]) / (after["groups"] - before["groups"])
    yield Result("durability", f"always, {CALLERS} callers: pushes in a group", 1000, "pushes", figure([group]))
    yield Result("durability", f"always, {CALLERS} callers", 1000, "pushes/s", figure([CALLERS * calls / took_s]))
    yield Result("durability", "fdatasync of 1 KB on this disk", 1000, "ms", figure(_fsyncs_ms(place)))


def _fsyncs_ms(place: Path) -> list[float]:
    descriptor = os.open(place / "fsync", os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(descriptor, bytes(MB), 0)
        os.fdatasync(descriptor)
        taken = []
        for number in range(100):
            began = time.perf_counter()
            os.pwrite(descriptor, bytes(1000), number * 1000)
            os.fdatasync(descriptor)
            taken.append((time.perf_counter() - began) * 1e3)
        return taken
    finally:
        os.close(descriptor)
