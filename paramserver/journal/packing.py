"""Trees with arrays as bytes, and back: what the payload of a record is. Pure.

    u32 length of the table  u32 length of the tree  table (msgpack)  tree (msgpack)  padding  arrays

The table has `[dtype, shape, offset, fills]` for each array; the tree refers to them by an extension of type 1, and has
integers of more than 64 bits as text in one of type 2. Offsets count from behind the padding, each is a multiple of 64.
One number that fills a shape is kept as one number, with `fills` true. The wire's own frame would do, but for its bounds,
which are for strangers.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]  # it ships no stubs
import numpy as np

from paramserver.store.updates import Array
from paramserver_wire.dtypes import dtype_named, name_of
from paramserver_wire.tensors import array_over, wire_array

Parts = list[bytes | memoryview]
_LENGTHS: Final = struct.Struct("<II")
_ALIGNMENT: Final = 64
_ZEROS: Final = bytes(_ALIGNMENT)
_ARRAY: Final = 1
_LONG: Final = 2
_SURROGATES: Final = "surrogatepass"
ROOM: Final = "room"
# Its name, and its length at the longest.
_ROOM_NBYTES: Final = 1 + len(ROOM) + 5


def pack(tree: Mapping[str, Any], head_nbytes: int | None = None) -> Parts:
    """`tree` as parts to be written one after the other. Row-major little-endian arrays are not copied.

    With arrays, the first part is what stands before them; it has `head_nbytes`, if it fits into so many (a multiple of 64), by
    a field of zeros, `ROOM`, that readers pass over. Leaves are what msgpack knows, numbers of any size, numpy's scalars, and arrays of the fifteen dtypes. Raises
    TypeError for others.
    """
    arrays: list[Array] = []

    def pack_leaf(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            arrays.append(leaf)
            return msgpack.ExtType(_ARRAY, (len(arrays) - 1).to_bytes(4, "little"))
        if isinstance(leaf, np.generic):
            return leaf.item()
        if isinstance(leaf, Mapping):
            return dict(leaf)
        if isinstance(leaf, int):
            # Seeds may be of any length, msgpack's integers end at 64 bits.
            return msgpack.ExtType(_LONG, str(leaf).encode())
        raise TypeError(f"a record holds no {type(leaf).__name__}")

    def packed(tree: Mapping[str, Any]) -> bytes:
        arrays.clear()
        body: bytes = msgpack.packb(tree, default=pack_leaf, unicode_errors=_SURROGATES)
        return body

    body = packed(tree)
    if not arrays:
        return [_head(msgpack.packb([]), body)]
    rows, parts = laid_out(arrays)
    table = msgpack.packb(rows)
    if head_nbytes is not None:
        left_nbytes = head_nbytes - len(_head(table, body)) - _ROOM_NBYTES
        if left_nbytes > 0:
            # How the field's length is written takes one byte or five: so much is left to the padding.
            body = packed({**tree, ROOM: bytes(left_nbytes)})
    head = _head(table, body)
    return [head + _ZEROS[: -len(head) % _ALIGNMENT], *parts]


def unpack(payload: memoryview) -> Any:
    """The tree of a payload that is known to be as it was written. Arrays are views of it."""
    table_nbytes, body_nbytes = _LENGTHS.unpack_from(payload)
    at = _LENGTHS.size
    table = msgpack.unpackb(payload[at : at + table_nbytes])
    at += table_nbytes
    body = payload[at : at + body_nbytes]
    at += body_nbytes
    start = at + -at % _ALIGNMENT
    arrays = [_array(payload, start, *row) for row in table]

    def build(kind: int, data: bytes) -> Any:
        return arrays[int.from_bytes(data, "little")] if kind == _ARRAY else int(data)

    return msgpack.unpackb(body, ext_hook=build, strict_map_key=False, unicode_errors=_SURROGATES)


def _head(table: bytes, body: bytes) -> bytes:
    return _LENGTHS.pack(len(table), len(body)) + table + body


def laid_out(arrays: list[Array]) -> tuple[list[Any], Parts]:
    """The table of some arrays, and the parts that they are."""
    rows: list[Any] = []
    parts: Parts = []
    end = 0
    for given in arrays:
        fills = given.ndim > 0 and given.size > 1 and not any(given.strides)
        array = wire_array(given[(0,) * given.ndim + (...,)] if fills else given)
        if gap := -end % _ALIGNMENT:
            parts.append(_ZEROS[:gap])
            end += gap
        rows.append([name_of(array.dtype), list(given.shape), end, fills])
        if array.nbytes:
            parts.append(array.reshape(-1).view(np.uint8).data)
        end += array.nbytes
    return rows, parts


def _array(payload: memoryview, start: int, dtype: str, shape: list[int], offset: int, fills: bool) -> Array:
    array = array_over(payload, start + offset, () if fills else tuple(shape), dtype_named(dtype))
    return np.broadcast_to(array, tuple(shape)) if fills else array
