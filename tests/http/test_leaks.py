"""Clients that break off, announce what they do not send, or never read: nothing is applied, and nothing stays behind."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paramserver_wire import frame
from support.raw_http import eventually, read_reply

COUNT = 512 * 1024  # float32s: 2 MiB, so every body takes a block of the pool
CLIENTS = 20
BODY = b"".join(frame.encode(np.ones(COUNT, np.float32)))
READ = f"GET /v1/variables/w:read HTTP/1.1\r\nHost: localhost\r\nAccept: {frame.MEDIA_TYPE}\r\n\r\n".encode()


def head(announced: int, *fields: str) -> bytes:
    lines = ["POST /v1/variables/w:assign_add HTTP/1.1", "Host: localhost", f"Content-Type: {frame.MEDIA_TYPE}"]
    return "\r\n".join([*lines, *fields, f"Content-Length: {announced}", "", ""]).encode()


def dies_in_mid_body(connection: socket.socket) -> None:
    send_half(connection)


def is_cut_in_mid_body(connection: socket.socket) -> None:
    send_half(connection)
    # Closed with a reset where there is one.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def sends_less_than_announced(connection: socket.socket) -> None:
    connection.sendall(head(len(BODY) + 64) + BODY)
    connection.shutdown(socket.SHUT_WR)
    assert not connection.recv(1), "there is no answer to half a request"


def announces_less_than_it_sends(connection: socket.socket) -> None:
    connection.sendall(head(len(BODY) - 64) + BODY)
    refused(connection, "send the frame whole")
    assert read_reply(connection).status == 400, "what is too much is no request"
    assert not connection.recv(1)


def announces_more_than_its_frame(connection: socket.socket) -> None:
    connection.sendall(head(len(BODY) + 64) + BODY + bytes(64))
    refused(connection, "send nothing behind the last tensor")


def never_reads(connection: socket.socket) -> None:
    connection.sendall(READ * 4)
    assert connection.recv(1) == b"H", "the answer has begun"


def send_half(connection: socket.socket) -> None:
    # Invited, so that its buffer is there.
    connection.sendall(head(len(BODY), "Expect: 100-continue"))
    assert connection.recv(100).startswith(b"HTTP/1.1 100")
    connection.sendall(BODY[: len(BODY) // 2])


def refused(connection: socket.socket, detail: str) -> None:
    reply = read_reply(connection)
    assert (reply.status, reply.json()["code"]) == (400, "malformed_body")
    assert detail in reply.json()["detail"]


BEHAVIOURS = [
    dies_in_mid_body,
    is_cut_in_mid_body,
    sends_less_than_announced,
    announces_less_than_it_sends,
    announces_more_than_its_frame,
    never_reads,
]


@pytest.fixture(params=["tcp", "unix"])
def target(request: pytest.FixtureRequest, serve_with: Callable[..., Any], tmp_path: Path) -> Any:
    served = serve_with(uds=None if request.param == "tcp" else tmp_path / "s")
    served.create("w", np.zeros(COUNT, np.float32))
    return served


def held(served: Any) -> tuple[int, int, int]:
    """Descriptors of this process, bytes that count against the budget, and blocks' bytes that wait for a user."""
    store = served.engine.store
    return len(os.listdir("/proc/self/fd")), store.budget.used_nbytes, store.pool.idle_nbytes


@pytest.mark.parametrize("behave", BEHAVIOURS, ids=lambda behave: behave.__name__)
def test_hostile_clients_leave_nothing_behind(target: Any, behave: Callable[[socket.socket], None]) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    with target.connect() as connection:
        # From here on there is one block for the value and one that waits.
        for sent in (1, 2):
            connection.sendall(head(len(BODY)) + BODY)
            assert read_reply(connection).status == 200, sent
    eventually(lambda: len(os.listdir("/proc/self/fd")) == descriptors)
    before = held(target)
    assert before[1] == 4 * COUNT
    assert before[2] >= len(BODY)
    for _ in range(CLIENTS):
        with target.connect() as connection:
            behave(connection)
        # One after the other, so that each finds the block that the one before it gave back.
        eventually(lambda: held(target) == before)
    assert target.value("w")[0] == 2, "nothing was applied"
    with target.connect() as connection:
        connection.sendall(head(len(BODY)) + BODY)
        assert read_reply(connection).status == 200
    assert target.value("w")[-1] == 3
