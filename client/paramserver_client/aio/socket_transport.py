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
from collections.abc import Iterable

import httpx

from paramserver_client.aio.connection import AsyncConnection
from paramserver_client.aio.waiting import Places, connected
from paramserver_client.connection import LostError, NotSentError, SlowError
from paramserver_client.http1 import Head, Origin, ProtocolError
from paramserver_client.socket_transport import (
    MAX_CONNECTIONS,
    MAX_IDLE,
    SINK,
    FileStream,
    Patience,
    Sending,
    ViewStream,
    _as_httpx,
    _as_response,
    _head_of,
    _origin,
    _patience,
)
from paramserver_client.tls import context_of_the_environment


class AsyncPool:
    """The connections of one process that wait for their next request, and the places of those in use."""

    def __init__(self, max_connections: int) -> None:
        self.pid = os.getpid()
        self.places = Places(max_connections)
        self._lock = threading.Lock()
        self._idle: list[tuple[Origin, AsyncConnection]] = []

    def take(self, origin: Origin) -> AsyncConnection | None:
        """The connection that was used last, unless the server has closed it since."""
        while True:
            with self._lock:
                at = next((i for i in reversed(range(len(self._idle))) if self._idle[i][0] == origin), None)
                if at is None:
                    return None
                _, connection = self._idle.pop(at)
            if not connection.is_stale():
                return connection
            connection.close()

    def keep(self, origin: Origin, connection: AsyncConnection) -> None:
        """Take a connection back."""
        with self._lock:
            if len(self._idle) < MAX_IDLE:
                self._idle.append((origin, connection))
                return
        connection.close()

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def close_copies(self) -> None:
        """In a fork: close what it has of the connections of its parent."""
        for _, connection in self._idle:
            connection.close()


class AsyncSocketTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 over sockets, with TCP_NODELAY and connections kept for the next request.

    Thread-safe: each request has a connection for itself; with `max_connections` in use, the next waits for one. Safe
    over `fork`: a child never uses a connection of its parent. `ssl_context` is for https (default:
    `ssl.create_default_context()`, the system's authorities, with the certificate of `PARAMSERVER_CLIENT_CERT`, if there is
    one; `ValueError` when that cannot be used).

    Raises httpx's own exceptions: `PoolTimeout`, `ConnectError`, `ConnectTimeout`, `WriteError` and `WriteTimeout` when
    the server cannot have seen the whole request; `ReadError`, `ReadTimeout` and `RemoteProtocolError` when it may have.
    """

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None, max_connections: int = MAX_CONNECTIONS) -> None:
        self._ssl_context = ssl_context or context_of_the_environment()
        self._max_connections = max_connections
        self._pool = AsyncPool(max_connections)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, receive the whole response. Follows no redirect, decodes nothing."""
        try:
            sending = Sending(request.method, _head_of(request), await _views_of(request), request.extensions.get(SINK))
            response, body = await self.exchange(_origin(request), sending, _patience(request))
        except httpx.RequestError as error:
            error.request = request
            raise
        return _as_response(response, body)

    async def exchange(self, origin: Origin, sending: Sending, patience: Patience) -> tuple[Head, memoryview]:
        """Send a request, receive its whole response: what `handle_request` does, without httpx's objects.

        A request and a response of httpx take 84 us together, as long as the server takes for 1 KB.
        """
        pool = self._own_pool()
        if not await pool.places.take(patience.place_s):
            detail = f"All {self._max_connections} connections stayed in use; have fewer calls wait at once."
            raise httpx.PoolTimeout(detail)
        try:
            return await self._exchange(origin, sending, patience, pool)
        finally:
            pool.places.give_back()

    async def aclose(self) -> None:
        """Close the idle connections. One that is in use is kept for the next request when its own is done."""
        self._own_pool().close_idle()

    async def _exchange(
        self, origin: Origin, sending: Sending, patience: Patience, pool: AsyncPool
    ) -> tuple[Head, memoryview]:
        method, head, views, sink, landing = sending
        while True:
            connection = pool.take(origin)
            reused = connection is not None
            if connection is None:
                connection = await self._connect(origin, patience.connect_s)
            try:
                response, body, reusable = await connection.exchange(
                    method, head, views, patience.silence, sink, landing
                )
            except BaseException as error:
                connection.close()
                if reused and isinstance(error, NotSentError):
                    continue
                if isinstance(error, (NotSentError, LostError, SlowError, ProtocolError)):
                    raise _as_httpx(error) from error
                raise
            if reusable:
                pool.keep(origin, connection)
            else:
                connection.close()
            return response, body

    def _own_pool(self) -> AsyncPool:
        """The pool of this process."""
        pool = self._pool
        if pool.pid != os.getpid():
            # Locks of the parent's pool may be held by threads that the child does not have, and its connections are
            # the parent's: closing the child's copies leaves the parent's open.
            pool.close_copies()
            pool = self._pool = AsyncPool(self._max_connections)
        return pool

    async def _connect(self, origin: Origin, left_s: float | None) -> AsyncConnection:
        try:
            return AsyncConnection(
                await connected(origin, self._context() if origin.scheme == "https" else None, left_s)
            )
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"No connection to {origin} in time.") from error
        except OSError as error:
            raise httpx.ConnectError(f"No connection to {origin}: {error}.") from error

    def _context(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        return self._ssl_context


async def _views_of(request: httpx.Request) -> Iterable[memoryview]:
    if isinstance(request.stream, ViewStream):
        return request.stream.views
    if isinstance(request.stream, FileStream):
        return request.stream.file
    body = await request.aread()
    if body and "content-length" not in request.headers:
        raise httpx.LocalProtocolError("Wanted a body with a Content-Length, got one without.")
    return [memoryview(body)]
