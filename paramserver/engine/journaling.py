"""The journal of an engine's data directory: found, done again, begun, shortened, closed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

import numpy as np

from paramserver import VERSION
from paramserver.checkpoint import CheckpointManager, Identity, Replayed
from paramserver.disk import Disk
from paramserver.engine.machine import memory_nbytes
from paramserver.journal import (
    LARGEST_NBYTES,
    QUICK_NBYTES,
    WAL,
    Journal,
    JournalCorrupt,
    JournalReport,
    Progress,
    Shelf,
    recover,
    segment_paths,
)
from paramserver.store import Publisher, Store

Durability = Literal["none", "everysec", "always"]
JOURNAL_LIMIT_NBYTES: Final = 1 << 30
MIN_FREE_DISK_NBYTES: Final = 256 << 20

# Linux lets writers wait once a fifth of the memory waits for the disk, and begins to write at a tenth.
_QUICK_SHARE: Final = 32

_BUILDS: Final[Mapping[str, str]] = {"paramserver": VERSION, "numpy": np.__version__}


class DataLog:
    """What came after the checkpoints of one data directory. With durability `none` it is only read, and then let go.

    Make the store with its `publisher`, then `open` it to the store, then let the checkpoints `replay` it.
    """

    def __init__(
        self,
        data_dir: Path,
        durability: Durability,
        *,
        truncate: bool = False,
        min_free_nbytes: int = MIN_FREE_DISK_NBYTES,
        limit_nbytes: int = JOURNAL_LIMIT_NBYTES,
        segment_nbytes: int = LARGEST_NBYTES,
        disk: Disk | None = None,
        progress: Progress = lambda done, total: None,
        clock: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.durability = durability
        self.report: JournalReport | None = None
        self.progress = progress
        self._directory = data_dir / WAL
        self._truncate = truncate
        self._disk = disk or Disk()
        # A checkpoint sets about as much free as is written until the next one.
        self._shelf = Shelf(self._directory, self._disk, segment_nbytes, keep_nbytes=limit_nbytes + limit_nbytes // 2)
        self._store: Store | None = None
        self.journal: Journal | None = None
        if durability != "none":
            self.journal = Journal(
                self._shelf,
                always=durability == "always",
                clock=clock,
                entropy=entropy,
                builds=_BUILDS,
                min_free_nbytes=min_free_nbytes,
                quick_nbytes=max(QUICK_NBYTES, memory_nbytes() // _QUICK_SHARE),
            )

    @property
    def publisher(self) -> Publisher | None:
        """What the store publishes through."""
        return self.journal

    def open(self, store: Store) -> None:
        """Replay into that store."""
        self._store = store

    def begin(self, checkpoints: CheckpointManager) -> None:
        """Once the checkpoints are open and all is done again: write from now on, or have no journal any more.

        Where another build's arithmetic was done again, and where there is to be no journal, a checkpoint comes first.
        """
        assert self.report is not None, "the checkpoints replay it when they start"
        if self.journal is not None:
            self._shelf.open()
            self.journal.begin(checkpoints.server, self._opened.commit, self.report.segments)
            if self._paths():
                checkpoints.note_journal(True)
            if self.report.other_build is not None:
                checkpoints.save_now()
        elif self.report.segments:
            checkpoints.save_now()
            checkpoints.note_journal(False)
            for name in self._disk.names(self._directory):
                if (self._directory / name).is_file():
                    self._disk.remove(self._directory / name)

    # ---------------------------------------------------------------- as the checkpoints see it

    @property
    def first_commit(self) -> int | None:
        if self.journal is not None and self.report is not None:
            return self.journal.first_commit
        paths = self._paths()
        return int(paths[0].stem) if paths else None

    @property
    def nbytes(self) -> int:
        replayed = 0 if self.report is None else self.report.nbytes
        return replayed + (0 if self.journal is None else self.journal.nbytes)

    def replay(self, identity: Identity | None, clean: bool) -> Replayed:
        if self.journal is not None:
            os.makedirs(self._directory, exist_ok=True)
        if identity is not None and identity.journal and not (clean or self._truncate or self._paths()):
            raise JournalCorrupt(
                f"{self._directory} has no journal any more, and the server did not stop cleanly: what was acknowledged "
                "after the newest checkpoint is missing. Bring it back from a backup; or start with --recover truncate, which "
                "goes on from the checkpoint"
            )
        self.report = recover(
            self._directory,
            self._opened,
            self._disk,
            server=None if identity is None else identity.server,
            builds=_BUILDS,
            truncate=self._truncate,
            progress=self.progress,
        )
        return Replayed(self.report.server, str(self.report), self.report.is_proven)

    def forget_before(self, commit: int) -> None:
        if self.journal is not None:
            self.journal.forget_before(commit)

    def close(self) -> None:
        if self.journal is not None:
            self.journal.close()

    @property
    def _opened(self) -> Store:
        assert self._store is not None, "it is opened to a store first"
        return self._store

    def _paths(self) -> list[Path]:
        return segment_paths(self._directory, self._disk) if self._directory.is_dir() else []
