"""Disks that fail: with an error at a chosen step, or by losing power, with all that was not synced."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from paramserver.disk import Disk


class PowerCut(BaseException):
    """The machine is gone. Not an Exception: nobody may catch it and go on."""


class CountingDisk(Disk):
    """Counts the steps that change the disk, and calls `at_step(number)` before each."""

    def __init__(self) -> None:
        self.steps = 0

    def at_step(self, number: int) -> None:
        """For a subclass to fail in."""

    def _step(self) -> None:
        self.steps += 1
        self.at_step(self.steps)

    def make_directory(self, path: Path) -> None:
        self._step()
        super().make_directory(path)

    def create(self, path: Path) -> FileIO:
        self._step()
        return super().create(path)

    def write(self, file: FileIO, data: bytes | memoryview) -> None:
        self._step()
        super().write(file, data)

    def sync(self, file: FileIO) -> None:
        self._step()
        super().sync(file)

    def sync_directory(self, path: Path) -> None:
        self._step()
        super().sync_directory(path)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        self._step()
        super().remove(path)

    def remove_directory(self, path: Path) -> None:
        self._step()
        super().remove_directory(path)


class FailingDisk(CountingDisk):
    """Raises `OSError(code)` at step `first`, and at all later ones too if `for_ever`; heals when `first` is None."""

    def __init__(self, first: int | None = None, code: int = errno.ENOSPC, *, for_ever: bool = False) -> None:
        super().__init__()
        self.first = first
        self.code = code
        self.for_ever = for_ever

    def at_step(self, number: int) -> None:
        if self.first is not None and (number == self.first or (self.for_ever and number > self.first)):
            raise OSError(self.code, os.strerror(self.code))


@dataclass(slots=True)
class Pending:
    """A change of names in `directory` that is not synced, and how to take it back there."""

    directory: Path
    undo: Callable[[Path], object]
    moved: tuple[Path, Path] | None = None


class PowerCutDisk(CountingDisk):
    """Loses power before step `last + 1`. `lose` then brings about what the platters may look like after it.

    A real file system may have written any part of what was not synced. We look at the two ends: all of it
    (`lose` is not called), or none: files that were not synced keep half of their bytes, and names that were not
    synced are as they were.
    """

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last = last
        self._pending: list[Pending] = []
        self._unsynced: set[int] = set()

    def at_step(self, number: int) -> None:
        if number > self.last:
            raise PowerCut

    def lose(self, root: Path) -> None:
        for change in reversed(self._pending):
            # Where a directory is gone for certain, so is all that was in it.
            if change.directory.exists():
                change.undo(change.directory)
        for path in root.rglob("*"):
            if path.is_file() and path.stat().st_ino in self._unsynced:
                os.truncate(path, path.stat().st_size // 2)

    def make_directory(self, path: Path) -> None:
        super().make_directory(path)
        self._pending.append(Pending(path.parent, lambda directory: shutil.rmtree(directory / path.name)))

    def create(self, path: Path) -> FileIO:
        existed = path.exists()
        file = super().create(path)
        self._unsynced.add(os.fstat(file.fileno()).st_ino)
        if not existed:
            self._pending.append(Pending(path.parent, lambda directory: (directory / path.name).unlink()))
        return file

    def sync(self, file: FileIO) -> None:
        super().sync(file)
        self._unsynced.discard(os.fstat(file.fileno()).st_ino)

    def sync_directory(self, path: Path) -> None:
        super().sync_directory(path)
        for change in self._pending:
            if change.directory == path and change.moved is not None:
                self._follow(*change.moved)
        self._pending = [change for change in self._pending if change.directory != path]

    def rename(self, source: Path, target: Path) -> None:
        before = target.read_bytes() if target.is_file() else None
        super().rename(source, target)

        def undo(directory: Path) -> None:
            (directory / target.name).rename(directory / source.name)
            if before is not None:
                (directory / target.name).write_bytes(before)

        self._pending.append(Pending(target.parent, undo, (source, target)))

    def remove(self, path: Path) -> None:
        before = path.read_bytes()
        super().remove(path)
        self._pending.append(Pending(path.parent, lambda directory: (directory / path.name).write_bytes(before)))

    def remove_directory(self, path: Path) -> None:
        super().remove_directory(path)
        self._pending.append(Pending(path.parent, lambda directory: (directory / path.name).mkdir()))

    def _follow(self, source: Path, target: Path) -> None:
        """A directory bears its new name for certain: what is not synced inside it is to be found there."""
        for change in self._pending:
            if change.directory == source:
                change.directory = target
