"""A look at checkpoints from outside: nothing is changed, and a server may be at work in the data directory meanwhile."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from paramserver.checkpoint import data_dir
from paramserver.checkpoint.catalogue import Entry, recovery_points, scan
from paramserver.checkpoint.errors import CheckpointCorrupt, disk_trouble
from paramserver.checkpoint.format import Manifest
from paramserver.checkpoint.reading import each_value, open_file, read_manifest
from paramserver.disk import Disk


@dataclass(frozen=True, slots=True)
class Survey:
    """What is in a data directory.

    `server` is its identity, None for a new one. `holder` is the process of the server that has it now, "unknown" if it
    does not say, None if there is none. `entries` are the checkpoints, newest first; `leftovers` are names that the next
    start sweeps away; `gone` are ids that are listed but not there. `journal` says whether there should be one, and `clean`
    whether the last server stopped cleanly, so that nothing but its last checkpoint is needed.
    """

    server: str | None
    holder: str | None
    entries: tuple[Entry, ...]
    leftovers: tuple[str, ...]
    gone: tuple[str, ...]
    journal: bool = False
    clean: bool = False

    @property
    def recovery_points(self) -> list[Entry]:
        """The checkpoints that can bring this server back, newest first."""
        return recovery_points(self.entries, self.server or "")


def survey(path: Path, disk: Disk | None = None) -> Survey:
    """What is in the data directory `path`. Reads every manifest and no values.

    Raises `CheckpointError` for a directory that cannot be read, `CheckpointTooNew` for one of a newer version.
    """
    disk = disk or Disk()
    with disk_trouble(f"reading {path}"):
        identity = data_dir.read_identity(path, disk)
        server = None if identity is None else identity.server
        root = path / data_dir.CHECKPOINTS
        found = scan(root, disk) if data_dir.CHECKPOINTS in disk.names(path) else None
        holder = holder_of(path)
        clean = data_dir.read_clean_mark(path, disk) is not None
    journal = identity is not None and identity.journal
    if found is None:
        return Survey(server, holder, (), (), (), journal, clean)
    return Survey(server, holder, found.entries, found.leftovers, found.gone, journal, clean)


def is_data_directory(path: Path) -> bool:
    """Whether a server has used this directory as its data directory."""
    return any((path / name).exists() for name in (data_dir.IDENTITY, data_dir.LOCK, data_dir.CHECKPOINTS))


def holder_of(path: Path) -> str | None:
    """The process of the server that has this data directory, as it wrote it down; None if nobody has it.

    It asks for the lock and lets go of it at once: a server that starts in this very moment is refused.
    """
    try:
        descriptor = os.open(path / data_dir.LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
    else:
        return None
    finally:
        os.close(descriptor)


def verify(directory: Path, manifest: Manifest | None = None, disk: Disk | None = None) -> list[str]:
    """Read a whole checkpoint and say all that is damaged in it, each with its file and variable; nothing when sound.

    It takes memory for the largest variable. Raises `CheckpointError` when the disk, not the checkpoint, is at fault.
    """
    disk = disk or Disk()
    try:
        manifest = manifest or read_manifest(directory, disk=disk)
    except CheckpointCorrupt as error:
        return [error.detail]
    try:
        _check_index(directory, manifest, disk)
        for _ in each_value(directory, manifest, disk=disk):
            pass
    except CheckpointCorrupt as error:
        # The first damage ended that; one variable after the other finds the rest.
        return list(dict.fromkeys([error.detail, *_damage_by_variable(directory, manifest, disk)]))
    return []


def _check_index(directory: Path, manifest: Manifest, disk: Disk) -> None:
    """No restore reads the index, which is for other programs; so only this looks at it."""
    for saved in manifest.files:
        if saved not in manifest.model_files:
            with open_file(directory, saved, disk=disk) as file, disk_trouble(f"reading {saved.name}"):
                if sha256(file.readall()).hexdigest() != saved.sha256:
                    raise CheckpointCorrupt(
                        f"{directory / saved.name} is damaged: it does not match its checksum; a restore does without "
                        "it, other programs do not: save the checkpoint again for them"
                    )


def _damage_by_variable(directory: Path, manifest: Manifest, disk: Disk) -> Iterator[str]:
    for name, variable in manifest.variables.items():
        if variable.initialized:
            try:
                for _ in each_value(directory, manifest, [name], disk=disk):
                    pass
            except CheckpointCorrupt as error:
                yield error.detail
