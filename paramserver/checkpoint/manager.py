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
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from paramserver.checkpoint import data_dir
from paramserver.checkpoint.arguments import refuse_unsavable, without_local
from paramserver.checkpoint.automatic import Automatic
from paramserver.checkpoint.background import Background
from paramserver.checkpoint.catalogue import Entry, directory_name, entry_of, entry_to_be, recovery_points
from paramserver.checkpoint.directory import write_checkpoint
from paramserver.checkpoint.downloads import Download, chosen
from paramserver.checkpoint.errors import CheckpointCorrupt, CheckpointError, disk_trouble
from paramserver.checkpoint.format import About
from paramserver.checkpoint.listing import Listing
from paramserver.checkpoint.reading import Checkpoint, open_file, read_checkpoint
from paramserver.checkpoint.recovery import Log, NoLog, StartReport, recover
from paramserver.checkpoint.restores import Restores, Wanted
from paramserver.checkpoint.retention import KEEP_EVERY_N_HOURS, Retention
from paramserver.checkpoint.saving import Asked, Rules, checked_save
from paramserver.checkpoint.shards import DEFAULT_SHARD_NBYTES
from paramserver.disk import Disk
from paramserver.store.errors import Restoring
from paramserver.store.requests import Claim
from paramserver.store.restoring import Restored
from paramserver.store.selection import Selection
from paramserver.store.snapshot import Snapshot
from paramserver.store.store import Store

logger = logging.getLogger("paramserver.checkpoint")

AUTOMATIC_SERIES: Final = "automatic"
LOG_NBYTES: Final = 512 << 20
LOG_TIMES: Final = 8
_EVERYTHING: Final = Selection()


class CheckpointManager:
    """All checkpoints of one data directory, which it holds locked from `start` to `close`. Thread-safe.

    `every_s` seconds after the last full checkpoint, or `every_commits` commits, a full one is saved if anything
    changed (0 turns either off), in a series of its own. `max_to_keep`, `keep_checkpoint_every_n_hours` and
    `shard_nbytes` hold unless a save says otherwise. With a `log` of what came after checkpoints, a full one is also saved
    when that has grown to eight times the last one: at least by 512 MiB, at most by `log_limit_nbytes`, but never by less
    than its size. Clocks, randomness and disk are arguments so that tests can replay and break them.
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
        keep_checkpoint_every_n_hours: float = KEEP_EVERY_N_HOURS,
        shard_nbytes: int = DEFAULT_SHARD_NBYTES,
        log: Log | None = None,
        log_limit_nbytes: int = 0,
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
        self._rules = Rules(Retention(max_to_keep, keep_checkpoint_every_n_hours), shard_nbytes)
        self._background = Background()
        self._log: Log = log or NoLog()
        self._log_limit_nbytes = log_limit_nbytes
        self._logged_nbytes = 0
        self._automatic = Automatic(
            self._save_automatic,
            monotonic,
            every_s,
            every_commits,
            self._log_has_grown if log_limit_nbytes > 0 else None,
        )
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
                recovery = recover(self._directory, self._store, self._disk, self._entropy, self._monotonic, self._log)
        except BaseException:
            self._release()
            raise
        self._server = recovery.server
        self._sequence = max((entry.sequence for entry in recovery.entries), default=0)
        self._newest_full = recovery.last_word
        self._opened = Listing(
            self._root,
            recovery.entries,
            recovery.since,
            recovery.server,
            self._disk,
            spared_points=1 if isinstance(self._log, NoLog) else 2,
        )
        return recovery.report

    @property
    def server(self) -> str:
        """Which data directory this is, once it is open."""
        return self._server

    def save_by_itself(self) -> None:
        """Save full checkpoints when it is time from now on, in a thread of its own."""
        self._automatic.start(lambda: self._store.commit)

    def save_now(self) -> None:
        """Save a full checkpoint in the series of the automatic ones, unless the newest one is of this very commit."""
        if not self._is_last_word(self._listing()):
            self._save_automatic()

    def note_journal(self, present: bool) -> None:
        """Write down whether there is a journal in the data directory, so that a lost one is missed."""
        with disk_trouble(f"writing {self._directory / data_dir.IDENTITY}"):
            known = data_dir.read_identity(self._directory, self._disk)
            if known is None or known.journal != present:
                data_dir.write_identity(self._directory, data_dir.Identity(self._server, present), self._disk)

    def close(self, *, final: bool = True) -> None:
        """Stop automatic saves, wait for those in the background, save what changed since (`final`), and let the data
        directory go. Safe to call twice.

        Call it when no more requests come: then the checkpoint is marked as the last word, and the next start keeps
        all incarnations. Raises what a save raises; the directory is let go all the same.
        """
        self._automatic.stop()
        self._background.wait()
        if self._opened is None:
            return
        try:
            if final:
                self._save_last_word(self._opened)
        finally:
            self._opened = None
            self._log.close()
            self._release()

    def __enter__(self) -> CheckpointManager:
        self.start()
        self.save_by_itself()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ---------------------------------------------------------------- saving

    def save(self, id: str | None = None, **asked: Any) -> dict[str, Any]:
        """Save the named variables, those of a scope or collection, or all but local ones; one cut. Returns its info.

        `asked` is what `saving.checked_save` takes. `id` is `ckpt-<commit>` unless given; a checkpoint of that id is
        replaced at once when the new one is whole. Variables without a value are left out and listed as `skipped`; named
        ones are refused (`Uninitialized`). Of the `series` the newest `max_to_keep` stay (0: all), beyond them one for
        every `keep_checkpoint_every_n_hours`, and the newest full checkpoint always does. More than `shard_nbytes` of
        values go into several files. Blocks for the disk.

        Raises InvalidRequest or InvalidName for arguments that do not fit, VariableNotFound, CollectionNotFound,
        CheckpointBusy, Restoring, DiskFull, CheckpointError. After an error the old checkpoints are as they were.
        """
        return self._save(checked_save(self._rules, self._clock(), id, **asked)).info()

    def begin_save(
        self, id: str | None = None, *, then: Callable[[str, str], None] | None = None, **asked: Any
    ) -> dict[str, Any]:
        """As `save`, but only the cut is taken before this returns; the files are written in a thread. At its end `then` is told
        the id, and the code of the problem or ''.

        `get` and `list` show it with the state `saving`, then `complete`, or `failed` with the problem; an older
        checkpoint of that id stays until then, and stays for good if it fails. `close` waits for it. Raises as `save`
        does, but for what the disk does.
        """
        return self._save(checked_save(self._rules, self._clock(), id, **asked), background=True, then=then).info()

    def save_if_due(self) -> bool:
        """Save a full checkpoint if it is time and anything changed; whether it did. A failure is logged, and tried
        again later. The manager's own thread calls this."""
        return self._automatic.run_if_due(self._store.commit)

    def _save_automatic(self) -> bool:
        about = About(id="", created=self._clock(), series=AUTOMATIC_SERIES)
        try:
            self._save(Asked(_EVERYTHING, about, self._rules, "auto"))
        except Restoring:
            return False
        return True

    def _save_last_word(self, listing: Listing) -> None:
        if self._store.commit == 0 and not listing.entries:
            return
        self.save_now()
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

    def _save(self, asked: Asked, *, background: bool = False, then: Callable[[str, str], None] | None = None) -> Entry:
        listing = self._listing()
        snapshot, about = self._cut_for(asked)
        with contextlib.ExitStack() as claim:
            claim.enter_context(listing.claimed(about.id))
            to_be = entry_to_be(directory_name(about.id, self._entropy(3).hex()), snapshot, about)
            if not background:
                return self._write(listing, to_be, snapshot, asked.rules)
            claim_on = claim.pop_all()
        listing.show(to_be)
        try:
            self._background.start(partial(self._write_on, listing, to_be, snapshot, asked.rules, claim_on, then))
        except BaseException:
            listing.hide(to_be.id)
            claim_on.close()
            raise
        return to_be

    def _cut_for(self, asked: Asked) -> tuple[Snapshot, About]:
        with self._cut:
            if self._mixed:
                raise Restoring("a checkpoint is being restored; save when that is done")
            snapshot, full = self._take_cut(asked.selection)
            self._sequence += 1
            about = replace(
                asked.about,
                id=asked.about.id or f"{asked.kind}-{snapshot.commit}",
                full=full,
                sequence=self._sequence,
                server=self._server,
            )
        return snapshot, about

    def _write(self, listing: Listing, to_be: Entry, snapshot: Snapshot, rules: Rules) -> Entry:
        assert to_be.summary is not None, "it was made from a snapshot"
        manifest = write_checkpoint(
            self._root / to_be.directory,
            snapshot,
            to_be.summary.about,
            shard_nbytes=rules.shard_nbytes,
            disk=self._disk,
        )
        entry = entry_of(to_be.directory, manifest)
        if not manifest.about.full:
            self._keep_recoverable_without(listing, entry.id)
        listing.enter(entry, rules.retention)
        if manifest.about.full:
            self._note_full(entry, snapshot.commit)
            self._shorten_log(listing)
        return entry

    def _write_on(
        self,
        listing: Listing,
        to_be: Entry,
        snapshot: Snapshot,
        rules: Rules,
        claim: contextlib.ExitStack,
        then: Callable[[str, str], None] | None,
    ) -> None:
        """Write in the background: nobody waits for an error, so it is shown in place of the checkpoint."""
        code = ""
        with claim:
            try:
                self._write(listing, to_be, snapshot, rules)
            except CheckpointError as error:
                code = error.code
                logger.warning("checkpoint %r was not saved: %s", to_be.id, error)
                listing.show(replace(to_be, state="failed", code=error.code, problem=error.detail))
            except Exception as error:
                code = CheckpointError.code
                logger.exception("checkpoint %r was not saved", to_be.id)
                listing.show(replace(to_be, state="failed", code=code, problem=f"saving failed: {error!r}"))
        if then is not None:
            then(to_be.id, code)

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
                self._logged_nbytes = self._log.nbytes
                self._automatic.cover(commit)

    # ---------------------------------------------------------------- the log of what comes after checkpoints

    def _log_has_grown(self) -> bool:
        newest = self._newest_full
        saved_nbytes = 0
        if newest is not None and newest.summary is not None:
            saved_nbytes = sum(file.nbytes for file in newest.summary.files)
        # Several times the state, so that checkpoints are a small part of what is written; not much more, because a log
        # that stays in memory is written twenty times faster.
        wanted_nbytes = min(self._log_limit_nbytes, max(LOG_NBYTES, LOG_TIMES * saved_nbytes))
        return self._log.nbytes - self._logged_nbytes >= max(wanted_nbytes, saved_nbytes)

    def _shorten_log(self, listing: Listing) -> None:
        """Two full checkpoints are enough: were the newest one damaged, the log would go on from the other."""
        points = recovery_points(listing.entries, self._server)[:2]
        if len(points) == 2 and points[1].summary is not None:
            try:
                self._log.forget_before(points[1].summary.commit)
            except OSError as error:
                logger.warning("the journal could not be shortened: %s; the next checkpoint tries again", error)

    def _keep_recoverable_without(self, listing: Listing, id: str) -> None:
        """Save a full checkpoint if without that of this id the log would have nothing to go on from."""
        first = self._log.first_commit
        if first is None or first == 1:
            return
        points = recovery_points(listing.entries, self._server)
        others = [entry.summary.commit for entry in points if entry.id != id and entry.summary is not None]
        if len(others) < len(points) and max(others, default=0) + 1 < first:
            self._save_automatic()

    # ---------------------------------------------------------------- looking

    def list(self) -> list[dict[str, Any]]:
        """All checkpoints, newest first, and the saves in the background that run or failed.

        One whose manifest is damaged has the state `damaged`."""
        return [entry.info() for entry in self._listing().shown]

    def get(self, id: str) -> dict[str, Any]:
        """One checkpoint, or one that is being saved; `latest` is the newest that exists. Raises CheckpointNotFound."""
        return self._listing().look_up(id).info()

    def delete(self, id: str) -> None:
        """Delete a checkpoint for good; `latest` is the newest. Of a save that failed only the word is forgotten.

        Raises CheckpointNotFound, CheckpointBusy, or a disk's errors, after which it is still there."""
        listing = self._listing()
        if listing.forget_failed(id):
            return
        with listing.claimed_existing(id) as entry:
            self._keep_recoverable_without(listing, entry.id)
            listing.take_out(entry)

    def download(self, id: str, file: str | None = None) -> Download:
        """Open one file of a checkpoint, by its name in the manifest; without a name its one file of values.

        Whoever gets it closes it, and can read it to its end though the checkpoint be deleted or replaced meanwhile.
        Raises CheckpointNotFound, CheckpointCorrupt, InvalidRequest for a name it has not.
        """
        while True:
            entry = self._listing().find(id)
            saved = chosen(entry, file)
            try:
                return Download(saved, open_file(self._root / entry.directory, saved, disk=self._disk), self._disk)
            except CheckpointCorrupt:
                # Gone between the look and the opening? Then the next look tells, or finds its successor.
                if entry in self._listing().entries:
                    raise

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
