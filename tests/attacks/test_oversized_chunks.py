"""Chunked bodies that grow over every limit, and chunks whose sizes lie (RFC 9112 7.1; CVE-2002-0392, Apache's chunk sizes that
became negative; CVE-2013-2028, nginx's that overflowed)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from paramserver_client import ParameterClient
from paramserver_wire import frame, packed
from support.attackers import connect, cut_by
from support.raw_http import Reply, read_reply
from support.server import Server

MIB = 1024 * 1024
HEAD = (
    "POST /v1/variables/w:assign HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LIMITS = {"application/json": 2 * MIB, packed.MEDIA_TYPE: 3 * MIB, frame.MEDIA_TYPE: 4 * MIB}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Takes little of each format; what it says of each body is told at once, whatever is still to come."""
    flags = ("--json-limit-nbytes", str(2 * MIB), "--msgpack-limit-nbytes", str(3 * MIB))
    with Server(*flags, "--body-limit-nbytes", str(4 * MIB)) as server:
        with ParameterClient(server.url) as client:
            client.create_variable("w", value=np.zeros(1000, np.float32))
        yield server


def chunk(nbytes: int) -> bytes:
    return b"%x\r\n" % nbytes + b" " * nbytes + b"\r\n"


def sent_until_refused(server: Server, head: str, pieces: Iterator[bytes]) -> tuple[int, Reply | None]:
    """How much went out before the server had enough, and what it said, if that came through its closing."""
    with connect(server) as connection:
        sent = 0
        try:
            connection.sendall(head.encode())
            for piece in pieces:
                connection.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        try:
            return sent, read_reply(connection)
        except (OSError, EOFError, AssertionError, ValueError, IndexError):
            return sent, None


def works_on(server: Server) -> None:
    with ParameterClient(server.url) as client:
        assert client.get_variable("w").version == 1


@pytest.mark.parametrize("media_type", LIMITS)
@pytest.mark.parametrize("size", [100, 65_536, 1_000_000])
def test_a_body_that_grows_is_refused_at_its_limit(server: Server, media_type: str, size: int) -> None:
    before = server.peak_nbytes()
    many = (chunk(size) for _ in range(200 * MIB // size))
    sent, reply = sent_until_refused(server, HEAD.format(media_type), many)
    # What lay in the sockets' buffers is counted as sent.
    assert sent < 40 * MIB
    if reply is not None:
        assert (reply.status, reply.json()["code"]) == (413, "body_too_large")
    assert server.peak_nbytes() - before < 64 * MIB
    works_on(server)


def test_one_that_declares_more_than_is_taken_is_not_listened_to_either(server: Server) -> None:
    head = HEAD.format(frame.MEDIA_TYPE).replace("Transfer-Encoding: chunked", f"Content-Length: {200 * MIB}")
    sent, reply = sent_until_refused(server, head, (bytes(65536) for _ in range(200 * MIB // 65536)))
    assert sent < 40 * MIB
    assert reply is None or reply.status == 413
    with ParameterClient(server.url) as client:
        assert cut_by(server, client)["endless body"] >= 1


def test_one_that_is_refused_within_its_limit_is_read_to_its_end_and_the_connection_goes_on(server: Server) -> None:
    head = HEAD.format(frame.MEDIA_TYPE).replace("/w:assign", "/none:assign")
    with connect(server) as connection:
        connection.sendall(head.replace("Transfer-Encoding: chunked", f"Content-Length: {3 * MIB}").encode())
        connection.sendall(bytes(3 * MIB))
        assert read_reply(connection).status in (400, 404)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_reply(connection).status == 200


@pytest.mark.parametrize(
    "size",
    [
        b"ffffffffffffffff",
        b"10000000000000000",
        b"7fffffffffffffff",
        b"-1",
        b"-ffffffffffffffff",
        b"0x10",
        b"1 0",
        b"+5",
        b"1_0",
        b"\x00",
        b"g",
        b"",
        b"5" * 400,
    ],
)
def test_sizes_that_lie_are_no_memory(server: Server, size: bytes) -> None:
    before = server.peak_nbytes()
    with connect(server) as connection:
        connection.sendall(HEAD.format("application/json").encode() + size + b"\r\n" + b"1" * 64)
        connection.settimeout(2)
        try:
            reply = read_reply(connection)
        except TimeoutError:
            # As far as it is told: a chunk that is on its way, and takes nothing until it comes.
            assert int(size, 16) > 0
        else:
            assert reply.status in (400, 413)
    assert server.peak_nbytes() - before < 16 * MIB
    works_on(server)


@pytest.mark.parametrize(
    "ending",
    [b"5\r\n12345", b"5\r\n12345XX0\r\n\r\n", b"5\n12345\n0\n\n", b"3\r\n12345\r\n0\r\n\r\n", b"0;\x00\r\n\r\n"],
)
def test_chunks_that_do_not_end_where_they_say_change_nothing(server: Server, ending: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(HEAD.format("application/json").encode() + ending)
        connection.shutdown(1)
        sent = b""
        while piece := connection.recv(65536):
            sent += piece
    assert not sent or sent.startswith(b"HTTP/1.1 4"), sent[:200]
    works_on(server)


def test_one_message_is_not_two(server: Server) -> None:
    """A length beside chunks is how requests are smuggled past a proxy (RFC 9112 6.3; CWE-444)."""
    body = b'{"value": 1}'
    smuggled = b"DELETE /v1/variables/w HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = HEAD.format("application/json").replace("\r\n\r\n", f"\r\nContent-Length: {len(body)}\r\n\r\n")
    with connect(server) as connection:
        connection.sendall(head.encode() + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n" + smuggled)
        assert read_reply(connection).status == 400
        assert connection.recv(100) == b""
    works_on(server)
