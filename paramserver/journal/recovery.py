"""What a server does with its journal before it takes requests: everything behind the checkpoint is done again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from paramserver.disk import SAVING, Disk
from paramserver.journal.errors import JournalCorrupt
from paramserver.journal.records import decode_entry
from paramserver.journal.walk import Cut, Progress, Walk
from paramserver.store.errors import StoreError
from paramserver.store.store import Store

DAMAGED: Final = "damaged-"
_COPY_NBYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class JournalReport:
    """What was done again: `records` with `nbytes`, in `seconds`; `cut` if the journal ended before it should, and where
    what was there is `kept`; `passed_over` is where there was damage that the checkpoint makes up for.

    `is_proven`: nothing that was acknowledged can be missing. `other_build`: what wrote it, if that was another version of
    this program or of numpy, whose arithmetic may differ in a last bit. `server` is whose journal it is, if there is one,
    and `segments` are those there are, by first commit.
    """

    records: int
    nbytes: int
    seconds: float
    cut: Cut | None
    passed_over: tuple[Path, int] | None
    kept: Path | None
    is_proven: bool
    other_build: Mapping[str, str] | None
    server: str | None
    segments: tuple[tuple[int, Path], ...]

    def __str__(self) -> str:
        """The report in a sentence, for people; empty when there is nothing to say."""
        said = []
        if self.records:
            rate = (
                f"{self.records} records of the journal, {self.nbytes} bytes, were done again in {self.seconds:.2f} s"
            )
            said.append(rate)
        if self.passed_over is not None:
            path, offset = self.passed_over
            said.append(
                f"{path}, byte {offset}: damage was passed over, as the checkpoint has what stood there; a request that was no "
                "transaction, such as a save, may be forgotten and done again if it is repeated"
            )
        if self.cut is not None:
            said.append(str(self.cut))
        if self.kept is not None:
            said.append(f"what was there is kept in {self.kept}")
        return "; ".join(said)


def recover(
    directory: Path,
    store: Store,
    disk: Disk,
    *,
    server: str | None,
    builds: Mapping[str, str],
    truncate: bool = False,
    progress: Progress = lambda done, total: None,
    monotonic: Callable[[], float] = time.monotonic,
) -> JournalReport:
    """Do again all that the journal knows and `store` does not. Afterwards all of it is on the disk for good.

    The store holds the checkpoint, is not shared, and publishes at once. Raises JournalCorrupt for damage, unless it may
    `truncate`, and as `Walk` does; then nothing on the disk was changed.
    """
    began = monotonic()
    if not directory.is_dir():
        return JournalReport(0, 0, 0.0, None, None, None, False, None, None, ())
    walk = Walk(
        directory,
        disk,
        server=server,
        commit=store.commit,
        truncate=truncate,
        allocate=store.pool.take,
        progress=progress,
    )
    records = nbytes = 0
    for path, record in walk:
        where = f"{path}, byte {record.offset}: the record of commit {record.header.commit}"
        try:
            store.replay(decode_entry(record.header.kind, record.header.commit, record.payload))
        except (StoreError, LookupError, TypeError, ValueError) as error:
            raise JournalCorrupt(
                f"{where} is sound, but cannot be done again ({error}); start the version that wrote it, "
                f"{_told(walk.headers[-1].builds)}, or bring a backup back"
            ) from error
        records += 1
        nbytes += record.header.nbytes
    if records:
        progress(nbytes, nbytes)
    cut = walk.cut
    kept = _set_aside(directory, cut, disk) if cut is not None and (cut.keeps or cut.acknowledged) else None
    paths = [path for path in walk.paths if cut is None or path not in cut.beyond]
    for path in paths:
        with contextlib.closing(disk.open_to_change(path)) as file:
            disk.sync_data(file)
    others = [header.builds for header in walk.headers if header.builds != builds] if records else []
    return JournalReport(
        records=records,
        nbytes=nbytes,
        seconds=monotonic() - began,
        cut=cut,
        passed_over=walk.passed_over,
        kept=kept,
        is_proven=bool(walk.headers) and walk.headers[-1].always and not (cut and cut.acknowledged) and not others,
        other_build=others[0] if others else None,
        server=walk.headers[0].server if walk.headers else None,
        segments=tuple((int(path.stem), path) for path in paths),
    )


def _told(builds: Mapping[str, str]) -> str:
    return " with ".join(f"{name} {version}" for name, version in builds.items())


def _set_aside(directory: Path, cut: Cut, disk: Disk) -> Path:
    """Keep what is not taken: a copy of the segment that is cut, and those beyond. The journal is sound after this."""
    number = 1 + sum(name.startswith(DAMAGED) for name in disk.names(directory))
    kept = directory / f"{DAMAGED}{number}"
    disk.make_directory(kept)
    if cut.path not in cut.beyond and cut.path.name in disk.names(directory):
        _copy(cut.path, kept / cut.path.name, disk)
    for path in cut.beyond:
        disk.rename(path, kept / path.name)
    disk.sync_directory(kept)
    disk.sync_directory(directory)
    return kept


def _copy(source: Path, target: Path, disk: Disk) -> None:
    beside = target.with_name(target.name + SAVING)
    with disk.open(source) as read, disk.create(beside) as written:
        buffer = memoryview(bytearray(_COPY_NBYTES))
        while got := disk.read_into(read, buffer):
            disk.write(written, buffer[:got])
        disk.sync(written)
    disk.rename(beside, target)
