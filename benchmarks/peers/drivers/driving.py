"""What every contestant's process does: take commands from its standard input, one JSON a line, and answer each with one.

Runs in the contestants' own environments: it knows the standard library and numpy. A module has `serve(options)`, which starts
a server, gives its address to `ready`, and returns when standard input ends; and a class `Worker`, made with that address and
the worker's number, whose methods are one logical step each:

    begin(shapes, creates)   variables of zeros, float32, of these shapes; one of the workers `creates` them. Before it, `case` is
                             set to a number that is no other case's
    push()                   ones are added to all of them, at the server
    pull()                   all of them, as they are at the server: arrays of the worker's own
    end(deletes)             the variables go
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Shapes = list[tuple[int, ...]]


def main(serve: Callable[[dict[str, Any]], None], worker: Callable[[str, int, dict[str, Any]], Any]) -> None:
    """Be the server, or a worker, as the first argument says; the second holds the options."""
    # Libraries print what they like; only answers may go where answers are read.
    global _answers
    _answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    options = json.loads(sys.argv[2])
    if sys.argv[1] == "serve":
        serve(options)
        return
    subject = worker(options["address"], options["number"], options)
    ready("")
    for line in sys.stdin:
        command = json.loads(line)
        _answer(_done(subject, **command))
    if hasattr(subject, "close"):
        subject.close()


def ready(address: str) -> None:
    """Tell where the server listens."""
    _answer({"address": address})


def until_told() -> None:
    """Return when nobody needs this process any more."""
    sys.stdin.read()


def numbered(shapes: Shapes) -> list[str]:
    """A name for each variable."""
    return [f"peers/v{index:03}" for index in range(len(shapes))]


def _done(subject: Any, do: str, **fields: Any) -> dict[str, Any]:
    if do == "begin":
        subject.case = fields["case"]
        subject.begin([tuple(shape) for shape in fields["shapes"]], fields["creates"])
        return {}
    if do == "end":
        subject.end(fields["deletes"])
        return {}
    if do == "check":
        # Sums of ones are exact in float32.
        pulled = subject.pull()
        wrong = sum(int(np.count_nonzero(np.asarray(array) != fields["wanted"])) for array in pulled)
        return {"wrong": wrong, "elements": sum(int(np.asarray(array).size) for array in pulled)}
    action = getattr(subject, do)
    began = time.perf_counter()
    for _ in range(fields["calls"]):
        action()
    return {"seconds": time.perf_counter() - began}


def _answer(answer: dict[str, Any]) -> None:
    _answers.write(json.dumps(answer) + "\n")
    _answers.flush()
