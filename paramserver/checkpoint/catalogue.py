"""Which checkpoints a data directory holds, and the file that lists them. `scan` reads the disk; the rest is pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from paramserver.checkpoint.errors import (
    CheckpointCorrupt,
    CheckpointError,
    CheckpointNotFound,
    CheckpointTooNew,
    is_damage,
)
from paramserver.checkpoint.format import About, Manifest, SavedFile, SavedVariable, check_version
from paramserver.checkpoint.reading import read_manifest
from paramserver.disk import SAVING, Disk, read_file
from paramserver.store.snapshot import Snapshot, VariableSnapshot

LISTING: Final = "checkpoint.json"
LISTING_VERSION: Final = 2
"""2: what is kept for good, and until when each series has kept. 1 is read as well: nothing was."""
MAX_LISTING_NBYTES: Final = 1 << 26
MAX_ENCODED_ID: Final = 200
"""A directory's name may have 255 bytes; an id longer than this once encoded is cut, and told apart by the hex."""

_OURS: Final = re.compile(r"[A-Za-z0-9_.%-]+\.[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class Summary:
    """What of a manifest is kept in memory."""

    about: About
    commit: int
    variables: int
    skipped: tuple[str, ...]
    files: tuple[SavedFile, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One checkpoint: its id, the name of its directory, its place in the order of saving.

    `state` is "complete", "damaged" (then it has no `summary`, as its manifest could not be read), or of one that does not
    exist yet "saving" or "failed". `code` and `problem` say what is wrong. One that is `kept` is never retired.
    """

    id: str
    directory: str
    sequence: int
    summary: Summary | None
    state: str = "complete"
    code: str = ""
    problem: str = ""
    kept: bool = False

    def is_full(self, server: str) -> bool:
        """Whether it can bring this server back: it holds everything, and this server wrote it."""
        return self.summary is not None and self.summary.about.full and self.summary.about.server == server

    def info(self) -> dict[str, Any]:
        """What a request about the checkpoint is answered."""
        summary = self.summary or Summary(About(self.id, 0.0, series=""), 0, 0, (), ())
        about = summary.about
        return {
            "id": self.id,
            "state": self.state,
            "commit": summary.commit,
            "step": about.step,
            "created": about.created,
            "nbytes": sum(file.nbytes for file in summary.files),
            "variables": summary.variables,
            "skipped": list(summary.skipped),
            "files": [{"name": file.name, "nbytes": file.nbytes, "sha256": file.sha256} for file in summary.files],
            "series": about.series,
            "full": about.full,
            "metadata": dict(about.metadata),
            "problem": {"code": self.code, "detail": self.problem} if self.code else None,
        }


@dataclass(frozen=True, slots=True)
class Listed:
    """What a checkpoint.json says: the entries, without their summaries, and for each series `Verdict.since`."""

    entries: tuple[Entry, ...] = ()
    since: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """What `scan` found: checkpoints newest first, names of leftovers, and the directories that are listed but gone;
    `since` is as in `Listed`."""

    entries: tuple[Entry, ...] = ()
    leftovers: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    since: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Claims:
    """The directories that want to be the checkpoint of one id."""

    listed: list[Entry] = field(default_factory=list)
    unlisted: list[Entry] = field(default_factory=list)


def entry_of(directory: str, manifest: Manifest) -> Entry:
    """The entry of a checkpoint whose manifest was read or written."""
    summary = _summary(manifest.about, manifest.commit, manifest.variables, manifest.files)
    return Entry(manifest.about.id, directory, manifest.about.sequence, summary)


def entry_to_be(directory: str, snapshot: Snapshot, about: About) -> Entry:
    """The entry of a checkpoint that is being saved."""
    summary = _summary(about, snapshot.commit, snapshot.variables, ())
    return Entry(about.id, directory, about.sequence, summary, "saving")


def _summary(
    about: About,
    commit: int,
    variables: Mapping[str, SavedVariable] | Mapping[str, VariableSnapshot],
    files: tuple[SavedFile, ...],
) -> Summary:
    skipped = tuple(name for name, variable in variables.items() if not variable.initialized)
    return Summary(about, commit, len(variables) - len(skipped), skipped, files)


def directory_name(checkpoint_id: str, token: str) -> str:
    """A directory's name for an id: nothing in an id can make a path of it. `token` is 6 hex digits.

    >>> directory_name("temp/test-3", "0a1b2c")
    'temp%2Ftest-3.0a1b2c'
    """
    return f"{quote(checkpoint_id, safe='')[:MAX_ENCODED_ID]}.{token}"


def newest_first(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: -entry.sequence))


def recovery_points(entries: Iterable[Entry], server: str) -> list[Entry]:
    """The checkpoints that can bring this server back, newest first."""
    return [entry for entry in newest_first(entries) if entry.is_full(server)]


def encode_listing(entries: Sequence[Entry], since: Mapping[str, float]) -> bytes:
    """The bytes of checkpoint.json, newest first."""
    rows = [
        {
            "id": entry.id,
            "directory": entry.directory,
            "sequence": entry.sequence,
            **({"kept": True} if entry.kept else {}),
        }
        for entry in entries
    ]
    series = {name: {"kept_until": moment} for name, moment in since.items()}
    listing = {"format_version": LISTING_VERSION, "checkpoints": rows, "series": series}
    return (json.dumps(listing, indent=1) + "\n").encode()


def decode_listing(content: bytes, where: str) -> Listed:
    """What a checkpoint.json says. Raises CheckpointCorrupt or CheckpointTooNew."""
    try:
        fields = json.loads(content)
        check_version(fields["format_version"], LISTING_VERSION, where)
        since = {series: float(row["kept_until"]) for series, row in fields.get("series", {}).items()}
        return Listed(tuple(_listed(row) for row in fields["checkpoints"]), since)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointCorrupt(f"{where} is damaged: {error!r}") from None


def scan(root: Path, disk: Disk) -> Found:
    """Look through the directory of all checkpoints. Reads every manifest, no values.

    checkpoint.json says which directories count. One that is whole but not listed counts too, unless its id is listed
    elsewhere: its save was cut short between the rename and the listing, or the listing itself was lost. What is half
    written, or was replaced, is a leftover. Directories that are none of ours are left alone.
    Raises CheckpointTooNew if anything there was written by a newer version.
    """
    names = disk.names(root)
    listing = _read_listing(root, disk) if LISTING in names else Listed()
    listed = {entry.directory: entry for entry in listing.entries}
    claims: dict[str, _Claims] = {}
    leftovers = [name for name in names if name.endswith(SAVING) and _is_ours(name.removesuffix(SAVING))]
    for name in names:
        if _OURS.fullmatch(name) is None:
            continue
        entry, whole = _inspect(root / name, listed.get(name), disk)
        if entry is None:
            leftovers += [] if whole else [name]
        elif name in listed:
            claims.setdefault(entry.id, _Claims()).listed.append(entry)
        else:
            claims.setdefault(entry.id, _Claims()).unlisted.append(entry)
    entries = []
    for claim in claims.values():
        chosen = newest_first(claim.listed or claim.unlisted)[0]
        entries.append(chosen)
        leftovers += [entry.directory for entry in (*claim.listed, *claim.unlisted) if entry is not chosen]
    gone = tuple(entry.id for name, entry in listed.items() if name not in names)
    return Found(newest_first(entries), tuple(sorted(leftovers)), gone, listing.since)


def _inspect(directory: Path, listed: Entry | None, disk: Disk) -> tuple[Entry | None, bool]:
    """The entry of a directory of ours, None if it is no checkpoint; and whether it has a manifest at all."""
    try:
        entry = entry_of(directory.name, read_manifest(directory, disk=disk))
        return replace(entry, kept=listed is not None and listed.kept), True
    except CheckpointError as error:
        absent = isinstance(error, CheckpointNotFound)
        if not absent and not is_damage(error):
            raise
        if listed is not None:
            return replace(listed, state="damaged", code=error.code, problem=error.detail), True
        return None, not absent


def _read_listing(root: Path, disk: Disk) -> Listed:
    try:
        content = read_file(disk, root / LISTING, limit_nbytes=MAX_LISTING_NBYTES)
        return decode_listing(content, str(root / LISTING))
    except CheckpointTooNew:
        raise
    except (CheckpointCorrupt, ValueError):
        # Every whole directory then counts by its own manifest: nothing is lost but the word on what was replaced, and on
        # what is kept for good.
        return Listed()


def _listed(row: Mapping[str, Any]) -> Entry:
    checkpoint_id, directory, sequence = row["id"], row["directory"], row["sequence"]
    if not isinstance(checkpoint_id, str) or type(sequence) is not int or not _is_ours(directory):
        raise ValueError(f"wanted an id, a directory and a sequence, got {row!r:.80}")
    return Entry(checkpoint_id, directory, sequence, None, kept=bool(row.get("kept")))


def _is_ours(name: str) -> bool:
    return name == LISTING or _OURS.fullmatch(name) is not None
