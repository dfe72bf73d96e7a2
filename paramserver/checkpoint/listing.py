"""The checkpoints that exist right now: who is at work on which, and the one file that says so on disk."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from paramserver.checkpoint.catalogue import LISTING, Entry, encode_listing, newest_first
from paramserver.checkpoint.directory import remove_checkpoint
from paramserver.checkpoint.errors import CheckpointBusy, CheckpointNotFound, disk_trouble
from paramserver.checkpoint.retention import Retention, judge
from paramserver.disk import Disk, replace_file

logger = logging.getLogger("paramserver.checkpoint")

LATEST: Final = "latest"
MAX_FAILED: Final = 100


class Listing:
    """The entries of a data directory, newest first. Thread-safe; reading them never waits for the disk."""

    def __init__(
        self,
        root: Path,
        entries: tuple[Entry, ...],
        since: Mapping[str, float],
        server: str,
        disk: Disk,
        *,
        spared_points: int = 1,
    ) -> None:
        self._root = root
        self._entries = entries
        self._since = dict(since)
        # Saves that go on, or failed, after their request was answered: shown in place of an older one of that id.
        self._shown: dict[str, Entry] = {}
        self._server = server
        self._disk = disk
        self._spared_points = spared_points
        self._busy: set[str] = set()
        # Always in this order. Only _writing is held while the disk works, and only savers and deleters wait for it.
        self._writing = threading.Lock()
        self._state = threading.Lock()

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self._entries

    @property
    def shown(self) -> tuple[Entry, ...]:
        """The entries, with saves that are under way or failed in the background, newest first."""
        with self._state:
            return newest_first(({entry.id: entry for entry in self._entries} | self._shown).values())

    def look_up(self, id: str) -> Entry:
        """As `find`, but also what is still being saved or has failed in the background."""
        return self._shown.get(id) or self.find(id)

    def show(self, entry: Entry) -> None:
        """Show a save that is under way, or that has failed. Of the failed ones only the newest are remembered."""
        with self._state:
            self._shown.pop(entry.id, None)
            self._shown[entry.id] = entry
            failed = [id for id, shown in self._shown.items() if shown.state == "failed"]
            for id in failed[:-MAX_FAILED]:
                del self._shown[id]

    def hide(self, id: str) -> None:
        """Show no save of that id."""
        with self._state:
            self._shown.pop(id, None)

    def forget_failed(self, id: str) -> bool:
        """Show a failed save no more; whether there was one."""
        with self._state:
            failed = id in self._shown and self._shown[id].state == "failed"
            if failed:
                del self._shown[id]
            return failed

    def find(self, id: str) -> Entry:
        """The checkpoint of that id; `latest` is the newest. Raises CheckpointNotFound."""
        entries = self._entries
        if id == LATEST and entries:
            return entries[0]
        for entry in entries:
            if entry.id == id:
                return entry
        known = f"there are {_some(entries)}" if entries else "there is none yet; save one first"
        raise CheckpointNotFound(f"checkpoint {id!r} does not exist; {known}")

    @contextlib.contextmanager
    def claimed(self, id: str) -> Iterator[None]:
        """Be the only one at work on that id. Raises CheckpointBusy at once if somebody is."""
        with self._state:
            self._claim(id)
        try:
            yield
        finally:
            self._let_go([id])

    @contextlib.contextmanager
    def claimed_existing(self, id: str) -> Iterator[Entry]:
        """Be the only one at work on a checkpoint that exists: it stays in place meanwhile."""
        with self._state:
            if id in self._busy:
                # It may not exist yet: it is being saved for the first time.
                self._claim(id)
            entry = self.find(id)
            self._claim(entry.id)
        try:
            yield entry
        finally:
            self._let_go([entry.id])

    def enter(self, entry: Entry, retention: Retention) -> None:
        """List a finished checkpoint, which makes it exist, and take out those it replaces or pushes out.

        On an error the listing is as before, and the directory of the new one is removed.
        """
        assert entry.summary is not None, "it was just written"
        with self._writing:
            with self._state:
                replaced = [old for old in self._entries if old.id == entry.id]
                others = [old for old in self._entries if old.id != entry.id]
                series = entry.summary.about.series
                verdict = judge(
                    [entry, *others],
                    series,
                    retention,
                    self._since.get(series),
                    server=self._server,
                    spared=self._busy,
                    spared_points=self._spared_points,
                )
                retired = verdict.retired
                self._busy.update(old.id for old in retired)
            remaining = [
                replace(old, kept=True) if old in verdict.kept else old
                for old in (entry, *others)
                if old not in retired
            ]
            try:
                self._write(newest_first(remaining), {**self._since, series: verdict.since})
            except BaseException:
                with contextlib.suppress(OSError):
                    remove_checkpoint(self._root / entry.directory, disk=self._disk)
                self._let_go([old.id for old in retired])
                raise
        self.hide(entry.id)
        self._remove([*replaced, *retired])
        self._let_go([old.id for old in retired])

    def take_out(self, entry: Entry) -> None:
        """Let a claimed checkpoint exist no more. On a disk's error it still does."""
        with self._writing:
            self._write(tuple(old for old in self._entries if old.id != entry.id), self._since)
        self._remove([entry])

    def _write(self, entries: tuple[Entry, ...], since: Mapping[str, float]) -> None:
        """Make these the entries, on the disk first. On an error the old ones stay, there too if it still lets us."""
        path = self._root / LISTING
        alive = {entry.summary.about.series for entry in entries if entry.summary is not None}
        since = {series: moment for series, moment in since.items() if series in alive}
        with disk_trouble(f"writing {path}"):
            try:
                replace_file(self._disk, path, encode_listing(entries, since))
            except BaseException:
                with contextlib.suppress(OSError):
                    replace_file(self._disk, path, encode_listing(self._entries, self._since))
                raise
        with self._state:
            self._entries = entries
            self._since = since

    def _remove(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            try:
                remove_checkpoint(self._root / entry.directory, disk=self._disk)
            except FileNotFoundError:
                continue
            except OSError as error:
                # It is not listed any more, so it does not exist; what remains of it is swept at a start.
                logger.warning("checkpoint %r could not be removed: %s; the next start tries again", entry.id, error)

    def _claim(self, id: str) -> None:
        if id in self._busy:
            raise CheckpointBusy(f"checkpoint {id!r} is being saved, restored or deleted; wait for that and try again")
        self._busy.add(id)

    def _let_go(self, ids: Sequence[str]) -> None:
        with self._state:
            self._busy.difference_update(ids)


def _some(entries: Sequence[Entry]) -> str:
    shown = ", ".join(repr(entry.id) for entry in entries[:5])
    return shown if len(entries) <= 5 else f"{shown} and {len(entries) - 5} more"
