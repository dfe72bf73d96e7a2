from __future__ import annotations

import pytest

from paramserver_client import errors, retry


@pytest.mark.parametrize(("tries", "ceiling_s"), [(1, 0.1), (2, 0.2), (5, 1.6), (6, 2.0), (100_000, 2.0)])
def test_the_wait_is_drawn_below_a_growing_ceiling(tries: int, ceiling_s: float) -> None:
    assert retry.delay_s(tries, 0, 0.0) == 0
    assert retry.delay_s(tries, 0, 0.5) == pytest.approx(ceiling_s / 2)


def test_the_server_is_given_the_time_it_asked_for() -> None:
    assert retry.delay_s(1, 3.0, 0.0) == 3.0
    assert retry.delay_s(1, 3.0, 0.5) == pytest.approx(3.05)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, 0), ("", 0), ("2", 2), ("120", 120), ("-1", 0), ("1.5", 0), ("²", 0), ("9" * 7, 0), ("Tue, 24 Nov", 0)],
)
def test_retry_after(value: str | None, seconds: float) -> None:
    assert retry.parse_retry_after(value) == seconds


def test_a_refusal_does_not_undo_a_maybe() -> None:
    assert retry.joined("not applied", "not applied") == "not applied"
    assert retry.joined("unknown", "not applied") == "unknown"
    assert retry.joined("unknown", "applied") == "applied"
    assert retry.joined("applied", "unknown") == "applied"


def test_a_refusal_for_good_is_raised_as_it_is() -> None:
    refused = errors.ShapeMismatchError("no")
    assert retry.final_error(retry.Failure(refused, False), "unknown", 1.0) is refused


def test_too_old_on_a_first_try_is_itself() -> None:
    too_old = errors.TooOldError("gone")
    assert retry.final_error(retry.Failure(too_old, False), "not applied", 1.0) is too_old


def test_too_old_after_a_lost_answer_leaves_the_outcome_unknown() -> None:
    too_old = errors.TooOldError("gone", status=409, request_id="a-1")
    final = retry.final_error(retry.Failure(too_old, False), "unknown", 1.0)
    assert isinstance(final, errors.OutcomeUnknownError)
    assert (final.outcome, final.request_id, final.status) == ("unknown", "a-1", 409)


def test_out_of_time_after_refusals_is_the_last_refusal() -> None:
    draining = errors.DrainingError("later")
    assert retry.final_error(retry.Failure(draining, True), "not applied", 1.0) is draining


def test_out_of_time_after_a_lost_answer_leaves_the_outcome_unknown() -> None:
    lost = errors.UnreachableError("lost", request_id="a-1", outcome="unknown")
    final = retry.final_error(retry.Failure(lost, True), "unknown", 1.0)
    assert isinstance(final, errors.OutcomeUnknownError)
    assert final.outcome == "unknown"
    assert "read the variables" in final.detail


def test_out_of_time_after_a_cut_answer_says_applied() -> None:
    cut = errors.UnreachableError("cut", outcome="applied")
    final = retry.final_error(retry.Failure(cut, True), "applied", 1.0)
    assert isinstance(final, errors.DeadlineExceededError)
    assert final.outcome == "applied"
