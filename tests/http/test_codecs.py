from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramserver.http import codecs
from paramserver_wire import frame, packed
from paramserver_wire.errors import MalformedBody, NotAcceptable, UnsupportedMediaType, WireError
from paramserver_wire.tensors import Tensor, to_json

FRAME = frame.MEDIA_TYPE


def encoded(name: codecs.Format, tree: Any) -> bytes:
    made = codecs.encode(name, tree)
    body = b"".join(made.parts)
    assert made.nbytes in (None, len(body))
    return body


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", "json"),
        ("Application/JSON; charset=UTF-8", "json"),
        ('application/json;charset="utf-8"', "json"),
        ("application/msgpack", "msgpack"),
        (FRAME, "frame"),
        (f"{FRAME}; v=1", "frame"),
    ],
)
def test_content_types_taken(content_type: str, expected: str) -> None:
    assert codecs.format_of(content_type) == expected


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "json", "a/b/c"],
)
def test_content_types_refused(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaType, match=r"application/json|UTF-8"):
        codecs.format_of(content_type)


@pytest.mark.parametrize(
    ("accept", "default", "expected"),
    [
        (None, "json", "json"),
        (None, "frame", "frame"),
        ("*/*", "msgpack", "msgpack"),
        ("application/*", "frame", "frame"),
        (FRAME, "json", "frame"),
        (f"application/json;q=0.5, {FRAME};q=0.9", "json", "frame"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json", "json"),
        ("*/*;q=0.1, application/json;q=0", "json", "msgpack"),
        ("application/msgpack, application/json", "json", "json"),
        ("application/json;q=nonsense, application/msgpack", "json", "msgpack"),
    ],
)
def test_accept_decides_the_answer(accept: str | None, default: codecs.Format, expected: str) -> None:
    assert codecs.answer_format(accept, default) == expected


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/json;q=0", ";;;,,,"])
def test_accept_that_allows_nothing_is_refused(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="application/json"):
        codecs.answer_format(accept, "json")


def test_compressed_bodies_are_refused() -> None:
    codecs.check_encoding(None)
    codecs.check_encoding("identity")
    with pytest.raises(UnsupportedMediaType, match="gzip"):
        codecs.check_encoding("gzip")
    codecs.check_encoding(None, "Chunked")
    for coding in ("gzip, chunked", "identity", "x"):
        with pytest.raises(UnsupportedMediaType):
            codecs.check_encoding(None, coding)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"a": {"b": 1, "b": 1}}', "'b' stands twice"),
        (b'{"a": NaN}', "no NaN"),
        (b"[-Infinity]", "no -Infinity"),
        (b'{"a": 1} x', "not JSON"),
        (b"", "not JSON"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"[" * 65 + b"]" * 65, "nested"),
        (b"[" * 2_000_000, "nested"),
        (b'{"a":' * 100_000, "nested"),
        (b"1" * 5000, "not JSON"),
    ],
)
def test_json_that_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(MalformedBody, match=words):
        codecs.decode_json(body)


def test_json_that_is_taken() -> None:
    assert codecs.decode_json(b'{"a": [1, 2.5, true, null, "\\ud83d\\ude00"]}') == {"a": [1, 2.5, True, None, "😀"]}
    assert codecs.decode_json(b"[" * 64 + b"]" * 64)
    # Brackets in text do not count, however it is escaped.
    text = "[{" * 200 + '\\"' * 7
    assert codecs.decode_json(json.dumps({"a": text}).encode()) == {"a": text}
    wide = json.dumps([[1, 2]] * 500).encode()
    assert len(codecs.decode_json(wide)) == 500


@given(st.sampled_from(["json", "msgpack", "frame"]), st.binary(max_size=200))
def test_rubbish_is_refused_politely(name: codecs.Format, body: bytes) -> None:
    for candidate in (body, b"PSF1" + body):
        try:
            codecs.decode(name, memoryview(candidate), header_limit_nbytes=1024)
        except WireError as error:
            assert error.code in ("malformed_body", "body_too_large")


def test_answers_are_the_same_tree_in_every_format() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    tree = {"commit": 3, "tensors": {"w": Tensor(array, {"version": 2})}}
    from_json = json.loads(encoded("json", tree))
    assert from_json == {
        "commit": 3,
        "tensors": {"w": {"version": 2, "dtype": "float32", "shape": [2, 3], "value": array.tolist()}},
    }
    for name, decode in (("msgpack", packed.unpack), ("frame", frame.decode)):
        decoded = decode(encoded(name, tree))
        assert decoded["commit"] == 3
        assert np.array_equal(decoded["tensors"]["w"].array, array)
        assert decoded["tensors"]["w"].meta == {"version": 2}


@pytest.mark.parametrize(
    ("array", "value"),
    [
        (np.array([np.nan, np.inf, -np.inf, 1.5], np.float32), ["NaN", "Infinity", "-Infinity", 1.5]),
        (np.array(np.nan), "NaN"),
        (np.array([1 + 2j], np.complex64), [[1.0, 2.0]]),
        (np.array([0.1, 3], ml_dtypes.bfloat16), [0.1, 3.0]),
        (np.array([True, False]), [True, False]),
        (np.array(2**64 - 1, np.uint64), 2**64 - 1),
        (np.zeros((0, 3), np.float32), []),
    ],
)
def test_json_answers_spell_what_json_lacks(array: Any, value: Any) -> None:
    assert json.loads(encoded("json", Tensor(array)))["value"] == value


@pytest.mark.parametrize(
    "shape", [(600_000,), (3, 400_000), (700, 800), (2, 2, 2, 150_000), (1, 600_000), (300_000, 2, 1), (300_001,)]
)
def test_large_json_is_made_in_pieces_that_add_up(shape: tuple[int, ...]) -> None:
    array = (np.arange(np.prod(shape)) % 7).astype(np.float32).reshape(shape)
    array.flat[1] = np.nan
    tree = {
        "commit": 1,
        "empty": {},
        "list": [1],
        "tensors": {"a": Tensor(array, {"version": 1}), "b": Tensor(array[:0])},
    }
    made = codecs.encode("json", tree)
    assert made.nbytes is None
    pieces = [bytes(piece) for piece in made.parts]
    assert max(map(len, pieces)) < 4 * codecs.PIECE_NBYTES
    decoded = json.loads(b"".join(pieces))
    assert decoded["tensors"]["a"]["value"] == to_json(array)
    assert decoded["tensors"]["a"]["shape"] == list(shape)
    assert (decoded["commit"], decoded["empty"], decoded["list"]) == (1, {}, [1])


def test_a_frame_is_not_copied() -> None:
    array = np.ones(1000, np.float32)
    made = codecs.encode("frame", Tensor(array))
    assert any(isinstance(part, memoryview) and np.shares_memory(np.asarray(part), array) for part in made.parts)
    assert codecs.encoding_nbytes("frame", Tensor(array)) == 64
    assert codecs.encoding_nbytes("frame", Tensor(array[::2])) == 2000
    assert codecs.encoding_nbytes("json", [Tensor(array), {"a": array}]) == 8000
    assert codecs.encoding_nbytes("msgpack", [Tensor(array), {"a": array}]) == 20_000


def test_slices_cover_a_part_without_copying() -> None:
    part = bytes(range(10))
    slices = list(codecs.slices_of(part, 4))
    assert [bytes(piece) for piece in slices] == [part[:4], part[4:8], part[8:]]
    assert all(piece.obj is part for piece in slices)


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, 10**308])
def test_an_answer_tells_integers_of_any_length(number: int) -> None:
    tree = {"initializer": {"type": "random_normal", "seed": number}, "list": [number, True, None]}
    assert json.loads(encoded("json", tree)) == tree
    told = number if number < 2**64 and number > 0 else str(number)
    for name, decode in (("msgpack", packed.unpack), ("frame", frame.decode)):
        answer = decode(encoded(name, tree))  # type: ignore[arg-type]
        assert answer["initializer"]["seed"] == told
        assert answer["list"] == [told, True, None]
    lone = codecs.encode("frame", Tensor(np.ones(2), {"seed": number}))
    assert frame.decode(b"".join(lone.parts)).meta["seed"] == told


def test_an_answer_tells_half_of_a_character() -> None:
    assert json.loads(encoded("json", {"metadata": "\ud800"})) == {"metadata": "\ud800"}
