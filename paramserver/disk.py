"""All that checkpoints and the journal ask of a file system, in one object that tests can replace. Every method may raise
OSError."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Final

_MAX_PARTS: Final = 1024

SAVING: Final = ".saving"
"""Ends the name of everything that is being written; what still bears it at a start is a leftover."""


class Disk:
    """The real disk. Nothing is certain to be on it before `sync` (content) and `sync_directory` (names)."""

    def make_directory(self, path: Path) -> None:
        os.mkdir(path)

    def create(self, path: Path) -> FileIO:
        """A new, empty, unbuffered file to be written and read; an older one of that name is emptied."""
        return FileIO(path, "w+")

    def write(self, file: FileIO, data: bytes | memoryview) -> None:
        """Write all of `data`."""
        view = memoryview(data)
        while view.nbytes:
            view = view[file.write(view) :]

    def open_to_change(self, path: Path) -> FileIO:
        """An existing file, unbuffered, to be read and written anywhere."""
        return FileIO(path, "r+")

    def allocate(self, file: FileIO, nbytes: int) -> None:
        """Make room for the first `nbytes` of a file now, so that writing them cannot find the disk full."""
        os.posix_fallocate(file.fileno(), 0, nbytes)

    def write_at(self, file: FileIO, parts: Sequence[bytes | memoryview], offset: int) -> None:
        """Write all parts, one behind the other, from `offset` on."""
        views = [memoryview(part) for part in parts]
        first = 0
        while first < len(views):
            written = os.pwritev(file.fileno(), views[first : first + _MAX_PARTS], offset)
            offset += written
            while first < len(views) and written >= views[first].nbytes:
                written -= views[first].nbytes
                first += 1
            if written:
                views[first] = views[first][written:]

    def sync_data(self, file: FileIO) -> None:
        """As `sync`, of a file whose length has not changed."""
        os.fdatasync(file.fileno())

    def sync(self, file: FileIO) -> None:
        os.fsync(file.fileno())

    def sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give `source` another name, atomically; a file of that name is replaced."""
        os.replace(source, target)

    def remove(self, path: Path) -> None:
        os.unlink(path)

    def remove_directory(self, path: Path) -> None:
        os.rmdir(path)

    def names(self, path: Path) -> list[str]:
        return sorted(os.listdir(path))

    def open(self, path: Path) -> FileIO:
        return FileIO(path, "r")

    def read_at(self, file: FileIO, buffer: memoryview, offset: int) -> int:
        """Fill the buffer from `offset` on; fewer bytes only where the file ends."""
        filled = 0
        while filled < buffer.nbytes:
            got = os.preadv(file.fileno(), [buffer[filled:]], offset + filled)
            if not got:
                break
            filled += got
        return filled

    def free_nbytes(self, path: Path) -> int:
        """What may still be written below `path`."""
        return shutil.disk_usage(path).free

    def nbytes(self, file: FileIO) -> int:
        return os.fstat(file.fileno()).st_size

    def read_into(self, file: FileIO, buffer: memoryview) -> int:
        """Fill the buffer; fewer bytes only where the file ends."""
        filled = 0
        while filled < buffer.nbytes:
            got = file.readinto(buffer[filled:])
            if not got:
                break
            filled += got
        return filled


def replace_file(disk: Disk, path: Path, data: bytes) -> None:
    """Write a small file whole or not at all: beside it, synced, renamed, its directory synced."""
    beside = path.with_name(path.name + SAVING)
    try:
        with disk.create(beside) as file:
            disk.write(file, data)
            disk.sync(file)
        disk.rename(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            disk.remove(beside)
        raise
    disk.sync_directory(path.parent)


def read_file(disk: Disk, path: Path, *, limit_nbytes: int) -> bytes:
    """A whole file. Raises OSError, and ValueError when it is larger than `limit_nbytes`."""
    with disk.open(path) as file:
        nbytes = disk.nbytes(file)
        if nbytes > limit_nbytes:
            raise ValueError(f"{path} has {nbytes} bytes, more than the {limit_nbytes} it can have; it is not ours")
        content = bytearray(nbytes)
        return bytes(memoryview(content)[: disk.read_into(file, memoryview(content))])


def remove_tree(disk: Disk, directory: Path, *, first: str | None = None) -> None:
    """Remove a directory of plain files; the file `first` goes before the others, for good."""
    names = disk.names(directory)
    if first in names:
        disk.remove(directory / first)
        disk.sync_directory(directory)
        names.remove(first)
    for name in names:
        disk.remove(directory / name)
    disk.remove_directory(directory)
