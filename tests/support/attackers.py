"""What an attacker does with a socket, and how its end is told."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from support.server import Server

HEAD = b"POST /v1/variables/w:assign HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def connect(server: Server) -> socket.socket:
    """A connection to the server, whose calls wait for half a minute at most."""
    connection = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def until_cut(connection: socket.socket, do: Callable[[], object] = lambda: None, every_s: float = 0.1) -> float:
    """Do something again and again until the server ends the connection; how many seconds that took, at most 30."""
    began = time.monotonic()
    while time.monotonic() - began < 30:
        try:
            do()
            if select.select([connection], [], [], every_s)[0] and not connection.recv(65536):
                return time.monotonic() - began
        except OSError:
            return time.monotonic() - began
    raise AssertionError("the server still waits after 30 s")


def cut_by(server: Server, client: Any) -> dict[str, int]:
    """How many connections the server has cut, by reason."""
    told: dict[str, int] = client.server()["connections"]["cut"]
    return told


def trickling(connection: socket.socket, pieces: Iterable[bytes]) -> Callable[[], object]:
    """Sends the next piece each time it is called."""
    left = iter(pieces)
    return lambda: connection.sendall(next(left))


def resident_nbytes(pid: int | str) -> int:
    """The memory a process takes now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} tells nothing of its memory")
