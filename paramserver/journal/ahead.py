"""The arrays of a large record, written to their place while the record itself is still being made.

Bringing 100 MB into the file's memory takes about as long as adding them to a variable, and a second core may do it. The
record's head follows when the commit is known, and makes a record of them; without it they are bytes behind the end, which no
reader looks at. What is written ahead is where it belongs only if nothing else was written in between: whoever begins it
holds the turn to write until its record is there, or given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import Final

import numpy as np

from paramserver.journal.checksums import joined
from paramserver.journal.format import ALIGNMENT, HEADER_NBYTES, record_nbytes
from paramserver.journal.packing import Parts, laid_out
from paramserver.journal.segments import Segment
from paramserver.store.updates import Array
from paramserver_wire.checksum import crc32

# What a record says beside its arrays: about who asked and what he was told, and about each array.
_ABOUT_ALL_NBYTES: Final = 4096
_ABOUT_EACH_NBYTES: Final = 640
_PIECE_NBYTES: Final = 1 << 20


def head_nbytes_for(count: int) -> int:
    """The room that is left for the head of a payload of so many arrays."""
    nbytes = _ABOUT_ALL_NBYTES + _ABOUT_EACH_NBYTES * count
    return nbytes + -nbytes % ALIGNMENT


class Ahead:
    """Arrays on their way to where the next record of `segment` has them. For the holder of the turn."""

    def __init__(self, segment: Segment, arrays: Sequence[Array], executor: Executor) -> None:
        self.head_nbytes = head_nbytes_for(len(arrays))
        self._segment = segment
        self._end = segment.end
        self._parts = laid_out(list(arrays))[1]
        self._nbytes = sum(map(len, self._parts))
        self._written: Future[int] = executor.submit(self._write)

    def settle(self) -> None:
        """Return when nothing of it is being written any more, however that ended."""
        self._written.exception()

    def is_in_place(self, segment: Segment) -> bool:
        """Whether the next record of `segment` begins where it was expected to."""
        return segment is self._segment and segment.end == self._end

    def checksum_of(self, parts: Parts) -> int | None:
        """The checksum of a payload with these parts, if they are the arrays that were written; None if not. Nothing is being
        written any more then: the record may take the place."""
        head, *arrays = parts
        failed = self._written.exception() is not None
        if failed or len(head) != self.head_nbytes or not _same(arrays, self._parts):
            return None
        return joined(crc32(head), self._written.result(), self._nbytes)

    def _write(self) -> int:
        at, checksum = self._end + HEADER_NBYTES + self.head_nbytes, 0
        for part in self._parts:
            for begin in range(0, len(part), _PIECE_NBYTES):
                # While it is in the processor's cache for the one, it is for the other.
                piece = memoryview(part)[begin : begin + _PIECE_NBYTES]
                checksum = crc32(piece, checksum)
                self._segment.disk.write_at(self._segment.file, [piece], at)
                at += len(piece)
        payload_nbytes = self.head_nbytes + self._nbytes
        gap = record_nbytes(payload_nbytes) - HEADER_NBYTES - payload_nbytes
        self._segment.disk.write_at(self._segment.file, [bytes(gap)], at)
        return checksum


def _same(parts: Parts, others: Parts) -> bool:
    """Whether two lists of parts are of the same bytes: the same memory, but for the zeros between arrays."""
    return len(parts) == len(others) and all(map(_is_same, parts, others))


def _is_same(part: bytes | memoryview, other: bytes | memoryview) -> bool:
    if isinstance(part, bytes) or isinstance(other, bytes):
        return len(part) == len(other) < ALIGNMENT and bytes(part) == bytes(other)
    one, two = np.frombuffer(part, np.uint8), np.frombuffer(other, np.uint8)
    return one.size == two.size and one.ctypes.data == two.ctypes.data
