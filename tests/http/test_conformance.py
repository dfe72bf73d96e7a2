"""HTTP as a careful stranger speaks it, and as a careless or hostile one does: the same answers over the protocol, over a Unix socket,
and through plain ASGI, where the application knows nothing of large bodies and answers as a whole, and no head is known.

Every case is bytes in, and the answers that must come: status and problem code, whether the connection goes on, and what the
variable holds then. Each is sent twice over the ways that remember heads, so that both the first and the known way are met.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from paramserver.http.app import create_app
from paramserver.http.patience import Bounds, Patience
from paramserver.http.performing import Drain
from paramserver.http.serve import prepare_engine
from paramserver.http.server import Server, config_of
from paramserver.settings import Settings
from paramserver_wire import frame
from paramserver_wire.messages import Message
from support.raw_http import Reply, eventually, read_reply

LARGE = 100_000  # elements: over what the protocol receives into a buffer of its own
SMALL = 4
LIMITS: dict[str, Any] = {
    "body_limit_nbytes": 1_000_000,
    "json_limit_nbytes": 100_000,
    "head_limit_nbytes": 8000,
    "headers_limit": 40,
}


@dataclass(frozen=True)
class Way:
    """One way to a server."""

    name: str
    engine: Any
    place: str | int

    def connect(self) -> socket.socket:
        if isinstance(self.place, str):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(20)
            connection.connect(self.place)
            return connection
        connection = socket.create_connection(("127.0.0.1", self.place), timeout=20)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def reset(self) -> None:
        for name, count in (("small", SMALL), ("large", LARGE)):
            with contextlib.suppress(Exception):
                self.engine.perform(Message("delete_variable", {"name": name}))
            self.engine.perform(Message("create_variable", {"name": name, "value": np.zeros(count, np.float32)}))

    def sums(self) -> tuple[float, float]:
        values = [self.engine.store.get(name).value for name in ("small", "large")]
        assert all((value == value.flat[0]).all() for value in values)
        return float(values[0].flat[0]), float(values[1].flat[0])


def by_asgi_alone(app: ASGIApp) -> ASGIApp:
    """The application as another server would run it."""

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "extensions": {}} if scope["type"] == "http" else scope, receive, send)

    return plain


@pytest.fixture(scope="module", params=["protocol", "unix", "fallback"])
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    path = Path(tmp_path_factory.mktemp("way")) / "ps.sock"
    settings = Settings(**LIMITS, **({"uds": path} if request.param == "unix" else {}))
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    drain, listening = Drain(), threading.Event()
    with prepare_engine(settings) as engine:
        app: ASGIApp = create_app(engine, settings, drain)
        if request.param == "fallback":
            app = by_asgi_alone(app)
        config = config_of(app, settings, Patience(Bounds.of(settings)))
        server = Server(config, drain, settings.uds, announce=listening.set, start=engine.start)
        thread = threading.Thread(target=server.run, args=([bound],))
        port = bound.getsockname()[1]
        thread.start()
        try:
            assert listening.wait(20)
            yield Way(request.param, engine, str(path) if request.param == "unix" else port)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def tensor(count: int) -> bytes:
    return b"".join(frame.encode(np.ones(count, np.float32)))


def add(count: int = SMALL, *lines: str, body: bytes | None = None, length: str | None = "given") -> bytes:
    """An addition to `small` or `large`, with further header lines."""
    body = tensor(count) if body is None else body
    head = [f"POST /v1/variables/{'small' if count == SMALL else 'large'}:assign_add HTTP/1.1", "Host: localhost"]
    head += [f"Content-Type: {frame.MEDIA_TYPE}", "Accept: application/json", *lines]
    if length is not None:
        head.append(f"Content-Length: {len(body) if length == 'given' else length}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def chunked(count: int, size: int, *, tail: bytes = b"0\r\n\r\n", extension: bytes = b"") -> bytes:
    body = tensor(count)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return add(count, "Transfer-Encoding: chunked", body=chunks + tail, length=None)


def get(path: str = "/v1/variables/small", method: str = "GET", *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


@dataclass(frozen=True)
class Case:
    """Bytes in; the answers, whether the connection goes on behind them, and the sums of `small` and `large` then."""

    sent: bytes
    answers: tuple[tuple[int, str | None], ...]
    goes_on: bool = True
    sums: tuple[float, float] = (0, 0)
    methods: tuple[str, ...] = ()


OK = (200, None)
BAD = (400, "malformed_body")
CASES = {
    "a small body": Case(add(), (OK,), sums=(1, 0)),
    "a large body": Case(add(LARGE), (OK,), sums=(0, 1)),
    "a read": Case(get("/v1/variables/large:read", "GET", f"Accept: {frame.MEDIA_TYPE}"), (OK,)),
    "HEAD": Case(get(method="HEAD") + get(), (OK, OK), methods=("HEAD", "GET")),
    "no route": Case(get("/v1/nothing"), ((404, "not_found"),)),
    "no such method": Case(get("/v1/server", "DELETE"), ((405, "method_not_allowed"),)),
    "an unknown method": Case(get("/v1/server", "BREW"), (BAD,), goes_on=False),
    "a large body to no route": Case(
        add(LARGE).replace(b":assign_add", b":assign_odd") + add(), ((404, "not_found"), OK), sums=(1, 0)
    ),
    # Both lengths, one twice, one that is none: who reads it otherwise than the next one in line lets requests be smuggled.
    "chunked and a length": Case(add(SMALL, "Transfer-Encoding: chunked"), (BAD,), goes_on=False),
    "two lengths": Case(add(SMALL, "Content-Length: 5"), (BAD,), goes_on=False),
    "the same length twice": Case(add(SMALL, f"Content-Length: {len(tensor(SMALL))}"), (BAD,), goes_on=False),
    "a length that is no number": Case(add(length="4x"), (BAD,), goes_on=False),
    "a negative length": Case(add(length="-4"), (BAD,), goes_on=False),
    "an endless length": Case(add(length="9" * 30), (BAD,), goes_on=False),
    "another coding": Case(add(SMALL, "Transfer-Encoding: gzip", length=None), (BAD,), goes_on=False),
    "chunked, then another coding": Case(
        add(SMALL, "Transfer-Encoding: chunked, gzip", length=None), (BAD,), goes_on=False
    ),
    "chunks": Case(chunked(SMALL, 7) + chunked(LARGE, 50_000), (OK, OK), sums=(1, 1)),
    "chunks with extensions": Case(chunked(SMALL, 50, extension=b";name=value"), (OK,), sums=(1, 0)),
    "chunks and a trailer": Case(chunked(SMALL, 50, tail=b"0\r\nX-Sum: 1\r\n\r\n"), (OK,), sums=(1, 0)),
    "a chunk without a size": Case(
        add(SMALL, "Transfer-Encoding: chunked", body=b"xyz\r\n", length=None), (BAD,), goes_on=False
    ),
    "a chunk with a negative size": Case(
        add(SMALL, "Transfer-Encoding: chunked", body=b"-1\r\n\r\n", length=None), (BAD,), goes_on=False
    ),
    "a chunk of another size": Case(
        add(SMALL, "Transfer-Encoding: chunked", body=b"2\r\nabcdef\r\n0\r\n\r\n", length=None), (BAD,), goes_on=False
    ),
    "pipelining": Case(
        add() + add(LARGE) + get() + add(LARGE) + get("/v1/nothing") + add(),
        (OK, OK, OK, OK, (404, "not_found"), OK),
        sums=(2, 2),
    ),
    "empty lines before a request": Case(b"\r\n\r\n" + add(), (OK,), sums=(1, 0)),
    # A folded line was one header to some and two to others.
    "a folded header": Case(add(SMALL, "X-Odd: one", " two"), (BAD,), goes_on=False),
    "a space before the colon": Case(add(SMALL, "X-Odd : one"), (BAD,), goes_on=False),
    "a header without a name": Case(add(SMALL, ": one"), (BAD,), goes_on=False),
    "a zero byte in a header": Case(add(SMALL, "X-Odd: a\0b"), (BAD,), goes_on=False),
    "bare line feeds": Case(add().replace(b"\r\n", b"\n", 1), (BAD,), goes_on=False),
    "an older HTTP": Case(get().replace(b"HTTP/1.1", b"HTTP/1.0"), (OK,), goes_on=False),
    "a newer HTTP": Case(get().replace(b"HTTP/1.1", b"HTTP/3.0"), (BAD,), goes_on=False),
    "no HTTP": Case(b"\x16\x03\x01\x02\x00\x01\r\n\r\n", (BAD,), goes_on=False),
    "a long path": Case(get("/" + "a" * 9000), ((431, "head_too_large"),), goes_on=False),
    "a long header": Case(add(SMALL, "X-Long: " + "a" * 9000), ((431, "head_too_large"),), goes_on=False),
    "many headers": Case(
        add(SMALL, *[f"X-{number}: 1" for number in range(50)]), ((431, "head_too_large"),), goes_on=False
    ),
    "close": Case(add(SMALL, "Connection: close"), (OK,), goes_on=False, sums=(1, 0)),
    "compressed": Case(add(SMALL, "Content-Encoding: gzip"), ((415, "unsupported_media_type"),)),
    "another media type": Case(
        add().replace(b"vnd.paramserver.frame", b"octet-stream"), ((415, "unsupported_media_type"),)
    ),
    "a body that is cut inside": Case(add(body=tensor(SMALL)[:-3]), (BAD,)),
    "a body with more behind it": Case(add(body=tensor(SMALL) + b"more"), (BAD,)),
    "an empty body": Case(add(body=b""), ((422, "invalid_request"),)),
    "too large a body in chunks": Case(
        add(LARGE, "Transfer-Encoding: chunked", body=b"124f80\r\n" + bytes(1_200_000) + b"\r\n0\r\n\r\n", length=None),
        ((413, "body_too_large"),),
    ),
}


def exchanged(way: Way, case: Case) -> tuple[list[Reply], bool]:
    """The answers, and whether another request is answered behind them."""
    methods = case.methods or ("GET",) * len(case.answers)
    with way.connect() as connection:
        sending = threading.Thread(target=_send, args=(connection, case.sent))
        sending.start()
        replies = [read_reply(connection, method) for method in methods]
        # An answer may come before the request is out: what follows must not end up inside it.
        sending.join(20)
        goes_on = True
        try:
            connection.sendall(get("/healthz"))
            goes_on = read_reply(connection).status == 200
        except (ConnectionError, OSError):
            goes_on = False
    return replies, goes_on


def _send(connection: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(data)


@pytest.mark.parametrize("name", CASES)
def test_every_way_answers_the_same(way: Way, name: str) -> None:
    case = CASES[name]
    for _ in range(2):
        way.reset()
        replies, goes_on = exchanged(way, case)
        told = []
        for reply in replies:
            is_problem = reply.headers.get("content-type") == "application/problem+json"
            told.append((reply.status, json.loads(reply.body)["code"] if is_problem and reply.body else None))
        assert tuple(told) == case.answers
        assert goes_on == case.goes_on
        assert way.sums() == case.sums


@pytest.mark.parametrize("host", ["", "Host: evil.example\r\n"])
def test_a_host_is_a_matter_of_networks(way: Way, host: str) -> None:
    way.reset()
    with way.connect() as connection:
        connection.sendall(add().replace(b"Host: localhost\r\n", host.encode()))
        reply = read_reply(connection)
    if way.name == "unix":
        assert (reply.status, way.sums()) == (200, (1, 0))
    else:
        assert (reply.status, reply.json()["code"], way.sums()) == (421, "wrong_host", (0, 0))


def test_a_declared_body_over_the_limit_is_refused_before_it_comes(way: Way) -> None:
    with way.connect() as connection:
        connection.sendall(add(body=b"", length=str(10**12)))
        assert (reply := read_reply(connection)).status == 413
        assert reply.json()["code"] == "body_too_large"


@pytest.mark.parametrize("count", [SMALL, LARGE])
def test_expect_is_invited_or_refused(way: Way, count: int) -> None:
    way.reset()
    message, body = add(count, "Expect: 100-continue"), tensor(count)
    with way.connect() as connection:
        connection.sendall(message.removesuffix(body))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_reply(connection).status == 200
    assert sum(way.sums()) == 1
    with way.connect() as connection:
        connection.sendall(message.replace(b"frame", b"fame!").removesuffix(body))
        reply = read_reply(connection)
        assert (reply.status, reply.headers["connection"]) == (415, "close")
        assert connection.recv(1) == b""


@pytest.mark.parametrize("count", [SMALL, LARGE])
@pytest.mark.parametrize("left", [1, 20, "all"])
def test_who_dies_in_mid_body_leaves_nothing(way: Way, count: int, left: Any) -> None:
    way.reset()
    message, body = add(count, f"Idempotency-Key: dies{count}after{left}-1"), tensor(count)
    used = way.engine.store.budget.used_nbytes
    with way.connect() as connection:
        connection.sendall(message[: -(len(body) if left == "all" else left)])
    eventually(lambda: bool(way.engine.store.budget.used_nbytes == used))
    assert way.sums() == (0, 0)
    # Its request id is free again.
    with way.connect() as connection:
        connection.sendall(message)
        assert read_reply(connection).status == 200
    assert sum(way.sums()) == 1
