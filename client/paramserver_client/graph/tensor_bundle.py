"""Reads TensorFlow's own checkpoints (the V2 format: `<prefix>.index` and `<prefix>.data-00000-of-00001`), without
TensorFlow.

The index is a LevelDB table: under the empty key a header, under each tensor's name a message that says its dtype, its
shape, and where in which data file it lies. A variable that was saved in parts has an entry for the whole, without data,
and one for each part.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from paramserver_client.graph import dtypes
from paramserver_client.graph.crc32c import crc32c, masked
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.errors import DataLossError, NotFoundError, UnimplementedError
from paramserver_client.graph.leveldb_table import read_table, read_varint

Extent = tuple[int, int | None]
"""Where a part begins along an axis and how long it is; None for the whole axis."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tensor, or a part of one, is. `parts` are those of a tensor that was saved in parts."""

    dtype: DType
    shape: tuple[int, ...]
    shard: int = 0
    offset: int = 0
    nbytes: int = 0
    crc: int = 0
    parts: Sequence[Sequence[Extent]] = field(default_factory=tuple)


class TensorBundle:
    """The checkpoint at a prefix: its names, shapes and dtypes at once, its values when they are asked for.

    Raises NotFoundError when there is none, DataLossError for a damaged one, UnimplementedError for one of another byte
    order or compressed. Nothing in it is executed, and sizes are checked before memory is taken.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        try:
            table = read_table(Path(f"{prefix}.index").read_bytes())
        except OSError:
            raise NotFoundError(
                f"Unsuccessful TensorSliceReader constructor: Failed to find any matching files for {prefix}"
            ) from None
        self._shards = _header(table.pop(b"", b""))
        self._table = table
        self.entries = {key.decode(): _entry(value) for key, value in table.items() if not key.startswith(b"\0")}

    def read(self, name: str) -> Array:
        """The value of a tensor; strings as an object array of bytes. Raises NotFoundError for an unknown name."""
        entry = self.entries.get(name)
        if entry is None:
            raise NotFoundError(f"Key {name} not found in checkpoint")
        if not entry.parts:
            return self._value(name, entry)
        return self._joined(name, entry)

    def _joined(self, name: str, entry: Entry) -> Array:
        found = [self._table.get(_part_key(name, part)) for part in entry.parts]
        parts = [_entry(value) for value in found if value is not None]
        wanted = math.prod(entry.shape) * entry.dtype.size
        if None in found or sum(part.nbytes for part in parts) != wanted or entry.dtype == dtypes.string:
            raise DataLossError(f"{self.prefix}: the parts of {name!r} do not make up the whole; the index is damaged")
        whole = np.empty(entry.shape, entry.dtype.numpy_dtype)
        for part, extents in zip(parts, entry.parts, strict=True):
            value = self._value(name, part)
            place = tuple(slice(start, None if size is None else start + size) for start, size in extents)
            if whole[place].shape != value.shape:
                raise DataLossError(f"{self.prefix}: a part of {name!r} lies outside it; the index is damaged")
            whole[place] = value
        return whole

    def _value(self, name: str, entry: Entry) -> Array:
        data = self._bytes(name, entry)
        count = math.prod(entry.shape)
        if entry.dtype == dtypes.string:
            return _strings(data, count, entry.crc, name).reshape(entry.shape)
        if masked(crc32c(data)) != entry.crc:
            raise DataLossError(f"{self.prefix}: {name!r} has another checksum than is written; the file is damaged")
        if len(data) != count * entry.dtype.size:
            raise DataLossError(
                f"{self.prefix}: {name!r} has {len(data)} bytes, its shape wants {count * entry.dtype.size}"
            )
        return np.frombuffer(data, entry.dtype.numpy_dtype).reshape(entry.shape).copy()

    def _bytes(self, name: str, entry: Entry) -> bytes:
        path = f"{self.prefix}.data-{entry.shard:05}-of-{self._shards:05}"
        try:
            there = os.path.getsize(path)
            if entry.offset + entry.nbytes > there:
                raise DataLossError(
                    f"{path} has {there} bytes, {name!r} wants {entry.offset + entry.nbytes}; it is cut"
                )
            with open(path, "rb") as file:
                file.seek(entry.offset)
                return file.read(entry.nbytes)
        except OSError as error:
            raise NotFoundError(f"{path}: {error.strerror}; the checkpoint lacks a data file") from None


def is_bundle(prefix: str) -> bool:
    """Whether a checkpoint of TensorFlow's own format stands at `prefix`."""
    return os.path.isfile(f"{prefix}.index")


def read_bundle(prefix: str) -> Mapping[str, Array]:
    """All tensors of a checkpoint by name. Raises as `TensorBundle` does."""
    bundle = TensorBundle(prefix)
    return {name: bundle.read(name) for name in bundle.entries}


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protocol buffer message: numbers as they are, all else as bytes."""
    at = 0
    while at < len(message):
        tag, at = read_varint(message, at)
        kind = tag & 7
        value: Any
        if kind == 0:
            value, at = read_varint(message, at)
        elif kind in (1, 5):
            nbytes = 8 if kind == 1 else 4
            value, at = message[at : at + nbytes], at + nbytes
        elif kind == 2:
            nbytes, at = read_varint(message, at)
            value, at = message[at : at + nbytes], at + nbytes
        else:
            raise DataLossError(f"a field of kind {kind} in the index; the file is damaged")
        if at > len(message):
            raise DataLossError("a field sticks out of its message; the file is damaged")
        yield tag >> 3, value


def _header(message: bytes) -> int:
    found = dict(_fields(message))
    if found.get(2, 0) != 0:
        raise UnimplementedError("the checkpoint is big-endian; save it on a little-endian machine")
    shards: int = found.get(1, 0)
    if not 1 <= shards <= 99999:
        raise DataLossError(f"the header says {shards} data files; the index is damaged")
    return shards


def _entry(message: bytes) -> Entry:
    parts: list[Sequence[Extent]] = []
    found: dict[str, Any] = {"shape": ()}
    for number, value in _fields(message):
        if number == 1:
            found["dtype"] = _dtype(value)
        elif number == 2:
            found["shape"] = _shape(value)
        elif number in (3, 4, 5):
            found[{3: "shard", 4: "offset", 5: "nbytes"}[number]] = value
        elif number == 6:
            found["crc"] = struct.unpack("<I", value)[0]
        elif number == 7:
            parts.append(_part(value))
    if "dtype" not in found:
        raise DataLossError("an entry without a dtype; the index is damaged")
    return Entry(**found, parts=tuple(parts))


def _dtype(number: int) -> DType:
    try:
        return dtypes.as_dtype(number)
    except TypeError:
        raise DataLossError(f"an entry of the unknown dtype {number}; the index is damaged") from None


def _shape(message: bytes) -> tuple[int, ...]:
    sizes = [dict(_fields(dim)).get(1, 0) for number, dim in _fields(message) if number == 2]
    if any(size >= 2**63 for size in sizes):
        raise DataLossError("an entry of unknown shape; the index is damaged")
    return tuple(sizes)


def _part(message: bytes) -> Sequence[Extent]:
    extents = []
    for number, value in _fields(message):
        if number == 1:
            extent = dict(_fields(value))
            extents.append((extent.get(1, 0), extent.get(2)))
    return tuple(extents)


def _strings(data: bytes, count: int, crc: int, name: str) -> Array:
    """Lengths, a checksum of them, then the texts one behind the other."""
    lengths, at = [], 0
    for _ in range(count):
        length, at = read_varint(data, at)
        lengths.append(length)
    running = crc32c(b"".join(struct.pack("<I" if length < 2**32 else "<Q", length) for length in lengths))
    if data[at : at + 4] != struct.pack("<I", masked(running)) or at + 4 + sum(lengths) != len(data):
        raise DataLossError(f"the lengths of {name!r} have another checksum than is written; the file is damaged")
    if masked(crc32c(data[at:], running)) != crc:
        raise DataLossError(f"{name!r} has another checksum than is written; the file is damaged")
    out = np.empty(count, object)
    at += 4
    for index, length in enumerate(lengths):
        out[index] = data[at : at + length]
        at += length
    return out


# The keys of parts are written so that they sort as what they stand for.
_SIGNED_HEADERS: Final = (b"\0\0", b"\x80\0", b"\xc0\0", b"\xe0\0", b"\xf0\0", b"\xf8\0", b"\xfc\0", b"\xfe\0", b"\xff\0",
                          b"\xff\x80", b"\xff\xc0")  # fmt: skip


def _part_key(name: str, part: Sequence[Extent]) -> bytes:
    key = _unsigned(0) + name.encode() + b"\0\x01" + _unsigned(len(part))
    for start, size in part:
        key += _signed(start) + _signed(-1 if size is None else size)
    return key


def _unsigned(number: int) -> bytes:
    body = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return bytes([len(body)]) + body


def _signed(number: int) -> bytes:
    length = (number if number >= 0 else ~number).bit_length() // 7 + 1
    body = bytearray(number.to_bytes(max(length, 2) + 8, "big", signed=True)[-max(length, 2) :])
    if length == 1:
        return bytes([body[-1] ^ _SIGNED_HEADERS[1][0]])
    body[0] ^= _SIGNED_HEADERS[length][0]
    body[1] ^= _SIGNED_HEADERS[length][1]
    return bytes(body)
