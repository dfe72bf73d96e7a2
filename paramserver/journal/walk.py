"""From segment to segment, behind a checkpoint: which records are to be done again, and where they end.

Where no sound record stands although one should, it tells a torn tail from damage. A tail is torn by a crash while it is
written: nobody had been told that it is safe, and it is cut. What a later record, a mark, a later segment or the
watermark knows to have been synced was acknowledged for good: missing that is damage, and is refused, never passed over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from paramserver.disk import Disk
from paramserver.journal.errors import JournalCorrupt, JournalForeign, JournalTooNew
from paramserver.journal.format import ALIGNMENT, DATA_START, SegmentHeader, file_name
from paramserver.journal.reading import Allocate, Record, SegmentReader, reading
from paramserver.journal.segments import segment_paths
from paramserver.journal.watermark import read_synced

Progress = Callable[[int, int], None]
"""Called with the bytes that are done, and those there are."""

_REPORT_NBYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the journal ends before it should: there is no sound record of `commit` at byte `offset` of `path`.

    `acknowledged` is the last commit known to have been on the disk, when that makes it damage; else 0. `keeps` says
    whether something sound stands behind it, and `beyond` are the segments that do.
    """

    path: Path
    offset: int
    commit: int
    acknowledged: int
    keeps: bool
    beyond: tuple[Path, ...]
    problem: str = ""

    def __str__(self) -> str:
        if self.acknowledged:
            told = self.problem or f"the record of commit {self.commit} is damaged or missing"
            return f"{self.path}, byte {self.offset}: {told}; all up to commit {self.acknowledged} was acknowledged for good"
        return (
            f"{self.path}, byte {self.offset}: the record of commit {self.commit} was not whole, as nothing that follows "
            "had reached the disk for certain; the journal was cut there"
        )


class Walk:
    """The records behind a checkpoint of `commit`, in their order. Iterate once; then it says how it ended.

    Notes of the checkpoint's own commit are among them: they may be younger than it. `passed_over` says where damage was
    first met that the checkpoint makes up for, but perhaps for such notes. Raises JournalCorrupt for damage,
    unless it may `truncate`: then it ends there, with a `cut`. Raises JournalForeign, JournalTooNew, and OSError.
    """

    def __init__(
        self,
        directory: Path,
        disk: Disk,
        *,
        server: str | None,
        commit: int,
        truncate: bool = False,
        allocate: Allocate = bytearray,
        progress: Progress = lambda done, total: None,
    ) -> None:
        self.paths = segment_paths(directory, disk)
        self.headers: list[SegmentHeader] = []
        self.cut: Cut | None = None
        self.passed_over: tuple[Path, int] | None = None
        self._directory = directory
        self._disk = disk
        self._server = server
        self._after = commit
        self._expected = commit + 1
        self._truncate = truncate
        self._allocate = allocate
        self._progress = progress
        self._done_nbytes = self._told_nbytes = self._total_nbytes = 0

    @property
    def last_commit(self) -> int:
        """The newest commit there is, in the checkpoint or in the journal."""
        return max(self._after, self._expected - 1)

    def __iter__(self) -> Iterator[tuple[Path, Record]]:
        try:
            yield from self._walk()
        except _Ended as ended:
            self._expected = ended.cut.commit
            self.cut = ended.cut
            if ended.cut.acknowledged and not self._truncate:
                raise JournalCorrupt(
                    f"{ended.cut}. Bring it back from a backup; or start with --recover truncate, which keeps a copy of it, "
                    f"forgets what came after commit {self.last_commit}, and goes on from there"
                ) from ended.__cause__

    # ---------------------------------------------------------------- inside

    def _walk(self) -> Iterator[tuple[Path, Record]]:
        firsts = [int(path.stem) for path in self.paths]
        if not firsts:
            return
        begin = max((at for at, first in enumerate(firsts) if first <= max(self._after, 1)), default=0)
        if firsts[begin] > self._after + 1:
            problem = f"the journal begins with commit {firsts[begin]}, but the newest sound checkpoint ends with {self._after}"
            raise _Ended(
                Cut(self.paths[begin], 0, self._after + 1, firsts[begin] - 1, True, tuple(self.paths), problem)
            )
        self._expected = firsts[begin]
        self._total_nbytes = sum(self._size(path) for path in self.paths[begin:])
        for at in range(begin, len(firsts)):
            yield from self._segment(at, firsts[at + 1] if at + 1 < len(firsts) else None)
            self._done_nbytes += self._size(self.paths[at])

    def _segment(self, at: int, following: int | None) -> Iterator[tuple[Path, Record]]:
        """The records of one segment that are wanted; `following` is what the next one begins with, if there is one."""
        path = self.paths[at]
        try:
            with reading(path, self._disk, self._allocate) as reader:
                self._check_owner(path, reader.header)
                self.headers.append(reader.header)
                is_sealed = yield from self._records(reader, following)
                if following == self._expected:
                    return
                if following is not None and self._expected < following <= self._after + 1:
                    # What is not there is in the checkpoint.
                    self._pass_over(path, reader.offset)
                    self._expected = following
                    return
                if is_sealed:
                    self._miss(at)
                if self._expected <= self._after:
                    self._pass_over(path, reader.offset)
                    self._expected = self._after + 1
                self._judge(at, reader)
        except (JournalTooNew, JournalForeign):
            raise
        except JournalCorrupt as error:
            if following is not None and following <= self._after + 1:
                self._pass_over(path, 0)
                self._expected = following
                return
            commit = max(self._expected, self._after + 1)
            raise _Ended(Cut(path, 0, commit, commit, True, self._beyond(at), error.detail)) from error

    def _records(self, reader: SegmentReader, following: int | None) -> Generator[tuple[Path, Record], None, bool]:
        """The wanted records up to the first that is not sound or not the next, where the reader then stands; returns
        whether that is a seal. The commits of a later segment go before those of the same number here."""
        while True:
            offset = reader.offset
            record = reader.next()
            if record is None or not self._is_next(record, following):
                reader.offset = offset
                if self._expected <= self._after and self._expected != following and self._skip(reader):
                    self._pass_over(reader.path, offset)
                    continue
                return False
            header = record.header
            if header.kind in ("mark", "seal"):
                return header.kind == "seal"
            self._expected += header.counts
            if header.commit > self._after or (header.commit == self._after and not header.counts):
                yield reader.path, record
            self._tell(reader.offset)

    def _is_next(self, record: Record, following: int | None) -> bool:
        if record.header.counts:
            return record.header.commit == self._expected != following
        return record.header.commit == self._expected - 1

    def _skip(self, reader: SegmentReader) -> bool:
        """Go on behind what is not sound, up to what the checkpoint does not have; whether there is such a place."""
        for offset, header in reader.headers_from(reader.offset + ALIGNMENT):
            first = header.commit + (not header.counts)
            if header.kind not in ("mark", "seal") and self._expected < first <= self._after + 1:
                reader.offset = offset
                self._expected = first
                return True
        return False

    def _pass_over(self, path: Path, offset: int) -> None:
        """Remember where damage was first met that the checkpoint makes up for."""
        self.passed_over = self.passed_over or (path, offset)

    def _miss(self, at: int) -> None:
        """The segment behind this one is not there."""
        commit = max(self._expected, self._after + 1)
        path = self._directory / file_name(self._expected)
        problem = f"the segment is missing; {self.paths[at].name} says that it follows"
        raise _Ended(Cut(path, 0, commit, commit, True, self._beyond(at), problem))

    def _judge(self, at: int, reader: SegmentReader) -> None:
        """Say why there is no record of the next commit; nothing if there never was one."""
        acknowledged, keeps = read_synced(self._directory, self._disk), False
        torn = False
        for offset, header in reader.headers_from(reader.offset):
            acknowledged = max(acknowledged, header.synced)
            if header.commit >= self._expected:
                # A mark, too, knows that there was one.
                torn = True
                keeps = keeps or (header.kind not in ("mark", "seal") and offset > reader.offset)
        for path in self._beyond(at):
            keeps = True
            with contextlib.suppress(JournalCorrupt), reading(path, self._disk) as later:
                synced = (header.synced for _, header in later.headers_from(DATA_START))
                acknowledged = max(acknowledged, later.header.synced, *synced)
        if acknowledged < self._expected:
            acknowledged = 0
        if acknowledged or keeps or torn:
            raise _Ended(Cut(reader.path, reader.offset, self._expected, acknowledged, keeps, self._beyond(at)))

    def _check_owner(self, path: Path, header: SegmentHeader) -> None:
        if self._server is not None and header.server != self._server:
            raise JournalForeign(
                f"{path} belongs to the data directory {header.server}, this one is {self._server}; move it back to where it "
                "came from"
            )

    def _beyond(self, at: int) -> tuple[Path, ...]:
        return tuple(self.paths[at + 1 :])

    def _tell(self, offset: int) -> None:
        if self._done_nbytes + offset - self._told_nbytes >= _REPORT_NBYTES:
            self._told_nbytes = self._done_nbytes + offset
            self._progress(self._told_nbytes, self._total_nbytes)

    def _size(self, path: Path) -> int:
        with contextlib.closing(self._disk.open(path)) as file:
            return self._disk.nbytes(file)


class _Ended(Exception):
    def __init__(self, cut: Cut) -> None:
        super().__init__(str(cut))
        self.cut = cut
