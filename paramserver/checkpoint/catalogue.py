"""Which checkpoints a data directory holds, and which of them are to go. Decisions are pure; `scan` reads the disk."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from paramserver.checkpoint.disk import SAVING, Disk, read_file
from paramserver.checkpoint.errors import (
    CheckpointCorrupt,
    CheckpointError,
    CheckpointNotFound,
    CheckpointTooNew,
    is_damage,
)
from paramserver.checkpoint.format import About, Manifest, SavedFile, check_version
from paramserver.checkpoint.reading import read_manifest

LISTING: Final = "checkpoint.json"
LISTING_VERSION: Final = 1
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

    Without a `summary` its manifest could not be read; `problem` says why.
    """

    id: str
    directory: str
    sequence: int
    summary: Summary | None
    problem: str = ""

    def is_full(self, server: str) -> bool:
        """Whether it can bring this server back: it holds everything, and this server wrote it."""
        return self.summary is not None and self.summary.about.full and self.summary.about.server == server

    def info(self) -> dict[str, Any]:
        """What a request about the checkpoint is answered."""
        if self.summary is None:
            nothing: dict[str, Any] = {
                "commit": 0,
                "step": None,
                "created": 0.0,
                "nbytes": 0,
                "variables": 0,
                "files": [],
            }
            return {"id": self.id, "state": "damaged", "detail": self.problem, **nothing}
        about = self.summary.about
        return {
            "id": self.id,
            "state": "complete",
            "commit": self.summary.commit,
            "step": about.step,
            "created": about.created,
            "nbytes": sum(file.nbytes for file in self.summary.files),
            "variables": self.summary.variables,
            "skipped": list(self.summary.skipped),
            "files": [{"name": file.name, "nbytes": file.nbytes, "sha256": file.sha256} for file in self.summary.files],
            "series": about.series,
            "full": about.full,
            "metadata": dict(about.metadata),
        }


@dataclass(frozen=True, slots=True)
class Found:
    """What `scan` found: checkpoints newest first, names of leftovers, and the directories that are listed but gone."""

    entries: tuple[Entry, ...] = ()
    leftovers: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass(slots=True)
class _Claims:
    """The directories that want to be the checkpoint of one id."""

    listed: list[Entry] = field(default_factory=list)
    unlisted: list[Entry] = field(default_factory=list)


def entry_of(directory: str, manifest: Manifest) -> Entry:
    """The entry of a checkpoint whose manifest was read or written."""
    values = [variable for variable in manifest.variables.values() if variable.initialized]
    skipped = tuple(name for name, variable in manifest.variables.items() if not variable.initialized)
    summary = Summary(manifest.about, manifest.commit, len(values), skipped, manifest.files)
    return Entry(manifest.about.id, directory, manifest.about.sequence, summary)


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


def to_retire(
    entries: Iterable[Entry], series: str, max_to_keep: int, *, server: str, spared: Collection[str] = ()
) -> list[Entry]:
    """The checkpoints of a series beyond its newest `max_to_keep` (0: none); never the newest full one of the server,
    of whatever series, and none of the ids that are `spared`."""
    ordered = newest_first(entries)
    points = recovery_points(ordered, server)
    of_series = [entry for entry in ordered if entry.summary is not None and entry.summary.about.series == series]
    beyond = of_series[max_to_keep:] if max_to_keep else []
    return [entry for entry in beyond if entry not in points[:1] and entry.id not in spared]


def encode_listing(entries: Sequence[Entry]) -> bytes:
    """The bytes of checkpoint.json, newest first."""
    rows = [{"id": entry.id, "directory": entry.directory, "sequence": entry.sequence} for entry in entries]
    return (json.dumps({"format_version": LISTING_VERSION, "checkpoints": rows}, indent=1) + "\n").encode()


def decode_listing(content: bytes, where: str) -> list[Entry]:
    """The entries of a checkpoint.json, without their summaries. Raises CheckpointCorrupt or CheckpointTooNew."""
    try:
        fields = json.loads(content)
        check_version(fields["format_version"], LISTING_VERSION, where)
        return [_listed(row) for row in fields["checkpoints"]]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointCorrupt(f"{where} is damaged: {error!r}") from None


def scan(root: Path, disk: Disk) -> Found:
    """Look through the directory of all checkpoints. Reads every manifest, no values.

    checkpoint.json says which directories count. One that is whole but not listed counts too, unless its id is listed
    elsewhere: its save was cut short between the rename and the listing, or the listing itself was lost. What is half
    written, or was replaced, is a leftover. Directories that are none of ours are left alone.
    Raises CheckpointTooNew if anything there was written by a newer version.
    """
    names = disk.names(root)
    listed = {entry.directory: entry for entry in _read_listing(root, disk)} if LISTING in names else {}
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
    return Found(newest_first(entries), tuple(sorted(leftovers)), gone)


def _inspect(directory: Path, listed: Entry | None, disk: Disk) -> tuple[Entry | None, bool]:
    """The entry of a directory of ours, None if it is no checkpoint; and whether it has a manifest at all."""
    try:
        return entry_of(directory.name, read_manifest(directory, disk=disk)), True
    except CheckpointError as error:
        absent = isinstance(error, CheckpointNotFound)
        if not absent and not is_damage(error):
            raise
        if listed is not None:
            return Entry(listed.id, listed.directory, listed.sequence, None, error.detail), True
        return None, not absent


def _read_listing(root: Path, disk: Disk) -> list[Entry]:
    try:
        content = read_file(disk, root / LISTING, limit_nbytes=MAX_LISTING_NBYTES)
        return decode_listing(content, str(root / LISTING))
    except CheckpointTooNew:
        raise
    except (CheckpointCorrupt, ValueError):
        # Every whole directory then counts by its own manifest: nothing is lost but the word on what was replaced.
        return []


def _listed(row: Mapping[str, Any]) -> Entry:
    checkpoint_id, directory, sequence = row["id"], row["directory"], row["sequence"]
    if not isinstance(checkpoint_id, str) or type(sequence) is not int or not _is_ours(directory):
        raise ValueError(f"wanted an id, a directory and a sequence, got {row!r:.80}")
    return Entry(checkpoint_id, directory, sequence, None)


def _is_ours(name: str) -> bool:
    return name == LISTING or _OURS.fullmatch(name) is not None
