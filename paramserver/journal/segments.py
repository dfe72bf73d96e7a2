"""The segments of a journal as files: made, written, sealed, kept for later use. Every function may raise OSError."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import FileIO
from pathlib import Path
from typing import Final

from paramserver.disk import SAVING, Disk
from paramserver.journal.format import (
    DATA_START,
    HEADER_NBYTES,
    SUFFIX,
    RecordHeader,
    SegmentHeader,
    file_name,
    pack_record_header,
    pack_segment_header,
    record_nbytes,
)
from paramserver_wire.checksum import crc32

WAL: Final = "wal"
SPARE: Final = "spare-"
FIRST_NBYTES: Final = 1 << 20
LARGEST_NBYTES: Final = 256 << 20
_GROWTH: Final = 4
# Of what is free: a small disk is not to be full of room for later.
_SHARE: Final = 8
_ZEROS: Final = bytes(1 << 20)
_WRITTEN_AHEAD_NBYTES: Final = 4 << 20
_GRANULE: Final = 1 << 16


@dataclass(slots=True)
class Segment:
    """A segment that is being written, from its one writer. `end` is where the next record begins."""

    path: Path
    header: SegmentHeader
    file: FileIO
    disk: Disk
    last_commit: int
    end: int = DATA_START

    def has_room(self, nbytes: int) -> bool:
        """Whether records of `nbytes` fit, and a seal behind them."""
        return self.end + nbytes + record_nbytes(0) <= self.header.nbytes

    def append(self, pieces: Mapping[int, Sequence[bytes | memoryview]], nbytes: int, last_commit: int) -> None:
        """Make whole records of `nbytes` in all by writing pieces, each so many bytes behind the end. When it fails, what is at
        the end is not to be read as records."""
        for offset, parts in pieces.items():
            self.disk.write_at(self.file, parts, self.end + offset)
        self.end += nbytes
        self.last_commit = last_commit

    def content(self) -> bytes:
        """All records there are, as they stand."""
        content = bytearray(self.end - DATA_START)
        self.disk.read_at(self.file, memoryview(content), DATA_START)
        return bytes(content)

    def put(self, kind: str, synced: int) -> None:
        """Write a mark or a seal at the end; the next record takes its place."""
        self.disk.write_at(self.file, [self.sign(kind, self.last_commit, synced)], self.end)

    def sign(self, kind: str, commit: int, synced: int) -> bytes:
        """A mark or a seal, that stands behind the record of `commit`."""
        return pack_record_header(self.header.salt, RecordHeader(kind, commit, 0, synced, crc32(b"")))

    def blot_out(self) -> None:
        """See to it that what stands at the end is no record, for good."""
        self.disk.write_at(self.file, [bytes(HEADER_NBYTES)], self.end)
        self.disk.sync_data(self.file)


@dataclass(slots=True)
class Shelf:
    """The directory of the segments, and the spare files in it. Thread-safe: one may `make`, one `prepare`, one `put_away`.

    A spare has been written before, so that writing it again takes no new room and no new memory for its pages: a
    fresh file is written at 0.4 GB/s, a used one at 9. `keep_nbytes` of spares are kept, `largest_nbytes` is the size that
    segments grow to, where that is no more than an eighth of what is free.
    """

    directory: Path
    disk: Disk
    largest_nbytes: int = LARGEST_NBYTES
    keep_nbytes: int = 16 * LARGEST_NBYTES
    _spares: dict[Path, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _named: int = 0
    _next_nbytes: int = FIRST_NBYTES

    def open(self) -> None:
        """Take stock of the spares, and remove what was being prepared."""
        for name in self.disk.names(self.directory):
            path = self.directory / name
            if name.endswith(SAVING):
                self.disk.remove(path)
            elif name.startswith(SPARE):
                with contextlib.closing(self.disk.open(path)) as file:
                    self._spares[path] = self.disk.nbytes(file)
                self._named = max(self._named, _number_of(name))

    def make(self, header: SegmentHeader, needed_nbytes: int, content: bytes = b"") -> Segment:
        """A new segment with room for `needed_nbytes` behind `content`, on the disk for good before this returns. One of
        the same name is replaced.

        Its room is taken before anything is written to it: it is this that finds a disk full, and changes nothing then.
        """
        needed_nbytes += DATA_START + len(content) + record_nbytes(0)
        path = self.directory / file_name(header.first_commit)
        beside = path.with_name(path.name + SAVING)
        spare = self._take_spare(needed_nbytes)
        if spare is not None:
            nbytes = spare[1]
            self.disk.rename(spare[0], beside)
            file = self.disk.open_to_change(beside)
        else:
            nbytes = max(self._size_of_next(), needed_nbytes + -needed_nbytes % _GRANULE)
            file = self.disk.create(beside)
        try:
            if spare is None:
                self.disk.allocate(file, nbytes)
            header = replace(header, nbytes=nbytes)
            self.disk.write_at(file, [pack_segment_header(header), content], 0)
            self.disk.sync(file)
            self.disk.rename(beside, path)
            self.disk.sync_directory(self.directory)
        except BaseException:
            file.close()
            with contextlib.suppress(OSError):
                self.disk.remove(beside)
            raise
        self._next_nbytes = min(self.largest_nbytes, nbytes * _GROWTH)
        return Segment(path, header, file, self.disk, header.first_commit - 1, DATA_START + len(content))

    def prepare(self) -> None:
        """Write a spare ahead for when the segment in use is full, unless there is one. Slow; from one thread only."""
        nbytes = self._size_of_next()
        if nbytes < _WRITTEN_AHEAD_NBYTES or any(size >= nbytes for size in list(self._spares.values())):
            return
        path = self._name_spare()
        beside = path.with_name(path.name + SAVING)
        try:
            with self.disk.create(beside) as file:
                self.disk.allocate(file, nbytes)
                for _ in range(0, nbytes, len(_ZEROS)):
                    self.disk.write(file, _ZEROS)
                self.disk.sync(file)
            self.disk.rename(beside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                self.disk.remove(beside)
            raise
        with self._lock:
            self._spares[path] = nbytes

    def put_away(self, paths: Iterable[Path]) -> None:
        """Segments that nobody needs any more become spares, as far as these are kept; the others are removed.

        The names are settled before this returns: a spare that is written again must not come back as what it was.
        """
        kept: dict[Path, int] = {}
        least_nbytes = self._size_of_next()
        for path in paths:
            with contextlib.closing(self.disk.open(path)) as file:
                nbytes = self.disk.nbytes(file)
            if nbytes >= least_nbytes and sum(self._spares.values()) + sum(kept.values()) + nbytes <= self.keep_nbytes:
                spare = self._name_spare()
                self.disk.rename(path, spare)
                kept[spare] = nbytes
            else:
                self.disk.remove(path)
        self.disk.sync_directory(self.directory)
        with self._lock:
            self._spares.update(kept)

    def _take_spare(self, needed_nbytes: int) -> tuple[Path, int] | None:
        """The smallest spare with so much room, taken off the shelf."""
        with self._lock:
            fitting = [(nbytes, path) for path, nbytes in self._spares.items() if nbytes >= needed_nbytes]
            if not fitting:
                return None
            nbytes, path = min(fitting)
            del self._spares[path]
            return path, nbytes

    def _size_of_next(self) -> int:
        fitting_nbytes = self.disk.free_nbytes(self.directory) // _SHARE
        fitting_nbytes -= fitting_nbytes % _GRANULE
        return min(self._next_nbytes, self.largest_nbytes, max(FIRST_NBYTES, fitting_nbytes))

    def _name_spare(self) -> Path:
        with self._lock:
            self._named += 1
            return self.directory / f"{SPARE}{self._named}"


def segment_paths(directory: Path, disk: Disk) -> list[Path]:
    """The segments that are there, by first commit."""
    return [directory / name for name in disk.names(directory) if name.endswith(SUFFIX)]


def _number_of(spare: str) -> int:
    tail = spare.removeprefix(SPARE)
    return int(tail) if tail.isdigit() else 0
