"""`paramserver journal`: what is in the journal of a data directory, and whether a start would take it, offline."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from paramserver.cli.asking import REFUSED, USAGE, Json, fail
from paramserver.cli.showing import (
    Column,
    age_text,
    count_text,
    print_fields,
    print_json,
    print_table,
    shown_text,
    size_text,
)

if TYPE_CHECKING:
    from paramserver.journal.survey import JournalSurvey, Rehearsal, SegmentFacts

_EXAMPLES: Final = """\b
Examples:
  paramserver journal inspect data            its segments
  paramserver journal verify data             what a start would do
"""
_INSPECT_EXAMPLES: Final = """\b
Examples:
  paramserver journal inspect data            its segments
  paramserver journal inspect data --records     every transaction in it
  paramserver journal inspect data --records --json | jq -r '.records[].kind'
"""
_VERIFY_EXAMPLES: Final = """\b
Examples:
  paramserver journal verify data             read all, and rehearse a start
  paramserver journal verify data --json | jq .sound
"""
_SEGMENTS: Final = (
    Column("segment"),
    Column("commits"),
    Column("records", right=True),
    Column("used", right=True),
    Column("of", right=True),
    Column("end"),
    Column("durability", spare=True),
    Column("age", right=True, spare=True),
)
_RECORDS: Final = (
    Column("commit", right=True),
    Column("kind"),
    Column("size", right=True),
    Column("names"),
    Column("request id", spare=True),
    Column("offset", right=True, spare=True),
)
_NAMES: Final = 4

DataDir = Annotated[
    Path,
    typer.Argument(
        metavar="DATA_DIR", envvar="PARAMSERVER_DATA_DIR", help="The server's data directory.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    """Add `journal` and its commands to the command line."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Look into the journal of a data directory. It needs no server and changes nothing.",
        short_help="Look into a journal, offline.",
        epilog=_EXAMPLES,
    )
    group.command(
        "inspect",
        help="Show the segments of a journal, or with --records every transaction in them.",
        short_help="Show what is in it.",
        epilog=_INSPECT_EXAMPLES,
    )(inspect)
    group.command(
        "verify",
        help=(
            "Read all of a journal, and say what a start would do: again, behind the newest checkpoint. It ends with 1 when "
            "a start would refuse it, or anything in it is damaged."
        ),
        short_help="Read all of it, and rehearse a start.",
        epilog=_VERIFY_EXAMPLES,
    )(verify)
    app.add_typer(group, name="journal")


def inspect(
    data_dir: DataDir,
    records: Annotated[bool, typer.Option("--records", help="Show every record, not only the segments.")] = False,
    as_json: Json = False,
) -> None:
    """Show what is in a journal."""
    from paramserver.journal.survey import survey

    found = survey(_wal_of(data_dir))
    if as_json:
        document = _document(data_dir, found)
        if records:
            document["records"] = list(_record_rows(found))
        print_json(document)
        return
    _print_survey(data_dir, found)
    if records and found.segments:
        print()
        print_table(
            _RECORDS,
            (
                (
                    f"{row['commit']:,}",
                    row["kind"],
                    size_text(row["nbytes"]),
                    _names_text(row["names"]),
                    shown_text(row["request_id"] or ""),
                    f"{row['offset']:,}",
                )
                for row in _record_rows(found)
            ),
        )


def verify(data_dir: DataDir, as_json: Json = False) -> None:
    """Read all of a journal, and rehearse a start."""
    from paramserver.checkpoint import CheckpointError, survey
    from paramserver.journal.survey import rehearse
    from paramserver.journal.survey import survey as survey_journal

    wal = _wal_of(data_dir)
    try:
        checkpoints = survey(data_dir)
    except CheckpointError as error:
        fail(f"{error.code}: {error}", REFUSED)
    found = survey_journal(wal)
    points = checkpoints.recovery_points
    newest = points[0] if points else None
    commit = 0 if newest is None or newest.summary is None else newest.summary.commit
    start = rehearse(wal, server=checkpoints.server, commit=commit)
    whole = start
    if found.first_commit is not None and found.first_commit <= commit:
        whole = rehearse(wal, server=checkpoints.server, commit=found.first_commit - 1)
    sound = not (start.problem or whole.problem)
    since = "an empty start" if newest is None else f"checkpoint {newest.id} (commit {commit:,})"
    if as_json:
        print_json(
            {
                **_document(data_dir, found),
                "sound": sound,
                "start": {
                    "from_commit": commit,
                    "checkpoint": None if newest is None else newest.id,
                    "records": start.records,
                    "nbytes": start.nbytes,
                    "to_commit": start.last_commit,
                    "cut": start.cut,
                    "refused": start.problem,
                },
                "damage": whole.problem,
            }
        )
    else:
        _print_survey(data_dir, found)
        print()
        _print_rehearsal(since, start, whole)
    if not sound:
        raise typer.Exit(REFUSED)


# -------------------------------------------------------------------- inside


def _wal_of(data_dir: Path) -> Path:
    from paramserver.checkpoint import is_data_directory
    from paramserver.journal import WAL

    if not data_dir.is_dir():
        fail(f"{data_dir}: there is no such directory", USAGE)
    if not is_data_directory(data_dir) and not (data_dir / WAL).is_dir():
        fail(f"{data_dir} is no data directory: no server has used it; give that of --data-dir", REFUSED)
    return data_dir / WAL


def _document(data_dir: Path, found: JournalSurvey) -> dict[str, Any]:
    return {
        "path": str(data_dir / "wal"),
        "first_commit": found.first_commit,
        "last_commit": found.last_commit,
        "synced_commit": found.synced,
        "spares": found.spares,
        "spare_nbytes": found.spare_nbytes,
        "kept": [str(path) for path in found.kept],
        "segments": [_segment_row(each) for each in found.segments],
    }


def _segment_row(each: SegmentFacts) -> dict[str, Any]:
    header = each.header
    return {
        "file": each.path.name,
        "first_commit": None if header is None else header.first_commit,
        "last_commit": each.last_commit,
        "records": each.records,
        "used_nbytes": each.used_nbytes,
        "nbytes": each.path.stat().st_size,
        "end": each.end,
        "durability": None if header is None else _durability(each),
        "builds": {} if header is None else dict(header.builds),
        "created": None if header is None else datetime.fromtimestamp(header.created, UTC).isoformat(),
        "problem": each.problem,
    }


def _record_rows(found: JournalSurvey) -> Iterator[dict[str, Any]]:
    from paramserver.journal.survey import entries, names_of

    for segment in found.segments:
        if segment.header is None:
            continue
        for record, entry in entries(segment.path):
            asked = entry.asked
            yield {
                "segment": segment.path.name,
                "offset": record.offset,
                "commit": entry.commit,
                "kind": entry.kind,
                "nbytes": record.header.nbytes,
                "names": list(names_of(entry)),
                "request_id": None if asked is None else f"{asked.client}-{asked.seq}",
                "at": datetime.fromtimestamp(entry.at, UTC).isoformat(),
            }


def _print_survey(data_dir: Path, found: JournalSurvey) -> None:
    print(f"journal {data_dir / 'wal'}")
    if not found.segments:
        print("  no segments: nothing would be done again at a start")
    else:
        print_fields(
            {
                "commits": f"{found.first_commit:,} to {found.last_commit:,}",
                "synced": f"up to commit {found.synced:,}" if found.synced else "nothing yet",
                "spare files": f"{found.spares}, {size_text(found.spare_nbytes)}" if found.spares else "none",
            }
        )
    for path in found.kept:
        print(f"  kept copies of what was damaged: {path}; delete it when nothing in it is missed")
    if found.segments:
        print()
        print_table(_SEGMENTS, (_segment_cells(each) for each in found.segments))
    for each in found.segments:
        if each.problem:
            print(f"{each.path.name}: {each.problem}")


def _segment_cells(each: SegmentFacts) -> tuple[str, ...]:
    header = each.header
    if header is None:
        return (each.path.name, "?", "?", "?", size_text(each.path.stat().st_size), "damaged", "?", "?")
    commits = f"{header.first_commit:,} to {each.last_commit:,}" if each.last_commit >= header.first_commit else "none"
    age = age_text(max(0.0, datetime.now(UTC).timestamp() - header.created))
    return (
        each.path.name,
        commits,
        f"{each.records:,}",
        size_text(each.used_nbytes),
        size_text(header.nbytes),
        each.end,
        _durability(each),
        age,
    )


def _durability(each: SegmentFacts) -> str:
    assert each.header is not None
    return "always" if each.header.always else "everysec"


def _print_rehearsal(since: str, start: Rehearsal, whole: Rehearsal) -> None:
    if start.problem:
        print(f"a start would be refused: {start.problem}")
        return
    again = f"{count_text(start.records, 'record')}, {size_text(start.nbytes)}"
    print(f"a start goes on from {since} and does {again} again, up to commit {start.last_commit:,}")
    if start.cut:
        print(f"it would cut a torn tail: {start.cut}")
    if whole.problem:
        print(f"damaged, where only an older checkpoint would need it: {whole.problem}")


def _names_text(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more
