"""A segment as a reader finds it: its records one after the other, and what can be said where they end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from paramserver.disk import Disk
from paramserver.journal.errors import JournalCorrupt
from paramserver.journal.format import (
    ALIGNMENT,
    DATA_START,
    HEADER_NBYTES,
    RECORD_MAGIC,
    RecordHeader,
    SegmentHeader,
    file_name,
    record_nbytes,
    unpack_record_header,
    unpack_segment_header,
)
from paramserver_wire.checksum import crc32

Allocate = Callable[[int], Any]
_WINDOW_NBYTES: Final = 1 << 20
_SCAN_NBYTES: Final = 16 << 20


class Record(NamedTuple):
    """A sound record: where it begins, its header, and its payload."""

    offset: int
    header: RecordHeader
    payload: memoryview


def read_header(path: Path, disk: Disk) -> SegmentHeader:
    """What a segment says about itself. Raises JournalCorrupt, JournalTooNew, OSError."""
    block = bytearray(DATA_START)
    with contextlib.closing(disk.open(path)) as file:
        block = block[: disk.read_at(file, memoryview(block), 0)]
        nbytes = disk.nbytes(file)
    header = unpack_segment_header(bytes(block), str(path))
    if path.name != file_name(header.first_commit):
        raise JournalCorrupt(
            f"{path} is the segment {file_name(header.first_commit)}: it was renamed or copied; undo that"
        )
    if nbytes < header.nbytes:
        raise JournalCorrupt(f"{path} is cut off: wanted {header.nbytes} bytes, got {nbytes}")
    return header


@dataclass(slots=True)
class SegmentReader:
    """Reads one segment. `offset` is where the next record should begin.

    `allocate(n)` makes the memory for a payload of n bytes that is to be kept apart.
    """

    path: Path
    header: SegmentHeader
    file: FileIO
    disk: Disk
    allocate: Allocate
    offset: int = DATA_START
    _window: memoryview = field(default_factory=lambda: memoryview(b""))
    _window_at: int = 0

    def next(self) -> Record | None:
        """The record at `offset`, behind which `offset` is then; None, and no step, if there is no sound one."""
        header = self._header_at(self.offset)
        if header is None or self.offset + record_nbytes(header.nbytes) > self.header.nbytes:
            return None
        payload = self._bytes_at(self.offset + HEADER_NBYTES, header.nbytes)
        if len(payload) != header.nbytes or crc32(payload) != header.crc32:
            return None
        record = Record(self.offset, header, payload)
        if header.kind not in ("mark", "seal"):
            self.offset += record_nbytes(header.nbytes)
        return record

    def headers_from(self, offset: int) -> Iterator[tuple[int, RecordHeader]]:
        """Every sound header at or behind `offset`, wherever records may begin; what is between them does not matter."""
        at = offset
        while at < self.header.nbytes:
            chunk = np.frombuffer(self._read(at, min(_SCAN_NBYTES, self.header.nbytes - at)), np.uint8)
            rows = chunk[: len(chunk) // ALIGNMENT * ALIGNMENT].reshape(-1, ALIGNMENT)
            magic = rows[:, HEADER_NBYTES - len(RECORD_MAGIC) : HEADER_NBYTES]
            for row in np.flatnonzero((magic == np.frombuffer(RECORD_MAGIC, np.uint8)).all(axis=1)):
                header = unpack_record_header(self.header.salt, rows[row].tobytes())
                if header is not None:
                    yield at + int(row) * ALIGNMENT, header
            if len(chunk) < ALIGNMENT:
                return
            at += len(rows) * ALIGNMENT

    def _header_at(self, offset: int) -> RecordHeader | None:
        return unpack_record_header(self.header.salt, self._bytes_at(offset, HEADER_NBYTES))

    def _bytes_at(self, offset: int, nbytes: int) -> memoryview:
        """Bytes that nobody writes again: small ones of the window, large ones in memory of their own."""
        if nbytes > _WINDOW_NBYTES // 2:
            buffer = memoryview(self.allocate(nbytes))
            return buffer[: self.disk.read_at(self.file, buffer, offset)]
        begin = offset - self._window_at
        if not 0 <= begin <= len(self._window) - nbytes:
            self._window, self._window_at, begin = self._read(offset, _WINDOW_NBYTES), offset, 0
        return self._window[begin : begin + nbytes]

    def _read(self, offset: int, nbytes: int) -> memoryview:
        buffer = memoryview(bytearray(nbytes))
        return buffer[: self.disk.read_at(self.file, buffer, offset)]


@contextlib.contextmanager
def reading(path: Path, disk: Disk, allocate: Allocate = bytearray) -> Iterator[SegmentReader]:
    """A reader of a segment whose header is sound. Raises as `read_header`."""
    header = read_header(path, disk)
    with contextlib.closing(disk.open(path)) as file:
        yield SegmentReader(path, header, file, disk, allocate)
