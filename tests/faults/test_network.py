from __future__ import annotations

import pytest

from faults import network, plants


def test_every_push_is_applied_once() -> None:
    outcome = network.run(seed=1, count=1200)
    assert outcome.wrong == ()
    assert outcome.figures["told applied"] == "1,200"


@pytest.mark.parametrize("plant", ["FORGETS_REQUESTS", "NO_REQUEST_IDS"])
def test_a_server_that_does_a_repeat_twice_is_found(plant: str) -> None:
    assert network.run(seed=2, count=1200, plant=getattr(plants, plant)).wrong
