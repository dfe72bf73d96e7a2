"""Half-open connections (RFC 9293 3.5.1; CWE-772): clients who vanish without a word, who say that they have nothing more to say and
stay, or who reset, wherever a request can be: before it, in its head, in its body, in its answer, in a TLS handshake.

Who goes silent is gone within the time that the settings give; who closes is gone at once, whatever time they give. Nothing
stays: no place among the connections, no descriptor, no memory of the budget.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from paramserver_client import ParameterClient
from paramserver_wire import frame
from support.attackers import HEAD, connect, until_cut
from support.raw_http import eventually, read_reply
from support.server import Server

TLS = Path(__file__).parent.parent / "support" / "tls"
CLIENTS = 8
COUNT = 2_000_000  # 8 MB, more than the buffers of both ends
# The server looks once a second, and takes two looks for a slow one. What else these machines do takes time as well.
LOOKS_S = 6.0
ASK = f"GET /v1/variables/w:read HTTP/1.1\r\nHost: localhost\r\nAccept: {frame.MEDIA_TYPE}\r\n\r\n".encode()
LARGE = HEAD.replace(b"application/json", frame.MEDIA_TYPE.encode())
ALIVE = b"GET /v1/server HTTP/1.1\r\nHost: localhost\r\n\r\n"
POLL = b"GET /v1/variables/w:read?after_version=1&wait_s=60 HTTP/1.1\r\nHost: localhost\r\n\r\n"
# What each has said when it falls silent.
SAID: dict[str, bytes] = {
    "nothing": b"",
    "a line's end": b"\r\n",
    "half a line": b"GET /v1/ser",
    "half a head": b"GET /v1/server HTTP/1.1\r\nHost: localhost\r\nX-Half",
    "a head without its body": HEAD + b"Content-Length: 5000\r\n\r\n",
    "half a body": HEAD + b"Content-Length: 5000\r\n\r\n" + b"[" * 2500,
    "a head without its large body": LARGE + b"Content-Length: 4000000\r\n\r\n",
    "half a large body": LARGE + b"Content-Length: 4000000\r\n\r\nPSF1" + bytes(2_000_000),
    "a head that waits to be invited": LARGE + b"Content-Length: 4000000\r\nExpect: 100-continue\r\n\r\n",
    "a large body nobody wants": LARGE.replace(b"w:assign", b"none:here") + b"Content-Length: 4000000\r\n\r\n",
    "half a chunk's size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1",
    "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5000\r\n" + b"[" * 100,
    "chunks without the last": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n",
    "half a trailer": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\nX-Half",
    "a request, and no more": ALIVE,
    "a request, and half of another": ALIVE + b"GET /v1/",
    "a question whose answer it does not read": ASK,
    "many such questions": ASK * 20,
}
FLAGS = ("--head-timeout-s", "1", "--idle-timeout-s", "1", "--keep-alive-s", "2", "--slow-grace-s", "1")
LONG = ("--head-timeout-s", "600", "--idle-timeout-s", "600", "--keep-alive-s", "600", "--slow-grace-s", "600")


def filled(*flags: str) -> Iterator[Server]:
    with Server(*flags, "--log-level", "error") as server:
        with ParameterClient(server.url) as client:
            client.create_variable("w", value=np.zeros(COUNT, np.float32))
        yield server


@pytest.fixture(scope="module")
def hasty() -> Iterator[Server]:
    """Waits a second for each."""
    yield from filled(*FLAGS)


@pytest.fixture(scope="module")
def patient() -> Iterator[Server]:
    """Would wait for ten minutes: what ends here was ended by the client."""
    yield from filled(*LONG)


def facts(server: Server) -> tuple[int, int, int]:
    """Connections (without the one that asks), descriptors, and memory that counts."""
    with httpx.Client(base_url=server.url, timeout=30) as http:
        told: dict[str, Any] = http.get("/v1/server").raise_for_status().json()
        # While this connection is there.
        descriptors = len(os.listdir(f"/proc/{server.process.pid}/fd"))
    return told["connections"]["open"] - 1, descriptors, told["memory"]["used_nbytes"]


def settled(server: Server) -> tuple[int, int, int]:
    """What there is when nobody else is there."""
    eventually(lambda: facts(server)[0] == 0)
    return facts(server)


def sockets(server: Server) -> int:
    """How many sockets it has open. (Its event loop keeps a descriptor of its own from the first connection on.)"""
    found = 0
    for path in Path(f"/proc/{server.process.pid}/fd").iterdir():
        # One that is just being closed is none.
        with suppress(FileNotFoundError):
            found += os.readlink(path).startswith("socket:")
    return found


def said(server: Server, words: bytes) -> socket.socket:
    """A connection that has said this much; a small window, for those who do not read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
    connection.sendall(words)
    return connection


def fin(connection: socket.socket) -> None:
    """Nothing more to say; it may listen still."""
    connection.shutdown(socket.SHUT_WR)


def close(connection: socket.socket) -> None:
    """Gone, as a process that ends is."""
    connection.close()


def reset(connection: socket.socket) -> None:
    """Gone, with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def unharmed(server: Server) -> None:
    with ParameterClient(server.url) as client:
        assert client.get_variable("w").version == 1
        assert client.read("w").shape == (COUNT,)


def test_who_goes_silent_is_gone_in_time(hasty: Server) -> None:
    """All of them at once: it is the same few seconds for each."""
    before = settled(hasty)
    began = time.monotonic()
    with ExitStack() as stack:
        for words in SAID.values():
            for _ in range(CLIENTS // 2):
                stack.enter_context(said(hasty, words))
        eventually(lambda: facts(hasty) == before)
        # The longest of those times, and the looks.
        assert time.monotonic() - began < 2 + LOOKS_S
    unharmed(hasty)


@pytest.mark.parametrize("leave", [close, reset])
@pytest.mark.parametrize("words", SAID)
def test_who_leaves_is_gone_at_once(patient: Server, words: str, leave: Callable[[socket.socket], None]) -> None:
    before = settled(patient)
    with ExitStack() as stack:
        there = [stack.enter_context(said(patient, SAID[words])) for _ in range(CLIENTS)]
        eventually(lambda: facts(patient)[0] == CLIENTS)
        for connection in there:
            leave(connection)
    eventually(lambda: facts(patient) == before)
    unharmed(patient)


@pytest.mark.parametrize("words", [words for words in SAID if "question" not in words])
def test_who_says_it_was_all_is_not_waited_for(patient: Server, words: str) -> None:
    before = settled(patient)
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            connection = stack.enter_context(said(patient, SAID[words]))
            fin(connection)
        eventually(lambda: facts(patient) == before)
    unharmed(patient)


@pytest.mark.parametrize("words", ["a question whose answer it does not read", "many such questions"])
def test_who_says_it_was_all_and_does_not_read_is_gone_in_time(hasty: Server, words: str) -> None:
    before = settled(hasty)
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            fin(stack.enter_context(said(hasty, SAID[words])))
        eventually(lambda: facts(hasty) == before)


def test_who_asks_and_says_it_was_all_gets_his_answer(patient: Server) -> None:
    with connect(patient) as connection:
        connection.sendall(ALIVE)
        fin(connection)
        assert read_reply(connection).status == 200
        assert connection.recv(1) == b""


@pytest.mark.parametrize("leave", [fin, close, reset])
@pytest.mark.parametrize("behind", [b"", b"GET /v1/"], ids=["nothing behind", "half a request behind"])
def test_who_waits_for_a_version_and_leaves_is_gone_at_once(
    patient: Server, behind: bytes, leave: Callable[[socket.socket], None]
) -> None:
    before = settled(patient)
    with ExitStack() as stack:
        waiting = [stack.enter_context(said(patient, POLL + behind)) for _ in range(CLIENTS)]
        eventually(lambda: facts(patient)[0] == CLIENTS)
        for connection in waiting:
            leave(connection)
        eventually(lambda: facts(patient) == before)


@pytest.mark.parametrize("words", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)])
@pytest.mark.parametrize("kind", ["goes silent", "says it was all", "leaves"])
def test_a_handshake_that_stops_is_over(secure: Server, kind: str, words: bytes) -> None:
    before = sockets(secure)
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            connection = stack.enter_context(said(secure, words))
            if kind == "goes silent":
                continue
            (fin if kind == "says it was all" else reset)(connection)
        eventually(lambda: sockets(secure) == before)


@pytest.mark.parametrize("words", [b"", ALIVE, ALIVE[:20], HEAD + b"Content-Length: 5000\r\n\r\n[", ASK])
def test_who_goes_silent_behind_a_handshake_is_gone_in_time(secure: Server, words: bytes) -> None:
    before = sockets(secure)
    trusting = ssl.create_default_context(cafile=TLS / "localhost.pem")
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            connection = trusting.wrap_socket(connect(secure), server_hostname="localhost")
            stack.enter_context(connection)
            connection.sendall(words)
        assert sockets(secure) > before
        eventually(lambda: sockets(secure) == before)


@pytest.fixture(scope="module")
def secure() -> Iterator[Server]:
    """Has a certificate, and waits a second for each."""
    certificate = ("--tls-cert", str(TLS / "localhost.pem"), "--tls-key", str(TLS / "localhost.key"))
    with Server(*certificate, *FLAGS, "--log-level", "error") as server:
        yield server


def test_the_time_is_the_servers_not_that_of_the_last_byte(hasty: Server) -> None:
    """One who drips and then falls silent has no more time than one who never dripped."""
    with connect(hasty) as connection:
        left = iter([b"GET", b" /v1", b"/server"])
        assert until_cut(connection, lambda: connection.sendall(next(left, b"")), every_s=0.3) < 1 + LOOKS_S
    unharmed(hasty)
