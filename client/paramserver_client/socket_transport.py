"""An `httpx.BaseTransport` that moves bulk at the speed of the socket.

httpx's own transport copies a large body several times (its write slices what is left again and again: 15 s for 400 MB;
its read joins small chunks). This one hands the caller's arrays to `sendmsg` as they are, and receives a body into one
buffer of its size. Everything else about httpx stays: the same seam, so mocks, proxies and ASGI apps go in its place.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import httpx

from paramserver_client.connection import Connection, LostError, NotSentError, SlowError, Waits
from paramserver_client.files import FileSink, FileSource
from paramserver_client.http1 import Head, Origin, ProtocolError, render_head
from paramserver_client.landing import Landing
from paramserver_client.tls import context_of_the_environment
from paramserver_client.waiting import Places, connected

# Where `SocketTransport` puts the body of a response, in `httpx.Response.extensions`: one memoryview, to be had once.
BODY: Final = "paramserver_body"
# What `httpx.Request.extensions` may carry for this transport: the monotonic time at which to give up.
DEADLINE: Final = "paramserver_deadline"
# And a `FileSink` for the body of a 200, which is then not part of the response.
SINK: Final = "paramserver_sink"

MAX_IDLE: Final = 64
# A thousand tasks that ask at once must not open a thousand connections: the server takes 512 from all its workers.
MAX_CONNECTIONS: Final = 256
_PIECE_NBYTES: Final = 256 * 1024


class Sending(NamedTuple):
    """A request ready to be sent. `views` that are no sequence are asked for one by one; the body of a 200 goes into the
    `sink`, if there is one, its values to the `landing`."""

    method: str
    head: bytes
    views: Iterable[memoryview]
    sink: FileSink | None = None
    landing: Landing | None = None


class Patience(NamedTuple):
    """How long to wait in seconds: for a free place, for a connection, and while nothing moves; None is for ever."""

    place_s: float | None = None
    connect_s: float | None = None
    silence: Waits = Waits()


class ViewStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A request body of several views. `SocketTransport` takes the views; other transports iterate pieces of bytes.

    (httpx would iterate a bare memoryview as integers, and httpcore takes quadratic time over one large piece.)
    """

    def __init__(self, views: Sequence[memoryview]) -> None:
        self.views = views

    def __iter__(self) -> Iterator[bytes]:
        for view in self.views:
            for begin in range(0, len(view), _PIECE_NBYTES):
                yield bytes(view[begin : begin + _PIECE_NBYTES])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


class Pool:
    """The connections of one process that wait for their next request, and the places of those in use."""

    def __init__(self, max_connections: int) -> None:
        self.pid = os.getpid()
        self.places = Places(max_connections)
        self._lock = threading.Lock()
        self._idle: list[tuple[Origin, Connection]] = []

    def take(self, origin: Origin) -> Connection | None:
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

    def keep(self, origin: Origin, connection: Connection) -> None:
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


class FileStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A request body that is read from a file. `SocketTransport` takes the file; others iterate pieces of bytes."""

    def __init__(self, file: FileSource) -> None:
        self.file = file

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.file:
            yield bytes(piece)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = iter(self)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece


class SocketTransport(httpx.BaseTransport):
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
        self._pool = Pool(max_connections)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, receive the whole response. Follows no redirect, decodes nothing."""
        try:
            sending = Sending(request.method, _head_of(request), _views_of(request), request.extensions.get(SINK))
            response, body = self.exchange(_origin(request), sending, _patience(request))
        except httpx.RequestError as error:
            error.request = request
            raise
        return _as_response(response, body)

    def exchange(self, origin: Origin, sending: Sending, patience: Patience) -> tuple[Head, memoryview]:
        """Send a request, receive its whole response: what `handle_request` does, without httpx's objects.

        A request and a response of httpx take 84 us together, as long as the server takes for 1 KB.
        """
        pool = self._own_pool()
        if not pool.places.take(patience.place_s):
            detail = f"All {self._max_connections} connections stayed in use; have fewer calls wait at once."
            raise httpx.PoolTimeout(detail)
        try:
            return self._exchange(origin, sending, patience, pool)
        finally:
            pool.places.give_back()

    def close(self) -> None:
        """Close the idle connections. One that is in use is kept for the next request when its own is done."""
        self._own_pool().close_idle()

    def _exchange(self, origin: Origin, sending: Sending, patience: Patience, pool: Pool) -> tuple[Head, memoryview]:
        method, head, views, sink, landing = sending
        while True:
            connection = pool.take(origin)
            reused = connection is not None
            if connection is None:
                connection = self._connect(origin, patience.connect_s)
            try:
                response, body, reusable = connection.exchange(method, head, views, patience.silence, sink, landing)
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

    def _own_pool(self) -> Pool:
        """The pool of this process."""
        pool = self._pool
        if pool.pid != os.getpid():
            # Locks of the parent's pool may be held by threads that the child does not have, and its connections are
            # the parent's: closing the child's copies leaves the parent's open.
            pool.close_copies()
            pool = self._pool = Pool(self._max_connections)
        return pool

    def _connect(self, origin: Origin, left_s: float | None) -> Connection:
        try:
            return Connection(connected(origin, self._context() if origin.scheme == "https" else None, left_s))
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"No connection to {origin} in time.") from error
        except OSError as error:
            raise httpx.ConnectError(f"No connection to {origin}: {error}.") from error

    def _context(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        return self._ssl_context


def _origin(request: httpx.Request) -> Origin:
    url = request.url
    if url.scheme not in ("http", "https"):
        raise httpx.UnsupportedProtocol(f"Wanted an http or https URL, got {url.scheme!r}.")
    return origin_of(url)


def origin_of(url: httpx.URL) -> Origin:
    """Where the server of an http or https URL listens."""
    return Origin(url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80))


def _head_of(request: httpx.Request) -> bytes:
    try:
        return render_head(request.method, request.url.raw_path, request.headers.raw)
    except ProtocolError as error:
        raise httpx.LocalProtocolError(str(error)) from error


def _views_of(request: httpx.Request) -> Iterable[memoryview]:
    if isinstance(request.stream, ViewStream):
        return request.stream.views
    if isinstance(request.stream, FileStream):
        return request.stream.file
    body = request.read()
    if body and "content-length" not in request.headers:
        raise httpx.LocalProtocolError("Wanted a body with a Content-Length, got one without.")
    return [memoryview(body)]


def _patience(request: httpx.Request) -> Patience:
    timeouts = request.extensions.get("timeout", {})
    waits = Waits(timeouts.get("write"), timeouts.get("read"), request.extensions.get(DEADLINE))
    return Patience(timeouts.get("pool"), timeouts.get("connect"), waits)


def _as_response(head: Head, body: memoryview) -> httpx.Response:
    return httpx.Response(head.status, headers=list(head.fields), stream=ViewStream([body]), extensions={BODY: body})


def _as_httpx(error: Exception) -> httpx.TransportError:
    kind: type[httpx.TransportError]
    if isinstance(error, SlowError):
        kind = httpx.ReadTimeout if error.sent else httpx.WriteTimeout
    elif isinstance(error, NotSentError):
        kind = httpx.WriteError
    elif isinstance(error, ProtocolError):
        kind = httpx.RemoteProtocolError
    else:
        kind = httpx.ReadError
    return kind(str(error))
