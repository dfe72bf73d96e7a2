"""The yardstick for files: a plain copy of a file through a TCP socket, out of one process and into a file of another.

A request is one direction byte and the size. Both sides read and write a piece at a time and do nothing else.
"""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from benchmarks.processes import Process
from benchmarks.raw import receive_into

_HEAD: Final = struct.Struct("<cQ")
_ACK: Final = b"ok"
_PIECE_NBYTES: Final = 1024 * 1024


class CopyPeer:
    """The process at the other end, which keeps its copy in `path`, and a connection to it."""

    def __init__(self, path: Path) -> None:
        self._process = Process("-m", "benchmarks.copying", str(path))

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

    def send(self, path: Path) -> None:
        """Copy the file there."""
        nbytes = path.stat().st_size
        self._socket.sendall(_HEAD.pack(b"w", nbytes))
        with open(path, "rb", buffering=0) as file:
            _send_file(self._socket, file, nbytes)
        receive_into(self._socket, memoryview(bytearray(len(_ACK))))

    def fetch(self, path: Path, nbytes: int) -> None:
        """Copy so many bytes of the file that lies there to `path`."""
        self._socket.sendall(_HEAD.pack(b"r", nbytes))
        with open(path, "wb", buffering=0) as file:
            _receive_file(self._socket, file, nbytes)


def serve(path: Path) -> None:
    """Serve one connection until it ends."""
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
            with open(path, "wb" if direction == b"w" else "rb", buffering=0) as file:
                if direction == b"w":
                    _receive_file(connection, file, nbytes)
                    connection.sendall(_ACK)
                else:
                    _send_file(connection, file, nbytes)


def _send_file(connection: socket.socket, file: BinaryIO, nbytes: int) -> None:
    buffer = memoryview(bytearray(_PIECE_NBYTES))
    while nbytes:
        count = file.readinto(buffer[:nbytes])  # type: ignore[attr-defined]
        connection.sendall(buffer[:count])
        nbytes -= count


def _receive_file(connection: socket.socket, file: BinaryIO, nbytes: int) -> None:
    buffer = memoryview(bytearray(_PIECE_NBYTES))
    while nbytes:
        count = connection.recv_into(buffer[:nbytes])
        if not count:
            raise EOFError
        file.write(buffer[:count])
        nbytes -= count


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
