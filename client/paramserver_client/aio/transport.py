# Made from transport.py by scripts/make_async.py. Do not change it here: change transport.py, run `make generate`.
"""How messages reach the server over HTTP: rendered, sent, repeated while that can help, decoded.

httpx is the face: any `httpx.AsyncBaseTransport` (a mock, a proxy, an ASGI app) can take the place of the socket.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Protocol

import httpx
from httpx import AsyncBaseTransport as AsyncBaseTransport

from paramserver_client.aio.socket_transport import AsyncSocketTransport
from paramserver_client.aio.waiting import Pause, drain, pause
from paramserver_client.connection import Waits
from paramserver_client.encoding import Encoded, decode, encode, problem
from paramserver_client.errors import (
    Outcome,
    ParameterServerError,
)
from paramserver_client.files import FileSink
from paramserver_client.http1 import ProtocolError, render_fields
from paramserver_client.landing import Landing
from paramserver_client.retry import RETRIED_STATUSES, Failure, delay_s, final_error, joined, parse_retry_after
from paramserver_client.socket_transport import (
    BODY,
    DEADLINE,
    SINK,
    FileStream,
    Patience,
    Sending,
    ViewStream,
)
from paramserver_client.transport import (
    _MOCK_URL,
    CONNECT_S,
    SILENCE_S,
    Reply,
    Try,
    _checked_url,
    _common_fields,
    _log,
    _network_failure,
    _parsed,
    _place_of,
    request_head,
)
from paramserver_wire.messages import OPERATIONS, Answer, Message


class AsyncTransport(Protocol):
    """What `AsyncParameterClient` needs of the way to its server."""

    async def deliver(self, message: Message, timeout_s: float) -> Answer:
        """Have the message performed and return the answer, or raise a `ParameterServerError`."""

    async def close(self) -> None:
        """Let go of connections, threads and files. No call may be running."""


def transport_of(
    url: str | None, token: str | None, given: AsyncBaseTransport | AsyncTransport | None
) -> AsyncTransport:
    """The way to a server: the one `given`, or HTTP over the httpx transport `given`, or over sockets of our own."""
    if given is not None and not isinstance(given, AsyncBaseTransport):
        return given
    return AsyncHttpTransport(url or _MOCK_URL, token=token, transport=given)


class AsyncHttpTransport:
    """Delivers messages to the server at `url`. Thread-safe, and safe over `fork`.

    `url` is `http://`, `https://`, or `unix://` and the path of a socket. `token` is sent as a bearer token. `transport`
    takes the place of the socket. Redirects are never followed, and no
    proxy is taken from the environment. `clock`, `sleep` and `draw` (uniform in [0, 1)) are for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Pause = pause,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._url = _checked_url(url)
        self._origin, self._path = _place_of(self._url)
        self._fields = _common_fields(self._url, token)
        self._common = render_fields((name.encode(), value.encode()) for name, value in self._fields)
        self._transport = AsyncSocketTransport() if transport is None else transport
        self._sockets = self._transport if isinstance(self._transport, AsyncSocketTransport) else None
        if self._sockets is None and self._origin.scheme == "unix":
            raise ValueError(f"Wanted an http or https URL for the transport given, got {url!r}. Leave transport= out.")
        self._clock = clock
        self._sleep = sleep
        self._draw = draw
        self._warned = False

    @property
    def url(self) -> str:
        """The server's URL, without a slash at its end."""
        return self._url

    async def deliver(self, message: Message, timeout_s: float) -> Answer:
        """Send the message until it is answered, refused, or `timeout_s` seconds have passed.

        Refusals for now (429, 503), lost connections, time-outs and a proxy's 502 and 504 are tried again, with the same
        request id and the same bytes; `Retry-After` is obeyed.
        """
        deadline = self._clock() + timeout_s
        encoded, sink = encode(message), message.arguments.get("sink")
        moves_a_file = encoded.file is not None or sink is not None
        mutates = OPERATIONS[message.operation].mutates
        silence_s = SILENCE_S + float(message.arguments.get("wait_s") or 0)
        known: Outcome = "not applied"
        tries = 0
        while True:
            tries += 1
            left_s = max(0.001, deadline - self._clock())
            limits = Try(left_s, min(silence_s, left_s), None if moves_a_file else deadline)
            found = await self._try(encoded, sink, message.landing, limits, message.request_id)
            if isinstance(found, Answer):
                self._warned = False
                return found
            if mutates:
                known = joined(known, found.error.outcome)
            else:
                found.error.outcome = "not applied"
            wait_s = delay_s(tries, found.retry_after_s, self._draw())
            if not found.again or self._clock() + wait_s >= deadline:
                raise final_error(found, known, timeout_s) from found.error.__cause__
            self._warn(found.error, deadline)
            await self._sleep(wait_s)

    async def close(self) -> None:
        """Close the idle connections."""
        await self._transport.aclose()

    async def _try(
        self, encoded: Encoded, sink: FileSink | None, landing: Landing | None, limits: Try, request_id: str | None
    ) -> Answer | Failure:
        """Send the request once. A plain bug of a transport is raised as it is."""
        try:
            if self._sockets is not None:
                status, fields, body = await self._by_socket(self._sockets, encoded, sink, landing, limits)
            else:
                status, fields, body = await self._by_httpx(encoded, sink, limits)
        except httpx.RequestError as error:
            return _network_failure(error, self._url, request_id)
        if sink is not None and status == 200:
            return Answer(None)
        if landing is not None and landing.tree is not None:
            return Answer(landing.tree, status)
        try:
            if 200 <= status < 300 or status == 304:
                return decode(status, fields, body)
        except ParameterServerError as damaged:
            damaged.request_id = request_id
            return Failure(damaged, again=False)
        retry_after_s = parse_retry_after(fields.get("retry-after"))
        refused = problem(status, fields, body, request_id)
        return Failure(refused, status in RETRIED_STATUSES, retry_after_s)

    async def _by_socket(
        self,
        sockets: AsyncSocketTransport,
        encoded: Encoded,
        sink: FileSink | None,
        landing: Landing | None,
        limits: Try,
    ) -> Reply:
        """The direct way: bytes to the socket, bytes from it."""
        try:
            head = request_head(encoded, self._path, self._common)
        except ProtocolError as error:
            raise httpx.LocalProtocolError(str(error)) from error
        except UnicodeEncodeError as error:
            detail = f"A header may hold the characters of Latin-1 only, got {error.object[:80]!r}."
            raise httpx.LocalProtocolError(detail) from error
        views = encoded.views if encoded.file is None else encoded.file
        sending = Sending(encoded.method, head, views, sink, landing)
        waits = Waits(limits.silent_s, limits.silent_s, limits.deadline)
        patience = Patience(limits.left_s, min(CONNECT_S, limits.left_s), waits)
        response, body = await sockets.exchange(self._origin, sending, patience)
        return Reply(response.status, response.by_name, body)

    async def _by_httpx(self, encoded: Encoded, sink: FileSink | None, limits: Try) -> Reply:
        """The way of whatever took the place of the socket."""
        request = httpx.Request(
            encoded.method,
            _parsed(self._url + encoded.target),
            headers=[*self._fields, *encoded.all_fields],
            stream=ViewStream(encoded.views) if encoded.file is None else FileStream(encoded.file),
            extensions={
                DEADLINE: limits.deadline,
                SINK: sink,
                "timeout": {
                    "connect": min(CONNECT_S, limits.left_s),
                    "write": limits.silent_s,
                    "read": limits.silent_s,
                    "pool": limits.left_s,
                },
            },
        )
        response = await self._transport.handle_async_request(request)
        if sink is not None and response.status_code == 200:
            if BODY not in response.extensions:
                await drain(response, sink)
            return Reply(200, response.headers, memoryview(b""))
        body = response.extensions.get(BODY)
        if not isinstance(body, memoryview):
            body = memoryview(bytearray(await response.aread()))
        return Reply(response.status_code, response.headers, body)

    def _warn(self, error: ParameterServerError, deadline: float) -> None:
        if not self._warned:
            self._warned = True
            left_s = max(0.0, deadline - self._clock())
            _log.warning("%s Trying again for up to %.0f s.", error.detail, left_s)
