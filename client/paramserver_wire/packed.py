"""Plain msgpack bodies: a tensor is the map `{dtype, shape, data}`, its data little-endian and row-major.

For many or large tensors the frame is the better format: here every tensor is copied once on each side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from paramserver_wire._msgpack import MAX_ITEMS as MAX_ITEMS
from paramserver_wire._msgpack import Pairs, pack_tree, plain_leaf, unique_fields, unpack_tree
from paramserver_wire.dtypes import dtype_named, name_of, nbytes_of
from paramserver_wire.errors import BodyTooLarge, MalformedBody, WireError
from paramserver_wire.tensors import Tensor, Untyped, array_over, untyped_fields, wire_array

MEDIA_TYPE: Final = "application/msgpack"

MAX_NBYTES: Final = 64 * 2**20
"""Longest body `unpack` reads unless told otherwise, in bytes."""


def pack(tree: Any) -> bytes:
    """Return the tree as msgpack. Its leaves are numbers, text, bools, None, arrays, `Tensor`s and `Untyped`s.

    Fields beside a tensor stand in its map. Raises `DtypeMismatch` for arrays of other dtypes than the fifteen and
    `InvalidRequest` for leaves of other kinds.
    """
    return pack_tree(tree, _pack_leaf)


def unpack(buffer: bytes | bytearray | memoryview, *, max_nbytes: int = MAX_NBYTES) -> Any:
    """Return the tree in `buffer`, a `Tensor` wherever a map has `data` that is bytes; keys beside it are its `meta`.

    Arrays are read-only and own their bytes. Memory and time are bounded by `max_nbytes` and a million items.
    Raises `BodyTooLarge` over these bounds, and `MalformedBody`, naming what was wanted, for all else.
    """
    if len(buffer) > max_nbytes:
        raise BodyTooLarge(f"wanted at most {max_nbytes} bytes of msgpack, got {len(buffer)}; send a frame instead")
    tensors = 0

    def build_map(pairs: Pairs) -> Any:
        nonlocal tensors
        fields = unique_fields(pairs)
        if type(fields.get("data")) is not bytes:
            return fields
        tensors += 1
        return _unpack_tensor(fields)

    tree, count = unpack_tree(memoryview(buffer), build_map)
    if count != tensors:
        raise MalformedBody(
            "wanted byte strings as the `data` of tensors only, got one elsewhere; send text or a tensor"
        )
    return tree


def _pack_leaf(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return {**leaf.meta, **_pack_array(leaf.array)}
    if isinstance(leaf, np.ndarray):
        return _pack_array(leaf)
    if isinstance(leaf, Untyped):
        return untyped_fields(leaf)
    return plain_leaf(leaf)


def _pack_array(array: Any) -> Mapping[str, Any]:
    return {"dtype": name_of(array.dtype), "shape": array.shape, "data": wire_array(array).tobytes()}


def _unpack_tensor(fields: dict[str, Any]) -> Tensor:
    data = fields.pop("data")
    try:
        dtype = dtype_named(fields.pop("dtype", None))
        shape = fields.pop("shape", None)
        wanted = nbytes_of(shape, dtype)
        if wanted != len(data):
            raise MalformedBody(f"wanted {wanted} bytes of data for {dtype} {shape}, got {len(data)}; send them all")
        return Tensor(array_over(data, 0, shape, dtype), fields)
    except WireError as error:
        raise MalformedBody(f"a tensor is not sound: {error.detail}") from None
