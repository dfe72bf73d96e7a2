from __future__ import annotations

import pytest

from faults import cuts, plants


def test_every_cut_is_even() -> None:
    outcome = cuts.run(seed=1, count=120)
    assert outcome.wrong == ()


@pytest.mark.parametrize("plant", ["HALVES_OF_A_CUT", "HALF_A_PUSH"])
def test_planted_bugs_are_found(plant: str) -> None:
    assert cuts.run(seed=2, count=120, plant=getattr(plants, plant)).wrong
