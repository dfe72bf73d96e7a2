from __future__ import annotations

import pytest

from faults import kills, plants


def test_a_killed_server_keeps_its_word() -> None:
    outcome = kills.run(seed=1, count=12)
    assert outcome.wrong == ()
    assert outcome.cases == 12


@pytest.mark.parametrize("plant", ["BEFORE_LOGGED", "FORGETS_REQUESTS", "HALF_A_PUSH"])
def test_planted_bugs_are_found(plant: str) -> None:
    assert kills.run(seed=2, count=40, plant=getattr(plants, plant)).wrong
