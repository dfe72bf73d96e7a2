"""Answers that are asked for and not read (Slow Read: S. Shekyan, 2012), with a small window, or never at all.

Each holds a place and, in a careless server, the whole answer.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import numpy as np
import pytest

from paramserver_client import ParameterClient
from support.attackers import cut_by, resident_nbytes
from support.raw_http import eventually
from support.server import Server

VALUE = np.ones(5_000_000, np.float32)  # 20 MB: more than the buffers of both ends
ASK = b"GET /v1/variables/w:read HTTP/1.1\r\nHost: localhost\r\nAccept: application/octet-stream, */*\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with one large variable, that gives little grace."""
    with Server("--slow-grace-s", "1") as server:
        with ParameterClient(server.url) as client:
            client.create_variable("w", value=VALUE)
        yield server


def test_who_does_not_read_is_cut_and_holds_nothing(server: Server) -> None:
    before = resident_nbytes(server.process.pid)
    readers = []
    for _ in range(20):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(30)
        reader.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
        reader.sendall(ASK.replace(b"application/octet-stream, */*", b"application/vnd.paramserver.frame"))
        readers.append(reader)
    with ParameterClient(server.url) as client:
        eventually(lambda: cut_by(server, client).get("slow answer", 0) >= 20)
        assert resident_nbytes(server.process.pid) - before < 40_000_000
        assert np.array_equal(client.read("w"), VALUE)
    for reader in readers:
        reader.close()
