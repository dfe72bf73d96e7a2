"""Writers that push the same two variables in opposite orders, and readers that watch them: what came of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

LEFT, RIGHT = "race/left", "race/right"


class Access(Protocol):
    """One thread's way to the store under test."""

    def push_ones(self, first: str, second: str) -> None: ...

    def pull(self) -> tuple[np.ndarray, int, np.ndarray, int]:
        """The values and versions of LEFT and RIGHT, in one cut."""
        ...


@dataclass
class Verdict:
    """What was seen. `finished` is false when writers were still stuck at the deadline."""

    finished: bool = True
    torn: list[str] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    reads: int = 0
    threads: list[threading.Thread] = field(default_factory=list)


def race(connect: Callable[[], Access], *, writers: int, pushes: int, readers: int, deadline_s: float) -> Verdict:
    """Let them loose behind one barrier and report. Threads that are stuck are left running, as daemons."""
    verdict = Verdict()
    begin = threading.Barrier(writers + readers)
    over = threading.Event()

    def write(number: int) -> None:
        access = connect()
        begin.wait()
        try:
            for _ in range(pushes):
                access.push_ones(*((LEFT, RIGHT) if number % 2 else (RIGHT, LEFT)))
        except BaseException as error:
            verdict.errors.append(error)

    def read() -> None:
        access = connect()
        begin.wait()
        while not over.is_set():
            try:
                left, left_version, right, right_version = access.pull()
            except BaseException as error:
                verdict.errors.append(error)
                return
            verdict.reads += 1
            if left_version != right_version:
                verdict.torn.append(f"half a push: versions {left_version} and {right_version}")
            if left.min() != left.max() or right.min() != right.max():
                verdict.torn.append("a torn array")
            elif left[0] != right[0]:
                verdict.torn.append(f"half a push: values {left[0]} and {right[0]}")

    threads = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(writers)]
    watchers = [threading.Thread(target=read, daemon=True) for _ in range(readers)]
    verdict.threads = threads + watchers
    for thread in verdict.threads:
        thread.start()
    per_thread = deadline_s / writers
    for thread in threads:
        thread.join(per_thread)
    verdict.finished = not any(thread.is_alive() for thread in threads)
    over.set()
    for thread in watchers:
        thread.join(per_thread)
    return verdict
