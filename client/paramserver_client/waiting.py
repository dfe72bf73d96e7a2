"""Every place where the client waits: for a socket, a connection, a place, for time to pass.

`aio/waiting.py` has the same names for asyncio. All that calls these, at whatever remove, is written once, for threads;
its twin for asyncio is made by `scripts/make_async.py`.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from paramserver_client.files import FileSink
from paramserver_client.http1 import Origin

Pause = Callable[[float], None]
P = ParamSpec("P")
Result = TypeVar("Result")


def pause(seconds: float) -> None:
    """Let time pass."""
    time.sleep(seconds)


def let_others_run() -> None:
    """Between two pieces of bulk: other threads run by themselves."""


def apart(work: Callable[P, Result], *arguments: P.args, **named: P.kwargs) -> Result:
    """Do what waits for the disk."""
    return work(*arguments, **named)


def until_ready(sock: socket.socket, events: int, left_s: float | None) -> int:
    """Wait for one of the `events` of `poll`, and return those that are there; 0 after `left_s` seconds without any."""
    poll = select.poll()
    poll.register(sock, events)
    ready = poll.poll(None if left_s is None else left_s * 1000)
    return ready[0][1] if ready else 0


def drain(response: Any, sink: FileSink) -> None:
    """Write the body of an httpx response into the sink, as it comes."""
    length = response.headers.get("content-length", "")
    sink.begin(int(length) if length.isdecimal() else None)
    for piece in response.iter_raw():
        sink.write(piece)


def connected(origin: Origin, tls: ssl.SSLContext | None, left_s: float | None) -> socket.socket:
    """A connected socket, with TCP_NODELAY; `tls` puts TLS around it. Raises OSError, TimeoutError included."""
    if origin.scheme == "unix":
        return _connected_locally(origin.host, left_s)
    sock = socket.create_connection((origin.host, origin.port), timeout=left_s)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            sock = tls.wrap_socket(sock, server_hostname=origin.host)
    except BaseException:
        sock.close()
        raise
    return sock


def _connected_locally(path: str, left_s: float | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(left_s)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


class Places:
    """A limit to how many do something at once. Thread-safe."""

    def __init__(self, count: int) -> None:
        self._free = threading.Semaphore(count)

    def take(self, left_s: float | None) -> bool:
        """Wait for a place, and say whether one came free within `left_s` seconds."""
        return self._free.acquire(timeout=left_s)

    def give_back(self) -> None:
        """Leave the place to the next."""
        self._free.release()
