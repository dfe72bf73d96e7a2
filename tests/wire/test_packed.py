from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given

from paramserver_wire.dtypes import DTYPES
from paramserver_wire.errors import BodyTooLarge, DtypeMismatch, InvalidRequest, MalformedBody, WireError
from paramserver_wire.packed import pack, unpack
from paramserver_wire.tensors import Tensor, Untyped
from support.arrays import QUICK, Array, arrays, same_bits
from support.mutations import DAMAGES, Damage
from support.trees import TREES, same_tree

GOLDEN = Path(__file__).parent.parent / "golden" / "wire" / "push.msgpack"
SOUND = {"dtype": "float32", "shape": [1], "data": b"\0\0\x80?"}


@QUICK
@given(TREES)
def test_any_tree_survives_the_round_trip(tree: Any) -> None:
    assert same_tree(tree, unpack(pack(tree)))


@pytest.mark.parametrize("name", DTYPES)
def test_a_tensor_is_what_the_format_says(name: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(DTYPES[name])
    raw = msgpack.unpackb(pack(array.T))
    assert raw == {"dtype": name, "shape": [3, 2], "data": array.T.tobytes()}


@QUICK
@given(arrays())
def test_fields_beside_a_tensor_come_back(array: Array) -> None:
    back = unpack(pack({"t": Tensor(array, {"version": 3, "name": "w"})}))["t"]
    assert same_bits(back.array, array)
    assert back.meta == {"version": 3, "name": "w"}


def test_the_golden_body_reads_and_writes_as_it_always_did() -> None:
    weights = np.array([[1, 2], [3, 4]], DTYPES["bfloat16"])
    tree = {
        "updates": [{"name": "conv1/w", "op": "assign_add", "value": weights}],
        "return": [],
        "x": [None, True, -1, 0.5],
    }
    assert pack(tree) == GOLDEN.read_bytes()
    assert same_tree(tree, unpack(GOLDEN.read_bytes()))


def test_untyped_values_travel_bare_or_with_what_they_have() -> None:
    assert unpack(pack({"a": Untyped(1.5), "b": Untyped([], "int8", (0, 3))})) == {
        "a": 1.5,
        "b": {"value": [], "dtype": "int8", "shape": [0, 3]},
    }


def test_a_map_with_dtype_and_shape_but_no_bytes_is_a_map() -> None:
    body = {"dtype": "float32", "shape": [2], "data": "text"}
    assert unpack(pack(body)) == body


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"dtype": "float99"}, "'float99'"),
        ({"dtype": 3}, "int"),
        ({"shape": [2]}, "wanted 8 bytes"),
        ({"shape": [-1]}, "negative"),
        ({"shape": [True]}, "bool"),
        ({"shape": [2**32, 2**32, 0], "data": b""}, "2\\*\\*63"),
        ({"shape": 1}, "list of ints"),
        ({"data": b"\0\0\0\0\0"}, "got 5"),
        ({"dtype": "bool", "data": b"\2"}, "0 and 1"),
        ({"extra": b"1"}, "byte strings"),
        ({b"extra": 1}, "byte strings"),
    ],
)
def test_a_lying_tensor_is_refused(changed: dict[Any, Any], reason: str) -> None:
    assert isinstance(unpack(msgpack.packb(SOUND)), Tensor)
    with pytest.raises(MalformedBody, match=reason):
        unpack(msgpack.packb({"value": {**SOUND, **changed}}))


@pytest.mark.parametrize("missing", ["dtype", "shape"])
def test_bytes_without_their_dtype_or_shape_are_refused(missing: str) -> None:
    with pytest.raises(MalformedBody, match="not sound"):
        unpack(msgpack.packb({key: field for key, field in SOUND.items() if key != missing}))


@pytest.mark.parametrize("body", [b"\xc4\x01a", b"\x91\xc4\x01a", b"\x81\xa1a\xc4\x01a", b"\x81\xc4\x01a\x01"])
def test_byte_strings_elsewhere_are_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody, match="byte strings"):
        unpack(body)


def test_duplicate_keys_are_refused() -> None:
    with pytest.raises(MalformedBody, match="'op' stands twice"):
        unpack(b"\x82\xa2op\x01\xa2op\x01")
    field = b"\xa5dtype\xa7float32"
    with pytest.raises(MalformedBody, match="'dtype' stands twice"):
        unpack(b"\x84" + field + field + b"\xa5shape\x90\xa4data\xc4\x04" + bytes(4))


def test_the_length_is_bounded() -> None:
    body = pack(list(range(100)))
    assert unpack(body, max_nbytes=len(body)) == list(range(100))
    with pytest.raises(BodyTooLarge, match="send a frame"):
        unpack(body, max_nbytes=len(body) - 1)


@QUICK
@given(TREES, DAMAGES)
def test_damaged_bodies_are_refused_politely(tree: Any, damage: Damage) -> None:
    try:
        unpack(damage(pack(tree)))
    except WireError as error:
        refusal = error
    else:
        return
    assert refusal.code in ("malformed_body", "body_too_large")
    assert len(refusal.detail) < 400


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
def test_any_buffer_is_read_and_kept_apart_from(form: Any) -> None:
    buffer = form(pack(np.arange(3)))
    tensor = unpack(buffer)
    if form is bytearray:
        buffer[:] = bytes(len(buffer))
    assert tensor.array.tolist() == [0, 1, 2]
    assert not tensor.array.flags.writeable


def test_what_cannot_travel_is_refused() -> None:
    with pytest.raises(DtypeMismatch):
        pack({"value": np.array([object()])})
    with pytest.raises(InvalidRequest):
        pack({"value": object()})
