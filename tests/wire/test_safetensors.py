from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors as public
from hypothesis import given
from hypothesis import strategies as st

from paramserver_wire.dtypes import DTYPES
from paramserver_wire.errors import BodyTooLarge, DtypeMismatch, InvalidName, MalformedBody, ShapeMismatch, WireError
from paramserver_wire.safetensors import data_start_of, decode, encode, file_parts, header, parse
from paramserver_wire.tensors import Tensor, array_over, wire_array
from support.arrays import QUICK, Array, arrays, same_bits
from support.mutations import DAMAGES, Damage

GOLDEN = Path(__file__).parent.parent / "golden" / "wire" / "header.safetensors"
HELD = [name for name in DTYPES if name != "complex128"]
FILES = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda name: name != "__metadata__"),
    arrays(st.sampled_from(HELD)).map(wire_array),
    max_size=5,
)
METADATA = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3)


def write(arrays: dict[str, Array], metadata: dict[str, str]) -> bytes:
    start, spans = header([(name, array.dtype.name, array.shape) for name, array in arrays.items()], metadata)
    assert [end - begin for begin, end in spans] == [array.nbytes for array in arrays.values()]
    return start + b"".join(array.tobytes() for array in arrays.values())


def read(file: bytes) -> tuple[dict[str, Array], dict[str, str]]:
    parsed = parse(file, len(file))
    found = {
        name: array_over(file, parsed.data_start + entry.begin, entry.shape, entry.dtype)
        for name, entry in parsed.entries.items()
    }
    return found, dict(parsed.metadata)


def same_files(left: dict[str, Array], right: dict[str, Array]) -> bool:
    return left.keys() == right.keys() and all(same_bits(array, right[name]) for name, array in left.items())


@QUICK
@given(FILES, METADATA)
def test_any_file_survives_the_round_trip(sent: dict[str, Array], metadata: dict[str, str]) -> None:
    found, found_metadata = read(write(sent, metadata))
    assert same_files(sent, found)
    assert found_metadata == metadata


@QUICK
@given(FILES, METADATA)
def test_the_public_package_reads_what_we_write(sent: dict[str, Array], metadata: dict[str, str]) -> None:
    theirs = dict(public.deserialize(write(sent, metadata)))
    ours = parse(write(sent, metadata), len(write(sent, metadata)))
    assert theirs.keys() == sent.keys()
    for name, array in sent.items():
        assert tuple(theirs[name]["shape"]) == array.shape == ours.entries[name].shape
        assert bytes(theirs[name]["data"]) == array.tobytes()


@QUICK
@given(FILES, METADATA)
def test_we_read_what_the_public_package_writes(sent: dict[str, Array], metadata: dict[str, str]) -> None:
    buffers = {name: np.frombuffer(array.tobytes() or b"\0", np.uint8) for name, array in sent.items()}
    specs = {
        name: public.TensorSpec(
            dtype=array.dtype.name, shape=array.shape, data_ptr=buffers[name].ctypes.data, data_len=array.nbytes
        )
        for name, array in sent.items()
    }
    found, found_metadata = read(bytes(public.serialize(specs, metadata=metadata or None)))
    assert same_files(sent, found)
    assert found_metadata == metadata


@pytest.mark.parametrize("name", HELD)
def test_the_public_package_calls_each_dtype_as_we_do(name: str) -> None:
    file = write({"w": np.zeros(2, DTYPES[name])}, {})
    spec = public.TensorSpec(dtype=name, shape=[0], data_ptr=0, data_len=0)
    theirs = json.loads(bytes(public.serialize({"w": spec}))[8:])
    assert theirs["w"]["dtype"] == json.loads(file[8 : parse(file, len(file)).data_start])["w"]["dtype"]


def test_the_golden_header_reads_and_writes_as_it_always_did() -> None:
    entries = [("conv1/w", "bfloat16", (2, 3)), ("step", "int64", ()), ("empty", "bool", (0, 4))]
    start, spans = header(entries, {"commit": "7"})
    assert start == GOLDEN.read_bytes()
    assert spans == [(0, 12), (12, 20), (20, 20)]
    parsed = parse(GOLDEN.read_bytes(), len(start) + 20)
    assert [(name, entry.dtype.name, entry.shape) for name, entry in parsed.entries.items()] == entries
    assert parsed.metadata == {"commit": "7"}


@QUICK
@given(FILES, METADATA)
def test_the_data_begins_at_a_multiple_of_64(sent: dict[str, Array], metadata: dict[str, str]) -> None:
    file = write(sent, metadata)
    start = data_start_of(file[:8])
    assert start % 64 == 0
    assert parse(file[:start], len(file)) == parse(bytearray(file), len(file)) == parse(memoryview(file), len(file))


def test_what_the_format_cannot_hold_is_refused() -> None:
    with pytest.raises(DtypeMismatch, match="'z' is complex128, which safetensors cannot hold"):
        header([("z", "complex128", (1,))], {})
    with pytest.raises(DtypeMismatch, match="use one of"):
        header([("z", "float8", (1,))], {})
    with pytest.raises(ShapeMismatch):
        header([("z", "float32", (-1,))], {})


@pytest.mark.parametrize("names", [["w", "w"], ["__metadata__"]])
def test_each_tensor_has_a_name_of_its_own(names: list[str]) -> None:
    for metadata in ({}, {"a": "b"}):
        with pytest.raises(InvalidName, match="of its own"):
            header([(name, "int8", ()) for name in names], metadata)


def file_of(fields: Any, data: bytes = b"") -> bytes:
    text = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: Any = "I8", shape: Any = (2,), offsets: Any = (0, 2), **extra: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **extra}


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "8 bytes"),
        (b"\2\0\0\0\0\0\0", "8 bytes"),
        (file_of({})[:-1], "wanted a safetensors header of 10 bytes, got 9"),
        (file_of(b""), "not JSON"),
        (file_of(b"[]"), "JSON map"),
        (file_of(b" {}"), "begins with '{'"),
        (file_of(b"\xef\xbb\xbf{}"), "not JSON"),
        (file_of('{"é":1}'.encode("utf-16")), "not JSON"),
        (file_of(b'{"\xff":1}'), "not JSON"),
        (file_of(b'{"a":1}x'), "not JSON"),
        (file_of(b'{"a":' + b"[" * 100_000), "not JSON"),
        (file_of(b'{"a":' + b"9" * 5000 + b"}"), "not JSON"),
        (file_of(b'{"\\ud800":1}'), "not JSON"),
        (file_of(b'{"__metadata__":{"a":"\\ud800"}}'), "not JSON"),
        (file_of(b'{"a":1,"a":1}'), "one twice"),
        (file_of(b'{"w":{"dtype":"I8","dtype":"I8","shape":[],"data_offsets":[0,1]}}', b"1"), "one twice"),
        (file_of({"__metadata__": {"a": 1}}), "text to text"),
        (file_of({"__metadata__": []}), "text to text"),
        (file_of({"w": 1}), "'w'"),
        (file_of({"w": {"dtype": "I8", "shape": [0]}}), "no less"),
        (file_of({"w": entry(extra=1)}, b"12"), "no more"),
        (file_of({"w": entry(shape=[-2])}, b"12"), "'w' .*negative"),
        (file_of({"w": entry(shape=[2**32, 2**32, 0])}, b"12"), "'w' "),
        (file_of({"w": entry(shape=[True, 2])}, b"12"), "'w' .*bool"),
        (file_of({"w": entry(shape=2)}, b"12"), "'w' .*list"),
        (file_of({"w": entry(shape=[3])}, b"12"), "wanted 3 bytes"),
        (file_of({"w": entry(offsets=[0, 3])}, b"123"), "wanted 2 bytes"),
        (file_of({"w": entry(offsets=[2, 0])}, b"12"), "wanted 2 bytes"),
        (file_of({"w": entry(offsets=[-2, 0])}, b"12"), "wanted 2 bytes"),
        (file_of({"w": entry(offsets=[10**4000, 10**4000 + 2])}, b"12"), "wanted 2 bytes"),
        (file_of({"w": entry(offsets=[0.0, 2.0])}, b"12"), "two ints"),
        (file_of({"w": entry(offsets=[False, 2])}, b"12"), "two ints"),
        (file_of({"w": entry(offsets=[0])}, b"12"), "two ints"),
        (file_of({"w": entry(offsets=2)}, b"12"), "two ints"),
        (file_of({"w": entry(offsets=[1, 3])}, b"123"), "begin at 0, got 1"),
        (file_of({"v": entry(), "w": entry(offsets=[1, 3])}, b"123"), "'w' to begin at 2, got 1"),
        (file_of({"v": entry(), "w": entry()}, b"12"), "'w' to begin at 2, got 0"),
        (file_of({"v": entry(), "w": entry(offsets=[3, 5])}, b"12345"), "leave no hole"),
        (file_of({"w": entry()}, b"1"), "wanted 2 bytes of data after the header, got 1"),
        (file_of({"w": entry()}, b"123"), "wanted 2 bytes of data after the header, got 3"),
        (file_of({}, b"1"), "wanted 0 bytes"),
    ],
)
def test_lies_are_refused(file: bytes, reason: str) -> None:
    with pytest.raises(MalformedBody, match=reason) as refusal:
        parse(file, len(file))
    assert len(refusal.value.detail) < 400


@pytest.mark.parametrize("tag", ["F8_E4M3", "C128", "f32", "", None, 3, ["I8"]])
def test_dtypes_that_variables_cannot_have_are_refused(tag: Any) -> None:
    file = file_of({"w": entry(dtype=tag)}, b"12")
    with pytest.raises(DtypeMismatch, match="'w': wanted one of the dtypes BOOL"):
        parse(file, len(file))


def test_entries_come_in_the_order_of_their_data() -> None:
    file = file_of({"b": entry(offsets=[2, 4]), "c": entry(shape=[0], offsets=[2, 2]), "a": entry()}, b"1234")
    assert list(parse(file, len(file)).entries) == ["a", "c", "b"]


def test_the_header_is_bounded_before_it_is_read() -> None:
    with pytest.raises(BodyTooLarge, match="at most 104857600 bytes"):
        parse((2**63).to_bytes(8, "little"), 2**64)
    file = write({"w": np.zeros(2)}, {})
    with pytest.raises(BodyTooLarge):
        parse(file, len(file), max_header=data_start_of(file) - 9)
    assert parse(file, len(file), max_header=data_start_of(file) - 8)


@pytest.mark.parametrize("piece", [b"[],", b"{},", b"[[]],"])
def test_a_bomb_of_lists_is_refused_at_once(piece: bytes) -> None:
    file = file_of(b'{"a":[' + piece * 3_000_000 + b"0]}")
    began = time.process_time()
    with pytest.raises(BodyTooLarge, match="many more"):
        parse(file, len(file))
    assert time.process_time() - began < 2


def test_a_long_header_of_the_shortest_entries_is_taken() -> None:
    names = [np.base_repr(number, 36) for number in range(30_000)]
    start, _ = header([(name, "int8", ()) for name in names], {})
    assert len(start) > 2**20
    assert len(parse(start, len(start) + 30_000).entries) == 30_000


@QUICK
@given(FILES, METADATA, DAMAGES)
def test_damaged_files_are_refused_politely(sent: dict[str, Array], metadata: dict[str, str], damage: Damage) -> None:
    file = damage(write(sent, metadata))
    try:
        parse(file, len(file))
    except WireError as error:
        refusal = error
    else:
        return
    assert refusal.code in ("malformed_body", "body_too_large", "dtype_mismatch")
    assert len(refusal.detail) < 400


@QUICK
@given(FILES, METADATA)
def test_whole_files_survive_the_round_trip(sent: dict[str, Array], metadata: dict[str, str]) -> None:
    body = b"".join(file_parts(sent, metadata))
    assert same_files(sent, decode(body))
    assert parse(body, len(body)).metadata == metadata


def test_an_answer_as_a_file_tells_the_rest_in_its_metadata() -> None:
    ones = np.ones((2, 3), np.float32)
    parts = encode(
        {
            "commit": 7,
            "versions": {"b": 9},
            "tensors": {
                "a": Tensor(ones[:, 0], {"version": 3, "incarnation": "00ff"}),
                "w": Tensor(ones, {"version": 4, "incarnation": "11ff"}),
                "i": Tensor(np.arange(3), {"version": 1, "incarnation": "22ff"}),
            },
        }
    )
    assert any(np.shares_memory(np.asarray(part), ones) for part in parts[1:])
    body = b"".join(parts)
    metadata = dict(parse(body, len(body)).metadata)
    assert metadata.pop("format") == "pt"
    assert {key: json.loads(text) for key, text in metadata.items()} == {
        "commit": 7,
        "versions": {"a": 3, "b": 9, "w": 4, "i": 1},
        "incarnations": {"a": "00ff", "w": "11ff", "i": "22ff"},
    }
    assert decode(body)["i"].flags.aligned
    public_view = public.deserialize(body)
    assert {name for name, _ in public_view} == {"a", "w", "i"}


def test_one_tensor_and_no_tensor_as_a_file() -> None:
    body = b"".join(encode(Tensor(np.ones(2), {"name": "a/b", "version": 3, "incarnation": "00ff", "commit": 5})))
    assert list(decode(body)) == ["a/b"]
    assert parse(body, len(body)).metadata["versions"] == '{"a/b": 3}'
    assert parse(body, len(body)).metadata["commit"] == "5"
    empty = b"".join(encode({"commit": 0, "tensors": {}}))
    assert decode(empty) == {}
    assert public.deserialize(empty) == []


def test_all_that_cannot_be_held_is_named() -> None:
    arrays = {"a": np.ones(1, np.complex128), "b": np.ones(1), "c": np.ones(1, np.complex128)}
    with pytest.raises(DtypeMismatch, match="'a', 'c' are"):
        file_parts(arrays, {})
