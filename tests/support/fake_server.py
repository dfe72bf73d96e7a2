"""A server of a few lines, for what a real one never does: cut answers, odd heads, silence."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    line: str
    fields: dict[str, str]
    body: bytes


class Peer:
    """The server's end of one connection, in the hands of a test's script."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self._stream = sock.makefile("rb")

    def request(self) -> Request:
        """Read a whole request; `EOFError` when the client has gone."""
        line = self._stream.readline().decode().strip()
        if not line:
            raise EOFError
        fields: dict[str, str] = {}
        while text := self._stream.readline().decode("latin-1").strip():
            name, _, value = text.partition(":")
            fields[name.strip().lower()] = value.strip()
        return Request(line, fields, self._stream.read(int(fields.get("content-length", 0))))

    def read(self, nbytes: int) -> bytes:
        """Read some bytes of a request."""
        return self._stream.read(nbytes)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def answer(self, body: bytes = b"{}", status: str = "200 OK", media_type: str = "application/json") -> None:
        """Send a whole response."""
        head = f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.send(head.encode() + body)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._stream.close()
        self.sock.close()


class FakeServer:
    """Runs `script(peer)` in a thread for every connection on a loopback port, and closes the connection after it."""

    def __init__(self, script: Callable[[Peer], None], *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._ssl_context = ssl_context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._sockets: list[socket.socket] = []
        self.connections = 0

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """Its URL."""
        return f"{'http' if self._ssl_context is None else 'https'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in [self._accepting, *self._threads]:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, EOFError, ValueError):
            if self._ssl_context is not None:
                sock = self._ssl_context.wrap_socket(sock, server_side=True)
            self._sockets.append(sock)
            peer = Peer(sock, number)
            try:
                self._script(peer)
            finally:
                peer.close()
