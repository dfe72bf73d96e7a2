from __future__ import annotations

from faults import drains


def test_no_request_fails_when_a_server_is_stopped_and_another_takes_its_place() -> None:
    outcome = drains.run(seed=1, count=4)
    assert outcome.wrong == ()


def test_a_start_brings_back_all_of_the_state() -> None:
    assert drains.run_starts(seed=1, count=20).wrong == ()
