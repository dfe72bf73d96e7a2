"""HTTP by hand over a socket: send bytes in pieces, read one reply, leave what follows it unread."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any


@dataclass(frozen=True)
class Reply:
    """One reply as it came; header names in lower case, the date left out."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def read_reply(connection: socket.socket, method: str = "GET") -> Reply:
    """Read exactly one reply to a request of that method, without its neighbours' bytes."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        head += _some(connection, 1)
    status, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    headers.pop("date", None)
    body = bytearray()
    if method == "HEAD" or status.split()[1] in ("204", "304"):
        pass
    elif headers.get("transfer-encoding") == "chunked":
        while size := int(_line(connection), 16):
            body += _exactly(connection, size)
            _exactly(connection, 2)
        _line(connection)
    else:
        body += _exactly(connection, int(headers.get("content-length", "0")))
    return Reply(int(status.split()[1]), headers, bytes(body))


def send_in_pieces(connection: socket.socket, message: bytes, sizes: Sequence[int]) -> threading.Thread:
    """Send from a thread of its own, so that neither side waits for the other to read; sizes are repeated as needed."""

    def send() -> None:
        at = 0
        for size in cycle(sizes):
            if at >= len(message):
                return
            connection.sendall(message[at : at + size])
            at += size

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do; fail after 10 s."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _line(connection: socket.socket) -> bytes:
    line = bytearray()
    while not line.endswith(b"\r\n"):
        line += _some(connection, 1)
    return bytes(line[:-2])


def _exactly(connection: socket.socket, nbytes: int) -> bytes:
    received = bytearray()
    while len(received) < nbytes:
        received += _some(connection, nbytes - len(received))
    return bytes(received)


def _some(connection: socket.socket, nbytes: int) -> bytes:
    piece = connection.recv(nbytes)
    if not piece:
        raise ConnectionError("the server closed the connection in the middle of a reply")
    return piece
