"""Reads the tables of LevelDB, in which TensorFlow keeps a checkpoint's index: keys and values in order, in blocks.

A block is entries that share the beginning of the key before them, then where entries stand without sharing; a byte says
how it is compressed, and a masked CRC-32C closes it. The file ends with a footer that says where the index of blocks is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from paramserver_client.graph.crc32c import crc32c, masked
from paramserver_client.graph.errors import DataLossError, UnimplementedError

_MAGIC: Final = 0xDB4775248B80FB57
_FOOTER_NBYTES: Final = 48
_TRAILER_NBYTES: Final = 5


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number written seven bits a byte, and where it ends. Raises DataLossError when it does not end."""
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise DataLossError("a number does not end; the file is cut or damaged")


def read_table(data: bytes) -> dict[bytes, bytes]:
    """All keys and values. Raises DataLossError for what is no sound table, UnimplementedError for a compressed one."""
    if len(data) < _FOOTER_NBYTES or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
        raise DataLossError("not an sstable (bad magic number); wanted the .index file of a TensorFlow checkpoint")
    footer = data[-_FOOTER_NBYTES:-8]
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    found: dict[bytes, bytes] = {}
    for _, handle in _entries(_block(data, *index)):
        found.update(_entries(_block(data, *_handle(handle, 0)[0])))
    return found


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = read_varint(data, at)
    nbytes, at = read_varint(data, at)
    return (offset, nbytes), at


def _block(data: bytes, offset: int, nbytes: int) -> bytes:
    end = offset + nbytes
    if end + _TRAILER_NBYTES > len(data) - _FOOTER_NBYTES:
        raise DataLossError(f"a block of {nbytes} bytes at {offset} sticks out of the table; the file is cut")
    wanted = struct.unpack("<I", data[end + 1 : end + _TRAILER_NBYTES])[0]
    if masked(crc32c(data[offset : end + 1])) != wanted:
        raise DataLossError(f"the block at {offset} has another checksum than is written; the file is damaged")
    if data[end] != 0:
        raise UnimplementedError(f"the block at {offset} is compressed (type {data[end]}); save without compression")
    return data[offset:end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(block) < 4:
        raise DataLossError("a block is shorter than its own end; the file is damaged")
    end = len(block) - 4 - 4 * struct.unpack("<I", block[-4:])[0]
    key, at = b"", 0
    while at < end:
        shared, at = read_varint(block, at)
        own, at = read_varint(block, at)
        nbytes, at = read_varint(block, at)
        if shared > len(key) or at + own + nbytes > end:
            raise DataLossError("an entry sticks out of its block; the file is damaged")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + nbytes]
        at += own + nbytes
