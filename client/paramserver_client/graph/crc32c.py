"""CRC-32C (Castagnoli), by which TensorFlow's checkpoint files check their contents.

Long data is cut into lanes that numpy takes through the table side by side; their checksums are then joined, as the
checksum of a whole follows from those of its parts. 100 MB take about three seconds.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL: Final = 0x82F63B78
_LANES: Final = 4096
_MASK_DELTA: Final = 0xA282EAD8


def _table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


_TABLE: Final = _table()
_PLAIN: Final = [int(each) for each in _TABLE]


def crc32c(data: bytes | memoryview | NDArray[Any], before: int = 0) -> int:
    """The checksum of `data`; with `before`, of what had that checksum and `data` after it.

    >>> hex(crc32c(b"123456789")), crc32c(b"6789", crc32c(b"12345")) == crc32c(b"123456789")
    ('0xe3069283', True)
    """
    view = np.frombuffer(data, np.uint8)
    length = len(view) // _LANES
    if length < 16:
        return _short(view.tobytes(), before)
    lanes = view[: length * _LANES].reshape(_LANES, length)
    crcs = np.full(_LANES, 0xFFFFFFFF, np.uint32)
    for column in np.ascontiguousarray(lanes.T):
        crcs = _TABLE[(crcs ^ column) & 0xFF] ^ (crcs >> np.uint32(8))
    total = before
    shift = _shift_tables(length)
    for crc in (crcs ^ np.uint32(0xFFFFFFFF)).tolist():
        total = _shifted(total, shift) ^ crc
    return _short(view[length * _LANES :].tobytes(), total)


def masked(crc: int) -> int:
    """The form in which checksums are stored, so that data holding its own checksum is no trouble."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def _short(data: bytes, before: int) -> int:
    crc = before ^ 0xFFFFFFFF
    for byte in data:
        crc = _PLAIN[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _times(matrix: list[int], vector: int) -> int:
    """A matrix of bits (a column a number) times a vector of bits."""
    total = 0
    for column in matrix:
        if not vector:
            break
        if vector & 1:
            total ^= column
        vector >>= 1
    return total


@functools.lru_cache(maxsize=64)
def _shift_tables(length: int) -> tuple[tuple[int, ...], ...]:
    """What `length` zero bytes after it do to a checksum, as one table for each of its four bytes."""
    matrix = [_PLAIN[1 << bit] if bit < 8 else 1 << (bit - 8) for bit in range(32)]  # One zero byte.
    result = [1 << bit for bit in range(32)]
    while length:
        if length & 1:
            result = [_times(matrix, column) for column in result]
        matrix = [_times(matrix, column) for column in matrix]
        length >>= 1
    return tuple(tuple(_times(result, byte << (8 * place)) for byte in range(256)) for place in range(4))


def _shifted(crc: int, tables: tuple[tuple[int, ...], ...]) -> int:
    a, b, c, d = tables
    return a[crc & 0xFF] ^ b[(crc >> 8) & 0xFF] ^ c[(crc >> 16) & 0xFF] ^ d[crc >> 24]
