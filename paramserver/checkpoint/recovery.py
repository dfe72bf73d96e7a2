"""What a server does with its data directory before it takes requests."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from paramserver.checkpoint import data_dir
from paramserver.checkpoint.catalogue import (
    LISTING,
    MAX_LISTING_NBYTES,
    Entry,
    Found,
    encode_listing,
    newest_first,
    recovery_points,
    scan,
)
from paramserver.checkpoint.directory import remove_checkpoint
from paramserver.checkpoint.errors import CheckpointCorrupt, CheckpointError, is_damage
from paramserver.checkpoint.reading import Checkpoint, read_checkpoint
from paramserver.disk import SAVING, Disk, read_file, replace_file
from paramserver.store.store import Store

logger = logging.getLogger("paramserver.checkpoint")


@dataclass(frozen=True, slots=True)
class StartReport:
    """What a start did.

    `checkpoint` is the id that was restored, None for an empty start; `variables`, `nbytes` and `seconds` say how much
    and how long. `clean`: it was the last word of a clean shutdown, so incarnations were kept. `skipped` are the
    checkpoints that could not be used, as (id, reason). `swept` are the leftovers that were removed. `replayed` says what
    a journal added, in words; `is_complete` that nothing which was acknowledged can be missing.
    """

    checkpoint: str | None
    commit: int
    variables: int
    nbytes: int
    seconds: float
    clean: bool
    skipped: tuple[tuple[str, str], ...]
    swept: tuple[str, ...]
    replayed: str = ""
    is_complete: bool = False

    def __str__(self) -> str:
        """The report in a sentence or two, for people."""
        said = []
        if self.checkpoint is None:
            said.append("there is no checkpoint yet" if self.replayed else "started empty: there is no checkpoint yet")
        else:
            said.append(
                f"restored checkpoint {self.checkpoint!r} (commit {self.commit}, {self.variables} variables, "
                f"{self.nbytes} bytes) in {self.seconds:.2f} s"
            )
            if self.clean:
                said.append("after a clean shutdown")
            elif not self.replayed:
                said.append("what came after it, if anything, is lost")
        if self.replayed:
            said.append(self.replayed)
        return "; ".join([*said, *(f"skipped {id!r}: {reason}" for id, reason in self.skipped)])


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of the journal: whose it is, if it says so, what was done again, in words, and whether that is proven to
    be all that was ever acknowledged."""

    server: str | None = None
    told: str = ""
    is_proven: bool = False


class Log(Protocol):
    """A journal as checkpoints see it: it has what came after them."""

    @property
    def first_commit(self) -> int | None:
        """The oldest commit that it has, or would have; None when there is none."""

    @property
    def nbytes(self) -> int:
        """What was written to it since the start, and done again at it."""

    def replay(self, identity: data_dir.Identity | None, clean: bool) -> Replayed:
        """Do again what it has beyond the checkpoint in the store. `identity` says whose directory this is, if that is
        known, `clean` whether the checkpoint is the last word of a clean shutdown."""

    def forget_before(self, commit: int) -> None:
        """Let go of what has numbers below `commit`. Raises OSError."""

    def close(self) -> None:
        """Bring all of it to the disk and take no more."""


class NoLog:
    """Where there is no journal."""

    first_commit = None
    nbytes = 0

    def replay(self, identity: data_dir.Identity | None, clean: bool) -> Replayed:
        return Replayed()

    def forget_before(self, commit: int) -> None:
        return

    def close(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class Recovery:
    """What the manager goes on from. `last_word` is the checkpoint that equals the store, incarnations and all."""

    report: StartReport
    server: str
    entries: tuple[Entry, ...]
    since: Mapping[str, float]
    last_word: Entry | None


def recover(
    directory: Path,
    store: Store,
    disk: Disk,
    entropy: Callable[[int], bytes],
    monotonic: Callable[[], float] = time.monotonic,
    log: Log | None = None,
) -> Recovery:
    """Bring the store back from a locked data directory, then sweep. See `CheckpointManager.start`.

    A directory without its identity (lost, or damaged) takes that of its newest full checkpoint, or of its journal, so
    that it finds its own again.
    """
    began = monotonic()
    root = directory / data_dir.CHECKPOINTS
    known = data_dir.read_identity(directory, disk)
    found = scan(root, disk)
    server = known.server if known is not None else _server_of(found.entries)
    log = log or NoLog()
    entry, checkpoint, skipped = _newest_sound(root, found, server, store, disk, log)
    mark = data_dir.read_clean_mark(directory, disk)
    clean = entry is not None and entry.directory == mark
    if checkpoint is not None:
        store.load(checkpoint.snapshot)
    commit, seconds = store.commit, monotonic() - began
    replayed = log.replay(known or (data_dir.Identity(server) if server is not None else None), clean)
    is_complete = clean or replayed.is_proven
    if not is_complete:
        store.renew_incarnations()
    # Nothing was changed up to here, so that a start that is refused leaves all as it was.
    server = server or replayed.server or entropy(8).hex()
    if mark is not None:
        data_dir.remove_clean_mark(directory, disk)
    if known is None:
        data_dir.write_identity(directory, data_dir.Identity(server), disk)
    swept = _sweep(root, found.leftovers, disk)
    _list(root, found, disk)
    report = StartReport(
        checkpoint=None if entry is None else entry.id,
        commit=commit,
        variables=0 if checkpoint is None else len(checkpoint.snapshot.variables),
        nbytes=0 if checkpoint is None else checkpoint.snapshot.nbytes,
        seconds=seconds,
        clean=clean,
        skipped=skipped,
        swept=swept,
        replayed=replayed.told,
        is_complete=is_complete,
    )
    last_word = entry if clean and store.commit == commit else None
    return Recovery(report, server, found.entries, found.since, last_word)


def _newest_sound(
    root: Path, found: Found, server: str | None, store: Store, disk: Disk, log: Log
) -> tuple[Entry | None, Checkpoint | None, tuple[tuple[str, str], ...]]:
    points = recovery_points(found.entries, server or "")
    skipped = [(id, "its directory is gone") for id in found.gone]
    for entry in newest_first(found.entries):
        if entry.summary is None:
            skipped.append((entry.id, entry.problem))
        elif entry.summary.about.full and entry not in points:
            skipped.append((entry.id, "another server wrote it; restore it by request if it is wanted"))
        if entry not in points:
            continue
        try:
            checkpoint = read_checkpoint(root / entry.directory, disk=disk, allocate=store.pool.empty)
            return entry, checkpoint, tuple(skipped)
        except CheckpointError as error:
            if not is_damage(error):
                raise
            skipped.append((entry.id, error.detail))
    if (any(entry.summary is None for entry in found.entries) or points) and log.first_commit != 1:
        told = "; ".join(f"{id!r}: {reason}" for id, reason in skipped)
        raise CheckpointCorrupt(
            f"no full checkpoint in {root} is sound ({told}); bring one back from a backup, or move the data directory "
            "away to start empty"
        )
    return None, None, tuple(skipped)


def _server_of(entries: tuple[Entry, ...]) -> str | None:
    for entry in newest_first(entries):
        if entry.summary is not None and entry.summary.about.full and entry.summary.about.server:
            return entry.summary.about.server
    return None


def _list(root: Path, found: Found, disk: Disk) -> None:
    """Bring checkpoint.json up to what was found; a disk that is full does not matter while it says so already."""
    content = encode_listing(found.entries, found.since)
    try:
        listed = read_file(disk, root / LISTING, limit_nbytes=MAX_LISTING_NBYTES)
    except (FileNotFoundError, ValueError):
        listed = None
    if content != listed and (found.entries or listed is not None):
        replace_file(disk, root / LISTING, content)


def _sweep(root: Path, leftovers: tuple[str, ...], disk: Disk) -> tuple[str, ...]:
    swept = []
    for name in leftovers:
        try:
            if name == LISTING + SAVING:
                disk.remove(root / name)
            else:
                remove_checkpoint(root / name, disk=disk)
        except OSError as error:
            # It takes room and does no harm: no reason to stay down.
            logger.warning("leftover %s could not be removed: %s", root / name, error)
        else:
            swept.append(name)
    return tuple(swept)
