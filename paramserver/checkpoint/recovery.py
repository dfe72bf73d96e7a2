"""What a server does with its data directory before it takes requests."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

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
from paramserver.checkpoint.disk import SAVING, Disk, read_file, replace_file
from paramserver.checkpoint.errors import CheckpointCorrupt, CheckpointError, is_damage
from paramserver.checkpoint.reading import Checkpoint, read_checkpoint
from paramserver.store.store import Store

logger = logging.getLogger("paramserver.checkpoint")


@dataclass(frozen=True, slots=True)
class StartReport:
    """What a start did.

    `checkpoint` is the id that was restored, None for an empty start; `variables`, `nbytes` and `seconds` say how much
    and how long. `clean`: it was the last word of a clean shutdown, so incarnations were kept. `skipped` are the
    checkpoints that could not be used, as (id, reason). `swept` are the leftovers that were removed.
    """

    checkpoint: str | None
    commit: int
    variables: int
    nbytes: int
    seconds: float
    clean: bool
    skipped: tuple[tuple[str, str], ...]
    swept: tuple[str, ...]

    def __str__(self) -> str:
        """The report in a sentence or two, for people."""
        if self.checkpoint is None:
            said = "started empty: there is no checkpoint yet"
        else:
            how = "after a clean shutdown" if self.clean else "what came after it, if anything, is lost"
            said = (
                f"restored checkpoint {self.checkpoint!r} (commit {self.commit}, {self.variables} variables, "
                f"{self.nbytes} bytes) in {self.seconds:.2f} s; {how}"
            )
        return "; ".join([said, *(f"skipped {id!r}: {reason}" for id, reason in self.skipped)])


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
) -> Recovery:
    """Bring the store back from a locked data directory, then sweep. See `CheckpointManager.start`.

    A directory without its identity (lost, or damaged) takes that of its newest full checkpoint, so that it finds its
    own again.
    """
    began = monotonic()
    root = directory / data_dir.CHECKPOINTS
    known = data_dir.read_identity(directory, disk)
    found = scan(root, disk)
    server = known or _server_of(found.entries) or entropy(8).hex()
    clean_directory = data_dir.take_clean_mark(directory, disk)
    entry, checkpoint, skipped = _newest_sound(root, found, server, store, disk)
    clean = entry is not None and entry.directory == clean_directory
    if checkpoint is not None:
        store.load(checkpoint.snapshot, keep_incarnations=clean)
    if known is None:
        data_dir.write_identity(directory, server, disk)
    swept = _sweep(root, found.leftovers, disk)
    _list(root, found, disk)
    report = StartReport(
        checkpoint=None if entry is None else entry.id,
        commit=store.commit,
        variables=0 if checkpoint is None else len(checkpoint.snapshot.variables),
        nbytes=0 if checkpoint is None else checkpoint.snapshot.nbytes,
        seconds=monotonic() - began,
        clean=clean,
        skipped=skipped,
        swept=swept,
    )
    return Recovery(report, server, found.entries, found.since, entry if clean else None)


def _newest_sound(
    root: Path, found: Found, server: str, store: Store, disk: Disk
) -> tuple[Entry | None, Checkpoint | None, tuple[tuple[str, str], ...]]:
    points = recovery_points(found.entries, server)
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
    if any(entry.summary is None for entry in found.entries) or points:
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
