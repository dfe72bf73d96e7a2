"""Heads without end: many headers, long ones, one that never ends, long paths and queries, headers behind the body
(CWE-770; Node.js, CVE-2018-12121; trailers: RFC 9112 7.1.2)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator

import pytest

from support.raw_http import Reply, read_reply
from support.server import Server

START = b"GET /v1/server HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = (
    b"POST /v1/variables:pull HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
)
PIECE = b"x" * 4096
ENOUGH = 10_000  # pieces: 40 MB


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server takes all of it."""
    with Server() as server:
        yield server


def endless(piece: bytes) -> Iterable[bytes]:
    return (piece for _ in range(ENOUGH))


FLOODS: dict[str, tuple[bytes, Callable[[], Iterable[bytes]]]] = {
    "many headers": (START, lambda: (f"X-{n}: 1\r\n".encode() for n in range(ENOUGH * 100))),
    "long headers": (START, lambda: endless(b"X: " + PIECE + b"\r\n")),
    "a value without end": (START + b"X: ", lambda: endless(PIECE)),
    "a name without end": (START, lambda: endless(PIECE)),
    "a path without end": (b"GET /", lambda: endless(PIECE)),
    "a query without end": (b"GET /v1/variables?prefix=", lambda: endless(PIECE)),
    "headers behind the body": (CHUNKED, lambda: endless(b"X: " + PIECE + b"\r\n")),
    "a value behind the body without end": (CHUNKED + b"X: ", lambda: endless(PIECE)),
    "a chunk extension without end": (CHUNKED[:-3] + b"2;x=", lambda: endless(PIECE)),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_it_is_cut_off_early(server: Server, flood: str) -> None:
    start, pieces = FLOODS[flood]
    sent, reply = 0, None
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=30) as connection:
        try:
            connection.sendall(start)
            for piece in pieces():
                connection.sendall(piece)
                sent += len(piece)
        except OSError:
            reply = told(connection)
    # What lay in the socket's buffers on both sides is counted as sent.
    assert sent < 20_000_000
    assert reply is None or reply.status in (400, 431), reply
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=30) as connection:
        connection.sendall(START + b"\r\n")
        assert read_reply(connection).status == 200


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (START + b"X: 1\r\n" * 100 + b"\r\n", "at most 100 headers"),
        (START + b"X: " + b"x" * 17_000 + b"\r\n\r\n", "at most 16384 bytes"),
        (b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", "at most 16384 bytes"),
        (b"GET /v1/server?" + b"x" * 17_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", "at most 16384 bytes"),
    ],
)
def test_it_is_told_why(server: Server, message: bytes, words: str) -> None:
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=30) as connection:
        connection.sendall(message)
        reply = read_reply(connection)
        assert (reply.status, reply.json()["code"]) == (431, "head_too_large")
        assert words in reply.json()["detail"]
        assert connection.recv(1) == b""


def told(connection: socket.socket) -> Reply | None:
    """The reply that came before the connection was cut; the cut can be quicker."""
    try:
        return read_reply(connection)
    except OSError:
        return None
