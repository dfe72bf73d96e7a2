"""The yardstick: a blocking TCP socket in a process of its own that does the same, and promises nothing.

A request is one letter and the size. What is added is received into a buffer that is there already, added to the value
in place, and answered with two bytes; a read sends the value, and is received into a buffer that is there already.
Nobody checks, locks, names or remembers anything. A move is what is added without the adding: the bytes alone.
"""

from __future__ import annotations

import socket
import struct
import sys
from types import TracebackType
from typing import Final, Self

import numpy as np

from benchmarks.processes import Process

_HEAD: Final = struct.Struct("<cQ")
_ACK: Final = b"ok"


class RawPeer:
    """The raw server's process, and a connection to it."""

    def __init__(self, largest_nbytes: int) -> None:
        self._largest_nbytes = largest_nbytes
        self._process = Process("-m", "benchmarks.raw", str(largest_nbytes))
        self._buffer = _numbers(largest_nbytes).view(np.uint8).data
        self._received = _numbers(largest_nbytes).view(np.uint8).data

    def __enter__(self) -> Self:
        port = int(self._process.start().split()[-1])
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._process.end()

    def add(self, nbytes: int) -> None:
        """Have so many bytes of float32 added to the value, and wait for the answer."""
        self._push(b"a", nbytes)

    def move(self, nbytes: int) -> None:
        """Send so many bytes, and wait for the answer."""
        self._push(b"m", nbytes)

    def read(self, nbytes: int) -> None:
        """Ask for so many bytes of the value, and receive them."""
        self._socket.sendall(_HEAD.pack(b"r", nbytes))
        receive_into(self._socket, self._received[:nbytes])

    def _push(self, letter: bytes, nbytes: int) -> None:
        self._socket.sendall(_HEAD.pack(letter, nbytes))
        self._socket.sendall(self._buffer[:nbytes])
        receive_into(self._socket, memoryview(bytearray(len(_ACK))))


def receive_into(connection: socket.socket, view: memoryview) -> None:
    """Fill the whole view."""
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]


def serve(largest_nbytes: int) -> None:
    """Serve one connection until it ends."""
    value, change = _numbers(largest_nbytes), _numbers(largest_nbytes)
    kept, buffer = value.view(np.uint8).data, change.view(np.uint8).data
    head = bytearray(_HEAD.size)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print("listening on", listener.getsockname()[1], flush=True)
        connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        while True:
            try:
                receive_into(connection, memoryview(head))
            except EOFError:
                return
            letter, nbytes = _HEAD.unpack(head)
            if letter == b"r":
                connection.sendall(kept[:nbytes])
                continue
            receive_into(connection, buffer[:nbytes])
            if letter == b"a":
                count = nbytes // value.itemsize
                np.add(value[:count], change[:count], out=value[:count])
            connection.sendall(_ACK)


def _numbers(nbytes: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.ones(-(-nbytes // 4), np.float32)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
