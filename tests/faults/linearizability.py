"""Histories of concurrent clients over a real socket: is there an order that explains every answer?

A history is a list of operations with the moments of their call and their answer. It is linearizable when they can be put
into one order, each somewhere between its two moments, in which a plain dictionary gives the same answers. The search is
Wing and Gong's with Lowe's memory of (what is done, what the state is): it takes, again and again, an operation that was
called before any other that is left was answered, and goes back where that leads nowhere. Histories are looked at for each
variable by itself, and with pushes and pulls over two variables as one.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

import paramserver_client as ps
from faults.outcome import Outcome, main, timed
from faults.zygote import Zygote

NAME: Final = "linearizability"
CLIENTS: Final = 4
OPERATIONS: Final = 6
BUDGET: Final = 200_000
"""So many steps of the search; a history that takes more is undecided."""

State = tuple[int, ...]
Step = Callable[[State], tuple[State, Any]]


@dataclass(frozen=True, slots=True)
class Event:
    """One operation: when it was called and answered, what it does to a state, and the answer it got.

    `answered` is infinite, and the answer None, when nobody knows whether it was done.
    """

    called: float
    answered: float
    step: Step
    answer: Any
    told: str


def explained(events: Sequence[Event], start: State, budget: int = BUDGET) -> bool | None:
    """Whether one order explains all answers; None when the budget is used up before that is known."""
    events = sorted(events, key=lambda event: event.called)
    certain = sum(1 << at for at, event in enumerate(events) if event.answered < float("inf"))
    seen: set[tuple[int, State]] = set()
    stack: list[tuple[int, State]] = [(0, start)]
    while stack:
        done, state = stack.pop()
        if done & certain == certain:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        budget -= 1
        if budget < 0:
            return None
        left = [at for at in range(len(events)) if not done >> at & 1]
        first_answer = min(events[at].answered for at in left)
        for at in left:
            event = events[at]
            if event.called > first_answer:
                break
            after, answer = event.step(state)
            if event.answered == float("inf") or answer == event.answer:
                stack.append((done | 1 << at, after))
    return False


def run(seed: int, count: int, plant: str = "") -> Outcome:
    """Record and judge `count` histories, half of one variable and half of transactions over two."""
    wrong: list[str] = []
    undecided = operations = 0
    with timed() as seconds, Zygote(plant) as zygote:
        server = zygote.serve("--port", "0")
        clients = [ps.ParameterClient(server.url, timeout_s=20) for _ in range(CLIENTS)]
        for number in range(count):
            names = (f"h{number}/a", f"h{number}/b") if number % 2 else (f"h{number}/a",)
            for name in names:
                clients[0].create_variable(name, value=np.zeros(3, np.int64))
            events = record(clients, names, seed * 1_000_003 + number)
            operations += len(events)
            verdict = explained(events, (0,) * len(names))
            undecided += verdict is None
            if verdict is False:
                wrong.append(f"history {number} of seed {seed}: no order explains {[event.told for event in events]}")
            for name in names:
                clients[0].delete_variable(name)
        for client in clients:
            client.close()
        server.stop()
    if undecided:
        wrong.append(f"{undecided} histories are undecided")
    return Outcome(NAME, count, tuple(wrong), {"operations": f"{operations:,}", "undecided": str(undecided)}, seconds())


def record(clients: Sequence[ps.ParameterClient], names: Sequence[str], seed: int) -> list[Event]:
    """What the clients did at once, each one operation after the other."""
    events: list[Event] = []
    begin = threading.Barrier(len(clients))

    def work(client: ps.ParameterClient, draw: random.Random) -> None:
        begin.wait()
        for _ in range(OPERATIONS):
            event = _perform(client, names, draw)
            events.append(event)

    threads = [
        threading.Thread(target=work, args=(client, random.Random(f"{seed}/{number}")))
        for number, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return events


def _perform(client: ps.ParameterClient, names: Sequence[str], draw: random.Random) -> Event:
    if len(names) > 1:
        kind, by = draw.choice(("add both", "pull", "pull", "swap")), draw.randrange(1, 9)
    else:
        kind, by = draw.choice(("add", "add", "read", "read", "assign")), draw.randrange(1, 9)
    called = time.monotonic()
    answer, step = _KINDS[kind](client, names, by)
    return Event(called, time.monotonic(), step, answer, f"{kind} {by} -> {answer}")


def _one(value: Any) -> int | str:
    """What a variable holds: the number that all of its elements are, or the word for one that is torn."""
    return int(value[0]) if (value == value[0]).all() else f"torn {value.tolist()}"


def _add(client: ps.ParameterClient, names: Sequence[str], by: int) -> tuple[Any, Step]:
    applied = client.push({names[0]: np.full(3, by)}, returns=[names[0]])
    return _one(applied.values[names[0]]), lambda state: ((state[0] + by,), state[0] + by)


def _assign(client: ps.ParameterClient, names: Sequence[str], by: int) -> tuple[Any, Step]:
    client.assign(names[0], np.full(3, by))
    return None, lambda state: ((by,), None)


def _read(client: ps.ParameterClient, names: Sequence[str], by: int) -> tuple[Any, Step]:
    return _one(client.read(names[0])), lambda state: (state, state[0])


def _add_both(client: ps.ParameterClient, names: Sequence[str], by: int) -> tuple[Any, Step]:
    applied = client.push({names[0]: np.full(3, by), names[1]: np.full(3, -by)}, returns=list(names))
    answer = tuple(_one(applied.values[name]) for name in names)
    return answer, lambda state: ((state[0] + by, state[1] - by),) * 2


def _pull(client: ps.ParameterClient, names: Sequence[str], by: int) -> tuple[Any, Step]:
    pulled = client.pull(list(names))
    return tuple(_one(pulled[name]) for name in names), lambda state: (state, state)


def _swap(client: ps.ParameterClient, names: Sequence[str], by: int) -> tuple[Any, Step]:
    client.push({names[0]: np.full(3, by), names[1]: np.full(3, -by)}, op="assign")
    return None, lambda state: ((by, -by), None)


_KINDS: Final = {
    "add": _add,
    "assign": _assign,
    "read": _read,
    "add both": _add_both,
    "pull": _pull,
    "swap": _swap,
}


if __name__ == "__main__":
    main(run, 100)
