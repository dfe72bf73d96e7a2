"""Values that are received straight into the caller's arrays: what is checked before, and what a broken answer leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    read_only = np.zeros(7, np.int64)
    read_only.flags.writeable = False
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"a": np.zeros(4, np.float32), "b": np.zeros(7, np.int32)}, [r"out['a']: wanted shape [5000]", "dtype int64"]),
        (
            {"a": np.zeros(5000, ">f4"), "b": read_only},
            ["dtype float32 as of the value, got dtype float32 of another", "read-only"],
        ),
        ({"a": [0.0] * 5000, "b": np.zeros(7, np.int64)}, ["wanted a writable array, got list"]),
    ]
    for out, reasons in cases:
        before = {name: np.array(array) for name, array in out.items()}
        # No more comes than the header and a bit, and no more is waited for.
        with (
            answering(cut_at(PULLED, 400)) as server,
            ps.ParameterClient(server.url, timeout_s=5) as client,
            pytest.raises(ps.InvalidRequestError, match="No array was written to") as raised,
        ):
            client.pull(out=out)
        told = [error["detail"] for error in raised.value.errors]
        assert len(told) == len(reasons)
        assert all(reason in detail for reason, detail in zip(reasons, told, strict=True))
        for name, array in out.items():
            np.testing.assert_array_equal(array, before[name])


def test_arrays_that_share_memory_are_refused() -> None:
    whole = np.zeros(5100, np.float32)
    tree = {"commit": 1, "tensors": {"a": Tensor(A, META), "b": Tensor(A[:100], META)}}
    with answering(framed(tree), framed(tree)) as server, ps.ParameterClient(server.url) as client:
        out = {"a": whole[:5000], "b": whole[4999:5099]}
        with pytest.raises(ps.InvalidRequestError, match=r"out\['b'\]: wanted memory of its own"):
            client.pull(out=out)
        assert not whole.any()
        other = np.zeros(200, np.float32)
        client.pull(out={"b": other[::2]})
        np.testing.assert_array_equal(other[::2], A[:100])
        assert not other[1::2].any()


@pytest.mark.parametrize("nbytes", [3, 8, 100, 400, len(PULLED) - 100, len(PULLED) - 1])
def test_a_try_that_breaks_begins_again(nbytes: int) -> None:
    out = fresh()
    with answering(cut_at(PULLED, nbytes), PULLED) as server, ps.ParameterClient(server.url, timeout_s=10) as client:
        assert client.pull(out=out)["a"] is out["a"]
    np.testing.assert_array_equal(out["a"], A)
    np.testing.assert_array_equal(out["b"], B)


def test_a_call_that_breaks_for_good_says_so() -> None:
    with (
        answering(*[cut_at(PULLED, 9000)] * 50) as server,
        ps.ParameterClient(server.url, timeout_s=1) as client,
        pytest.raises(ps.ParameterServerError) as raised,
    ):
        client.pull(out=fresh())
    assert raised.value.outcome == "not applied"


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
    "long header": b"PSF1\xff\xff\xff\xff" + PULLED[8:],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_an_answer_that_is_none_leaves_the_arrays_alone(name: str) -> None:
    out = fresh()
    with (
        answering(DAMAGED[name]) as server,
        ps.ParameterClient(server.url, timeout_s=5) as client,
        pytest.raises(ps.UnexpectedAnswerError),
    ):
        client.pull(out=out)
    assert (out["a"] == -1).all()
    assert (out["b"] == -1).all()


def test_damage_between_the_values_is_found() -> None:
    damaged = bytearray(PULLED)
    damaged[-57] = 1
    with (
        answering(bytes(damaged)) as server,
        ps.ParameterClient(server.url, timeout_s=5) as client,
        pytest.raises(ps.UnexpectedAnswerError, match="wanted zeros"),
    ):
        client.pull(out=fresh())


def test_a_json_answer_is_no_landing() -> None:
    with (
        answering(b'{"commit": 1, "tensors": {}}', media_type="application/json") as server,
        ps.ParameterClient(server.url, timeout_s=5) as client,
    ):
        assert dict(client.pull(out=fresh())) == {}
