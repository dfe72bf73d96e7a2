"""A gigabyte is promised, and sent as far as the server takes it, by somebody who has no token (CWE-770, CWE-306)."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from support.raw_http import read_reply
from support.server import Server

DECLARED = 1024 * 1024 * 1024
HEAD = "POST /v1/variables/w:assign HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/vnd.paramserver.frame\r\n"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a token."""
    file = tmp_path_factory.mktemp("secret") / "token"
    file.write_text("0123456789abcdef")
    with Server("--token-file", str(file)) as server:
        yield server


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=30)


@pytest.mark.parametrize("length", [f"Content-Length: {DECLARED}", "Transfer-Encoding: chunked"])
def test_it_is_neither_read_nor_given_memory(locked: Server, length: str) -> None:
    before = locked.peak_nbytes()
    piece = (b"10000\r\n" if "chunked" in length else b"") + bytes(65536)
    with connect(locked) as connection:
        connection.sendall((HEAD + length + "\r\n\r\n").encode())
        reply = read_reply(connection)
        assert (reply.status, reply.json()["code"]) == (401, "unauthenticated")
        assert reply.headers["connection"] == "close"
        sent = until_it_breaks(connection, piece)
    assert sent < 32 * 1024 * 1024, "no more than lay in the sockets' buffers"
    assert locked.peak_nbytes() - before < 16 * 1024 * 1024


def test_the_probes_take_none(locked: Server) -> None:
    with connect(locked) as connection:
        head = HEAD.replace("/v1/variables/w:assign", "/healthz")
        connection.sendall(f"{head}Content-Length: {DECLARED}\r\n\r\n".encode())
        reply = read_reply(connection)
        assert (reply.status, reply.headers["connection"]) == (422, "close")
        assert until_it_breaks(connection, bytes(65536)) < 32 * 1024 * 1024


def test_it_is_not_invited_either(locked: Server) -> None:
    with connect(locked) as connection:
        connection.sendall((HEAD + f"Content-Length: {DECLARED}\r\nExpect: 100-continue\r\n\r\n").encode())
        assert read_reply(connection).status == 401
        assert connection.recv(1) == b""


def test_a_small_one_leaves_the_connection_usable(locked: Server) -> None:
    with connect(locked) as connection:
        for _ in range(3):
            connection.sendall((HEAD + "Content-Length: 5\r\n\r\nhello").encode())
            assert read_reply(connection).status == 401


def until_it_breaks(connection: socket.socket, piece: bytes) -> int:
    """Send until the other side has closed; how many bytes went out."""
    sent = 0
    try:
        while sent < DECLARED:
            connection.sendall(piece)
            sent += len(piece)
    except OSError:
        pass
    return sent
