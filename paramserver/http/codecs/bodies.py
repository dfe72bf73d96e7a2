"""Bytes to trees and back, whatever the format. No tensor of a frame or a file is copied on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np

from paramserver.http.codecs.json_text import LEAVES, PIECE_NBYTES, decode_json, json_pieces, json_text
from paramserver.http.codecs.negotiation import MEDIA_TYPE_OF, Format
from paramserver_wire import frame, npy, packed, safetensors
from paramserver_wire.errors import DtypeMismatch, InvalidRequest, NotAcceptable, UnsupportedMediaType
from paramserver_wire.tensors import Tensor

# Writing down one tensor's entry in a header takes about as long as copying so many bytes of JSON.
_OBJECT_NBYTES: Final = 72
_ENTRY_NBYTES: Final = 64
Packed = TypeVar("Packed")


class Encoded(NamedTuple):
    """A body ready to be sent: `parts` one after the other; `nbytes` in all, or None when only sending will tell."""

    parts: Iterable[bytes | memoryview]
    nbytes: int | None


def decode(name: Format, body: memoryview, *, header_limit_nbytes: int) -> Any:
    """The tree in `body`: of a safetensors file its arrays by name, of an npy file its array.

    The arrays of a frame or a file are views of it: they keep its memory, and are writable when it is. Raises
    `MalformedBody`, `BodyTooLarge`, or `UnsupportedMediaType` for a dtype that the format has and variables cannot
    have, whatever the bytes are.
    """
    try:
        if name == "frame":
            return frame.decode(body, max_header=header_limit_nbytes)
        if name == "msgpack":
            return packed.unpack(body, max_nbytes=body.nbytes)
        if name == "safetensors":
            return safetensors.decode(body, max_header=header_limit_nbytes)
        if name == "npy":
            return npy.decode(body, max_header=header_limit_nbytes)
    except DtypeMismatch as error:
        raise UnsupportedMediaType(error.detail) from None
    return decode_json(bytes(body))


def encode(name: Format, tree: Any, spelled_nbytes: int | None = None) -> Encoded:
    """The body that carries `tree`. No tensor is copied for a frame or a file; large ones become JSON piece by piece.

    The arrays in `tree` must not change until the last part is sent. `spelled_nbytes` is what `encoding_nbytes` said,
    where it was asked before. Raises `NotAcceptable` for dtypes that a file format cannot hold.
    """
    if name in ("json", "msgpack"):
        if name == "msgpack":
            return _whole(_held(packed.pack, tree))
        if (encoding_nbytes(name, tree) if spelled_nbytes is None else spelled_nbytes) <= PIECE_NBYTES:
            return _whole(json_text(tree))
        return Encoded(json_pieces(tree), None)
    if name == "frame":
        parts = _held(frame.encode, tree)
    else:
        try:
            parts = safetensors.encode(tree) if name == "safetensors" else npy.encode(tree)
        except DtypeMismatch as error:
            raise NotAcceptable(error.detail) from None
    return Encoded(parts, sum(map(len, parts)))


def _held(pack: Callable[[Any], Packed], tree: Any) -> Packed:
    """What msgpack cannot hold of an answer goes as text: seeds may be of any length, its integers end at 64 bits."""
    try:
        return pack(tree)
    except InvalidRequest:
        return pack(_spelled(tree))


def _spelled(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _spelled(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_spelled(value) for value in tree]
    if isinstance(tree, Tensor):
        return Tensor(tree.array, _spelled(tree.meta))
    return str(tree) if isinstance(tree, int) and not -(2**63) <= tree < 2**64 else tree


def check_holds(name: Format, dtypes: Mapping[str, np.dtype[Any]]) -> None:
    """Raise `NotAcceptable`, naming them, unless the format can hold the dtypes of all these variables."""
    cannot = {"safetensors": safetensors.cannot_hold, "npy": npy.cannot_hold}.get(name)
    if cannot is not None and (refused := [each for each, dtype in dtypes.items() if cannot(dtype)]):
        raise NotAcceptable(
            f"{MEDIA_TYPE_OF[name]} cannot hold {', '.join(f'{each!r} ({dtypes[each]})' for each in refused[:20])}; "
            "ask for another media type. Nothing was changed"
        )


def tensors_of(tree: Any) -> Iterator[np.ndarray[Any, Any]]:
    """All arrays in a tree."""
    if isinstance(tree, Tensor):
        yield tree.array
    elif isinstance(tree, np.ndarray):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            if type(value) not in LEAVES:
                yield from tensors_of(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            if type(value) not in LEAVES:
                yield from tensors_of(value)


def decoded_nbytes(name: Format, body_nbytes: int) -> int:
    """The most memory that `decode` takes beside the body: what the smallest values of its text grow to in Python.

    `{},` is an empty dict of 64 bytes and a pointer to it; msgpack writes one in a byte, but bounds how many there are.
    The files and the frame are views of their body.
    """
    if name == "json":
        return body_nbytes * _OBJECT_NBYTES // len("{},")
    if name == "msgpack":
        return body_nbytes + min(body_nbytes, packed.MAX_ITEMS) * _OBJECT_NBYTES
    return 0


def encoding_nbytes(name: Format, tree: Any) -> int:
    """Bytes that `encode` takes for what it has to copy or spell out: all of the tensors for text and msgpack; else those that do
    not lie in memory as they travel, and a header's entry for each."""
    whole = name in ("json", "msgpack")
    nbytes = sum(array.nbytes if whole or not array.flags.c_contiguous else _ENTRY_NBYTES for array in tensors_of(tree))
    return packing_nbytes(nbytes) if name == "msgpack" else nbytes


def packing_nbytes(nbytes: int) -> int:
    """What it takes to write so many bytes of tensors as msgpack: a buffer that grows by half, and a copy of it."""
    return nbytes * 5 // 2


def slices_of(part: bytes | memoryview, nbytes: int) -> Iterator[memoryview]:
    """The same bytes in views of at most `nbytes`; nothing is copied."""
    view = memoryview(part)
    for first in range(0, len(view), nbytes):
        yield view[first : first + nbytes]


def _whole(body: bytes) -> Encoded:
    return Encoded((body,), len(body))
