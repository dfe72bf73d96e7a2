"""Bodies that drip (R-U-Dead-Yet, 2010; RFC 9112 9.5 lets a server close what does not go on), small, large and chunked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from paramserver_client import ParameterClient
from paramserver_wire import frame
from support.attackers import HEAD, connect, cut_by, trickling, until_cut
from support.raw_http import read_reply
from support.server import Server

LARGE = HEAD.replace(b"application/json", frame.MEDIA_TYPE.encode()) + b"Content-Length: 800000\r\n\r\n"
DRIPS = {
    "small": HEAD + b"Content-Length: 5000\r\n\r\n[",
    "large": LARGE + b"PSF1",
    "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
    "that nobody wants": LARGE.replace(b"/w:assign", b"/none:here"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that gives little grace."""
    with Server("--slow-grace-s", "1", "--body-limit-nbytes", "1000000") as server:
        with ParameterClient(server.url) as client:
            client.create_variable("w", value=np.zeros(200_000, np.float32))
        yield server


@pytest.mark.parametrize("kind", DRIPS)
def test_a_body_that_drips_is_cut_and_changes_nothing(server: Server, kind: str) -> None:
    piece = b"1\r\n1\r\n" if kind == "chunked" else b"1"
    with connect(server) as connection:
        connection.sendall(DRIPS[kind])
        assert until_cut(connection, trickling(connection, itertools.repeat(piece))) < 12
    with ParameterClient(server.url) as client:
        assert cut_by(server, client)["slow body"] >= 1
        assert client.get_variable("w").version == 1


def test_a_slow_but_steady_one_is_served(server: Server) -> None:
    value = np.ones(200_000, np.float32)
    body = b"".join(bytes(part) for part in frame.encode(value))
    message = LARGE.replace(b"800000", str(len(body)).encode()) + body
    with connect(server) as connection:
        # A piece of 200 KB, and another when a pull, which takes a moment, is done: over a second or so.
        with ParameterClient(server.url) as client:
            for begin in range(0, len(message), 200_000):
                connection.sendall(message[begin : begin + 200_000])
                client.read("w")
        assert read_reply(connection).status == 200
