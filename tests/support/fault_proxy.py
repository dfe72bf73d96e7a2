"""A TCP proxy that cuts, delays and repeats where it hurts, by a seed: what happens can be made to happen again."""

from __future__ import annotations

import contextlib
import random
import re
import socket
import struct
import threading
from collections import Counter, deque
from enum import Enum
from types import TracebackType
from typing import BinaryIO, Final, Self

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Fault(Enum):
    """What is done to a request."""

    NONE = "none"
    BEFORE_REQUEST = "before the request"
    IN_REQUEST = "in the middle of the request"
    BEFORE_ANSWER = "after the request, before the answer"
    IN_ANSWER = "in the middle of the answer"
    DELAY = "held up before it goes on"
    STALL = "the answer stops for a while in its middle"
    THROTTLE = "the answer comes in small pieces"
    DUPLICATE = "sent twice at once"
    LATE_DUPLICATE = "sent again after later ones"


CUTS: Final = (Fault.BEFORE_REQUEST, Fault.IN_REQUEST, Fault.BEFORE_ANSWER, Fault.IN_ANSWER)
"""Those that reset the connection."""

HELD_UP_S: Final = 0.02
_LATE: Final = 5


class FaultProxy:
    """Passes requests on to the server at `port`, and does one of the `faults` to some of them.

    `rate` is the share of requests that something is done to. `script` gives the faults of the first requests, in order;
    after it they are drawn. `counts` says what was done how often.
    """

    def __init__(
        self,
        port: int,
        *,
        seed: int = 0,
        rate: float = 0.3,
        script: tuple[Fault, ...] = (),
        faults: tuple[Fault, ...] = CUTS,
    ) -> None:
        self._port = port
        self._rate = rate
        self._faults = faults
        self._late: deque[bytes] = deque()
        self._over = threading.Event()
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
        self._over.set()
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
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with client.makefile("rb") as asked, server.makefile("rb") as answered:
                while self._carry_one(client, asked, server, answered):
                    continue

    def _carry_one(self, client: socket.socket, asked: BinaryIO, server: socket.socket, answered: BinaryIO) -> bool:
        """Pass one request and its answer on; false when the connection was cut."""
        head = _read_head(asked)
        fault = self._draw()
        if fault is Fault.BEFORE_REQUEST:
            return _reset(client)
        body = _read_body(asked, head, cut=fault is Fault.IN_REQUEST)
        if fault is Fault.IN_REQUEST:
            server.sendall((head + body)[: (len(head) + len(body)) // 2])
            return _reset(client)
        self._repeat(fault, head + body)
        if fault is Fault.DELAY:
            self._over.wait(HELD_UP_S)
        server.sendall(head + body)
        answer = _read_head(answered)
        answer += _read_body(answered, answer)
        if fault is Fault.BEFORE_ANSWER:
            return _reset(client)
        if fault is Fault.IN_ANSWER:
            client.sendall(answer[: len(answer) - 1])
            return _reset(client)
        self._send(client, answer, fault)
        return True

    def _send(self, client: socket.socket, answer: bytes, fault: Fault) -> None:
        if fault is Fault.STALL:
            client.sendall(answer[: len(answer) // 2])
            self._over.wait(HELD_UP_S)
            client.sendall(answer[len(answer) // 2 :])
        elif fault is Fault.THROTTLE:
            for at in range(0, len(answer), 16):
                client.sendall(answer[at : at + 16])
        else:
            client.sendall(answer)

    def _repeat(self, fault: Fault, request: bytes) -> None:
        """Send the request once more, at once or when some later ones have gone by; nobody reads the answer."""
        if fault is Fault.DUPLICATE:
            self._send_aside(request)
        if fault is Fault.LATE_DUPLICATE:
            self._late.append(request)
        elif len(self._late) > _LATE:
            self._send_aside(self._late.popleft())

    def _send_aside(self, request: bytes) -> None:
        def send() -> None:
            with (
                contextlib.suppress(OSError, EOFError),
                socket.create_connection(("127.0.0.1", self._port), timeout=10) as server,
                server.makefile("rb") as answered,
            ):
                server.sendall(request)
                _read_head(answered)

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _draw(self) -> Fault:
        with self._lock:
            if self._script:
                fault = self._script.pop(0)
            elif self._random.random() < self._rate:
                fault = self._random.choice(self._faults)
            else:
                fault = Fault.NONE
            self.counts[fault] += 1
            return fault


def _read_head(stream: BinaryIO) -> bytes:
    lines = [_line(stream)]
    while lines[-1] not in (b"\r\n", b"\n"):
        lines.append(_line(stream))
    return b"".join(lines)


def _line(stream: BinaryIO) -> bytes:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return line


def _read_body(stream: BinaryIO, head: bytes, *, cut: bool = False) -> bytes:
    found = _LENGTH.search(head)
    nbytes = int(found[1]) if found else 0
    if cut:
        nbytes //= 2
    body = stream.read(nbytes)
    if len(body) < nbytes:
        raise EOFError
    return body


def _reset(sock: socket.socket) -> bool:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    return False
