"""The crc32 of two pieces from those of each, so that they can be made in any order. Pure.

A crc32 is a polynomial over GF(2), reduced modulo P. Behind n more bytes it counts x^(8n) times: with
c(ab) = c(a) x^(8n) + c(b), and the usual inversions at both ends cancelling out. Polynomials are held as zlib holds them, the
highest power in the lowest bit. (Mark Adler's way, as in zlib's `crc32_combine`.)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_POLYNOMIAL: Final = 0xEDB88320
_ONE: Final = 1 << 31
_X: Final = 1 << 30


def joined(first: int, second: int, second_nbytes: int) -> int:
    """The crc32 of a piece and another of `second_nbytes` behind it, from their own.

    >>> import zlib
    >>> joined(zlib.crc32(b"param"), zlib.crc32(b"server"), 6) == zlib.crc32(b"paramserver")
    True
    """
    return _product(_power_of_x(8 * second_nbytes), first) ^ second


def _power_of_x(exponent: int) -> int:
    power, bit = _ONE, 0
    while exponent >> bit:
        if exponent >> bit & 1:
            power = _product(power, _x_to_two_to_the(bit))
        bit += 1
    return power


@lru_cache(64)
def _x_to_two_to_the(bit: int) -> int:
    return _X if bit == 0 else _product(_x_to_two_to_the(bit - 1), _x_to_two_to_the(bit - 1))


def _product(one: int, other: int) -> int:
    """`one` times `other`, modulo P."""
    product, mask = 0, _ONE
    while mask:
        if one & mask:
            product ^= other
        mask >>= 1
        other = other >> 1 ^ _POLYNOMIAL if other & 1 else other >> 1
    return product
