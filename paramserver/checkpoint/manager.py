"""The checkpoints of a running server: saved on request and by themselves, restored on request and at the start.

    manager = CheckpointManager(store, Path("data"), clock=time.time)
    manager.start()
    manager.save("model-3", step=3)
    manager.restore("latest")
    manager.close()

A save takes a cut of the store and writes from it: pushes go on meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from paramserver.checkpoint import data_dir
from paramserver.checkpoint.arguments import (
    checked_count,
    checked_id,
    checked_metadata,
    checked_names,
    checked_series,
    refuse_unsavable,
    without_local,
)
from paramserver.checkpoint.automatic import Automatic
from paramserver.checkpoint.catalogue import Entry, directory_name, entry_of
from paramserver.checkpoint.directory import write_checkpoint
from paramserver.checkpoint.disk import Disk
from paramserver.checkpoint.errors import CheckpointError, disk_trouble
from paramserver.checkpoint.format import About
from paramserver.checkpoint.listing import Listing
from paramserver.checkpoint.reading import Checkpoint, read_checkpoint
from paramserver.checkpoint.recovery import StartReport, recover
from paramserver.checkpoint.restores import Restores, Wanted
from paramserver.store.errors import Restoring
from paramserver.store.requests import Claim
from paramserver.store.restoring import Restored
from paramserver.store.selection import Selection
from paramserver.store.snapshot import Snapshot
from paramserver.store.store import Store

logger = logging.getLogger("paramserver.checkpoint")

AUTOMATIC_SERIES: Final = "automatic"
_EVERYTHING: Final = Selection()


class CheckpointManager:
    """All checkpoints of one data directory, which it holds locked from `start` to `close`. Thread-safe.

    `every_s` seconds after the last full checkpoint, or `every_commits` commits, a full one is saved if anything
    changed (0 turns either off), in a series of its own. `max_to_keep` is how many of a series stay unless a save says
    otherwise. Clocks, randomness and disk are arguments so that tests can replay and break them.
    """

    def __init__(
        self,
        store: Store,
        directory: Path,
        *,
        clock: Callable[[], float] = time.time,
        every_s: float = 60.0,
        every_commits: int = 0,
        max_to_keep: int = 5,
        monotonic: Callable[[], float] = time.monotonic,
        entropy: Callable[[int], bytes] = os.urandom,
        disk: Disk | None = None,
    ) -> None:
        self._store = store
        self._directory = directory
        self._root = directory / data_dir.CHECKPOINTS
        self._clock = clock
        self._monotonic = monotonic
        self._entropy = entropy
        self._disk = disk or Disk()
        self._max_to_keep = max_to_keep
        self._automatic = Automatic(self._save_automatic, monotonic, every_s, every_commits)
        self._lock: data_dir.Lock | None = None
        self._opened: Listing | None = None
        self._server = ""
        # Guards the order of cuts and what is known of them; held for a cut of the store, never for the disk.
        self._cut = threading.Lock()
        self._sequence = 0
        self._newest_full: Entry | None = None
        self._mixed = False
        self._restores = Restores(store, self._disk)

    # ---------------------------------------------------------------- life

    def start(self) -> StartReport:
        """Lock the data directory, restore its newest sound full checkpoint into the store, and sweep leftovers.

        Only for a store that has seen no transaction. Versions, commit, scopes and request ids come back. Incarnations
        are new, as nobody can tell what was lost since, unless the checkpoint is marked as the last word of a clean
        shutdown; the mark is removed first. Blocks until it is done.

        Raises DataDirInUse; CheckpointTooNew when anything there is of a newer version; CheckpointCorrupt when there
        are checkpoints but none is sound (rather than starting empty and forgetting them). Nothing is deleted then.
        """
        doing = f"opening the data directory {self._directory}"
        with disk_trouble(doing):
            data_dir.make_directories(self._directory)
            self._lock = data_dir.Lock(self._directory)
        try:
            with disk_trouble(doing):
                recovery = recover(self._directory, self._store, self._disk, self._entropy, self._monotonic)
        except BaseException:
            self._release()
            raise
        self._server = recovery.server
        self._sequence = max((entry.sequence for entry in recovery.entries), default=0)
        self._newest_full = recovery.last_word
        self._opened = Listing(self._root, recovery.entries, recovery.server, self._disk)
        self._automatic.start(lambda: self._store.commit)
        return recovery.report

    def close(self, *, final: bool = True) -> None:
        """Stop automatic saves, save what changed since (`final`), and let the data directory go. Safe to call twice.

        Call it when no more requests come: then the checkpoint is marked as the last word, and the next start keeps
        all incarnations. Raises what a save raises; the directory is let go all the same.
        """
        self._automatic.stop()
        if self._opened is None:
            return
        try:
            if final:
                self._save_last_word(self._opened)
        finally:
            self._opened = None
            self._release()

    def __enter__(self) -> CheckpointManager:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ---------------------------------------------------------------- saving

    def save(
        self,
        id: str | None = None,
        *,
        step: int | None = None,
        names: Sequence[str] | None = None,
        prefix: str | None = None,
        collection: str | None = None,
        series: str | None = None,
        max_to_keep: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Save the named variables, those of a scope or collection, or all but local ones; one cut. Returns its info.

        `id` is `ckpt-<commit>` unless given; a checkpoint of that id is replaced at once when the new one is whole.
        Variables without a value are left out and listed as `skipped`; named ones are refused (`Uninitialized`). Of the
        `series` the newest `max_to_keep` stay (0: all), and the newest full checkpoint always does. Blocks for the disk.

        Raises InvalidRequest or InvalidName for arguments that do not fit, VariableNotFound, CollectionNotFound,
        CheckpointBusy, DiskFull, CheckpointError. After an error the old checkpoints are as they were.
        """
        about = About(
            id="" if id is None else checked_id(id),
            created=self._clock(),
            series=checked_series(series),
            step=checked_count("step", step),
            metadata=checked_metadata(metadata),
        )
        keep = checked_count("max_to_keep", max_to_keep)
        selection = Selection(checked_names(names), prefix, collection, skip_local=True)
        entry = self._save(selection, about, "ckpt", self._max_to_keep if keep is None else keep)
        return entry.info()

    def save_if_due(self) -> bool:
        """Save a full checkpoint if it is time and anything changed; whether it did. A failure is logged, and tried
        again later. The manager's own thread calls this."""
        return self._automatic.run_if_due(self._store.commit)

    def _save_automatic(self) -> bool:
        about = About(id="", created=self._clock(), series=AUTOMATIC_SERIES)
        try:
            self._save(_EVERYTHING, about, "auto", self._max_to_keep)
        except Restoring:
            return False
        return True

    def _save_last_word(self, listing: Listing) -> None:
        if self._store.commit == 0 and not listing.entries:
            return
        if not self._is_last_word(listing):
            self._save_automatic()
        if self._newest_full is None or not self._is_last_word(listing):
            return
        try:
            data_dir.put_clean_mark(self._directory, self._newest_full.directory, self._disk)
        except OSError as error:
            # All is saved. Without the mark the next start draws new incarnations, and clients pull anew.
            logger.warning("the clean shutdown could not be marked in %s: %s", self._directory, error)

    def _is_last_word(self, listing: Listing) -> bool:
        entry = self._newest_full
        if entry is None or entry.summary is None or entry not in listing.entries:
            return False
        return entry.summary.commit == self._store.commit

    def _save(self, selection: Selection, about: About, kind: str, max_to_keep: int) -> Entry:
        listing = self._listing()
        with self._cut:
            if self._mixed:
                raise Restoring("a checkpoint is being restored; save when that is done")
            snapshot, full = self._take_cut(selection)
            self._sequence += 1
            about = replace(
                about,
                id=about.id or f"{kind}-{snapshot.commit}",
                full=full,
                sequence=self._sequence,
                server=self._server,
            )
        with listing.claimed(about.id):
            name = directory_name(about.id, self._entropy(3).hex())
            manifest = write_checkpoint(self._root / name, snapshot, about, disk=self._disk)
            entry = entry_of(name, manifest)
            listing.enter(entry, max_to_keep)
        if full:
            self._note_full(entry, snapshot.commit)
        return entry

    def _take_cut(self, selection: Selection) -> tuple[Snapshot, bool]:
        """The cut to save, and whether it holds all there is. Only automatic ones hold the local variables too: a save
        on request leaves them out, as TensorFlow's does, and is no full one if that loses a value."""
        if selection.whole:
            snapshot = self._store.snapshot(with_requests=True)
            return without_local(snapshot) if selection.skip_local else (snapshot, True)
        snapshot = self._store.snapshot(selection)
        refuse_unsavable(snapshot, selection)
        return snapshot, False

    def _note_full(self, entry: Entry, commit: int) -> None:
        with self._cut:
            if self._newest_full is None or self._newest_full.sequence < entry.sequence:
                self._newest_full = entry
                self._automatic.cover(commit)

    # ---------------------------------------------------------------- looking

    def list(self) -> list[dict[str, Any]]:
        """All checkpoints, newest first. One whose manifest is damaged has the state `damaged`."""
        return [entry.info() for entry in self._listing().entries]

    def get(self, id: str) -> dict[str, Any]:
        """One checkpoint; `latest` is the newest. Raises CheckpointNotFound."""
        return self._listing().find(id).info()

    def delete(self, id: str) -> None:
        """Delete a checkpoint for good; `latest` is the newest. Raises CheckpointNotFound, CheckpointBusy, or a disk's
        errors, after which it is still there."""
        listing = self._listing()
        with listing.claimed_existing(id) as entry:
            listing.take_out(entry)

    def load(self, id: str) -> Checkpoint:
        """Read a whole checkpoint without touching the store. Raises CheckpointNotFound, CheckpointBusy,
        CheckpointCorrupt."""
        with self._listing().claimed_existing(id) as entry:
            return read_checkpoint(self._root / entry.directory, disk=self._disk)

    # ---------------------------------------------------------------- restoring

    def restore(
        self,
        id: str,
        *,
        claim: Claim | None = None,
        answer: Callable[[Restored], Any] = lambda _: None,
        **wanted: Any,
    ) -> Restored:
        """Write saved values into the store as one transaction; versions rise by one, so does the commit.

        `wanted` is what `restores.Wanted` takes. `names` are the variables to restore, all that were saved unless given;
        `rename` maps variables to the names they were saved under. Saved variables that the server lacks are created, or
        reported as `unexpected` without `create`. Server variables that the checkpoint lacks are listed as `missing` and
        left alone. With `reshape` another shape of as many elements fits. With `strict` whatever was asked for and is not
        there, does not fit or is unexpected refuses the whole (CheckpointIncompatible, all listed). `claim` and `answer`
        go to the store. Blocks for the disk.

        Also raises CheckpointNotFound, CheckpointBusy, CheckpointCorrupt, InvalidRequest, InvalidName,
        MemoryLimitExceeded: then nothing was changed.
        """
        with self._listing().claimed_existing(id) as entry:
            return self._restores.whole(self._root / entry.directory, Wanted(**wanted), claim, answer)

    def rehearse_restore(self, id: str, *, sequentially: bool = False, **wanted: Any) -> Restored:
        """What `restore` (or `restore_sequentially`) would answer or raise right now. Changes nothing."""
        with self._listing().claimed_existing(id) as entry:
            return self._restores.rehearsed(self._root / entry.directory, Wanted(**wanted), sequentially=sequentially)

    def restore_sequentially(self, id: str, **wanted: Any) -> Restored:
        """As `restore`, but one variable after the other: each its own commit, and only one value in memory at a time.

        Not atomic: who looks meanwhile sees a mixture, so `restoring` is true until it ends and no checkpoint is saved.
        What does not fit is refused before anything changes. CheckpointError when a disk fails half way. Raises Restoring
        while another one runs.
        """
        with self._listing().claimed_existing(id) as entry, self._restoring_alone():
            return self._restores.one_by_one(self._root / entry.directory, Wanted(**wanted))

    @property
    def restoring(self) -> bool:
        """Whether the store is a mixture right now, because a restore replaces its variables one by one."""
        return self._mixed

    @contextlib.contextmanager
    def _restoring_alone(self) -> Iterator[None]:
        with self._cut:
            if self._mixed:
                raise Restoring("another checkpoint is being restored; send the request again when that is done")
            self._mixed = True
        try:
            yield
        finally:
            self._mixed = False

    # ---------------------------------------------------------------- inside

    def _listing(self) -> Listing:
        if self._opened is None:
            raise CheckpointError(f"the data directory {self._directory} is not open; start the manager first")
        return self._opened

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None
