"""A look at a journal from outside: nothing is changed, and a server may be at work on it meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from paramserver.disk import Disk
from paramserver.journal.errors import JournalCorrupt
from paramserver.journal.format import SegmentHeader
from paramserver.journal.reading import Record, read_header, reading
from paramserver.journal.records import decode_entry
from paramserver.journal.recovery import DAMAGED
from paramserver.journal.segments import SPARE, segment_paths
from paramserver.journal.walk import Walk
from paramserver.journal.watermark import read_synced
from paramserver.store.entries import Entry, FirstValues, Gradients, Updates, Values


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """A segment: its header (None when that is damaged, which `problem` then says), what is in it, and how it ends.

    `end` is "sealed" when another one follows, "marked" when all of it was synced, "open" for any other end.
    """

    path: Path
    header: SegmentHeader | None
    last_commit: int
    records: int
    used_nbytes: int
    end: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class JournalSurvey:
    """What is in a journal's directory: segments by first commit, the highest synced commit, the spare files and what
    they take, and the copies of damaged segments that were kept."""

    segments: tuple[SegmentFacts, ...]
    synced: int
    spares: int
    spare_nbytes: int
    kept: tuple[Path, ...]

    @property
    def first_commit(self) -> int | None:
        """The oldest commit that is there; None without segments."""
        return int(self.segments[0].path.stem) if self.segments else None

    @property
    def last_commit(self) -> int:
        """The newest commit that is there, 0 without segments."""
        return max((each.last_commit for each in self.segments), default=0)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a start would do: `records` of `nbytes` again, up to `last_commit`. `cut` says what it would cut, `problem` why
    it would refuse; both are empty when all is well."""

    records: int
    nbytes: int
    last_commit: int
    cut: str = ""
    problem: str = ""


def survey(directory: Path, disk: Disk | None = None) -> JournalSurvey:
    """What is in a journal's directory; a directory that is not there is an empty one. Reads every record's header and
    payload; what is damaged is told, not raised. Raises OSError."""
    disk = disk or Disk()
    if not directory.is_dir():
        return JournalSurvey((), 0, 0, 0, ())
    names = disk.names(directory)
    spares = [directory / name for name in names if name.startswith(SPARE)]
    return JournalSurvey(
        segments=tuple(_segment(path, disk) for path in segment_paths(directory, disk)),
        synced=read_synced(directory, disk),
        spares=len(spares),
        spare_nbytes=sum(path.stat().st_size for path in spares),
        kept=tuple(directory / name for name in names if name.startswith(DAMAGED)),
    )


def rehearse(directory: Path, *, server: str | None, commit: int, disk: Disk | None = None) -> Rehearsal:
    """What a start from a checkpoint of `commit` would make of the journal, without doing it. Raises OSError."""
    if not directory.is_dir():
        return Rehearsal(0, 0, commit)
    walk = Walk(directory, disk or Disk(), server=server, commit=commit)
    records = nbytes = 0
    try:
        for _, record in walk:
            records += 1
            nbytes += record.header.nbytes
    except JournalCorrupt as error:
        return Rehearsal(records, nbytes, walk.last_commit, problem=error.detail)
    return Rehearsal(records, nbytes, walk.last_commit, cut="" if walk.cut is None else str(walk.cut))


def entries(path: Path, disk: Disk | None = None) -> Iterator[tuple[Record, Entry]]:
    """Every record of a segment, up to its end or the first that is not sound. Raises JournalCorrupt for its header, and
    OSError."""
    with reading(path, disk or Disk()) as reader:
        while (record := reader.next()) is not None and record.header.kind not in ("mark", "seal"):
            yield record, decode_entry(record.header.kind, record.header.commit, record.payload)


def names_of(entry: Entry) -> Sequence[str]:
    """The variables that an entry writes, makes or drops, and the optimizers and scopes it settles, each once."""
    names = [*(made.name for made in entry.made), *entry.deleted, *entry.regrouped, *entry.scopes, *entry.optimizers]
    match entry.work:
        case Updates(updates):
            names += [update.name for update in updates]
        case Gradients(push):
            names += [
                push.optimizer,
                *(gradient.name for gradient in push.gradients),
                *(each.name for each in push.then),
            ]
        case FirstValues(initialized):
            names += initialized
        case Values(values):
            names += values
    return list(dict.fromkeys(names))


def _segment(path: Path, disk: Disk) -> SegmentFacts:
    first = int(path.stem) if path.stem.isdigit() else 0
    try:
        header = read_header(path, disk)
    except JournalCorrupt as error:
        return SegmentFacts(path, None, max(0, first - 1), 0, 0, "open", error.detail)
    records, last, end = 0, header.first_commit - 1, "open"
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(reading(path, disk))
        while (record := reader.next()) is not None:
            if record.header.kind in ("mark", "seal"):
                end = {"mark": "marked", "seal": "sealed"}[record.header.kind]
                break
            records += 1
            last = max(last, record.header.commit)
        return SegmentFacts(path, header, last, records, reader.offset, end)
