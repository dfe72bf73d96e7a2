"""Values that are received straight into the caller's arrays: what is checked before, and what a broken answer leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest

import paramserver_client as ps
from paramserver_client.landing import Landing
from paramserver_wire import frame
from paramserver_wire.tensors import Tensor
from support.fake_server import FakeServer, Peer

META = {"version": 1, "incarnation": "x"}
A, B = np.arange(5000, dtype=np.float32), np.arange(7, dtype=np.int64)


def framed(tree: Any) -> bytes:
    return b"".join(frame.encode(tree))


PULLED = framed({"commit": 1, "tensors": {"a": Tensor(A, META), "b": Tensor(B, META)}})
READ = framed(Tensor(A, META))


def answering(*bodies: bytes | Callable[[Peer], None], media_type: str = frame.MEDIA_TYPE) -> FakeServer:
    """Answers each request, over all connections, with the next of the bodies, or lets it do so itself."""
    left = list(bodies)

    def script(peer: Peer) -> None:
        while left:
            peer.request()
            body = left.pop(0)
            if callable(body):
                body(peer)
                return
            peer.answer(body, media_type=media_type)

    return FakeServer(script)


def fresh() -> dict[str, np.ndarray[Any, Any]]:
    return {"a": np.full(5000, -1, np.float32), "b": np.full(7, -1, np.int64)}


def cut_at(body: bytes, nbytes: int) -> Callable[[Peer], None]:
    def answer(peer: Peer) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {frame.MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
        peer.send(head.encode() + body[:nbytes])
        peer.close()

    return answer


def in_chunks(body: bytes) -> Callable[[Peer], None]:
    def answer(peer: Peer) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {frame.MEDIA_TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n"
        peer.send(head.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    return answer


def refusing(problem: bytes) -> Callable[[Peer], None]:
    def answer(peer: Peer) -> None:
        head = "HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json\r\n"
        peer.send(f"{head}Content-Length: {len(problem)}\r\n\r\n".encode() + problem)
        peer.close()

    return answer


def test_no_buffer_stands_between_the_socket_and_the_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    views = Landing.views
    seen: list[int] = []

    def watched(landing: Landing, begin: memoryview, nbytes: int) -> list[memoryview]:
        found = views(landing, begin, nbytes)
        seen.extend(np.frombuffer(view, np.uint8).ctypes.data for view in found if len(view) > 64)
        return found

    monkeypatch.setattr(Landing, "views", watched)
    out, mine = fresh(), np.empty_like(A)
    with answering(PULLED, READ) as server, ps.ParameterClient(server.url) as client:
        pulled = client.pull(out=out)
        assert client.read("a", out=mine) is mine
    assert pulled["a"] is out["a"]
    assert pulled["b"] is out["b"]
    assert seen == [out["a"].ctypes.data, mine.ctypes.data]
    for got, wanted in ((out["a"], A), (out["b"], B), (mine, A)):
        np.testing.assert_array_equal(got, wanted)


def test_what_is_not_named_comes_in_arrays_of_its_own() -> None:
    out = {"b": np.zeros(7, np.int64), "c": np.full(3, 7.0)}
    with answering(PULLED) as server, ps.ParameterClient(server.url) as client:
        pulled = client.pull(prefix="x", out=out)
    np.testing.assert_array_equal(pulled["a"], A)
    assert pulled["b"] is out["b"]
    assert out["c"].tolist() == [7, 7, 7]


def test_all_that_does_not_fit_is_told_before_anything_is_received() -> None:
    out: dict[str, Any] = {"a": np.zeros(4, np.float64), "b": np.zeros(7, np.int32)}
    # No more comes than the header and a bit, and no more is waited for.
    with (
        answering(cut_at(PULLED, 400)) as server,
        ps.ParameterClient(server.url, timeout_s=5) as client,
        pytest.raises(ps.InvalidRequestError, match="No array was written to") as raised,
    ):
        client.pull(out=out)
    assert [(each["name"], each["detail"]) for each in raised.value.errors] == [
        ("a", "out['a']: wanted shape [5000] as of the value, got shape [4]. Give np.empty((5000,), 'float32')."),
        (
            "a",
            "out['a']: wanted dtype float32 as of the value, got dtype float64. "
            "Give np.empty((5000,), 'float32'), or ask for dtype='float64'.",
        ),
        (
            "b",
            "out['b']: wanted dtype int64 as of the value, got dtype int32. "
            "Give np.empty((7,), 'int64'), or ask for dtype='int32'.",
        ),
    ]
    assert not out["a"].any()
    assert not out["b"].any()


def test_arrays_that_lie_interleaved_are_filled() -> None:
    other = np.zeros((2, 100), np.float32).T
    tree = {"commit": 1, "tensors": {"a": Tensor(A[:100], META), "b": Tensor(A[100:200], META)}}
    with answering(framed(tree)) as server, ps.ParameterClient(server.url) as client:
        client.pull(out={"a": other[:, 0], "b": other[:, 1]})
        np.testing.assert_array_equal(other, A[:200].reshape(2, 100).T)


def test_a_matrix_is_filled() -> None:
    matrix = np.zeros((2, 2500), np.float32).view(np.matrix)
    tree = framed(Tensor(A.reshape(2, 2500), META))
    with answering(tree) as server, ps.ParameterClient(server.url) as client:
        assert client.read("a", out=matrix) is matrix
    np.testing.assert_array_equal(matrix, A.reshape(2, 2500))


@pytest.mark.parametrize("nbytes", [3, 8, 100, 400, len(PULLED) - 100, len(PULLED) - 1])
def test_a_try_that_breaks_begins_again(nbytes: int) -> None:
    out = fresh()
    with answering(cut_at(PULLED, nbytes), PULLED) as server, ps.ParameterClient(server.url, timeout_s=10) as client:
        assert client.pull(out=out)["a"] is out["a"]
    np.testing.assert_array_equal(out["a"], A)
    np.testing.assert_array_equal(out["b"], B)


TORN = "A try broke in the midst of the values"
UNTOUCHED = "No array was written to."


@pytest.mark.parametrize(("nbytes", "told"), [(9000, TORN), (len(PULLED) - 1, TORN), (100, UNTOUCHED), (8, UNTOUCHED)])
def test_a_call_that_breaks_for_good_says_what_became_of_the_arrays(nbytes: int, told: str) -> None:
    out = fresh()
    with (
        answering(*[cut_at(PULLED, nbytes)] * 50) as server,
        ps.ParameterClient(server.url, timeout_s=1) as client,
        pytest.raises(ps.ParameterServerError) as raised,
    ):
        client.pull(out=out)
    assert raised.value.outcome == "not applied"
    assert told in str(raised.value)
    assert told in raised.value.args[0]
    assert told == TORN or (out["a"] == -1).all()


def test_what_an_earlier_try_left_is_told_with_a_later_refusal() -> None:
    problem = b'{"code": "variable_not_found", "detail": "Wanted a variable, got none."}'
    with (
        answering(cut_at(PULLED, 9000), refusing(problem)) as server,
        ps.ParameterClient(server.url, timeout_s=10) as client,
        pytest.raises(ps.VariableNotFoundError, match=TORN),
    ):
        client.pull(out=fresh())


def test_a_try_that_succeeds_mends_what_an_earlier_one_left() -> None:
    out = fresh()
    smaller = framed({"commit": 2, "tensors": {"a": Tensor(A + 1, META), "b": Tensor(B + 1, META)}})
    with (
        answering(cut_at(PULLED, 9000), smaller) as server,
        ps.ParameterClient(server.url, timeout_s=10) as client,
    ):
        assert client.pull(out=out).commit == 2
    np.testing.assert_array_equal(out["a"], A + 1)


@pytest.mark.parametrize("status", [204, 304])
def test_where_nothing_is_new_the_arrays_stay(status: int) -> None:
    mine = np.full(5000, -1, np.float32)
    with (
        answering(lambda peer: peer.send(b"HTTP/1.1 %d Nothing\r\n\r\n" % status)) as server,
        ps.ParameterClient(server.url, timeout_s=5) as client,
    ):
        assert client.read("a", out=mine, after_version="x-1") is None
    assert (mine == -1).all()


def test_a_task_tries_again_and_tells_as_a_thread_does() -> None:
    async def pull(server: FakeServer, out: Any, timeout_s: float) -> ps.Snapshot:
        async with ps.AsyncParameterClient(server.url, timeout_s=timeout_s) as client:
            return await client.pull(out=out)

    out = fresh()
    with answering(cut_at(PULLED, 9000), PULLED) as server:
        assert asyncio.run(pull(server, out, 10))["a"] is out["a"]
    np.testing.assert_array_equal(out["a"], A)
    with answering(*[cut_at(PULLED, 9000)] * 50) as server, pytest.raises(ps.ParameterServerError, match=TORN):
        asyncio.run(pull(server, fresh(), 1))


def test_a_body_of_unknown_length_is_copied() -> None:
    out, mine = fresh(), np.empty_like(A)
    with answering(in_chunks(PULLED), in_chunks(READ)) as server, ps.ParameterClient(server.url) as client:
        assert client.pull(out=out)["b"] is out["b"]
        assert client.read("a", out=mine) is mine
    for got, wanted in ((out["a"], A), (out["b"], B), (mine, A)):
        np.testing.assert_array_equal(got, wanted)


DAMAGED = {
    "no frame": b"<html>a proxy's page</html>",
    "short": b"PSF1",
    "longer": PULLED + b"more",
    "header": PULLED[:20] + b"\xff" * 10 + PULLED[30:],
    "a tensor longer than the body": PULLED.replace(b"\xcd\x4e\x20", b"\xcd\x4e\x24"),
    "long header": b"PSF1\xff\xff\xff\xff" + PULLED[8:],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_an_answer_that_is_none_leaves_the_arrays_alone(name: str) -> None:
    out = fresh()
    with (
        answering(DAMAGED[name]) as server,
        ps.ParameterClient(server.url, timeout_s=5) as client,
        pytest.raises(ps.UnexpectedAnswerError, match=UNTOUCHED),
    ):
        client.pull(out=out)
    assert (out["a"] == -1).all()
    assert (out["b"] == -1).all()


def test_a_header_that_lies_about_its_sizes_takes_no_memory() -> None:
    entries = [
        {"dtype": "float32", "shape": [5000], "offset": 0, "nbytes": 20000},
        {"dtype": "uint8", "shape": [2**60], "offset": 20032, "nbytes": 2**60},
    ]
    tensors = {"a": {**META, "$t": 0}, "vast": {**META, "$t": 1}}
    header = msgpack.packb({"body": {"commit": 1, "tensors": tensors}, "tensors": entries})
    out = fresh()
    with (
        answering(b"PSF1" + len(header).to_bytes(4, "little") + header + bytes(30000)) as server,
        ps.ParameterClient(server.url, timeout_s=5) as client,
        pytest.raises(ps.UnexpectedAnswerError, match=f"wanted a frame of .*{UNTOUCHED}"),
    ):
        client.pull(prefix="x", out=out)
    assert (out["a"] == -1).all()


def test_damage_between_the_values_is_found() -> None:
    damaged = bytearray(PULLED)
    damaged[-57] = 1
    with (
        answering(bytes(damaged)) as server,
        ps.ParameterClient(server.url, timeout_s=5) as client,
        pytest.raises(ps.UnexpectedAnswerError, match=f"wanted zeros.*{TORN}"),
    ):
        client.pull(out=fresh())


def test_a_json_answer_is_no_landing() -> None:
    with (
        answering(b'{"commit": 1, "tensors": {}}', media_type="application/json") as server,
        ps.ParameterClient(server.url, timeout_s=5) as client,
    ):
        assert dict(client.pull(out=fresh())) == {}
