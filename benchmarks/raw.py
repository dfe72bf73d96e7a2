"""The yardstick: a blocking TCP socket in a process of its own that moves the same bytes and does nothing with them.

A request is one direction byte and the size. A push is received into a buffer that is there already, and answered with
two bytes; a pull is sent from one, and received into one.
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
        self._buffer = np.ones(largest_nbytes, np.uint8).data

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

    def push(self, nbytes: int) -> None:
        """Send so many bytes, and wait for the answer."""
        self._socket.sendall(_HEAD.pack(b"w", nbytes))
        self._socket.sendall(self._buffer[:nbytes])
        receive_into(self._socket, memoryview(bytearray(len(_ACK))))

    def pull(self, nbytes: int) -> None:
        """Ask for so many bytes, and receive them."""
        self._socket.sendall(_HEAD.pack(b"r", nbytes))
        receive_into(self._socket, self._buffer[:nbytes])


def receive_into(connection: socket.socket, view: memoryview) -> None:
    """Fill the whole view."""
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]


def serve(largest_nbytes: int) -> None:
    """Serve one connection until it ends."""
    buffer = np.ones(largest_nbytes, np.uint8).data
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
            direction, nbytes = _HEAD.unpack(head)
            if direction == b"w":
                receive_into(connection, buffer[:nbytes])
                connection.sendall(_ACK)
            else:
                connection.sendall(buffer[:nbytes])


if __name__ == "__main__":
    serve(int(sys.argv[1]))
