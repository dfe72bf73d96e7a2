"""A blocking socket that does the same and promises nothing: a thread for each connection, a lock around the sum."""

from __future__ import annotations

import os
import socket
import struct
import tempfile
import threading
from typing import Any

import numpy as np
from driving import Shapes, main, ready, until_told

_HEAD = struct.Struct("<cQ")


def fill(connection: socket.socket, view: memoryview) -> None:
    """Receive the whole view."""
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]


class Raw:
    """One value of bytes, however many arrays they are to others."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.value = np.zeros(0, np.float32)

    def attend(self, connection: socket.socket) -> None:
        """Serve one connection to its end."""
        connection_is_tcp = connection.family != socket.AF_UNIX
        if connection_is_tcp:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head, change = bytearray(_HEAD.size), np.zeros(0, np.float32)
        try:
            while True:
                fill(connection, memoryview(head))
                letter, nbytes = _HEAD.unpack(head)
                if letter == b"b":
                    self.value = np.zeros(nbytes // 4, np.float32)
                elif letter == b"a":
                    if change.nbytes != nbytes:
                        change = np.ones(nbytes // 4, np.float32)
                    fill(connection, change.view(np.uint8).data)
                    with self.lock:
                        np.add(self.value, change, out=self.value)
                else:
                    connection.sendall(self.value.view(np.uint8).data)
                    continue
                connection.sendall(b"ok")
        except (EOFError, ConnectionError):
            connection.close()


def serve(options: dict[str, Any]) -> None:
    """Listen at a port, or at a Unix socket."""
    raw = Raw()
    with tempfile.TemporaryDirectory(prefix="raw-") as place:
        if options["unix"]:
            address = os.path.join(place, "raw.sock")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(address)
            listener.listen()
        else:
            listener = socket.create_server(("127.0.0.1", 0))
            address = str(listener.getsockname()[1])

        def accept() -> None:
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=raw.attend, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        ready(address)
        until_told()


class Worker:
    """Sends what it adds from a buffer, and receives into one."""

    def __init__(self, address: str, number: int, options: dict[str, Any]) -> None:
        if options["unix"]:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(address)
        else:
            self._socket = socket.create_connection(("127.0.0.1", int(address)))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def begin(self, shapes: Shapes, creates: bool) -> None:
        """All arrays in one buffer."""
        self._delta = np.ones(sum(int(np.prod(shape)) for shape in shapes), np.float32)
        self._received = np.ones_like(self._delta)
        if creates:
            self._ask(b"b")
            self._confirm()

    def push(self) -> None:
        """Send them, and wait for the word."""
        self._ask(b"a")
        self._socket.sendall(self._delta.view(np.uint8).data)
        self._confirm()

    def pull(self) -> list[Any]:
        """Receive them."""
        self._ask(b"r")
        fill(self._socket, self._received.view(np.uint8).data)
        return [self._received]

    def end(self, deletes: bool) -> None:
        """Nothing is kept."""
        del self._delta, self._received
        if deletes:
            self._socket.sendall(_HEAD.pack(b"b", 0))
            self._confirm()

    def _ask(self, letter: bytes) -> None:
        self._socket.sendall(_HEAD.pack(letter, self._delta.nbytes))

    def _confirm(self) -> None:
        fill(self._socket, memoryview(bytearray(2)))


if __name__ == "__main__":
    main(serve, Worker)
