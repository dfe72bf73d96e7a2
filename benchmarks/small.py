"""Many small calls: operations a second on 1 KB variables, over one connection and over many.

The callers are processes of a few threads each, one connection a thread: a single process would measure its own
interpreter lock. On a machine of few cores they share these with the server, as workers on one machine do.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Final

import numpy as np

from benchmarks.measuring import KB, Result, WrongResultError, figure
from paramserver_client import ParameterClient

NBYTES: Final = KB
CONNECTIONS: Final = 32
THREADS_EACH: Final = 8
OPERATIONS: Final = ("assign_add", "read")


def measure_small(url: str, rounds: int, seconds: float) -> Iterator[Result]:
    """Operations a second; every connection writes to and reads from a variable of its own."""
    names = [f"small/{number}" for number in range(CONNECTIONS)]
    groups = [names[first : first + THREADS_EACH] for first in range(0, CONNECTIONS, THREADS_EACH)]
    with ParameterClient(url) as client, ExitStack() as stack:
        for name in names:
            client.create_variable(name, (NBYTES // 4,), "float32", "zeros", initialize=True)
        callers = [stack.enter_context(_Caller(url, group)) for group in groups]
        rates: dict[tuple[str, int], list[float]] = {(op, count): [] for count in (1, CONNECTIONS) for op in OPERATIONS}
        for number in range(rounds + 1):
            for op, count in list(rates)[:: 1 if number % 2 else -1]:
                rate = _one_round(callers if count > 1 else callers[:1], op, min(count, THREADS_EACH), seconds)
                if number:
                    rates[op, count].append(rate)
        written = {name: count for caller in callers for name, count in caller.written().items()}
        for name, value in client.pull(names).items():
            if not np.all(value == written[name]):
                raise WrongResultError(f"{name}: wanted {written[name]}, once for each assign_add, got {value}")
        client.delete_variables(prefix="small", confirm=True)
    for (op, count), measured in rates.items():
        callers_text = "1 connection" if count == 1 else f"{count} connections"
        yield Result("small calls", f"{op}, {callers_text}", NBYTES, "/s", figure(measured))


def callers_text() -> str:
    """Who the callers of many connections are."""
    return f"{CONNECTIONS // THREADS_EACH} processes of {THREADS_EACH} threads, a connection each"


class _Caller:
    """A process with some connections, which does as it is told through a pipe."""

    def __init__(self, url: str, names: list[str]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_call, args=(theirs, url, names))

    def __enter__(self) -> _Caller:
        self._process.start()
        self.pipe.recv()
        return self

    def __exit__(self, *exception: object) -> None:
        self.pipe.send(None)
        self._process.join(60)
        self.pipe.close()

    def written(self) -> dict[str, int]:
        """How often each variable was added to."""
        self.pipe.send(("written", 0, 0.0))
        written: dict[str, int] = self.pipe.recv()
        return written


def _one_round(callers: list[_Caller], op: str, threads: int, seconds: float) -> float:
    begin = time.time() + 0.05
    for caller in callers:
        caller.pipe.send((op, threads, begin + seconds))
    counts: list[int] = [caller.pipe.recv() for caller in callers]
    return sum(counts) / seconds


def _call(pipe: Connection, url: str, names: list[str]) -> None:
    delta = np.ones(NBYTES // 4, np.float32)
    written = dict.fromkeys(names, 0)

    def repeat(op: str, name: str, end: float) -> int:
        count = 0
        while time.time() < end:
            if op == "read":
                client.read(name)
            else:
                client.assign_add(name, delta)
                written[name] += 1
            count += 1
        return count

    with ParameterClient(url) as client, ThreadPoolExecutor(len(names)) as pool:
        pipe.send("ready")
        while (order := pipe.recv()) is not None:
            op, threads, end = order
            if op == "written":
                pipe.send(written)
            else:
                pipe.send(sum(pool.map(lambda name, op=op, end=end: repeat(op, name, end), names[:threads])))
