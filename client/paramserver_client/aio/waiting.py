"""Every place where the async client waits: `paramserver_client.waiting` for asyncio, name by name.

The event loop is asked at each wait, so a connection belongs to no loop. A wait that is cancelled leaves nothing
behind on the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from paramserver_client.files import FileSink
from paramserver_client.http1 import Origin

Pause = Callable[[float], Awaitable[None]]
P = ParamSpec("P")
Result = TypeVar("Result")


async def pause(seconds: float) -> None:
    """Let time pass."""
    await asyncio.sleep(seconds)


async def let_others_run() -> None:
    """Between two pieces of bulk: a fast connection never has to wait, and the other tasks would stand still."""
    await asyncio.sleep(0)


async def apart(work: Callable[P, Result], *arguments: P.args, **named: P.kwargs) -> Result:
    """Do what waits for the disk, in a thread. It is over when this returns or is cancelled: its file may be closed."""
    doing = asyncio.ensure_future(asyncio.to_thread(work, *arguments, **named))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        raise


async def until_ready(sock: socket.socket, events: int, left_s: float | None) -> int:
    """Wait for one of the `events` of `poll`, and return one that is there; 0 after `left_s` seconds without any."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[int] = loop.create_future()
    timer = None if left_s is None else loop.call_later(left_s, _settle, found, 0)
    try:
        if events & select.POLLIN:
            loop.add_reader(sock, _settle, found, select.POLLIN)
        if events & select.POLLOUT:
            loop.add_writer(sock, _settle, found, select.POLLOUT)
        return await found
    finally:
        if timer is not None:
            timer.cancel()
        loop.remove_reader(sock)
        loop.remove_writer(sock)


async def drain(response: Any, sink: FileSink) -> None:
    """Write the body of an httpx response into the sink, as it comes."""
    length = response.headers.get("content-length", "")
    sink.begin(int(length) if length.isdecimal() else None)
    async for piece in response.aiter_raw():
        await apart(sink.write, piece)


async def connected(origin: Origin, tls: ssl.SSLContext | None, left_s: float | None) -> socket.socket:
    """A connected socket, with TCP_NODELAY; `tls` puts TLS around it. Raises OSError, TimeoutError included."""
    async with asyncio.timeout(left_s):
        if origin.scheme == "unix":
            return await _tried(socket.AF_UNIX, socket.SOCK_STREAM, 0, origin.host)
        sock = await _first_connected(origin.host, origin.port)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                sock = tls.wrap_socket(sock, server_hostname=origin.host, do_handshake_on_connect=False)
                await _shake_hands(sock)
        except BaseException:
            sock.close()
            raise
    return sock


async def _first_connected(host: str, port: int) -> socket.socket:
    """As `socket.create_connection`: the first of the host's addresses that answers."""
    loop = asyncio.get_running_loop()
    last: OSError | None = None
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            return await _tried(family, kind, protocol, address)
        except OSError as error:
            last = error
    raise last or OSError(f"{host} has no address")


async def _tried(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _shake_hands(sock: ssl.SSLSocket) -> None:
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            await until_ready(sock, select.POLLIN, None)
        except ssl.SSLWantWriteError:
            await until_ready(sock, select.POLLOUT, None)
        else:
            return


class Places:
    """A limit to how many do something at once: first come, first served, from any number of event loops."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._lock = threading.Lock()
        self._waiting: deque[asyncio.Future[int]] = deque()

    async def take(self, left_s: float | None) -> bool:
        """Wait for a place, and say whether one came free within `left_s` seconds."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            loop = asyncio.get_running_loop()
            place: asyncio.Future[int] = loop.create_future()
            self._waiting.append(place)
        timer = None if left_s is None else loop.call_later(left_s, _settle, place, 0)
        try:
            return bool(await place)
        except asyncio.CancelledError:
            # It may have been given a place in the same turn of the loop.
            if place.done() and not place.cancelled() and place.result():
                self.give_back()
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def give_back(self) -> None:
        """Leave the place to the next."""
        with self._lock:
            while self._waiting:
                place = self._waiting.popleft()
                # A loop that was closed with tasks waiting on it is passed over.
                with contextlib.suppress(RuntimeError):
                    place.get_loop().call_soon_threadsafe(self._grant, place)
                    return
            self._free += 1

    def _grant(self, place: asyncio.Future[int]) -> None:
        if place.done():  # it gave up meanwhile
            self.give_back()
        else:
            place.set_result(1)


def _settle(found: asyncio.Future[int], event: int) -> None:
    if not found.done():
        found.set_result(event)
