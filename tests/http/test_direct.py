"""The short way says and does what the long one does: every request three times over one connection, by parser, then known."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from paramserver.http.heads import KnownHeads
from paramserver.http.large_body import LARGE_NBYTES
from paramserver.http.protocol import _Connection
from paramserver_wire import frame
from support.raw_http import Reply, eventually, read_reply, send_in_pieces

LARGE = 200_000  # float32s: 800 kB
FRAME = frame.MEDIA_TYPE


def body_of(tree: Any) -> bytes:
    return b"".join(bytes(part) for part in frame.encode(tree))


def request(method: str, target: str, body: bytes = b"", *headers: str, kind: str = FRAME) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Accept: {kind}", *headers]
    if body:
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


@pytest.fixture
def short_ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each request, whether it took the short way."""
    taken: list[bool] = []
    real = _Connection._go_directly

    def noting(self: _Connection, data: bytes, heads: KnownHeads) -> bool:
        went = real(self, data, heads)
        taken.append(went)
        return went

    monkeypatch.setattr(_Connection, "_go_directly", noting)
    return taken


@pytest.fixture
def connection(served: Any) -> Iterator[socket.socket]:
    served.create("w", np.arange(3, dtype=np.float32))
    served.create("rows", np.zeros((4, 2), np.float32))
    served.create("large", np.zeros(LARGE, np.float32))
    with served.connect() as connected:
        yield connected


def ask(connection: socket.socket, message: bytes) -> Reply:
    connection.sendall(message)
    return read_reply(connection)


def without_versions(reply: Reply) -> tuple[int, dict[str, str], Any]:
    """A reply but for what counts up from one write to the next."""
    headers = {name: value for name, value in reply.headers.items() if name != "etag"}
    tree: Any = reply.body
    if reply.headers.get("content-type") == FRAME:
        tree = frame.decode(bytearray(reply.body))
        tree = {**tree.meta, "array": tree.array.tolist()} if hasattr(tree, "meta") else tree
    elif "json" in reply.headers.get("content-type", ""):
        tree = json.loads(reply.body)
    if isinstance(tree, dict):
        tree = {key: value for key, value in tree.items() if key not in ("version", "versions", "commit")}
    return reply.status, headers, tree


ONE = np.ones(3, np.float32)
PUSH = {
    "updates": [
        {"name": "w", "op": "assign", "value": ONE},
        {"name": "rows", "op": "assign", "value": np.ones((4, 2), np.float32)},
    ]
}
SAME = {
    "read": request("GET", "/v1/variables/w:read"),
    "read as JSON": request("GET", "/v1/variables/w:read", kind="application/json"),
    "read a slice": request("GET", "/v1/variables/w:read?slice=0:2"),
    "read a large value": request("GET", "/v1/variables/large:read"),
    "head": request("HEAD", "/v1/variables/w:read"),
    "not modified": request("GET", "/v1/variables/w:read", b"", "If-None-Match: *"),
    "pull": request("POST", "/v1/variables:pull", b'{"names": ["w", "rows"]}', kind="application/json"),
    "gather": request("POST", "/v1/variables/rows:gather", body_of({"indices": np.array([0, 3])})),
    "assign": request("POST", "/v1/variables/w:assign", body_of(ONE)),
    "assign JSON": request("POST", "/v1/variables/w:assign", b"[1, 2, 3]", kind="application/json"),
    "assign a large value": request("POST", "/v1/variables/large:assign", body_of(np.ones(LARGE, np.float32))),
    "return the value": request("POST", "/v1/variables/w:assign", body_of(ONE), "Prefer: return=representation"),
    "push": request("POST", "/v1/variables:push", body_of(PUSH)),
    "scatter": request(
        "POST",
        "/v1/variables/rows:scatter_update",
        body_of({"indices": np.array([0, 1]), "value": np.ones((2, 2), np.float32)}),
    ),
}
PROBLEMS = {
    "no such variable": request("GET", "/v1/variables/nope:read"),
    "another shape": request("POST", "/v1/variables/w:assign_add", body_of(np.ones(4, np.float32))),
    "not finite": request("POST", "/v1/variables/w:assign_add", body_of(np.full(3, np.nan, np.float32))),
    "a large value of another shape": request(
        "POST", "/v1/variables/w:assign_add", body_of(np.ones(LARGE, np.float32))
    ),
    "no frame": request("POST", "/v1/variables/w:assign_add", b"PSF1 and nothing else"),
    "no JSON": request("POST", "/v1/variables:pull", b'{"names": ', kind="application/json"),
    "another version": request("POST", "/v1/variables/w:assign", body_of(ONE), 'If-Match: "0000000000000000-1"'),
}


@pytest.mark.parametrize("name", [*SAME, *PROBLEMS])
def test_both_ways_say_the_same(connection: socket.socket, short_ways: list[bool], name: str) -> None:
    message = {**SAME, **PROBLEMS}[name]
    connection.settimeout(20)
    if name == "head":
        replies = []
        for _ in range(3):
            connection.sendall(message)
            head = bytearray()
            while not head.endswith(b"\r\n\r\n"):
                head += connection.recv(1)
            replies.append([line for line in head.split(b"\r\n") if not line.startswith(b"date")])
    else:
        replies = [without_versions(ask(connection, message)) for _ in range(3)]
    assert replies[0] == replies[1] == replies[2]
    assert short_ways[-1] or len(message) > LARGE_NBYTES
    assert any(short_ways)


@pytest.mark.parametrize(
    "message",
    [
        request("GET", "/v1/variables/w:read?wait_s=0.01&after_version=99"),
        request("GET", "/v1/variables/w"),
        request("GET", "/v1/variables/w:read", b"", "Host: elsewhere"),
        request("GET", "/v1/variables/w:read", b"", "Origin: https://elsewhere"),
        request("GET", "/v1/variables/w:read?slice=1&slice=2"),
        request("GET", "/v1/variables/w:read", b"{}"),
        request("POST", "/v1/variables/w:assign", body_of(ONE), "Content-Encoding: gzip"),
        request("POST", "/v1/variables/w:assign", b"[1, 2, 3]", kind="text/plain"),
        request("POST", "/v1/variables/w:read"),
        request("GET", "/healthz"),
    ],
)
def test_what_is_no_plain_request_of_the_data_plane_never_takes_it(
    connection: socket.socket, short_ways: list[bool], message: bytes
) -> None:
    replies = [ask(connection, message) for _ in range(3)]
    assert not any(short_ways)
    assert len({(reply.status, reply.body) for reply in replies}) == 1


def test_with_a_token_only_its_bearers_take_it(serve_with: Callable[..., Any], short_ways: list[bool]) -> None:
    served = serve_with(token="right-token-of-the-server")
    served.create("w", ONE)
    target = "/v1/variables/w:read"
    with served.connect() as connection:
        for _ in range(3):
            assert (
                ask(connection, request("GET", target, b"", "Authorization: Bearer right-token-of-the-server")).status
                == 200
            )
        assert short_ways[-1]
        for wrong in ("right-token-of-the-serve", "right-token-of-the-server2", "", "wrong"):
            for _ in range(3):
                assert ask(connection, request("GET", target, b"", f"Authorization: Bearer {wrong}")).status == 401
                assert not short_ways[-1]
        assert ask(connection, request("GET", target)).status == 401


def test_a_write_is_done_once_for_each_request_id(
    connection: socket.socket, served: Any, short_ways: list[bool]
) -> None:
    for number in (1, 2, 3, 3, 3, 4):
        ask(connection, request("POST", "/v1/variables/w:assign_add", body_of(ONE), f"Idempotency-Key: a-{number}"))
    assert short_ways[-1]
    assert served.value("w").tolist() == [4, 5, 6]
    other = request("POST", "/v1/variables/w:assign_add", body_of(ONE * 2), "Idempotency-Key: a-4")
    assert ask(connection, other).json()["code"] == "idempotency_key_reused"


@pytest.mark.parametrize("sizes", [[1], [7], [60], [500, 3]])
def test_a_request_that_comes_in_pieces(connection: socket.socket, served: Any, sizes: list[int]) -> None:
    message = request("POST", "/v1/variables/w:assign_add", body_of(ONE))
    for _ in range(2):
        ask(connection, message)
    send_in_pieces(connection, message * 3, sizes)
    assert [read_reply(connection).status for _ in range(3)] == [200] * 3
    assert served.value("w").tolist() == [5, 6, 7]


def test_known_requests_in_one_packet_are_answered_in_order(connection: socket.socket, served: Any) -> None:
    add = request("POST", "/v1/variables/w:assign_add", body_of(ONE))
    large = request("POST", "/v1/variables/large:assign_add", body_of(np.ones(LARGE, np.float32)))
    read = request("GET", "/v1/variables/w:read", kind="application/json")
    for message in (add, large, read) * 2:
        ask(connection, message)
    send_in_pieces(connection, (add + large + read) * 5, [10**9])
    replies = [read_reply(connection) for _ in range(15)]
    assert [reply.status for reply in replies] == [200] * 15
    assert [reply.json()["value"][0] for reply in replies[2::3]] == [3, 4, 5, 6, 7]
    assert served.value("large")[0] == 7


def test_a_thousand_known_requests_in_one_packet(connection: socket.socket, served: Any) -> None:
    add = request("POST", "/v1/variables/w:assign_add", body_of(ONE))
    for _ in range(2):
        ask(connection, add)
    send_in_pieces(connection, add * 1000, [10**9])
    assert {read_reply(connection).status for _ in range(1000)} == {200}
    assert served.value("w").tolist() == [1002, 1003, 1004]


@pytest.mark.parametrize("sizes", [[10**9], [65_536], [300_000, 7], [65_700, 1, 262_144]])
def test_a_large_write_is_told_from_another_however_it_comes(
    connection: socket.socket, served: Any, short_ways: list[bool], sizes: list[int]
) -> None:
    def ask_in_pieces(value: np.ndarray[Any, Any], sizes: list[int]) -> Reply:
        message = request("POST", "/v1/variables/large:assign_add", body_of(value), "Idempotency-Key: a-1")
        send_in_pieces(connection, message, sizes)
        return read_reply(connection)

    ones = np.ones(LARGE, np.float32)
    assert "idempotent-replayed" not in ask_in_pieces(ones, [10**9]).headers
    for _ in range(3):
        assert ask_in_pieces(ones, sizes).headers["idempotent-replayed"] == "true"
    assert any(short_ways)
    for place in (0, LARGE // 2, LARGE - 1):
        other = ones.copy()
        other[place] = 2
        assert ask_in_pieces(other, sizes).json()["code"] == "idempotency_key_reused"
    assert served.value("large").tolist() == ones.tolist()


def test_a_large_body_that_breaks_off(connection: socket.socket, served: Any) -> None:
    message = request("POST", "/v1/variables/large:assign_add", body_of(np.ones(LARGE, np.float32)))
    for _ in range(2):
        ask(connection, message)
    pool, before = served.engine.store.pool, served.engine.store.budget.used_nbytes
    connection.sendall(message[: len(message) // 2])
    connection.shutdown(socket.SHUT_RDWR)
    eventually(lambda: served.engine.store.budget.used_nbytes == before and pool.idle_nbytes > 0)
    assert served.value("large")[0] == 2


def test_a_refused_large_body_is_skipped_and_the_connection_goes_on(
    serve_with: Callable[..., Any], short_ways: list[bool]
) -> None:
    served = serve_with(memory_limit_nbytes=3_000_000)
    served.create("large", np.zeros(LARGE, np.float32))
    message = request("POST", "/v1/variables/large:assign_add", body_of(np.ones(LARGE, np.float32)))
    with served.connect() as connection:
        for _ in range(3):
            assert ask(connection, message).status == 200
        assert any(short_ways)
        hold = served.engine.store.budget.hold()
        hold.add(served.engine.store.budget.limit_nbytes - served.engine.store.budget.used_nbytes)
        assert ask(connection, message).json()["code"] == "memory_limit_exceeded"
        hold.release()
        assert ask(connection, message).status == 200


def test_a_server_that_shuts_down_takes_no_more(connection: socket.socket, served: Any) -> None:
    message = request("POST", "/v1/variables/w:assign_add", body_of(ONE))
    for _ in range(3):
        ask(connection, message)
    served.drain.begin()
    assert ask(connection, message).json()["code"] == "draining"
    assert served.value("w").tolist() == [3, 4, 5]


def test_a_writer_who_has_the_lock_is_waited_for(
    connection: socket.socket, served: Any, short_ways: list[bool]
) -> None:
    message = request("POST", "/v1/variables/w:assign_add", body_of(ONE))
    for _ in range(2):
        ask(connection, message)
    lock = served.engine.store._commits.head.variables["w"].lock
    with lock:
        connection.sendall(message + message)
        eventually(lambda: sum(short_ways) > 0 or len(short_ways) > 2)
        with served.connect() as other:
            assert ask(other, request("GET", "/v1/variables/w:read")).status == 200
    assert [read_reply(connection).status for _ in range(2)] == [200, 200]
    assert served.value("w").tolist() == [4, 5, 6]
