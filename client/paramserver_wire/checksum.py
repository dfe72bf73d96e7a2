"""crc32 as fast as this installation can: the checksum of request bodies and of saved values.

zlib's own runs at about 3 GB/s, slower than a local socket; zlib-ng's at 28 GB/s. Both give the same numbers, so the
light install does without.
"""

from __future__ import annotations

try:
    from zlib_ng.zlib_ng import crc32
except ImportError:
    from zlib import crc32

__all__ = ["crc32"]
