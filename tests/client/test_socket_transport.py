from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from paramserver_client.socket_transport import BODY, DEADLINE, MAX_IDLE, SocketTransport, ViewStream
from support.driven import DrivenSocket, Loop
from support.fake_server import FakeServer, Peer

TLS = Path(__file__).parent.parent / "support" / "tls"


Making = Callable[..., httpx.BaseTransport]


@pytest.fixture(params=["threads", "asyncio"])
def making(request: pytest.FixtureRequest, loop: Loop) -> Making:
    """What makes a transport of either kind."""
    return SocketTransport if request.param == "threads" else partial(DrivenSocket, loop)


@pytest.fixture
def transport(making: Making) -> Iterator[httpx.BaseTransport]:
    with making() as transport:
        yield transport


def request(
    server: FakeServer, method: str = "GET", views: list[memoryview] | None = None, **extensions: Any
) -> httpx.Request:
    views = views or []
    headers = {"Host": "h", "Content-Length": str(sum(view.nbytes for view in views))}
    return httpx.Request(
        method, server.url + "/x?y=1", headers=headers, stream=ViewStream(views), extensions=extensions
    )


def echo(peer: Peer) -> None:
    while True:
        peer.answer(peer.request().body)


def body_of(response: httpx.Response) -> bytes:
    return bytes(response.extensions[BODY])


def test_a_request_and_its_answer(transport: httpx.BaseTransport) -> None:
    lines: list[str] = []

    def script(peer: Peer) -> None:
        lines.append(peer.request().line)
        peer.send(b"HTTP/1.1 201 Created\r\nX-A: b\r\nContent-Length: 3\r\n\r\nyes")

    with FakeServer(script) as server:
        response = transport.handle_request(request(server))
    assert lines == ["GET /x?y=1 HTTP/1.1"]
    assert (response.status_code, response.headers["x-a"]) == (201, "b")
    assert body_of(response) == b"yes"
    assert response.read() == b"yes"


def test_many_views_arrive_in_order(transport: httpx.BaseTransport) -> None:
    views = [memoryview(bytes([i % 251]) * (i % 7)) for i in range(3000)]
    with FakeServer(echo) as server:
        response = transport.handle_request(request(server, "POST", views))
    assert body_of(response) == b"".join(views)


def test_a_large_body_goes_through_small_buffers(transport: httpx.BaseTransport) -> None:
    sent = np.random.default_rng(1).integers(0, 256, 2_000_000, np.uint8)

    def script(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        echo(peer)

    with FakeServer(script) as server:
        response = transport.handle_request(request(server, "POST", [memoryview(b"head"), sent.data]))
    assert body_of(response) == b"head" + sent.tobytes()


def test_a_body_is_received_into_one_writable_buffer_of_its_own(transport: httpx.BaseTransport) -> None:
    with FakeServer(echo) as server:
        first = transport.handle_request(request(server, "POST", [memoryview(b"abc")])).extensions[BODY]
        second = transport.handle_request(request(server, "POST", [memoryview(b"xyz")])).extensions[BODY]
    first[0] = 0
    assert bytes(second) == b"xyz"


def test_the_connection_is_kept_for_the_next_request(transport: httpx.BaseTransport) -> None:
    with FakeServer(echo) as server:
        for _ in range(3):
            transport.handle_request(request(server))
        assert server.connections == 1


def test_one_that_the_server_closes_is_not(transport: httpx.BaseTransport) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    with FakeServer(script) as server:
        for _ in range(2):
            transport.handle_request(request(server))
        assert server.connections == 2


def test_a_connection_that_died_idle_is_replaced_without_a_word(transport: httpx.BaseTransport) -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.answer(b"%d" % peer.number)
        if peer.number == 1:
            peer.close()
            closed.set()
        else:
            peer.request()

    with FakeServer(script) as server:
        assert body_of(transport.handle_request(request(server))) == b"1"
        assert closed.wait(10)
        assert body_of(transport.handle_request(request(server, "POST", [memoryview(b"x")]))) == b"2"


def test_a_lost_answer_is_no_idle_death(transport: httpx.BaseTransport) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.answer()
        peer.request()

    with FakeServer(script) as server:
        transport.handle_request(request(server))
        with pytest.raises(httpx.ReadError, match="before the answer was whole"):
            transport.handle_request(request(server))
        assert server.connections == 1


def test_an_unasked_answer_spoils_the_connection(transport: httpx.BaseTransport) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % peer.number + b"HTTP/1.1 200 OK\r\n")
        peer.request()

    with FakeServer(script) as server:
        for number in (b"1", b"2"):
            assert body_of(transport.handle_request(request(server))) == number


def test_a_chunked_answer(transport: httpx.BaseTransport) -> None:
    big = bytes(range(256)) * 1000

    def script(peer: Peer) -> None:
        while True:
            peer.request()
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            peer.send(b"3;x=1\r\nabc\r\n" + b"%x\r\n" % len(big) + big + b"\r\n0\r\nTrailer: 1\r\n\r\n")

    with FakeServer(script) as server:
        for _ in range(2):
            assert body_of(transport.handle_request(request(server))) == b"abc" + big
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nno length",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000,
    ],
)
def test_what_is_no_http_is_refused(transport: httpx.BaseTransport, answer: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(answer)
        peer.read(1)

    with FakeServer(script) as server, pytest.raises(httpx.RemoteProtocolError, match="Wanted"):
        transport.handle_request(request(server))


def test_interim_answers_are_passed_over(transport: httpx.BaseTransport) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")

    with FakeServer(script) as server:
        assert transport.handle_request(request(server)).status_code == 204


@pytest.mark.parametrize("end", [Peer.close, Peer.reset])
def test_a_connection_that_ends_before_the_answer(transport: httpx.BaseTransport, end: Callable[[Peer], None]) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        end(peer)

    with FakeServer(script) as server, pytest.raises(httpx.ReadError):
        transport.handle_request(request(server, "POST", [memoryview(b"x")]))


def test_a_body_that_is_cut(transport: httpx.BaseTransport) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    with (
        FakeServer(script) as server,
        pytest.raises(httpx.ReadError, match="Wanted 10 bytes of an answer, got 4") as raised,
    ):
        transport.handle_request(request(server))
    assert getattr(raised.value.__cause__, "status", None) == 200


@pytest.mark.parametrize("end", [Peer.close, Peer.reset])
def test_a_request_that_was_never_whole(transport: httpx.BaseTransport, end: Callable[[Peer], None]) -> None:
    def script(peer: Peer) -> None:
        peer.read(100)
        end(peer)

    with FakeServer(script) as server, pytest.raises(httpx.WriteError):
        transport.handle_request(request(server, "POST", [np.zeros(50_000_000, np.uint8).data]))


def test_a_refusal_in_the_middle_of_the_request_is_heard(transport: httpx.BaseTransport) -> None:
    heard = threading.Event()

    def script(peer: Peer) -> None:
        peer.read(100)
        peer.answer(b"too much", "413 Content Too Large")
        heard.wait(10)

    with FakeServer(script) as server:
        response = transport.handle_request(request(server, "POST", [np.zeros(50_000_000, np.uint8).data]))
        heard.set()
    assert (response.status_code, body_of(response)) == (413, b"too much")


def test_nobody_listens(transport: httpx.BaseTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with pytest.raises(httpx.ConnectError, match="No connection"):
        transport.handle_request(httpx.Request("GET", url))


def test_a_server_too_busy_to_connect_to(transport: httpx.BaseTransport) -> None:
    with socket.socket() as listener, contextlib.ExitStack() as queued:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = queued.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(httpx.ConnectTimeout, match="No connection"):
            transport.handle_request(httpx.Request("GET", url, extensions={"timeout": {"connect": 0.05}}))


def test_a_kept_connection_that_dies_under_a_request_is_replaced(transport: httpx.BaseTransport) -> None:
    """It was never whole, so it can be sent again at once."""
    body = np.ones(50_000_000, np.uint8)

    def script(peer: Peer) -> None:
        peer.answer(b"%d" % len(peer.request().body))
        if peer.number == 1:
            peer.read(100)
            peer.reset()

    with FakeServer(script) as server:
        transport.handle_request(request(server))
        assert body_of(transport.handle_request(request(server, "POST", [body.data]))) == b"50000000"
        assert server.connections == 2


def test_a_bug_of_the_caller_is_raised_as_it_is(transport: httpx.BaseTransport) -> None:
    with FakeServer(echo) as server, pytest.raises(TypeError, match="contiguous"):
        transport.handle_request(request(server, "POST", [np.zeros(4, np.uint8)[::2].data]))


def test_a_body_of_unknown_length_is_not_sent(transport: httpx.BaseTransport) -> None:
    with FakeServer(echo) as server, pytest.raises(httpx.LocalProtocolError, match="Content-Length"):
        transport.handle_request(httpx.Request("POST", server.url, stream=httpx.ByteStream(b"x")))


def test_another_scheme(transport: httpx.BaseTransport) -> None:
    with pytest.raises(httpx.UnsupportedProtocol, match="ftp"):
        transport.handle_request(httpx.Request("GET", "ftp://h/"))


def test_silence_has_an_end(transport: httpx.BaseTransport) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.read(1)

    with FakeServer(script) as server, pytest.raises(httpx.ReadTimeout, match=r"sent nothing for 0\.05 s"):
        transport.handle_request(request(server, timeout={"read": 0.05}))


def test_a_server_that_takes_nothing_has_one_too(transport: httpx.BaseTransport) -> None:
    def script(peer: Peer) -> None:
        gone.wait(10)

    gone = threading.Event()
    with FakeServer(script) as server:
        with pytest.raises(httpx.WriteTimeout, match=r"took nothing for 0\.05 s"):
            transport.handle_request(
                request(server, "POST", [np.zeros(50_000_000, np.uint8).data], timeout={"write": 0.05})
            )
        gone.set()


def test_the_deadline_ends_an_answer_that_drips(transport: httpx.BaseTransport) -> None:
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not gone.wait(0.01):
            peer.send(b"x")

    with FakeServer(script) as server:
        limited = request(server, timeout={"read": 10.0}, **{DEADLINE: time.monotonic() + 0.1})
        with pytest.raises(httpx.ReadTimeout):
            transport.handle_request(limited)
        gone.set()


def test_threads_have_connections_of_their_own(transport: httpx.BaseTransport) -> None:
    barrier = threading.Barrier(4)
    wrong: list[bytes] = []

    def work(number: int) -> None:
        barrier.wait()
        for i in range(50):
            sent = b"%d-%d" % (number, i)
            if body_of(transport.handle_request(request(server, "POST", [memoryview(sent)]))) != sent:
                wrong.append(sent)

    with FakeServer(echo) as server:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert server.connections <= 4


def test_a_fork_opens_connections_of_its_own(transport: httpx.BaseTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer(echo) as server:
        transport.handle_request(request(server))
        monkeypatch.setattr(os, "getpid", lambda: -1)
        transport.handle_request(request(server))
        assert server.connections == 2


def test_no_more_idle_connections_are_kept_than_the_limit(
    transport: httpx.BaseTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_IDLE > 0
    for module in ("paramserver_client.socket_transport", "paramserver_client.aio.socket_transport"):
        monkeypatch.setattr(f"{module}.MAX_IDLE", 0)
    with FakeServer(echo) as server:
        for _ in range(2):
            transport.handle_request(request(server))
        assert server.connections == 2


def test_no_more_connections_are_used_at_once_than_the_limit(making: Making) -> None:
    asked, answer = threading.Semaphore(0), threading.Event()

    def script(peer: Peer) -> None:
        while True:
            body = peer.request().body
            asked.release()
            answer.wait(10)
            peer.answer(body)

    with FakeServer(script) as server, making(max_connections=2) as transport:
        found: list[bytes] = []
        threads = [
            threading.Thread(
                target=lambda: found.append(
                    body_of(transport.handle_request(request(server, "POST", [memoryview(b"x")])))
                )
            )
            for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for _ in range(2):
            assert asked.acquire(timeout=10)
        with pytest.raises(httpx.PoolTimeout, match="All 2 connections stayed in use"):
            transport.handle_request(request(server, timeout={"pool": 0.01}))
        answer.set()
        for thread in threads:
            thread.join()
        assert found == [b"x"] * 5
        assert server.connections == 2


def test_a_header_cannot_smuggle_a_line(transport: httpx.BaseTransport) -> None:
    with FakeServer(echo) as server:
        smuggled = httpx.Request("GET", server.url, headers={"X-A": "b\r\nX-C: d"})
        with pytest.raises(httpx.LocalProtocolError, match="X-A"):
            transport.handle_request(smuggled)
        assert server.connections == 0


def test_a_plain_request_of_httpx_works_too(transport: httpx.BaseTransport) -> None:
    with FakeServer(echo) as server, httpx.Client(transport=transport) as client:
        assert client.post(server.url, content=b"abc").content == b"abc"


def test_other_transports_get_pieces_of_bytes() -> None:
    pieces = list(ViewStream([memoryview(b"ab"), memoryview(bytes(600_000))]))
    assert all(type(piece) is bytes for piece in pieces)
    assert [len(piece) for piece in pieces] == [2, 262144, 262144, 75712]


def test_https(making: Making) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(TLS / "localhost.pem", TLS / "localhost.key")
    trusting = ssl.create_default_context(cafile=str(TLS / "localhost.pem"))
    sent = np.random.default_rng(1).integers(0, 256, 5_000_000, np.uint8)
    with FakeServer(echo, ssl_context=serving) as server, making(ssl_context=trusting) as transport:
        for _ in range(2):
            response = transport.handle_request(request(server, "POST", [memoryview(b"head"), sent.data]))
            assert body_of(response) == b"head" + sent.tobytes()
        assert server.connections == 1


def test_a_certificate_that_nobody_vouches_for(transport: httpx.BaseTransport) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(TLS / "localhost.pem", TLS / "localhost.key")
    with FakeServer(echo, ssl_context=serving) as server, pytest.raises(httpx.ConnectError) as raised:
        transport.handle_request(request(server))
    assert isinstance(raised.value.__cause__, ssl.SSLCertVerificationError)
