"""JSON bodies: strict on the way in, and on the way out a piece at a time, so that no large text stands in memory whole."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

import numpy as np
import orjson

from paramserver_wire.dtypes import name_of
from paramserver_wire.errors import MalformedBody
from paramserver_wire.tensors import Tensor, to_json

MAX_DEPTH: Final = 64
# What there is nothing to do about. Asked first: most of a tree is this, and asking whether text is a `Mapping` takes
# longer than all else (a page of 1,000 variables has 13,000 such leaves).
LEAVES: Final = frozenset({str, int, bool, type(None)})
# Over this many bytes of tensors an answer is encoded piece by piece, so that its text never stands in memory whole.
PIECE_NBYTES: Final = 1024 * 1024

_TEXT_IN_JSON: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def decode_json(body: bytes) -> Any:
    """The tree in a JSON text: strict UTF-8, no duplicate keys, no NaN literals, nested at most `MAX_DEPTH` deep."""
    _check_depth(body)
    try:
        tree = json.loads(body.decode("utf-8"), object_pairs_hook=_unique_fields, parse_constant=_refuse_constant)
        if _SURROGATE.search(body):
            json.dumps(tree, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise MalformedBody("the JSON is not UTF-8 text, or half a surrogate pair stands in it; send UTF-8") from None
    except ValueError as error:
        raise MalformedBody(f"this is not JSON: {str(error)[:200]}; send one JSON value") from None
    return tree


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in fields if keys.count(key) > 1)
        raise MalformedBody(f"the key {twice[:60]!r} stands twice in one object; send it once")
    return fields


def _refuse_constant(literal: str) -> NoReturn:
    raise MalformedBody(
        f'JSON has no {literal}; send the string "{literal}" and ask for allow_non_finite=true if you mean it'
    )


def _check_depth(body: bytes) -> None:
    # What has no more brackets than that cannot be nested deeper; only the rest is looked at closely.
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    codes = np.frombuffer(_TEXT_IN_JSON.sub(b"", body), np.uint8)
    steps = np.zeros(256, np.int32)
    for code, step in _STEPS.items():
        steps[code] = step
    brackets = steps[codes[steps[codes] != 0]]
    if brackets.size and int(brackets.cumsum().max()) > MAX_DEPTH:
        raise MalformedBody(f"the JSON is nested more than {MAX_DEPTH} deep; send tensors as lists of at most 8 levels")


def _dumped(tree: Any) -> bytes:
    try:
        return orjson.dumps(tree)
    except TypeError:
        # Seeds may be of any length, orjson's integers end at 64 bits; names in metadata may be half of a character.
        return json.dumps(tree, separators=(",", ":"), allow_nan=False).encode("ascii")


def json_text(tree: Any) -> bytes:
    """The JSON of `tree`, whole."""
    return _dumped(_plain(tree))


def json_pieces(tree: Any) -> Iterator[bytes]:
    """The JSON of `tree`, a piece of bounded size at a time."""
    if isinstance(tree, Tensor):
        yield _dumped(_beside(tree))[:-1] + b',"value":'
        yield from _array_pieces(tree.array)
        yield b"}"
    elif isinstance(tree, Mapping):
        for comma, (key, value) in zip(_separators(b"{"), tree.items(), strict=False):
            yield comma + _dumped(key) + b":"
            yield from json_pieces(value)
        yield b"}" if tree else b"{}"
    else:
        yield _dumped(_plain(tree))


def _array_pieces(array: np.ndarray[Any, Any]) -> Iterator[bytes]:
    if array.ndim == 0 or array.nbytes <= PIECE_NBYTES:
        yield _dumped(to_json(array))
        return
    rows = max(1, PIECE_NBYTES * array.shape[0] // array.nbytes)
    for comma, first in zip(_separators(b"["), range(0, array.shape[0], rows), strict=False):
        yield comma
        if rows > 1 or array.ndim == 1:
            yield _dumped(to_json(array[first : first + rows]))[1:-1]
        else:
            yield from _array_pieces(array[first])
    yield b"]"


def _separators(opening: bytes) -> Iterator[bytes]:
    yield opening
    while True:
        yield b","


def _plain(tree: Any) -> Any:
    kind = type(tree)
    if kind in LEAVES:
        return tree
    if kind is list or kind is tuple:
        # Short lists of text and numbers are most of them.
        return tree if LEAVES.issuperset(map(type, tree)) else [_plain(value) for value in tree]
    if kind is dict or isinstance(tree, Mapping):
        return {key: value if type(value) in LEAVES else _plain(value) for key, value in tree.items()}
    if isinstance(tree, Tensor):
        return {**_beside(tree), "value": to_json(tree.array)}
    if isinstance(tree, float) and not math.isfinite(tree):
        return str(to_json(np.asarray(tree)))
    return tree


def _beside(tensor: Tensor) -> dict[str, Any]:
    described = {"dtype": name_of(tensor.array.dtype), "shape": list(tensor.array.shape)}
    return {**_plain(tensor.meta), **described}
