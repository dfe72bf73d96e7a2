"""The bytes of a connection, by hand: large bodies in odd pieces, pipelines, cut-offs, expectations."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from typing import Any

import numpy as np
import pytest

from paramserver.http.answer_transport import AnswerTransport
from paramserver.http.large_body import LARGE_NBYTES
from paramserver.http.protocol import SCRATCH_NBYTES
from paramserver_wire import frame
from support.raw_http import Reply, eventually, read_reply, send_in_pieces

LARGE = 200_000  # float32s: 800 kB


def post(path: str, body: bytes, *headers: str) -> bytes:
    head = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {frame.MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
        "Accept: application/json",
        *headers,
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def tensor(count: int, value: float = 1.0) -> bytes:
    return b"".join(frame.encode(np.full(count, value, np.float32)))


def test_the_large_path_is_taken_at_all(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    real = type(served.engine.store.pool).take
    monkeypatch.setattr(type(served.engine.store.pool), "take", lambda self, n: taken.append(n) or real(self, n))
    served.create("w", np.zeros(LARGE, np.float32))
    body = tensor(LARGE)
    with served.connect() as connection:
        connection.sendall(post("/v1/variables/w:assign_add", body))
        assert read_reply(connection).status == 200
    assert len(body) in taken
    assert LARGE_NBYTES > SCRATCH_NBYTES


@pytest.mark.parametrize("sizes", [[1_000_000], [1], [65_536], [100, 65_535, 65_537, 3], [300_000, 7]])
def test_a_large_body_in_odd_pieces(served: Any, sizes: list[int]) -> None:
    served.create("w", np.zeros(LARGE, np.float32))
    values = np.arange(LARGE, dtype=np.float32)
    message = post("/v1/variables/w:assign", b"".join(frame.encode(values)), "Idempotency-Key: a-1")
    if sizes == [1]:
        # Byte by byte over the head and the first of the body, then the rest.
        sizes = [1] * 700 + [len(message)]
    with served.connect() as connection:
        send_in_pieces(connection, message, sizes)
        reply = read_reply(connection)
    assert reply.status == 200, reply
    assert np.array_equal(served.value("w"), values)


def test_pipelined_requests_are_answered_in_order(served: Any) -> None:
    served.create("w", np.zeros(LARGE, np.float32))
    served.create("small", np.zeros(4, np.float32))
    messages = [
        post("/v1/variables/small:assign_add", tensor(4)),
        post("/v1/variables/w:assign_add", tensor(LARGE)),
        b"GET /v1/variables/small HTTP/1.1\r\nHost: localhost\r\n\r\n",
        post("/v1/variables/w:assign_add", tensor(LARGE, 2.0)),
        post("/v1/variables/nope:assign_add", tensor(LARGE)),
        post("/v1/variables/small:assign_add", tensor(4)),
    ]
    with served.connect() as connection:
        send_in_pieces(connection, b"".join(messages), [10**9])
        replies = [read_reply(connection) for _ in messages]
    assert [reply.status for reply in replies] == [200, 200, 200, 200, 404, 200]
    assert [reply.json().get("version") for reply in replies] == [2, 2, 2, 3, None, 3]
    assert served.value("w")[0] == 3
    assert served.value("small")[0] == 2


def test_a_chunked_body(served: Any) -> None:
    served.create("w", np.zeros(LARGE, np.float32))
    body = tensor(LARGE)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:5], body[5:300_000], body[300_000:]))
    head = f"POST /v1/variables/w:assign_add HTTP/1.1\r\nHost: localhost\r\nContent-Type: {frame.MEDIA_TYPE}\r\nAccept: application/json\r\n"
    message = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    with served.connect() as connection:
        connection.sendall(message)
        assert read_reply(connection).status == 200
        connection.sendall(message)
        assert read_reply(connection).json()["version"] == 3


def test_a_chunked_body_over_the_limit(serve_with: Any) -> None:
    served = serve_with(body_limit_nbytes=100_000)
    served.create("w", np.zeros(4, np.float32))
    head = f"POST /v1/variables/w:assign HTTP/1.1\r\nHost: localhost\r\nContent-Type: {frame.MEDIA_TYPE}\r\n"
    with served.connect() as connection:
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"20000\r\n" + bytes(0x20000) + b"\r\n")
        assert read_reply(connection).json()["code"] == "body_too_large"


def test_a_declared_body_over_the_limit_is_refused_before_it_comes(serve_with: Any) -> None:
    served = serve_with(body_limit_nbytes=1_000_000)
    head = f"POST /v1/variables/w:assign HTTP/1.1\r\nHost: localhost\r\nContent-Type: {frame.MEDIA_TYPE}\r\nContent-Length: {10**15}"
    with served.connect() as connection:
        connection.sendall(head.encode() + b"\r\n\r\n")
        assert read_reply(connection).json()["code"] == "body_too_large"
    assert served.engine.store.pool.idle_nbytes == 0


def test_a_refused_large_body_is_skipped_and_the_connection_goes_on(served: Any) -> None:
    served.create("w", np.zeros(4, np.float32))
    body = bytes(3_000_000)
    with served.connect() as connection:
        # No such route, so nobody ever asks for the body.
        connection.sendall(post("/v1/nothing", body))
        assert read_reply(connection).status == 404
        connection.sendall(post("/v1/variables/w:assign_add", tensor(4)))
        assert read_reply(connection).status == 200


@pytest.mark.parametrize("sent", [0, 1000, 2_000_000])
def test_an_early_close_in_mid_body_frees_the_buffer_and_changes_nothing(served: Any, sent: int) -> None:
    served.create("w", np.zeros(1_000_000, np.float32))
    message = post("/v1/variables/w:assign_add", tensor(1_000_000), "Idempotency-Key: early-1")
    head = len(message) - len(tensor(1_000_000))
    pool = served.engine.store.pool
    with served.connect() as connection:
        connection.sendall(message[: head + sent])
        if sent:
            eventually(lambda: len(_leases()) > 0)
    # At once, not whenever the garbage collector comes by.
    eventually(lambda: pool.idle_nbytes >= (4_000_000 if sent else 0) and not _leases())
    assert served.engine.store.get("w").version == 1
    # The id was never claimed: the client sends it again and it is applied.
    with served.connect() as connection:
        connection.sendall(message)
        reply = read_reply(connection)
        assert reply.status == 200
        assert "idempotent-replayed" not in reply.headers


def _leases() -> list[Any]:
    return [thing for thing in gc.get_objects() if type(thing).__name__ == "LargeBody" and thing.window()]


@pytest.mark.parametrize("count", [4, LARGE])
def test_expect_continue_is_invited_and_the_connection_stays(served: Any, count: int) -> None:
    served.create("w", np.zeros(count, np.float32))
    body = tensor(count)
    message = post("/v1/variables/w:assign_add", body, "Expect: 100-continue")
    with served.connect() as connection:
        for version in (2, 3):
            connection.sendall(message[: -len(body)])
            assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(body)
            reply = read_reply(connection)
            assert (reply.status, reply.json()["version"]) == (200, version)
            assert "connection" not in reply.headers


@pytest.mark.parametrize("count", [4, LARGE])
def test_expect_continue_refused_at_once_closes_the_connection(served: Any, count: int) -> None:
    body = tensor(count)
    message = post("/v1/variables/w:assign_add", body, "Expect: 100-continue").replace(b"frame", b"fame!")
    with served.connect() as connection:
        connection.sendall(message[: -len(body)])
        reply = read_reply(connection)
        assert reply.status == 415
        assert reply.headers["connection"] == "close"
        assert connection.recv(1) == b""


@pytest.mark.parametrize("rubbish", [b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
def test_what_is_no_http_gets_a_problem(served: Any, rubbish: bytes) -> None:
    with served.connect() as connection:
        connection.sendall(rubbish + b"\r\n\r\n")
        reply = read_reply(connection)
        assert (reply.status, reply.headers["content-type"]) == (400, "application/problem+json")
        assert reply.json()["code"] == "malformed_body"
        assert connection.recv(1) == b""


def test_rubbish_after_a_request_does_not_end_up_in_its_answer(served: Any) -> None:
    served.create("w", np.zeros(2_000_000, np.float32))
    with served.connect() as connection:
        connection.sendall(
            b"GET /v1/variables/w:read HTTP/1.1\r\nHost: localhost\r\nAccept: "
            + frame.MEDIA_TYPE.encode()
            + b"\r\n\r\n"
        )
        connection.sendall(b"\x00\x01rubbish\r\n\r\n")
        received = bytearray()
        while piece := connection.recv(1 << 20):
            received += piece
    assert received.count(b"HTTP/1.1") <= 2
    assert b"malformed_body" not in received[: received.find(b"PSF1") + 8_000_000]


def test_an_answer_that_comes_after_the_end_is_for_nobody(served: Any, caplog: pytest.LogCaptureFixture) -> None:
    # The first takes a thread and a moment; the rubbish behind it ends the connection meanwhile.
    body = b'{"value": [1.0]}'
    for number in range(30):
        create = b"PUT /v1/variables/n%d HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n"
        with served.connect() as connection:
            connection.sendall(
                create % number + body + b"GET /v1/server HTTP/1.1\r\nHost: localhost\r\n\r\n\0\0\r\n\r\n"
            )
            while connection.recv(65536):
                continue
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


def test_a_bad_chunk_gets_a_problem(served: Any) -> None:
    served.create("w", np.zeros(4, np.float32))
    head = f"POST /v1/variables/w:assign HTTP/1.1\r\nHost: localhost\r\nContent-Type: {frame.MEDIA_TYPE}\r\n"
    with served.connect() as connection:
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n")
        assert read_reply(connection).status == 400


def test_slow_readers_cost_little_memory(served: Any) -> None:
    """Three readers that stop after the head: what is in flight is bounded by slices, not by the value."""
    served.create("w", np.ones(10_000_000, np.float32))
    before = _resident_nbytes()
    readers = [served.connect() for _ in range(3)]
    for reader in readers:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        reader.sendall(
            b"GET /v1/variables/w:read HTTP/1.1\r\nHost: localhost\r\nAccept: "
            + frame.MEDIA_TYPE.encode()
            + b"\r\n\r\n"
        )
        assert reader.recv(1000).startswith(b"HTTP/1.1 200")
    grown = _resident_nbytes() - before
    for reader in readers:
        reader.close()
    assert grown < 20_000_000


def _resident_nbytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def test_a_large_body_reaches_an_application_that_knows_only_asgi(served: Any) -> None:
    import asyncio
    import threading

    from paramserver.http.patience import Bounds, Patience
    from paramserver.http.performing import Drain
    from paramserver.http.server import Server, config_of
    from paramserver.settings import Settings

    received: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        message = {"more_body": True}
        while message["more_body"]:
            message = await receive()
            received.append(len(message["body"]))
            await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    port, listening, drain = bound.getsockname()[1], threading.Event(), Drain()
    server = Server(config_of(app, Settings(), Patience(Bounds())), drain, None, announce=listening.set)
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    assert listening.wait(20)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for _ in range(2):
            connection.sendall(post("/", bytes(5_000_000)))
            assert read_reply(connection).status == 200
    server.should_exit = True
    thread.join(20)
    assert sum(received) == 10_000_000


def test_read_reply_reads_one_reply() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 204 No Content\r\n\r\n")
        assert read_reply(ours) == Reply(200, {"content-length": "2"}, b"{}")
        assert read_reply(ours) == Reply(204, {}, b"")
        assert json.loads(b"{}") == {}


class Written(asyncio.Transport):
    """A transport that keeps what is written, write by write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def test_a_head_goes_with_the_body_that_follows_it() -> None:
    written = Written()
    answers = AnswerTransport(written)
    answers.write(b"head 1,")
    assert written.writes == []
    answers.write(memoryview(b"body 1"))
    answers.write(b"more")
    answers.end_answer()
    answers.write(b"head 2,")
    answers.write(b"")
    assert written.writes == [b"head 1,body 1", b"more", b"head 2,"]


def test_a_large_body_is_not_copied_to_join_its_head() -> None:
    written = Written()
    answers = AnswerTransport(written)
    answers.write(b"head")
    answers.write(bytes(LARGE))
    assert written.writes == [b"head", bytes(LARGE)]


def test_a_head_without_a_body_goes_when_its_answer_ends() -> None:
    written = Written()
    answers = AnswerTransport(written)
    answers.write(b"head 1")
    answers.end_answer()
    answers.write(b"head 2")
    answers.close()
    assert written.writes == [b"head 1", b"head 2"]
    assert written.closed


def test_a_head_is_lost_with_its_connection() -> None:
    written = Written()
    answers = AnswerTransport(written)
    answers.write(b"head")
    written.close()
    assert answers.is_closing()
    answers.close()
    assert written.writes == []


def test_an_invitation_is_not_held_back() -> None:
    written = Written()
    answers = AnswerTransport(written)
    invitation = b"HTTP/1.1 100 Continue\r\n\r\n"
    answers.write(invitation)
    answers.write(b"head,")
    answers.write(b"body")
    assert written.writes == [invitation, b"head,body"]


def test_head_requests_in_a_pipeline_are_answered_by_their_heads(served: Any) -> None:
    served.create("w", np.zeros(4, np.float32))
    asked = b"HEAD /v1/variables/w HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with served.connect() as connection:
        connection.sendall(
            asked + asked + b"HEAD /v1/variables/w HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert received.endswith(b"\r\n\r\n")
