from __future__ import annotations

from faults import oracle, plants


def test_the_journal_done_again_in_plain_numpy_is_the_same_to_the_last_bit() -> None:
    outcome = oracle.run(seed=1, count=240)
    assert outcome.wrong == ()
    assert int(outcome.figures["variables"]) > 60


def test_a_step_that_is_off_by_a_bit_is_found() -> None:
    assert oracle.run(seed=2, count=120, plant=plants.OFF_BY_A_BIT).wrong
