"""How much memory the server takes for a large push, and for readers that are slow to take a large value."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import numpy as np

from benchmarks.measuring import MB, Figure, Result, Target, WrongResultError
from benchmarks.processes import ServerProcess
from paramserver_client import ParameterClient

READERS: Final = 3
PUSH: Final = Target("ratio", "at most", 2.0)
SLOW_READERS: Final = Target("value", "at most", 64.0)
_NAME: Final = "large"
_GROUP: Final = "server memory beyond the store"
_IN_TURNS: Final = 4
_PIECE_NBYTES: Final = 256 * 1024


def measure_memory(nbytes: int) -> Iterator[Result]:
    """A server of its own, because the most that a process ever took stays with it."""
    with ServerProcess() as server, ParameterClient(server.url) as client:
        delta = np.ones(nbytes // 4, np.float32)
        # Not zeros: those are pages that nobody has touched yet, and take no memory.
        client.create_variable(_NAME, delta.shape, "float32", "ones", initialize=True)
        for name in ("first assign_add", "assign_add again"):
            server.forget_peak()
            client.assign_add(_NAME, delta)
            beyond = server.peak_nbytes() - nbytes
            yield Result(_GROUP, f"{name}: peak", nbytes, "MB", _megabytes(beyond), None, beyond / nbytes, PUSH)
        server.forget_peak()
        for _ in range(_IN_TURNS):
            client.read(_NAME)
            client.assign_add(_NAME, delta)
        beyond = server.peak_nbytes() - nbytes
        name = f"{_IN_TURNS} times read and add: peak"
        yield Result(_GROUP, name, nbytes, "MB", _megabytes(beyond), None, beyond / nbytes, PUSH)
        if not np.all(client.read(_NAME) == 3 + _IN_TURNS):
            raise WrongResultError(f"{_NAME}: wanted 1 and as much again for every assign_add in each element")
        yield _measure_readers(server, nbytes)


def _measure_readers(server: ServerProcess, nbytes: int) -> Result:
    before = server.resident_nbytes()
    server.forget_peak()
    readers = [_SlowReader(server.url) for _ in range(READERS)]
    for _ in range(20):
        for reader in readers:
            reader.take(_PIECE_NBYTES)
        time.sleep(0.02)
    added = server.peak_nbytes() - before
    for reader in readers:
        reader.take_all()
        if reader.content_nbytes < nbytes:
            raise WrongResultError(f"a slow reader: wanted {nbytes} bytes of value, got {reader.content_nbytes}")
    return Result(_GROUP, f"{READERS} slow readers: added", nbytes, "MB", _megabytes(added), target=SLOW_READERS)


class _SlowReader:
    """A reader on a bare socket with a small window: the SDK cannot be this slow."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self._socket.connect((address.hostname, address.port))
        self._socket.sendall(
            f"GET /v1/variables/{_NAME}:read HTTP/1.1\r\nHost: {address.netloc}\r\n"
            "Accept: application/vnd.paramserver.frame\r\nConnection: close\r\n\r\n".encode()
        )
        self.content_nbytes = 0

    def take(self, nbytes: int) -> int:
        """Receive up to so many bytes; 0 at the end."""
        count = len(self._socket.recv(nbytes))
        self.content_nbytes += count
        return count

    def take_all(self) -> None:
        """Receive what is left."""
        while self.take(4 * MB):
            continue
        self._socket.close()


def _megabytes(nbytes: int) -> Figure:
    value = nbytes / MB
    return Figure(value, value, value)
