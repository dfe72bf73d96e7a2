"""Bytes to trees and back, by media type. A tree is plain values with `Tensor`s; what it means is not known here.

request   Content-Type decides     application/json, application/msgpack, application/vnd.paramserver.frame
answer    Accept decides           the same; without one, the request's own type, else JSON
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn

import numpy as np
import orjson

from paramserver_wire import frame, packed
from paramserver_wire.dtypes import name_of
from paramserver_wire.errors import MalformedBody, NotAcceptable, UnsupportedMediaType
from paramserver_wire.tensors import Tensor, to_json

Format = Literal["json", "msgpack", "frame"]

MEDIA_TYPES: Final[Mapping[str, Format]] = {
    "application/json": "json",
    packed.MEDIA_TYPE: "msgpack",
    frame.MEDIA_TYPE: "frame",
}
MEDIA_TYPE_OF: Final[Mapping[Format, str]] = {name: media_type for media_type, name in MEDIA_TYPES.items()}
MAX_DEPTH: Final = 64
# Over this many bytes of tensors an answer is encoded piece by piece, so that its text never stands in memory whole.
PIECE_NBYTES: Final = 1024 * 1024

_TAKEN: Final = ", ".join(MEDIA_TYPES)
_TEXT_IN_JSON: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_CHARSET: Final = re.compile(r'charset\s*=\s*"?([^\s";]*)')
_UTF8: Final = frozenset({"utf-8", "utf8", "us-ascii"})
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


@dataclass(frozen=True, slots=True)
class Encoded:
    """A body ready to be sent: `parts` one after the other; `nbytes` in all, or None when only sending will tell."""

    parts: Iterable[bytes | memoryview]
    nbytes: int | None


# ---------------------------------------------------------------------------------------------------- negotiation


def format_of(content_type: str | None) -> Format:
    """The format a Content-Type stands for; raises `UnsupportedMediaType`."""
    if content_type is None:
        raise UnsupportedMediaType(f"the request has a body but no Content-Type; send one of {_TAKEN}")
    exact = MEDIA_TYPES.get(content_type)
    if exact is not None:
        return exact
    essence, _, parameters = content_type.lower().partition(";")
    name = MEDIA_TYPES.get(essence.strip())
    if name is None:
        raise UnsupportedMediaType(f"wanted a body of {_TAKEN}, got {content_type[:80]!r}; set Content-Type")
    charset = _CHARSET.search(parameters)
    if charset is not None and charset[1] not in _UTF8:
        raise UnsupportedMediaType(f"text is taken as UTF-8, got charset {charset[1][:40]!r}; send UTF-8")
    return name


def check_encoding(content_encoding: str | None) -> None:
    """Refuse compressed bodies: their size cannot be checked before memory is taken."""
    if content_encoding is not None and content_encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType(
            f"Content-Encoding {content_encoding[:40]!r} is not taken; send the body as it is, without compression"
        )


def answer_format(accept: str | None, default: Format) -> Format:
    """The format of the answer: the best of `accept` that we have, `default` among equals; raises `NotAcceptable`."""
    if accept is None or accept in ("", "*/*"):
        return default
    exact = MEDIA_TYPES.get(accept)
    if exact is not None:
        return exact
    weights = _weights(accept)
    ranked = sorted(
        MEDIA_TYPES.items(), key=lambda entry: (_weight_of(entry[0], weights), entry[1] == default), reverse=True
    )
    best, name = ranked[0]
    if _weight_of(best, weights) <= 0:
        raise NotAcceptable(
            f"answers come as {_TAKEN}, none of which Accept {accept[:80]!r} allows; ask for one of them"
        )
    return name


def _weights(accept: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for entry in accept.split(",")[:32]:
        media_range, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        if re.fullmatch(r"[01](\.\d{0,3})?", quality):
            weights[media_range] = max(weights.get(media_range, 0.0), float(quality))
    return weights


def _weight_of(media_type: str, weights: Mapping[str, float]) -> float:
    # The most specific range decides: that is how `*/*;q=0.1, application/json;q=0` excludes JSON.
    for media_range in (media_type, "application/*", "*/*"):
        if media_range in weights:
            return weights[media_range]
    return 0.0


# ---------------------------------------------------------------------------------------------------- requests


def decode(name: Format, body: memoryview, *, header_limit_nbytes: int) -> Any:
    """The tree in `body`. The arrays of a frame are views of it: they keep its memory, and are writable when it is.

    Raises `MalformedBody` or `BodyTooLarge`, whatever the bytes are.
    """
    if name == "frame":
        return frame.decode(body, max_header=header_limit_nbytes)
    if name == "msgpack":
        return packed.unpack(body, max_nbytes=body.nbytes)
    return decode_json(bytes(body))


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


# ---------------------------------------------------------------------------------------------------- answers


def encode(name: Format, tree: Any) -> Encoded:
    """The body that carries `tree`. No tensor is copied for a frame; large ones become JSON piece by piece.

    The arrays in `tree` must not change until the last part is sent.
    """
    if name == "frame":
        parts = frame.encode(tree)
        return Encoded(parts, frame.frame_nbytes(parts))
    if name == "msgpack":
        return _whole(packed.pack(tree))
    if encoding_nbytes(name, tree) <= PIECE_NBYTES:
        return _whole(orjson.dumps(_plain(tree)))
    return Encoded(_json_pieces(tree), None)


def tensors_of(tree: Any) -> Iterator[np.ndarray[Any, Any]]:
    """All arrays in a tree."""
    if isinstance(tree, Tensor):
        yield tree.array
    elif isinstance(tree, np.ndarray):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from tensors_of(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from tensors_of(value)


def encoding_nbytes(name: Format, tree: Any) -> int:
    """Bytes of tensors that `encode` has to copy or spell out; what lies in memory as a frame wants it costs nothing."""
    return sum(array.nbytes for array in tensors_of(tree) if name != "frame" or not array.flags.c_contiguous)


def _whole(body: bytes) -> Encoded:
    return Encoded((body,), len(body))


def _plain(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return {**_beside(tree), "value": to_json(tree.array)}
    if isinstance(tree, Mapping):
        return {key: _plain(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_plain(value) for value in tree]
    if isinstance(tree, float) and not np.isfinite(tree):
        return str(to_json(np.asarray(tree)))
    return tree


def _beside(tensor: Tensor) -> dict[str, Any]:
    described = {"dtype": name_of(tensor.array.dtype), "shape": list(tensor.array.shape)}
    return {**_plain(tensor.meta), **described}


def _json_pieces(tree: Any) -> Iterator[bytes]:
    """The JSON of `tree`, a piece of bounded size at a time."""
    if isinstance(tree, Tensor):
        yield orjson.dumps(_beside(tree))[:-1] + b',"value":'
        yield from _array_pieces(tree.array)
        yield b"}"
    elif isinstance(tree, Mapping):
        for comma, (key, value) in zip(_separators(b"{"), tree.items(), strict=False):
            yield comma + orjson.dumps(key) + b":"
            yield from _json_pieces(value)
        yield b"}" if tree else b"{}"
    else:
        yield orjson.dumps(_plain(tree))


def _array_pieces(array: np.ndarray[Any, Any]) -> Iterator[bytes]:
    if array.ndim == 0 or array.nbytes <= PIECE_NBYTES:
        yield orjson.dumps(to_json(array))
        return
    rows = max(1, PIECE_NBYTES * array.shape[0] // array.nbytes)
    for comma, first in zip(_separators(b"["), range(0, array.shape[0], rows), strict=False):
        yield comma
        if rows > 1 or array.ndim == 1:
            yield orjson.dumps(to_json(array[first : first + rows]))[1:-1]
        else:
            yield from _array_pieces(array[first])
    yield b"]"


def _separators(opening: bytes) -> Iterator[bytes]:
    yield opening
    while True:
        yield b","


def slices_of(part: bytes | memoryview, nbytes: int) -> Iterator[memoryview]:
    """The same bytes in views of at most `nbytes`; nothing is copied."""
    view = memoryview(part)
    for first in range(0, len(view), nbytes):
        yield view[first : first + nbytes]
