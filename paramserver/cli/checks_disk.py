"""What can be said about a data directory: whether it can be used, what a start would restore, whether there is room."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from paramserver.cli.checks_journal import check_journal
from paramserver.cli.findings import Finding
from paramserver.cli.showing import age_text, count_text, size_text

if TYPE_CHECKING:
    from paramserver.checkpoint import Survey
    from paramserver.settings import Settings

# A little is always needed: for the listing, the marks and the locks.
LEAST_FREE_NBYTES: Final = 64_000_000


def check_data_directory(settings: Settings, *, verify: bool) -> Iterator[Finding]:
    """Whether the data directory can be used, who has it, what a start would restore, and whether there is room."""
    from paramserver.checkpoint import CheckpointError, survey

    path = settings.data_dir
    if path is None:
        yield Finding(
            "data directory", "warn", "none: no value survives the process", "give --data-dir to keep checkpoints"
        )
        return
    existing = next((parent for parent in (path, *path.parents) if parent.exists()), path)
    if not existing.is_dir():
        yield Finding("data directory", "problem", f"{existing} is no directory", "choose another --data-dir")
        return
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(
            "data directory",
            "problem",
            f"{existing} cannot be read and written by this user (uid {os.getuid()})",
            f"run: chown {os.getuid()} {existing}, or choose another --data-dir",
        )
        return
    if existing != path:
        yield Finding("data directory", "ok", f"{path} is not there yet; the first start makes it")
        yield _room(existing, 0, settings.min_free_disk_nbytes)
        return
    try:
        found = survey(path)
    except CheckpointError as error:
        yield Finding("data directory", "problem", str(error), "bring it back from a backup, or use a newer version")
        return
    yield from _surveyed(path, found, settings.min_free_disk_nbytes, verify=verify)
    yield from check_journal(path, found, verify=verify)


def _surveyed(path: Path, found: Survey, kept_free_nbytes: int, *, verify: bool) -> Iterator[Finding]:
    held = "" if found.holder is None else f", in use by process {found.holder}"
    yield Finding("data directory", "ok", f"{path}{held}")
    if found.server is None and found.entries:
        yield Finding(
            "identity",
            "warn",
            f"{path / 'MANIFEST'} is missing or damaged",
            "nothing to do: the next start takes the identity of the newest full checkpoint",
        )
    damage = _damage(path, found, verify=verify)
    sound = [entry for entry in found.entries if entry.id not in damage]
    start = next((entry for entry in found.recovery_points if entry.id not in damage), None)
    for id, told in damage.items():
        yield Finding(
            "checkpoint",
            "warn" if start else "problem",
            f"{id} is damaged: {told}",
            f"run: paramserver checkpoints --delete {id}; {start.id} is sound and what a start restores"
            if start
            else "bring a checkpoint back from a backup: no full one here is sound",
        )
    if start is not None and start.summary is not None:
        nbytes = start.info()["nbytes"]
        age = age_text(max(0.0, datetime.now(UTC).timestamp() - start.summary.about.created))
        checked = "every checksum matches" if verify else "sizes match; --verify reads all of it"
        yield Finding(
            "checkpoints",
            "ok",
            f"{count_text(len(sound), 'sound checkpoint')}; a start restores {start.id} ({size_text(nbytes)}, {age} old, "
            f"{checked})",
        )
        yield _room(path, nbytes, kept_free_nbytes)
        return
    if not damage:
        yield Finding("checkpoints", "ok", "none yet: a start is empty")
    yield _room(path, 0, kept_free_nbytes)


def _damage(path: Path, found: Survey, *, verify: bool) -> dict[str, str]:
    """What is wrong with each checkpoint: its manifest, the sizes of its files, and its values if they are to be read."""
    from paramserver.checkpoint import verify as read_all

    damage = {}
    for entry in found.entries:
        directory = path / "checkpoints" / entry.directory
        if entry.summary is None:
            damage[entry.id] = entry.problem
        elif verify:
            told = read_all(directory)
            if told:
                damage[entry.id] = "; ".join(told)
        else:
            for file in entry.summary.files:
                nbytes = (directory / file.name).stat().st_size if (directory / file.name).exists() else None
                if nbytes != file.nbytes:
                    got = "no file" if nbytes is None else f"{nbytes:,} bytes"
                    damage[entry.id] = f"{directory / file.name}: wanted {file.nbytes:,} bytes, got {got}"
    return damage


def _room(path: Path, next_nbytes: int, kept_free_nbytes: int) -> Finding:
    """Whether changes are taken, and whether the next checkpoint fits: it is written before an older one goes."""
    free = shutil.disk_usage(path).free
    needed = max(next_nbytes, kept_free_nbytes, LEAST_FREE_NBYTES)
    text = f"{size_text(free)} free; the next full checkpoint takes about {size_text(next_nbytes)}"
    if free < kept_free_nbytes:
        told = f"{size_text(free)} free, less than the {size_text(kept_free_nbytes)} of --min-free-disk-nbytes"
        return Finding("disk", "problem", f"{told}: changes are refused", "make room; it heals by itself")
    if free < needed:
        return Finding("disk", "problem", text, "make room: saving would fail with disk_full")
    if free < 3 * needed:
        return Finding("disk", "warn", text, "make room soon, or lower --max-to-keep")
    return Finding("disk", "ok", text if next_nbytes else f"{size_text(free)} free")
