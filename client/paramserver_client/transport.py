"""How messages reach the server over HTTP: rendered, sent, repeated while that can help, decoded.

httpx is the face: any `httpx.BaseTransport` (a mock, a proxy, an ASGI app) can take the place of the socket.
"""

from __future__ import annotations

import logging
import random
import ssl
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

import httpx
from httpx import BaseTransport as BaseTransport

from paramserver_client.connection import LostError, SlowError, Waits
from paramserver_client.encoding import REQUEST_ID, Encoded, decode, encode, problem
from paramserver_client.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    Outcome,
    ParameterServerError,
    UnexpectedAnswerError,
    UnreachableError,
)
from paramserver_client.files import FileSink
from paramserver_client.http1 import Origin, ProtocolError, render_fields, render_head
from paramserver_client.landing import Landing
from paramserver_client.retry import RETRIED_STATUSES, Failure, delay_s, final_error, joined, parse_retry_after
from paramserver_client.socket_transport import (
    BODY,
    DEADLINE,
    SINK,
    FileStream,
    Patience,
    Sending,
    SocketTransport,
    ViewStream,
    origin_of,
)
from paramserver_client.waiting import Pause, drain, pause
from paramserver_wire.messages import OPERATIONS, Answer, Message

# A server that is gone without a word (a pulled cable) is found out within these, so that a retry finds its successor.
CONNECT_S: Final = 5.0
SILENCE_S: Final = 20.0
# Whatever stands in for the socket needs no address.
_MOCK_URL: Final = "http://paramserver"

_UNIX: Final = "unix://"

# Of these the server cannot have seen the whole request.
_NOT_SENT: Final = (httpx.PoolTimeout, httpx.ConnectError, httpx.ConnectTimeout, httpx.WriteError, httpx.WriteTimeout)

_log = logging.getLogger("paramserver_client")


class Transport(Protocol):
    """What `ParameterClient` needs of the way to its server."""

    def deliver(self, message: Message, timeout_s: float) -> Answer:
        """Have the message performed and return the answer, or raise a `ParameterServerError`."""

    def close(self) -> None:
        """Let go of connections, threads and files. No call may be running."""


def transport_of(url: str | None, token: str | None, given: BaseTransport | Transport | None) -> Transport:
    """The way to a server: the one `given`, or HTTP over the httpx transport `given`, or over sockets of our own."""
    if given is not None and not isinstance(given, BaseTransport):
        return given
    return HttpTransport(url or _MOCK_URL, token=token, transport=given)


class Reply(NamedTuple):
    """A response: its fields by name in lower case, and its body, which is empty where it went into a sink."""

    status: int
    fields: Mapping[str, str]
    body: memoryview


class Try(NamedTuple):
    """What one try may take: `left_s` seconds in all, `silent_s` without any progress, and `deadline` (monotonic) for
    all that is no file."""

    left_s: float
    silent_s: float
    deadline: float | None


class HttpTransport:
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
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Pause = pause,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._url = _checked_url(url)
        self._origin, self._path = _place_of(self._url)
        self._fields = _common_fields(self._url, token)
        self._common = render_fields((name.encode(), value.encode()) for name, value in self._fields)
        self._transport = SocketTransport() if transport is None else transport
        self._sockets = self._transport if isinstance(self._transport, SocketTransport) else None
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

    def deliver(self, message: Message, timeout_s: float) -> Answer:
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
            found = self._try(encoded, sink, message.landing, limits, message.request_id)
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
            self._sleep(wait_s)

    def close(self) -> None:
        """Close the idle connections."""
        self._transport.close()

    def _try(
        self, encoded: Encoded, sink: FileSink | None, landing: Landing | None, limits: Try, request_id: str | None
    ) -> Answer | Failure:
        """Send the request once. A plain bug of a transport is raised as it is."""
        try:
            if self._sockets is not None:
                status, fields, body = self._by_socket(self._sockets, encoded, sink, landing, limits)
            else:
                status, fields, body = self._by_httpx(encoded, sink, limits)
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

    def _by_socket(
        self,
        sockets: SocketTransport,
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
        response, body = sockets.exchange(self._origin, sending, patience)
        return Reply(response.status, response.by_name, body)

    def _by_httpx(self, encoded: Encoded, sink: FileSink | None, limits: Try) -> Reply:
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
        response = self._transport.handle_request(request)
        if sink is not None and response.status_code == 200:
            if BODY not in response.extensions:
                drain(response, sink)
            return Reply(200, response.headers, memoryview(b""))
        body = response.extensions.get(BODY)
        if not isinstance(body, memoryview):
            body = memoryview(bytearray(response.read()))
        return Reply(response.status_code, response.headers, body)

    def _warn(self, error: ParameterServerError, deadline: float) -> None:
        if not self._warned:
            self._warned = True
            left_s = max(0.0, deadline - self._clock())
            _log.warning("%s Trying again for up to %.0f s.", error.detail, left_s)


def request_head(encoded: Encoded, path: bytes, common: bytes) -> bytes:
    """The bytes of a request's head, `path` before its target, `common` the lines that all have.

    Raises `ProtocolError` or `UnicodeEncodeError` for what no header can hold.
    """
    begin = _begin_of_head(encoded.method, path + encoded.target.encode(), encoded.fields, common)
    if encoded.request_id is None:
        return begin + b"\r\n"
    return b"%b%b\r\n" % (begin, render_fields([(REQUEST_ID.encode(), encoded.request_id.encode("latin-1"))]))


@lru_cache(maxsize=1024)
def _begin_of_head(method: str, target: bytes, fields: tuple[tuple[str, str], ...], common: bytes) -> bytes:
    lines = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    return render_head(method, target, lines, common).removesuffix(b"\r\n")


@lru_cache(maxsize=1024)
def _parsed(url: str) -> httpx.URL:
    """httpx takes 50 us to take a URL apart, and a worker asks for the same few again and again."""
    return httpx.URL(url)


def _checked_url(url: str) -> str:
    if isinstance(url, str) and url.startswith(_UNIX):
        if not url.startswith(f"{_UNIX}/") or not url.isprintable():
            raise ValueError(f"Wanted the whole path of a socket, as in 'unix:///run/ps.sock', got {url!r}.")
        return url
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        # Where there is a user, there may be a password.
        told = "one with a user" if "@" in str(url) else repr(url)
        raise ValueError(f"Wanted a URL such as 'http://127.0.0.1:8080', got {told}: {error}") from None
    if parsed.query or parsed.fragment or parsed.userinfo:
        # Not repeated: that is where secrets stand.
        raise ValueError(
            f"Wanted a URL with no user, password, query or fragment, got one with such for {parsed.host!r}. Give a token as token=."
        )
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"Wanted a URL such as 'http://127.0.0.1:8080' (or 'unix:///run/ps.sock'), got {url!r}.")
    return str(parsed).rstrip("/")


def _place_of(url: str) -> tuple[Origin, bytes]:
    """Where the server listens, and the path before those of its routes."""
    if url.startswith(_UNIX):
        return Origin("unix", url.removeprefix(_UNIX)), b""
    parsed = httpx.URL(url)
    return origin_of(parsed), parsed.raw_path.rstrip(b"/")


def _common_fields(url: str, token: str | None) -> list[tuple[str, str]]:
    fields = [
        ("Host", "localhost" if url.startswith(_UNIX) else httpx.URL(url).netloc.decode("ascii")),
        ("User-Agent", "paramserver-client"),
        ("Accept-Encoding", "identity"),
    ]
    if token:
        if not (token.isascii() and token.isprintable()):
            raise ValueError("Wanted a token of visible ASCII characters, got others. Look for a line end in its file.")
        fields.append(("Authorization", f"Bearer {token}"))
    return fields


def _network_failure(error: httpx.RequestError, url: str, request_id: str | None) -> Failure:
    """What a broken connection means. Only a request that was out as a whole can have been applied."""
    about = f"Wanted an answer of {url}, got none: {error}"
    cause = error.__cause__
    if isinstance(error, (httpx.LocalProtocolError, httpx.UnsupportedProtocol)):
        return Failure(InvalidRequestError(f"{error} Nothing was sent; correct the argument."), again=False)
    if isinstance(cause, ProtocolError):
        detail = f"{about} Check that the URL is a parameter server's, and its scheme."
        return Failure(_linked(UnexpectedAnswerError(detail, request_id=request_id), error), again=False)
    outcome: Outcome = "unknown"
    if isinstance(error, _NOT_SENT):
        outcome = "not applied"
    elif isinstance(cause, (LostError, SlowError)) and cause.status is not None and 200 <= cause.status < 300:
        outcome = "applied"
    kind = DeadlineExceededError if isinstance(error, httpx.TimeoutException) else UnreachableError
    detail = f"{about} Check that the server runs and the URL is right."
    trusted = not isinstance(cause, ssl.SSLCertVerificationError)
    return Failure(_linked(kind(detail, request_id=request_id, outcome=outcome), error), again=trusted)


def _linked(error: ParameterServerError, cause: BaseException) -> ParameterServerError:
    error.__cause__ = cause
    return error
