"""The request-id table: windows, repeats, joins, and its life in a checkpoint."""

from __future__ import annotations

import threading

import pytest

from paramserver.store import Claim, Digest, Replay, RequestLog, Running
from paramserver.store import errors as e
from paramserver.store.requests import outcome, split_request_id

BODY = Digest(10, 99)
OTHER = Digest(10, 98)


def do(log: RequestLog, request_id: str, commit: int = 1, answer: object = "done", digest: Digest = BODY) -> None:
    claim = log.claim(request_id, digest)
    assert isinstance(claim, Claim)
    log.finish(claim, commit, answer)
    log.announce(claim)


@pytest.mark.parametrize(
    ("request_id", "split"),
    [
        ("w-1", ("w", 1)),
        ("a-b-12", ("a-b", 12)),
        ("plain", ("plain", 1)),
        ("a-b", ("a-b", 1)),
        ("-5", ("-5", 1)),
        ("w-", ("w-", 1)),
        ("w-1x", ("w-1x", 1)),
        ("w-" + "9" * 19, ("w-" + "9" * 19, 1)),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c330x", ("3f2504e0-4f89-11d3-9a0c-0305e82c330x", 1)),
    ],
)
def test_ids_split_at_the_last_dash(request_id: str, split: tuple[str, int]) -> None:
    assert split_request_id(request_id) == split


@pytest.mark.parametrize("request_id", ["", "x" * 201, "a\nb", "w-0", "w-000"])
def test_impossible_ids_are_refused(request_id: str) -> None:
    with pytest.raises(e.InvalidRequest):
        RequestLog().claim(request_id, BODY)


def test_a_repeat_gets_the_stored_answer_and_another_body_is_refused() -> None:
    log = RequestLog()
    do(log, "w-1", commit=7, answer={"commit": 7})
    assert log.claim("w-1", BODY) == Replay({"commit": 7}, 7)
    with pytest.raises(e.IdempotencyKeyReused, match="w-1"):
        log.claim("w-1", OTHER)


def test_a_running_request_is_joined_and_shares_its_fate() -> None:
    log = RequestLog()
    claim = log.claim("w-1", BODY)
    assert isinstance(claim, Claim)
    joined = log.claim("w-1", BODY)
    assert joined == Running(claim)
    got: list[Replay] = []
    waiter = threading.Thread(target=lambda: (claim.wait(), got.append(outcome(claim))))
    waiter.start()
    log.finish(claim, 3, "answer")
    log.announce(claim)
    waiter.join()
    assert got == [Replay("answer", 3)]


def test_a_refused_request_is_forgotten_and_its_joiners_get_the_error() -> None:
    log = RequestLog()
    claim = log.claim("w-1", BODY)
    assert isinstance(claim, Claim)
    log.abandon(claim, e.ShapeMismatch("no"))
    claim.wait()
    with pytest.raises(e.ShapeMismatch):
        outcome(claim)
    assert log.rows(10) == ()
    assert isinstance(log.claim("w-1", OTHER), Claim)


def test_the_window_slides_and_what_fell_out_is_too_old() -> None:
    log = RequestLog(window=4)
    for seq in (1, 2, 3, 4, 6):
        do(log, f"w-{seq}")
    with pytest.raises(e.TooOld, match="outcome is unknown"):
        log.claim("w-2", BODY)
    assert isinstance(log.claim("w-3", BODY), Replay)
    assert isinstance(log.claim("w-5", BODY), Claim)


def test_a_jump_far_ahead_empties_the_window() -> None:
    log = RequestLog(window=4)
    do(log, "w-1")
    do(log, "w-1000000000")
    with pytest.raises(e.TooOld):
        log.claim("w-999999996", BODY)
    assert isinstance(log.claim("w-999999997", BODY), Claim)
    assert [len(row["done"]) for row in log.rows(9)] == [1]


def test_an_unknown_client_starts_inside_the_window() -> None:
    log = RequestLog()
    assert isinstance(log.claim("new-1024", BODY), Claim)
    with pytest.raises(e.TooOld, match="new client id"):
        log.claim("other-1025", BODY)


def test_the_client_with_the_oldest_commit_leaves_first() -> None:
    log = RequestLog(max_clients=2)
    do(log, "a-1", commit=1)
    do(log, "b-1", commit=2)
    do(log, "a-2", commit=3)
    do(log, "c-1", commit=4)
    assert sorted(row["client"] for row in log.rows(9)) == ["a", "c"]


def test_whoever_has_most_clients_loses_them_and_nobody_else() -> None:
    log = RequestLog(max_clients=4)

    def claimed(request_id: str, holder: str) -> None:
        claim = log.claim(request_id, BODY, holder)
        assert isinstance(claim, Claim)
        log.finish(claim, 1, request_id)

    claimed("mine-1", "me")
    for index in range(9):
        claimed(f"theirs{index}-1", "they")
    # Of both lives alike: the table of a checkpoint knows the holders.
    for later in (log, RequestLog(max_clients=4)):
        if later is not log:
            later.load(log.rows(1))
        assert isinstance(later.claim("mine-1", BODY, "me"), Replay)
        assert [later.knows(f"theirs{index}-1") for index in range(9)] == [False] * 6 + [True] * 3
    # What others send by its name neither moves its window on nor is told its answers.
    for seq in (1, 2, 100_000):
        with pytest.raises(e.TooOld, match="another token holder"):
            log.claim(f"mine-{seq}", BODY, "they")
    assert isinstance(log.claim("mine-2", BODY, "me"), Claim)


def test_rows_of_a_cut_leave_out_what_came_later_and_never_reopen_the_window() -> None:
    log = RequestLog(window=2)
    do(log, "w-1", commit=1)
    do(log, "w-2", commit=2)
    do(log, "w-3", commit=3)
    rows = log.rows(up_to_commit=2)
    assert rows == ({"client": "w", "floor": 1, "done": [[2, 10, 99, 2, "done"]]},)
    other = RequestLog(window=2)
    other.load(rows)
    assert isinstance(other.claim("w-2", BODY), Replay)
    assert isinstance(other.claim("w-3", BODY), Claim)
    with pytest.raises(e.TooOld):
        other.claim("w-1", BODY)
