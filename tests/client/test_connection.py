from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from paramserver_client.connection import Connection, LostError, NotSentError, SlowError, Waits

ANSWER = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nmuch"
NO_WAITS = Waits()


@pytest.fixture
def ends() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection, and the bare socket at its other end."""
    ours, theirs = socket.socketpair()
    connection = Connection(ours)
    with theirs:
        yield connection, theirs
    connection.close()


def test_an_answer_that_was_there_before_the_connection_broke_is_heard(ends: tuple[Connection, socket.socket]) -> None:
    connection, theirs = ends
    theirs.sendall(ANSWER)
    theirs.close()
    head, body, reusable = connection.exchange("POST", b"head", [memoryview(b"x")], NO_WAITS)
    assert (head.status, bytes(body), reusable) == (413, b"much", False)


def test_one_that_was_not_means_that_nothing_was_sent(ends: tuple[Connection, socket.socket]) -> None:
    connection, theirs = ends
    theirs.close()
    with pytest.raises(NotSentError):
        connection.exchange("POST", b"head", [memoryview(b"x")], NO_WAITS)


def test_a_cut_answer_keeps_its_status(ends: tuple[Connection, socket.socket]) -> None:
    connection, theirs = ends
    theirs.sendall(ANSWER[:-1])
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(LostError, match="got 3") as raised:
        connection.exchange("POST", b"head", [], NO_WAITS)
    assert raised.value.status == 413


def test_a_slow_answer_keeps_its_status(ends: tuple[Connection, socket.socket]) -> None:
    connection, theirs = ends
    theirs.sendall(ANSWER[:-1])
    with pytest.raises(SlowError) as raised:
        connection.exchange("POST", b"head", [], Waits(receive_s=0.01))
    assert (raised.value.status, raised.value.sent) == (413, True)


def test_a_deadline_in_the_past_is_over_at_once(ends: tuple[Connection, socket.socket]) -> None:
    connection, _ = ends
    with pytest.raises(SlowError):
        connection.exchange("GET", b"head", [], Waits(deadline=time.monotonic() - 1))


def test_what_makes_a_connection_stale(ends: tuple[Connection, socket.socket]) -> None:
    connection, theirs = ends
    assert not connection.is_stale()
    theirs.sendall(b"x")
    assert connection.is_stale()
