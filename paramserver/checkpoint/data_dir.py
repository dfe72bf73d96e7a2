"""The data directory itself: its lock, its identity, and the mark of a clean shutdown.

data/  LOCK  MANIFEST  CLEAN  checkpoints/  wal/
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from paramserver.checkpoint.errors import DataDirInUse
from paramserver.checkpoint.format import check_version
from paramserver.disk import Disk, read_file, replace_file
from paramserver_wire.checksum import crc32

LOCK: Final = "LOCK"
IDENTITY: Final = "MANIFEST"
CLEAN: Final = "CLEAN"
CHECKPOINTS: Final = "checkpoints"
IDENTITY_VERSION: Final = 1
_MAX_NBYTES: Final = 1 << 16


class Lock:
    """Keeps other servers out of a data directory for as long as it is held; ends with the process, however it ends."""

    def __init__(self, path: Path) -> None:
        """Take the lock at once. Raises DataDirInUse, naming the holder, or OSError."""
        self._descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise DataDirInUse(
                f"{path} is used by another server (process {holder}); stop that one, or give this one its own data directory"
            ) from None
        # The process number only helps a message: a full disk must not keep the server from starting to read.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._descriptor)


def make_directories(path: Path) -> Path:
    """Create the data directory where it is missing, and return that of the checkpoints in it."""
    checkpoints = path / CHECKPOINTS
    os.makedirs(checkpoints, exist_ok=True)
    return checkpoints


@dataclass(frozen=True, slots=True)
class Identity:
    """Which data directory it is, as 16 hex digits, and whether there is a journal in it."""

    server: str
    journal: bool = False


def read_identity(path: Path, disk: Disk) -> Identity | None:
    """Which data directory this is; None for a new one, or when the file was lost.

    Raises CheckpointTooNew when a newer version has laid it out.
    """
    fields = _read(path / IDENTITY, disk)
    if fields is None:
        return None
    check_version(fields.get("format_version"), IDENTITY_VERSION, str(path / IDENTITY))
    return Identity(str(fields["server"]), bool(fields.get("journal", False)))


def write_identity(path: Path, identity: Identity, disk: Disk) -> None:
    """Settle which data directory this is."""
    _write(path / IDENTITY, {"format_version": IDENTITY_VERSION, **asdict(identity)}, disk)


def read_clean_mark(path: Path, disk: Disk) -> str | None:
    """The checkpoint directory that the last server left as its very last word, None after a crash."""
    fields = _read(path / CLEAN, disk)
    return None if fields is None else str(fields["directory"])


def remove_clean_mark(path: Path, disk: Disk) -> None:
    """From now on things may happen that the checkpoint does not know: the mark is gone for good before this returns."""
    disk.remove(path / CLEAN)
    disk.sync_directory(path)


def put_clean_mark(path: Path, directory: str, disk: Disk) -> None:
    """Say that nothing happened after the checkpoint in `directory`."""
    _write(path / CLEAN, {"directory": directory}, disk)


def _read(path: Path, disk: Disk) -> dict[str, Any] | None:
    """What `_write` wrote; None if there is nothing, or if it is damaged, for one wrong digit would be another identity."""
    try:
        content = read_file(disk, path, limit_nbytes=_MAX_NBYTES)
    except (FileNotFoundError, ValueError):
        return None
    text, _, checksum = content.rstrip(b"\n").rpartition(b"\n")
    if checksum != _checksum(text):
        return None
    fields: dict[str, Any] = json.loads(text)
    return fields


def _write(path: Path, fields: dict[str, Any], disk: Disk) -> None:
    text = json.dumps(fields).encode()
    replace_file(disk, path, text + b"\n" + _checksum(text) + b"\n")


def _checksum(text: bytes) -> bytes:
    return f"crc32 {crc32(text):08x}".encode()
