"""When to try again, how long to wait, and what to say in the end. Decisions only: no clock, no network.

A write is repeated with the same request id and the same bytes, so that a server which did it before answers again
instead of doing it twice. What is known of a write's fate is carried from try to try: the end of a call says which of
"not applied", "applied" and "unknown" it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from paramserver_client.errors import (
    DeadlineExceededError,
    Outcome,
    OutcomeUnknownError,
    ParameterServerError,
    TooOldError,
)

# Full jitter (a uniform draw below a growing ceiling) spreads the workers that lost one server at one moment.
FIRST_CEILING_S: Final = 0.1
LAST_CEILING_S: Final = 2.0

RETRIED_STATUSES: Final = frozenset({429, 502, 503, 504})

_WEIGHT: Final[dict[Outcome, int]] = {"not applied": 0, "unknown": 1, "applied": 2}


@dataclass(frozen=True, slots=True)
class Failure:
    """One try that failed: its `error` (whose `outcome` says what this try may have done), whether another try makes
    sense, and how long the server asked to wait."""

    error: ParameterServerError
    again: bool
    retry_after_s: float = 0.0


def delay_s(tries: int, retry_after_s: float, draw: float) -> float:
    """Seconds to wait after `tries` failed ones; `draw` is uniform in [0, 1)."""
    ceiling_s = min(LAST_CEILING_S, FIRST_CEILING_S * 2.0 ** min(tries - 1, 16))
    return retry_after_s + draw * ceiling_s


def parse_retry_after(value: str | None) -> float:
    """Seconds in a `Retry-After` header; 0 for none, and for a date, which needs a clock that agrees."""
    return float(value) if value and value.isascii() and value.isdigit() and len(value) <= 6 else 0.0


def joined(known: Outcome, new: Outcome) -> Outcome:
    """What is known of a write after one more try: a later refusal does not undo an earlier maybe."""
    return max(known, new, key=_WEIGHT.__getitem__)


def final_error(failure: Failure, known: Outcome, timeout_s: float) -> ParameterServerError:
    """The error that ends a call, given what its earlier tries and this one may have done.

    A failure that is worth another try gets here only when no time is left for one.
    """
    error = failure.error
    if not failure.again:
        return _too_old(error) if isinstance(error, TooOldError) and known != "not applied" else error
    if known == "not applied":
        return error
    if known == "applied":
        return DeadlineExceededError(
            f"Wanted the whole answer within {timeout_s:g} s, got only its beginning: {error.detail} "
            "The write was applied; read the variables to see what they are now.",
            status=error.status,
            request_id=error.request_id,
            outcome="applied",
        )
    return OutcomeUnknownError(
        f"Wanted to know within {timeout_s:g} s whether the write was applied, got no answer: {error.detail} "
        "It may or may not have been applied; read the variables before you send it again.",
        status=error.status,
        request_id=error.request_id,
    )


def _too_old(error: ParameterServerError) -> OutcomeUnknownError:
    return OutcomeUnknownError(
        f"Wanted the answer to a write that was sent before, got: {error.detail} "
        "The server no longer knows whether it was applied; read the variables before you send it again.",
        status=error.status,
        request_id=error.request_id,
    )
