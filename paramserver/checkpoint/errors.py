"""What can go wrong with checkpoints, one class per problem code.

    CheckpointError (internal)
     ├─ CheckpointNotFound, CheckpointBusy, NoDataDir
     ├─ CheckpointCorrupt
     │   └─ CheckpointTooNew      sound, but of a format this version does not know
     ├─ DiskFull
     └─ DataDirInUse              (internal) another server has the data directory

Requests that do not fit the store (`invalid_request`, `uninitialized`, `checkpoint_incompatible`) are the store's errors.
After any of these the newest checkpoint is the one that was newest before, and the store is as it was.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class CheckpointError(Exception):
    """A checkpoint could not be written, read or removed. `code` is stable; `str(error)` is the detail."""

    code: ClassVar[str] = "internal"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class CheckpointNotFound(CheckpointError):
    code = "checkpoint_not_found"


class CheckpointBusy(CheckpointError):
    code = "checkpoint_busy"


class NoDataDir(CheckpointError):
    code = "no_data_dir"


class CheckpointCorrupt(CheckpointError):
    code = "checkpoint_corrupt"


class CheckpointTooNew(CheckpointCorrupt):
    """Written by a newer version: nothing is wrong with it, but reading it here could get it wrong."""


class DiskFull(CheckpointError):
    code = "disk_full"


class DataDirInUse(CheckpointError):
    """Another server holds the data directory's lock."""


def is_damage(error: CheckpointError) -> bool:
    """Whether the checkpoint itself is at fault. No permission, no memory, or a newer format is no reason to take an
    older checkpoint instead."""
    cause = error.__cause__
    unreadable = isinstance(cause, OSError) and cause.errno == errno.EIO
    return unreadable or (isinstance(error, CheckpointCorrupt) and not isinstance(error, CheckpointTooNew))


@contextmanager
def disk_trouble(doing: str) -> Iterator[None]:
    """Tell an OSError as a `DiskFull` or `CheckpointError` that says what we were `doing`."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"the disk is full while {doing}{where}; nothing was changed. Make room, or delete checkpoints, and retry"
            ) from error
        raise CheckpointError(
            f"the disk refused while {doing}{where}: {error.strerror or error}; nothing was changed. "
            "Check the disk and the permissions of the data directory, and retry"
        ) from error
