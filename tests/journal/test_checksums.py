from __future__ import annotations

import zlib

from hypothesis import example, given
from hypothesis import strategies as st

from paramserver.journal.checksums import joined


@given(st.binary(max_size=300), st.binary(max_size=300))
@example(b"", b"")
def test_it_is_the_checksum_of_both_pieces(first: bytes, second: bytes) -> None:
    assert joined(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


def test_pieces_of_a_gigabyte() -> None:
    head, mebibyte = b"head", bytes(1 << 20)
    checksum = 0
    for _ in range(1024):
        checksum = zlib.crc32(mebibyte, checksum)
    whole = zlib.crc32(head)
    for _ in range(1024):
        whole = zlib.crc32(mebibyte, whole)
    assert joined(zlib.crc32(head), checksum, 1 << 30) == whole
