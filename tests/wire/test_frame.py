from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramserver_wire.dtypes import DTYPES
from paramserver_wire.errors import BodyTooLarge, DtypeMismatch, InvalidRequest, MalformedBody, WireError
from paramserver_wire.frame import _LONE, PREAMBLE_NBYTES, Arrival, begin_nbytes, decode, encode, frame_nbytes
from paramserver_wire.tensors import Tensor, Untyped
from support.arrays import QUICK, Array, arrays, same_bits
from support.mutations import DAMAGES, Damage
from support.trees import TREES, same_tree

GOLDEN = Path(__file__).parent.parent / "golden" / "wire" / "push.psf"


def whole(tree: Any) -> bytes:
    parts = encode(tree)
    frame = b"".join(parts)
    assert frame_nbytes(parts) == len(frame)
    return frame


@QUICK
@given(TREES)
def test_any_tree_survives_the_round_trip(tree: Any) -> None:
    assert same_tree(tree, decode(whole(tree)))


@QUICK
@given(st.lists(arrays(), max_size=5))
def test_tensors_are_laid_out_as_the_format_says(sent: list[Array]) -> None:
    frame = whole(sent)
    length = int.from_bytes(frame[4:8], "little")
    header = msgpack.unpackb(frame[8 : 8 + length])
    assert frame[:4] == b"PSF1"
    assert header["body"] == [{"$t": index} for index in range(len(sent))]
    end = 8 + length
    start = -(-end // 64) * 64
    for array, entry in zip(sent, header["tensors"], strict=True):
        begin = start + entry["offset"]
        assert entry["offset"] % 64 == 0
        assert 0 <= begin - end < 64
        assert not any(frame[end:begin])
        end = begin + entry["nbytes"]
        assert same_bits(np.frombuffer(frame[begin:end], DTYPES[entry["dtype"]]).reshape(entry["shape"]), array)
    assert end == len(frame)


@pytest.mark.parametrize("decoded", [False, True])
def test_arrays_are_let_go_with_the_frame_and_not_by_the_garbage_collector(decoded: bool) -> None:
    gc.collect()
    gc.disable()
    try:
        array = np.zeros(1000, np.float32)
        gone = weakref.ref(array)
        parts = encode({"a": Tensor(array, {"version": 1}), "b": [array], "c": Untyped([1.0])})
        tree = decode(b"".join(parts)) if decoded else None
        frame = weakref.ref(tree["a"].array) if tree is not None else gone
        del array, parts, tree
        assert gone() is None
        assert frame() is None
    finally:
        gc.enable()


def test_the_golden_frame_reads_and_writes_as_it_always_did() -> None:
    weights = np.array([[1, 2], [3, 4]], DTYPES["bfloat16"])
    updates = [
        {"name": "conv1/w", "op": "assign_add", "value": weights},
        {"name": "step", "op": "assign", "value": Tensor(np.array(7, np.int64), {"version": "00ff-3"})},
        {"name": "empty", "op": "assign", "value": np.zeros((0, 3), np.float32)},
    ]
    tree = {"updates": updates, "return": ["step"]}
    assert whole(tree) == GOLDEN.read_bytes()
    assert same_tree(tree, decode(GOLDEN.read_bytes()))


def test_a_frame_without_tensors_ends_with_its_header() -> None:
    frame = whole({"commit": 3})
    assert len(frame) == 8 + int.from_bytes(frame[4:8], "little")
    assert decode(frame) == {"commit": 3}


def test_the_table_may_stand_before_the_body() -> None:
    table = [{"dtype": "int8", "shape": [2], "offset": 0, "nbytes": 2}]
    header = msgpack.packb({"tensors": table, "body": {"$t": 0}})
    frame = b"PSF1" + len(header).to_bytes(4, "little") + header
    assert decode(frame.ljust(64, b"\0") + b"\x01\x02").array.tolist() == [1, 2]


def test_sound_arrays_are_not_copied_on_the_way_out() -> None:
    array = np.zeros((4, 4), np.float32)
    parts = encode({"value": array})
    array[0, 0] = 1
    assert decode(b"".join(parts))["value"].array[0, 0] == 1


def test_arrays_are_views_on_the_way_in() -> None:
    buffer = bytearray(whole([np.zeros(3), np.zeros(2)]))
    first, second = decode(buffer)
    first.array[:] = 1
    second.array[:] = 2
    assert [tensor.array.tolist() for tensor in decode(bytes(buffer))] == [[1, 1, 1], [2, 2]]
    assert not decode(bytes(buffer))[0].array.flags.writeable


def test_a_large_tensor_costs_no_memory_on_either_side() -> None:
    array = np.zeros(2**25, np.uint8)
    buffer = whole(array)
    tracemalloc.start()
    encode({"value": array})
    decode(buffer)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview, lambda frame: np.frombuffer(frame, np.uint8)])
def test_any_buffer_is_read(form: Callable[[bytes], Any]) -> None:
    assert decode(form(whole({"a": np.arange(3)})))["a"].array.tolist() == [0, 1, 2]


def test_a_buffer_of_another_item_size_is_read_as_bytes() -> None:
    assert decode(np.frombuffer(whole([np.zeros(8)]), np.uint64).data)[0].array.shape == (8,)


def test_untyped_values_travel_bare_or_with_what_they_have() -> None:
    tree = [Untyped(1.5), Untyped([1], "int8"), np.float32(0.5)]
    assert decode(whole(tree)) == [1.5, {"value": [1], "dtype": "int8"}, 0.5]


def test_what_cannot_travel_is_refused() -> None:
    with pytest.raises(DtypeMismatch):
        encode({"value": np.array(["2026-01-01"], "M8[D]")})
    for leaf in (object(), 1j, {1}, 2**70):
        with pytest.raises(InvalidRequest):
            encode({"value": leaf})


def test_a_header_whose_length_cannot_be_told_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 2**32

    monkeypatch.setattr("paramserver_wire.frame.pack_tree", lambda tree, pack_leaf: Huge())
    with pytest.raises(InvalidRequest, match="4 GiB"):
        encode({})


def lying(change: Callable[[dict[str, Any]], None], tail: bytes = b"", data: bytes | None = None) -> bytes:
    """Return a frame of two int32 tensors whose header has been changed."""
    table = [
        {"dtype": "int32", "shape": [2], "offset": 0, "nbytes": 8},
        {"dtype": "int32", "shape": [3], "offset": 64, "nbytes": 12},
    ]
    header = {"body": {"a": {"$t": 0}, "b": {"$t": 1}}, "tensors": table}
    change(header)
    packed = msgpack.packb(header)
    start = b"PSF1" + len(packed).to_bytes(4, "little") + packed
    if data is None:
        data = np.arange(2, dtype=np.int32).tobytes().ljust(64, b"\0") + np.arange(3, dtype=np.int32).tobytes()
    return start + bytes(-len(start) % 64) + data + tail


def entry(index: int, **changed: Any) -> Callable[[dict[str, Any]], None]:
    return lambda header: header["tensors"][index].update(changed)


def body(tree: Any) -> Callable[[dict[str, Any]], None]:
    return lambda header: header.update(body=tree)


def unchanged(header: dict[str, Any]) -> None:
    """Tell the truth."""


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (lying(entry(0, nbytes=4)), "tensor 0 .*wanted nbytes 8 .*got 4"),
        (lying(entry(1, nbytes=2**62)), "tensor 1 .*wanted nbytes 12"),
        (lying(entry(1, nbytes=12.0)), "tensor 1 .*wanted nbytes 12 .*got 12.0"),
        (lying(entry(0, offset=False)), "tensor 0 .*wanted offset 0"),
        (lying(entry(1, offset=0)), "tensor 1 .*wanted offset 64 .*got 0"),
        (lying(entry(1, offset=128)), "tensor 1 .*wanted offset 64"),
        (lying(entry(1, offset=-64)), "tensor 1 .*wanted offset 64"),
        (lying(entry(0, shape=[3])), "tensor 0 .*wanted nbytes 12"),
        (lying(entry(0, shape=[-2])), "tensor 0 .*negative"),
        (lying(entry(0, shape=[2**32, 2**32])), r"tensor 0 .*2\*\*63"),
        (lying(entry(0, shape=[1] * 9)), "tensor 0 .*8 axes"),
        (lying(entry(0, shape=None)), "tensor 0 .*list of ints"),
        (lying(entry(0, dtype="int33")), "tensor 0 .*'int33'"),
        (lying(entry(0, dtype="bool", nbytes=2)), "tensor 0 .*got other bytes|zeros"),
        (lying(entry(0, dtype=["int32"])), "tensor 0 .*list"),
        (lying(entry(0, extra=1)), "tensor 0 .*no more and no less"),
        (lying(entry(1, shape=[2**40], nbytes=2**42)), "tensor 1 .*wanted 4398046511104 bytes, got 12"),
        (lying(lambda header: header["tensors"][0].pop("dtype")), "tensor 0 .*no less"),
        (lying(lambda header: header["tensors"].append(3)), "tensor 2 .*wanted a map"),
        (lying(lambda header: header["tensors"].reverse()), "tensor 0 .*offset 0"),
        (lying(lambda header: header["tensors"].pop()), "wanted a frame of"),
        (lying(body({"a": {"$t": 0}})), "tensor 1 of the frame stands nowhere"),
        (lying(body([{"$t": 0}, {"$t": 1}, {"$t": 1}])), "each once, got 1"),
        (lying(body([{"$t": 0}, {"$t": 2}])), "got 2"),
        (lying(body([{"$t": 0}, {"$t": -1}])), "got -1"),
        (lying(body([{"$t": 0}, {"$t": True}])), "got True"),
        (lying(body([{"$t": 0}, {"$t": 1.0}])), "got 1.0"),
        (lying(body([{"$t": 0}, {"$t": [1]}])), r"got \[1\]"),
        (lying(body([{"$t": 0}, {"$t": {"$t": 1}}])), "got Tensor"),
        (lying(body([{"$t": 0}, {"$t": 1}, b"x"])), "no byte strings"),
        (lying(lambda header: header.update(extra=1)), "these two"),
        (lying(lambda header: header.pop("body")), "these two"),
        (lying(lambda header: header.update(tensors={})), "these two"),
        (lying(lambda header: header.update({"$t": 0})), "these two"),
        (lying(unchanged, tail=b"\0"), "nothing behind"),
        (lying(unchanged, data=bytes(75)), "tensor 1 .*wanted 12 bytes, got 11"),
        (lying(unchanged, data=bytes(10)), "tensor 1 .*wanted 12 bytes, got 0"),
        (lying(unchanged, data=b"\1" * 76), "tensor 1 .*wanted zeros"),
        (lying(unchanged).replace(b"\xa1b\x81", b"\xa1a\x81"), "'a' stands twice"),
        (b"", "PSF1"),
        (b"PSF1\0\0\0", "PSF1"),
        (b"PSF2\1\0\0\0\xc0", "PSF1"),
        (b"PSF1\x02\0\0\0\xc0", "2 bytes, got 1"),
        (b"PSF1\x01\0\0\0\xc0", "these two"),
        (b"PSF1\0\0\0\0", "incomplete|cut off"),
        (b"PSF1\x02\0\0\0\xc0\xc0", "extra data|wanted 1"),
    ],
)
def test_lies_are_refused_with_what_was_wanted_and_got(frame: bytes, reason: str) -> None:
    assert decode(lying(unchanged))["b"].array.tolist() == [0, 1, 2]
    with pytest.raises(MalformedBody, match=reason) as refusal:
        decode(frame)
    assert len(refusal.value.detail) < 400


def test_padding_before_the_data_is_zero() -> None:
    frame = bytearray(whole([np.zeros(3)]))
    frame[-25] = 1
    with pytest.raises(MalformedBody, match=r"tensor 0 .*wanted zeros"):
        decode(frame)


def test_a_bool_is_one_or_zero() -> None:
    with pytest.raises(MalformedBody, match=r"tensor 0 .*0 and 1 for a bool, got 255"):
        decode(whole([np.zeros(3, np.bool_)])[:-1] + b"\xff")


def test_a_header_seen_before_makes_a_tensor_of_its_own() -> None:
    frames = [whole(np.full(3, number, np.float32)) for number in range(3)]
    tensors = [decode(frame) for frame in (*frames, *frames)]
    assert [tensor.array.tolist() for tensor in tensors] == [[number] * 3 for number in (0, 1, 2, 0, 1, 2)]
    tensors[0].meta["name"] = "w"
    assert not any(tensor.meta for tensor in tensors[1:])
    assert not decode(frames[0]).meta


def test_a_header_seen_before_excuses_nothing() -> None:
    frame = whole(np.array([[True], [False], [True]]))
    header_end = 8 + int.from_bytes(frame[4:8], "little")
    lies = {
        frame[:-1]: "wanted 3 bytes, got 2",
        frame + b"\0": "nothing behind",
        frame[:-1] + b"\2": "bytes 0 and 1",
        frame[:header_end] + b"\1" + frame[header_end + 1 :]: "wanted zeros",
    }
    for _ in range(2):
        assert decode(frame).array.tolist() == [[True], [False], [True]]
        for lie, reason in lies.items():
            with pytest.raises(MalformedBody, match=reason):
                decode(lie)
        with pytest.raises(BodyTooLarge):
            decode(frame, max_header=header_end - 9)


def test_what_is_remembered_of_headers_is_bounded() -> None:
    for length in range(2000):
        decode(whole(np.empty((0, length), np.float32)))
    assert len(_LONE) <= 1024
    long = msgpack.packb({"body": {"$t": "x" * 10_000}, "tensors": []})
    with pytest.raises(MalformedBody, match="to name one"):
        decode(b"PSF1" + len(long).to_bytes(4, "little") + long)
    assert max(map(len, _LONE)) < 300


def test_the_header_is_bounded() -> None:
    frame = whole({"names": ["w"] * 100})
    assert decode(frame, max_header=len(frame) - 8)
    with pytest.raises(BodyTooLarge, match="at most"):
        decode(frame, max_header=len(frame) - 9)
    with pytest.raises(BodyTooLarge):
        decode(b"PSF1\xff\xff\xff\xff")


@QUICK
@given(TREES, DAMAGES)
def test_damaged_frames_are_refused_politely(tree: Any, damage: Damage) -> None:
    try:
        decode(damage(whole(tree)))
    except WireError as error:
        refusal = error
    else:
        return
    assert refusal.code in ("malformed_body", "body_too_large")
    assert len(refusal.detail) < 400


@QUICK
@given(arrays(), st.data())
def test_every_cut_is_noticed(array: Array, data: st.DataObject) -> None:
    frame = whole({"value": array})
    cut = data.draw(st.integers(0, len(frame) - 1))
    with pytest.raises(MalformedBody):
        decode(frame[:cut])


def received(frame: bytes, place: Callable[[Tensor], Array | None] = lambda tensor: None) -> Any:
    """The tree of a frame whose tensors are received where `place` wants them, as a socket would bring it."""
    end = begin_nbytes(memoryview(frame)[:PREAMBLE_NBYTES], len(frame))
    arrival = Arrival(frame[:end], len(frame))
    for view in arrival.views(place):
        view[:] = frame[end : end + len(view)]
        end += len(view)
    assert end == len(frame)
    arrival.check()
    return arrival.tree


@QUICK
@given(TREES)
def test_any_tree_arrives(tree: Any) -> None:
    assert same_tree(tree, received(whole(tree)))


@QUICK
@given(st.lists(arrays(), max_size=5), st.data())
def test_tensors_are_received_where_they_are_wanted(sent: list[Array], data: st.DataObject) -> None:
    frame = whole(sent)
    places = [
        np.empty(array.shape, array.dtype.newbyteorder("<")) if data.draw(st.booleans()) else None for array in sent
    ]
    left = iter(places)

    def place(tensor: Tensor) -> Array | None:
        target = next(left)
        assert target is None or (tensor.array.shape, tensor.array.dtype) == (target.shape, target.dtype)
        return target

    for array, target, tensor in zip(sent, places, received(frame, place), strict=True):
        assert target is None or tensor.array is target
        assert same_bits(tensor.array, array)


@QUICK
@given(TREES, DAMAGES)
def test_what_arrives_damaged_is_refused_as_decode_does(tree: Any, damage: Damage) -> None:
    def refusal(read: Callable[[bytes], Any]) -> type[WireError] | None:
        try:
            read(damage(whole(tree)))
        except WireError as error:
            return type(error)
        return None

    assert refusal(received) is refusal(decode)


def test_what_only_the_data_shows_is_looked_at_in_the_end() -> None:
    frame = bytearray(whole([np.zeros(3)]))
    frame[-25] = 1
    with pytest.raises(MalformedBody, match="wanted zeros between"):
        received(bytes(frame))
    with pytest.raises(MalformedBody, match=r"tensor 0 .*0 and 1 for a bool, got 255"):
        received(whole([np.zeros(3, np.bool_)])[:-1] + b"\xff")
