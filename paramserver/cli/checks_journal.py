"""What can be said about the journal of a data directory: what a start does again, what is torn, damaged or missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from paramserver.cli.findings import Finding
from paramserver.cli.showing import count_text, size_text

if TYPE_CHECKING:
    from paramserver.checkpoint import Survey
    from paramserver.journal.survey import Rehearsal

# Of large records; small ones take about 60 us each.
_NBYTES_A_SECOND: Final = 300_000_000
_RECORDS_A_SECOND: Final = 10_000


def check_journal(path: Path, found: Survey, *, verify: bool) -> Iterator[Finding]:
    """What a start would make of the journal; with `verify` also of what only an older checkpoint would need."""
    from paramserver.journal import DAMAGED, WAL
    from paramserver.journal.survey import rehearse

    wal = path / WAL
    segments = sorted(wal.glob("*.wal")) if wal.is_dir() else []
    for kept in sorted(wal.glob(f"{DAMAGED}*")):
        nbytes = sum(each.stat().st_size for each in kept.iterdir())
        yield Finding(
            "journal",
            "warn",
            f"{kept} keeps {size_text(nbytes)} that a start with --recover truncate did not take",
            f"once nothing in it is missed, run: rm -r {kept}",
        )
    if not segments:
        yield from _without_segments(wal, found)
        return
    points = found.recovery_points
    commit = points[0].summary.commit if points and points[0].summary is not None else 0
    start = rehearse(wal, server=found.server, commit=commit)
    yield _start(path, start)
    first = int(segments[0].stem)
    if verify and not start.problem and first <= commit:
        whole = rehearse(wal, server=found.server, commit=first - 1)
        if whole.problem:
            yield Finding(
                "journal",
                "warn",
                f"damaged where only an older checkpoint needs it: {whole.problem}",
                "nothing to do while the newest checkpoint is sound; the next two make it go away",
            )


def _without_segments(wal: Path, found: Survey) -> Iterator[Finding]:
    if found.journal and not found.clean:
        yield Finding(
            "journal",
            "problem",
            f"{wal} has none, though the last server kept one and did not stop cleanly: what came after the newest checkpoint "
            "is missing",
            "bring it back from a backup, or start with --recover truncate to go on from the checkpoint",
        )
    elif found.entries:
        yield Finding("journal", "ok", "none: the newest checkpoint is all there is")


def _start(path: Path, start: Rehearsal) -> Finding:
    if start.problem:
        return Finding(
            "journal", "problem", f"a start is refused: {start.problem}", f"run: paramserver journal verify {path}"
        )
    seconds = max(start.nbytes / _NBYTES_A_SECOND, start.records / _RECORDS_A_SECOND)
    again = (
        f"a start does {count_text(start.records, 'record')} ({size_text(start.nbytes)}) again, about {seconds:.1f} s"
    )
    if start.cut:
        return Finding(
            "journal",
            "warn",
            f"{again}, and cuts a torn tail: {start.cut}",
            "nothing to do: it had not been synced; after a power cut that is expected",
        )
    return Finding("journal", "ok", again if start.records else "nothing is to be done again at a start")
