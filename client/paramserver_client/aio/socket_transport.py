# Made from socket_transport.py by scripts/make_async.py. Do not change it here: change socket_transport.py, run `make generate`.
"""An `httpx.AsyncBaseTransport` that moves bulk at the speed of the socket.

httpx's own transport copies a large body several times (its write slices what is left again and again: 15 s for 400 MB;
its read joins small chunks). This one hands the caller's arrays to `sendmsg` as they are, and receives a body into one
buffer of its size. Everything else about httpx stays: the same seam, so mocks, proxies and ASGI apps go in its place.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Sequence

import httpx

from paramserver_client.aio.connection import AsyncConnection
from paramserver_client.aio.waiting import connected
from paramserver_client.connection import LostError, NotSentError, SlowError
from paramserver_client.http1 import ProtocolError
from paramserver_client.socket_transport import (
    MAX_IDLE,
    ViewStream,
    _as_httpx,
    _as_response,
    _head_of,
    _origin,
    _waits,
)


class AsyncSocketTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 over sockets, with TCP_NODELAY and connections kept for the next request.

    Thread-safe: each request has a connection for itself. Safe over `fork`: a child never uses a connection of its
    parent. `ssl_context` is for https (default: `ssl.create_default_context()`, the system's authorities).

    Raises httpx's own exceptions: `ConnectError`, `ConnectTimeout`, `WriteError` and `WriteTimeout` when the server
    cannot have seen the whole request; `ReadError`, `ReadTimeout` and `RemoteProtocolError` when it may have.
    """

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._ssl_context = ssl_context
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle: list[tuple[tuple[str, str, int], AsyncConnection]] = []

    def _after_fork(self) -> None:
        # The lock may have been held by a thread that the child does not have, and the connections are the parent's:
        # closing the child's copies leaves the parent's open.
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._close_idle()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, receive the whole response. Follows no redirect, decodes nothing."""
        waits = _waits(request)
        head = _head_of(request)
        views = await _views_of(request)
        origin = _origin(request)
        while True:
            connection = self._take(origin)
            reused = connection is not None
            if connection is None:
                connection = await self._connect(origin, request)
            try:
                response, body, reusable = await connection.exchange(request.method, head, views, waits)
            except BaseException as error:
                connection.close()
                if reused and isinstance(error, NotSentError):
                    continue
                if isinstance(error, (NotSentError, LostError, SlowError, ProtocolError)):
                    raise _as_httpx(error, request) from error
                raise
            if reusable:
                self._keep(origin, connection)
            else:
                connection.close()
            return _as_response(response, body)

    async def aclose(self) -> None:
        """Close the idle connections. One that is in use is kept for the next request when its own is done."""
        self._close_idle()

    def _close_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _take(self, origin: tuple[str, str, int]) -> AsyncConnection | None:
        """The connection that was used last, unless the server has closed it since."""
        if self._pid != os.getpid():
            self._after_fork()
        while True:
            with self._lock:
                at = next((i for i in reversed(range(len(self._idle))) if self._idle[i][0] == origin), None)
                if at is None:
                    return None
                _, connection = self._idle.pop(at)
            if not connection.is_stale():
                return connection
            connection.close()

    def _keep(self, origin: tuple[str, str, int], connection: AsyncConnection) -> None:
        with self._lock:
            if len(self._idle) < MAX_IDLE:
                self._idle.append((origin, connection))
                return
        connection.close()

    async def _connect(self, origin: tuple[str, str, int], request: httpx.Request) -> AsyncConnection:
        scheme, host, port = origin
        timeout_s = request.extensions.get("timeout", {}).get("connect")
        try:
            return AsyncConnection(
                await connected(host, port, self._context() if scheme == "https" else None, timeout_s)
            )
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"No connection to {host} port {port}: {error}.", request=request) from error
        except OSError as error:
            raise httpx.ConnectError(f"No connection to {host} port {port}: {error}.", request=request) from error

    def _context(self) -> ssl.SSLContext:
        with self._lock:
            if self._ssl_context is None:
                self._ssl_context = ssl.create_default_context()
            return self._ssl_context


async def _views_of(request: httpx.Request) -> Sequence[memoryview]:
    if isinstance(request.stream, ViewStream):
        return request.stream.views
    body = await request.aread()
    if body and "content-length" not in request.headers:
        raise httpx.LocalProtocolError("Wanted a body with a Content-Length, got one without.", request=request)
    return [memoryview(body)]
