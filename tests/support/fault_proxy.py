"""A TCP proxy that cuts connections where it hurts, by a seed: what happens can be made to happen again."""

from __future__ import annotations

import contextlib
import random
import re
import socket
import struct
import threading
from collections import Counter
from enum import Enum
from types import TracebackType
from typing import Self

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Fault(Enum):
    """Where a request is cut."""

    NONE = "none"
    BEFORE_REQUEST = "before the request"
    IN_REQUEST = "in the middle of the request"
    BEFORE_ANSWER = "after the request, before the answer"
    IN_ANSWER = "in the middle of the answer"


class FaultProxy:
    """Passes requests on to the server at `port`, and resets the connection at one of the `Fault`s now and then.

    `rate` is the share of requests that are cut. `script` gives the faults of the first requests, in order; after it
    they are drawn. `counts` says what was done how often.
    """

    def __init__(self, port: int, *, seed: int = 0, rate: float = 0.3, script: tuple[Fault, ...] = ()) -> None:
        self._port = port
        self._rate = rate
        self._random = random.Random(seed)
        self._script = list(script)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self.counts: Counter[Fault] = Counter()

    @property
    def url(self) -> str:
        """Where the proxy listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

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
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._carry, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _carry(self, client: socket.socket) -> None:
        self._sockets.append(client)
        with (
            client,
            contextlib.suppress(OSError, EOFError),
            socket.create_connection(("127.0.0.1", self._port)) as server,
        ):
            self._sockets.append(server)
            while self._carry_one(client, server):
                continue

    def _carry_one(self, client: socket.socket, server: socket.socket) -> bool:
        """Pass one request and its answer on; false when the connection was cut."""
        head = _read_head(client)
        fault = self._draw()
        if fault is Fault.BEFORE_REQUEST:
            return _reset(client)
        body = _read_body(client, head, cut=fault is Fault.IN_REQUEST)
        if fault is Fault.IN_REQUEST:
            server.sendall((head + body)[: (len(head) + len(body)) // 2])
            return _reset(client)
        server.sendall(head + body)
        answer = _read_head(server)
        answer += _read_body(server, answer)
        if fault is Fault.BEFORE_ANSWER:
            return _reset(client)
        if fault is Fault.IN_ANSWER:
            client.sendall(answer[: len(answer) - 1])
            return _reset(client)
        client.sendall(answer)
        return True

    def _draw(self) -> Fault:
        with self._lock:
            if self._script:
                fault = self._script.pop(0)
            elif self._random.random() < self._rate:
                fault = self._random.choice([each for each in Fault if each is not Fault.NONE])
            else:
                fault = Fault.NONE
            self.counts[fault] += 1
            return fault


def _read_head(sock: socket.socket) -> bytes:
    """A head, byte by byte at its end, so that nothing of the body is taken."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += _some(sock, 1)
    return head


def _read_body(sock: socket.socket, head: bytes, *, cut: bool = False) -> bytes:
    found = _LENGTH.search(head)
    left = int(found[1]) if found else 0
    if cut:
        left //= 2
    body = bytearray()
    while left:
        piece = _some(sock, min(left, 1 << 20))
        body += piece
        left -= len(piece)
    return bytes(body)


def _some(sock: socket.socket, nbytes: int) -> bytes:
    data = sock.recv(nbytes)
    if not data:
        raise EOFError
    return data


def _reset(sock: socket.socket) -> bool:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    return False
