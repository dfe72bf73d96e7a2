from __future__ import annotations

import pytest

from faults import linearizability, plants
from faults.linearizability import Event, explained

INFINITE = float("inf")


def add(called: float, answered: float, by: int, answer: int | None) -> Event:
    return Event(called, answered, lambda state: ((state[0] + by,), state[0] + by), answer, "add")


def read(called: float, answered: float, answer: int) -> Event:
    return Event(called, answered, lambda state: (state, state[0]), answer, "read")


@pytest.mark.parametrize(
    ("events", "verdict"),
    [
        ([add(0, 1, 2, 2), read(2, 3, 2)], True),
        ([add(0, 1, 2, 2), read(2, 3, 0)], False),  # a stale read
        ([add(0, 5, 2, 2), read(1, 2, 0), read(3, 4, 2)], True),
        ([add(0, 5, 2, 2), read(1, 2, 2), read(3, 4, 0)], False),  # seen, and then not
        ([add(0, 3, 1, 1), add(1, 4, 1, 1)], False),  # a lost update
        ([add(0, 1, 1, 1), read(2, 3, 2)], False),  # applied twice
        ([add(0, INFINITE, 1, None), read(2, 3, 1)], True),
        ([add(0, INFINITE, 1, None), read(2, 3, 0)], True),
        ([add(0, INFINITE, 1, None), read(2, 3, 1), read(4, 5, 0)], False),
    ],
)
def test_the_judge_knows_what_an_order_explains(events: list[Event], verdict: bool) -> None:
    assert explained(events, (0,)) is verdict


def test_a_history_that_takes_too_long_is_undecided() -> None:
    events = [*(add(0, INFINITE, 1 << by, None) for by in range(12)), read(20, 21, -1)]
    assert explained(events, (0,), budget=50) is None


def test_histories_of_a_server_are_linearizable() -> None:
    outcome = linearizability.run(seed=1, count=60)
    assert outcome.wrong == ()


@pytest.mark.parametrize("plant", ["LOST_UPDATES", "TORN_READS", "HALVES"])
def test_planted_bugs_are_found(plant: str) -> None:
    assert linearizability.run(seed=2, count=60, plant=getattr(plants, plant)).wrong
