"""A repeat that comes while the original is on its way to the disk: it is not answered before that is durable.

The disk is held at fdatasync; the original waits there, and a repeat of its request id comes in. If the repeat is answered
now, a power cut could take what somebody was told. Then the disk goes on, or fails, and both have the same fate.
"""

from __future__ import annotations

import errno
import random
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from io import FileIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from faults.outcome import Outcome, main, timed
from paramserver.disk import Disk
from paramserver.engine import Engine
from paramserver.store import Digest
from paramserver_wire.messages import Answer, Message

NAME: Final = "repeats while the original is being written"
PATIENCE_S: Final = 30.0
LOOK_S: Final = 0.02
"""So long a repeat has the time to be answered too early."""

HELD: Final = ("assign_add", "push", "create_variable", "save")


class HeldDisk(Disk):
    """Holds whoever syncs data until it is let go, and then fails them or not."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.go_on = threading.Event()
        self.holds = False
        self.fails = False

    def sync_data(self, file: FileIO) -> None:
        if self.holds:
            self.held.set()
            self.go_on.wait(PATIENCE_S)
            if self.fails:
                raise OSError(errno.EIO, "held, and failed")
        super().sync_data(file)


def run(seed: int, count: int) -> Outcome:
    """Try `count` requests, of several kinds, a quarter of them with a disk that fails in the end."""
    draw = random.Random(seed)
    wrong: list[str] = []
    with timed() as seconds:
        for number in range(count):
            kind, fails = draw.choice(HELD), draw.random() < 0.25
            with tempfile.TemporaryDirectory(prefix="faults-duplicates-") as place:
                found = _case(Path(place), kind, fails)
            wrong += [f"case {number} of seed {seed}, {kind}{', failing' * fails}: {each}" for each in found]
    return Outcome(NAME, count, tuple(wrong), {}, seconds())


def _case(place: Path, kind: str, fails: bool) -> list[str]:
    disk = HeldDisk()
    engine = Engine.open(place / "data", durability="always", checkpoint_every_s=0, min_free_disk_nbytes=0, disk=disk)
    engine.perform(Message("create_variable", {"name": "w", "value": np.zeros(4, np.float32)}))
    message, digest = _message(kind), Digest(7, 7)
    wrong: list[str] = []
    disk.holds, disk.fails = True, fails
    with ThreadPoolExecutor(2) as pool:
        original = pool.submit(engine.perform, message, digest)
        disk.held.wait(PATIENCE_S)
        repeat = pool.submit(engine.perform, message, digest)
        wait([repeat], LOOK_S)
        if repeat.done():
            wrong.append("the repeat was answered before the original was durable")
        if kind == "assign_add" and engine.store.get("w").version != 1:
            wrong.append("it was seen before it was durable")
        disk.go_on.set()
        wait([original, repeat], PATIENCE_S)
        wrong += _fates(original, repeat)
    disk.holds = False
    engine.close()
    return wrong


def _message(kind: str) -> Message:
    value = np.ones(4, np.float32)
    arguments: dict[str, dict[str, Any]] = {
        "assign_add": {"name": "w", "value": value},
        "push": {"updates": [{"name": "w", "op": "assign_add", "value": value}]},
        "create_variable": {"name": "v", "value": value},
        "save": {"id": "m"},
    }
    return Message(kind, arguments[kind], "c-1")


def _fates(original: Future[Answer], repeat: Future[Answer]) -> list[str]:
    """The two have the same answer or the same error, and one of them says that it is a repeat."""
    errors = [type(each.exception()).__name__ if each.exception() else "" for each in (original, repeat)]
    if any(errors):
        return [] if errors[0] == errors[1] or "Draining" in errors else [f"different fates: {errors}"]
    first, second = original.result(), repeat.result()
    if first.body != second.body or first.replayed or not second.replayed:
        return [f"different answers: {first}, {second}"]
    return []


if __name__ == "__main__":
    main(run, 20)
