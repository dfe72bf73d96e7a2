"""The journal of a running store: a publisher that lets a transaction be seen once it is written down.

Whoever waits for a transaction and finds nobody writing becomes the writer, of all that waits: one write, and one
fdatasync, for the whole group. Locks are taken in this order: the turn to write, the store's commit lock, its publish lock.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from paramserver.journal.ahead import Ahead, head_nbytes_for
from paramserver.journal.format import ALIGNMENT, SALT_NBYTES, SegmentHeader, record_nbytes
from paramserver.journal.keeper import Keeper
from paramserver.journal.packing import Parts
from paramserver.journal.segments import Segment, Shelf
from paramserver.journal.tickets import Ticket
from paramserver.journal.watermark import Watermark
from paramserver.store.errors import DiskFull, Draining, StoreError
from paramserver.store.publisher import Ledger, Transaction
from paramserver.store.updates import Array

logger = logging.getLogger("paramserver.journal")

GROUP_NBYTES: Final = 32 << 20
"""A group that has so many bytes is written; what stands behind it waits for the next one."""

QUICK_NBYTES: Final = 64 << 20
"""While less is unsynced, writing goes into memory and takes about as long as copying, on a machine that is not told of."""

AHEAD_NBYTES: Final = 4 << 20
"""Arrays from here on are written ahead: a hand-over to another thread, and the room left for the head, are nothing then."""

SLOW_S: Final = 0.005
REST_TIMES: Final = 20
"""After a quick write that took longer than the one, none is quick for as many times what it took: whoever may not wait
waits for the disk for less than a twentieth of the time."""

_SLACK_NBYTES: Final = 64 << 10
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(slots=True)
class Counts:
    """What a journal has done since it was begun. `records / groups` is how many shared a write."""

    records: int = 0
    groups: int = 0
    largest_group: int = 0
    nbytes: int = 0
    syncs: int = 0


class _Refused(Exception):
    """Nothing of the group is in the journal. `reason` is what those who wait are told."""

    def __init__(self, reason: StoreError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Journal:
    """A publisher that writes ahead. Thread-safe.

    With `always` a transaction is seen and answered once fdatasync has brought it to the disk; otherwise once it is
    written, and the disk has it about a second later. Until `begin` all is published at once and nothing is written:
    that is for doing again what happened before. Nothing is taken while less than `min_free_nbytes` are free.
    """

    durable = True

    def __init__(
        self,
        shelf: Shelf,
        *,
        always: bool,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
        builds: Mapping[str, str],
        min_free_nbytes: int = 0,
        quick_nbytes: int = QUICK_NBYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = Counts()
        self._shelf = shelf
        self._always = always
        self._clock = clock
        self._monotonic = monotonic
        self._entropy = entropy
        self._builds = builds
        self._min_free_nbytes = min_free_nbytes
        self._quick_nbytes = quick_nbytes
        self._ledger: Ledger | None = None
        self._server = ""
        self._waiting: deque[Ticket] = deque()
        # The turn to write. It guards the segments and the numbers below.
        self._turn = threading.Lock()
        self._segment: Segment | None = None
        self._unsynced: list[Segment] = []
        self._earlier: list[tuple[int, Path]] = []
        self._last_commit = 0
        self._synced = 0
        self._owner: int | None = None
        self._ahead: Ahead | None = None
        self._helper = ThreadPoolExecutor(1, thread_name_prefix="paramserver-journal-ahead")
        self._dirty = False
        self._unsynced_nbytes = 0
        self._slow_until = 0.0
        self._begun = False
        self._watermark: Watermark | None = None
        self._is_low = False
        self._failure: StoreError | None = None
        self._keeper = Keeper(self._keep)

    # ---------------------------------------------------------------- life

    def begin(self, server: str, commit: int, earlier: Sequence[tuple[int, Path]]) -> None:
        """Write from now on. All up to `commit` is on the disk; `earlier` are the segments there, by first commit."""
        with self._turn:
            self._server = server
            self._last_commit = self._synced = commit
            self._earlier = list(earlier)
            self._look_at_the_disk()
            try:
                self._watermark = Watermark(self._shelf.directory, self._shelf.disk, commit)
                self._segment = self._next_segment(0)
            except OSError as error:
                # Those who only read are served all the same; the first write tries again.
                logger.error("no segment can be made in %s: %s", self._shelf.directory, error)
            self._begun = True
        self._keeper.start()

    def close(self) -> None:
        """Write no more; what was taken is on the disk then, if that has not failed. Safe to call twice."""
        self._keeper.stop()
        with contextlib.suppress(OSError):
            self.sync()
        self._helper.shutdown()
        with self._turn:
            for segment in self._in_use():
                segment.file.close()
            self._unsynced.clear()
            self._segment = None
            if self._watermark is not None:
                self._watermark.close()
                self._watermark = None
            self._failure = self._failure or Draining(
                "the server is shutting down; send the request again, it will be taken by its successor"
            )

    def forget_before(self, commit: int) -> None:
        """Let go of the segments whose records all have numbers below `commit`. Raises OSError."""
        with self._turn:
            firsts = [first for first, _ in self._earlier[1:]]
            if self._segment is not None:
                firsts.append(self._segment.header.first_commit)
            # A segment is done with once the next one begins at or before that commit.
            done = sum(1 for first in firsts if first <= commit)
            gone, self._earlier = self._earlier[:done], self._earlier[done:]
        if gone:
            self._shelf.put_away(path for _, path in gone)

    def facts(self) -> dict[str, Any]:
        """What it has done, in numbers, for whoever looks after a server."""
        counts = self.counts
        return {
            "first_commit": self.first_commit,
            "last_commit": self._last_commit,
            "synced_commit": self._synced,
            "records": counts.records,
            "groups": counts.groups,
            "largest_group": counts.largest_group,
            "syncs": counts.syncs,
            "nbytes": counts.nbytes,
            "failed": self.failed,
        }

    @property
    def nbytes(self) -> int:
        """What was written since `begin`."""
        return self.counts.nbytes

    @property
    def synced(self) -> int:
        """All up to this commit survives a power cut."""
        return self._synced

    @property
    def first_commit(self) -> int:
        """The oldest commit that is in the journal, or would be."""
        with self._turn:
            if self._earlier:
                return self._earlier[0][0]
            return self._last_commit + 1 if self._segment is None else self._segment.header.first_commit

    @property
    def failed(self) -> bool:
        """Whether the disk failed, so that nothing is taken until the next start."""
        return self._failure is not None

    # ---------------------------------------------------------------- publishing

    def attach(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @property
    def _store(self) -> Ledger:
        assert self._ledger is not None, "the store attaches its publisher before it takes transactions"
        return self._ledger

    def admit(self) -> None:
        """Raise `Draining` once the disk has failed, and `DiskFull` while it has too little room."""
        if self._failure is not None:
            raise self._failure
        if self._is_low:
            raise DiskFull(
                f"less than {self._min_free_nbytes} bytes are free in {self._shelf.directory}, which are kept for "
                "checkpoints; nothing was changed. Make room and retry; reads go on meanwhile"
            )

    def submit(self, transaction: Transaction) -> None:
        if self._begun:
            transaction.ticket = Ticket(transaction)
            self._waiting.append(transaction.ticket)
        else:
            self._store.swap(transaction)

    def settle(self, transaction: Transaction) -> None:
        ticket: Ticket | None = transaction.ticket
        if ticket is None:
            return
        with contextlib.suppress(Exception):
            # Whatever is wrong with it, the writer finds too, and deals with.
            ticket.encode(self._ahead if self._owner == threading.get_ident() else None)
        with contextlib.nullcontext() if self._owner == threading.get_ident() else self._turn:
            while not ticket.done:
                self._write_group()
        # The two refer to each other, and what they hold is to be let go now, not at the next collection of garbage.
        transaction.ticket = None
        if ticket.error is not None:
            raise ticket.error

    def try_turn(self, nbytes: int) -> bool:
        """Take the turn to write about `nbytes` if that is quick: into memory, with nobody before us. Whoever got it settles
        one transaction, and calls `end_turn`. For those who may not wait."""
        if self._always or not self._begun or self._monotonic() < self._slow_until:
            return False
        if not self._turn.acquire(blocking=False):
            return False
        segment = self._segment
        if (
            self._waiting
            or segment is None
            or not segment.has_room(nbytes + _SLACK_NBYTES)
            or self._unsynced_nbytes + nbytes > self._quick_nbytes
        ):
            self._turn.release()
            return False
        self._owner = threading.get_ident()
        return True

    def write_ahead(self, arrays: Sequence[Array]) -> bool:
        """Take the turn and begin to write the arrays of one transaction, unless somebody is writing, or they are too few to
        be worth it. Whoever got it settles the transaction, and calls `end_turn`, as behind `try_turn`."""
        nbytes = sum(array.nbytes for array in arrays)
        if nbytes < AHEAD_NBYTES or not self._begun or self._failure is not None:
            return False
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if not self._waiting:
                room = record_nbytes(head_nbytes_for(len(arrays)) + nbytes + ALIGNMENT * len(arrays))
                self._ahead = Ahead(self._segment_for(room), arrays, self._helper)
                self._owner = threading.get_ident()
        except (_Refused, RuntimeError):
            # No room, or closed: the transaction itself finds out, and is told.
            pass
        finally:
            if self._ahead is None:
                self._turn.release()
        return self._ahead is not None

    def end_turn(self) -> None:
        """Give the turn back."""
        ahead, self._ahead, self._owner = self._ahead, None, None
        if ahead is not None:
            # Given up, it must not write into what comes next.
            ahead.settle()
        self._turn.release()

    # ---------------------------------------------------------------- writing, with the turn

    def _write_group(self) -> None:
        """Write what waits, up to `GROUP_NBYTES`, and let it be seen."""
        assert self._waiting, "a ticket that is not done is waiting"
        group: list[Ticket] = []
        nbytes = 0
        try:
            while self._waiting and nbytes < GROUP_NBYTES:
                ticket = self._waiting.popleft()
                if not ticket.done:
                    group.append(ticket)
                    ticket.encode()
                    nbytes += ticket.record_nbytes
            if nbytes:
                self._write(group, nbytes)
        except _Refused as refused:
            self._take_back(refused.reason)
        except OSError as error:
            self._fail(error, group)
        except Exception as error:
            logger.exception("a transaction cannot be written down")
            self._take_back(StoreError(f"the transaction cannot be written down ({error!r}); it was not applied"))
        else:
            for ticket in group:
                self._store.swap(ticket.transaction)
                ticket.settle()

    def _write(self, group: Sequence[Ticket], nbytes: int) -> None:
        """Bring the records of a group into the journal, all or none. An OSError leaves open which."""
        segment = self._segment_for(nbytes)
        records = [ticket.record(segment, self._synced, first=ticket is group[0]) for ticket in group]
        # The first one's arrays may be there already: then the others stand behind these, not behind its head.
        parts: Parts = [part for record in records[1:] for part in record]
        pieces: dict[int, Parts] = {0: records[0], group[0].record_nbytes: parts}
        if sum(map(len, records[0])) == group[0].record_nbytes:
            pieces = {0: [*records[0], *parts]}
        last_commit = group[-1].commit
        if not self._always:
            # So that a last record whose header is spoilt is missed. With `always` it is written once the group is synced.
            pieces[max(pieces)] = [*pieces[max(pieces)], segment.sign("mark", last_commit, self._synced)]
        began = self._monotonic()
        try:
            segment.append(pieces, nbytes, last_commit)
        except OSError as error:
            # Whole records of this group may be there, and would be done at the next start though they are refused now.
            self._give_up(segment)
            segment.blot_out()
            raise _Refused(_no_room(error)) from error
        if self._always:
            segment.disk.sync_data(segment.file)
            self._note_synced(segment, last_commit)
        else:
            self._dirty = True
            self._unsynced_nbytes += nbytes
            ended = self._monotonic()
            if self._owner is not None and self._ahead is None and ended - began > SLOW_S:
                self._slow_until = ended + REST_TIMES * (ended - began)
        self._last_commit = last_commit
        counts, written = self.counts, sum(1 for record in records if record)
        counts.groups += 1
        counts.records += written
        counts.largest_group = max(counts.largest_group, written)
        counts.nbytes += nbytes

    def _segment_for(self, nbytes: int) -> Segment:
        """The segment to write so much to. Raises _Refused when there is no room, with nothing written."""
        segment = self._segment
        if segment is not None and segment.has_room(nbytes):
            return segment
        self._look_at_the_disk()
        try:
            self.admit()
            new = self._next_segment(nbytes)
        except StoreError as error:
            raise _Refused(error) from error
        except OSError as error:
            raise _Refused(_no_room(error)) from error
        if segment is not None and segment.path == new.path:
            segment.file.close()
        elif segment is not None:
            self._give_up(segment)
            with contextlib.suppress(OSError):
                # It only tells that another one follows, should that one be lost.
                segment.put("seal", self._synced)
        self._segment = new
        return new

    def _next_segment(self, nbytes: int) -> Segment:
        # No transaction may be in the one in use yet, but answers: the new one bears the same name, and takes them over.
        old = self._segment
        replaces = old is not None and old.header.first_commit == self._last_commit + 1
        header = SegmentHeader(
            first_commit=self._last_commit + 1,
            salt=old.header.salt if old is not None and replaces else self._entropy(SALT_NBYTES),
            server=self._server,
            nbytes=0,
            synced=self._synced,
            always=self._always,
            builds=self._builds,
            created=self._clock(),
        )
        return self._shelf.make(header, nbytes, old.content() if old is not None and replaces else b"")

    def _give_up(self, segment: Segment) -> None:
        """Write no more to a segment; it stays for the next start, and is synced with the others."""
        self._segment = None
        self._earlier.append((segment.header.first_commit, segment.path))
        self._unsynced.append(segment)
        self._dirty = True

    def _take_back(self, reason: StoreError, unknown: Sequence[Ticket] = (), doubt: StoreError | None = None) -> None:
        """Refuse all that was not seen yet: for `reason`, but for those of which nobody knows, who are told the `doubt`."""
        for ticket in unknown:
            ticket.settle(doubt)
        for transaction in self._store.refuse(reason):
            ticket = transaction.ticket
            if not ticket.done:
                ticket.settle(reason)

    def _fail(self, error: OSError, group: Sequence[Ticket] = ()) -> None:
        """Take nothing any more: after a failed fdatasync the disk may forget what it said it had, so none is tried again."""
        told = f"the journal in {self._shelf.directory} failed: {error.strerror or error}"
        logger.critical("%s; no more changes are taken until the server is started again; reads go on", told)
        self._failure = Draining(
            f"{told}; nothing was changed. No changes are taken until the server is started again; send it again then"
        )
        doubt = StoreError(
            f"{told} while this was written, so it is unknown whether the next start finds it; send it again with the same "
            "request id once the server is back"
        )
        self._take_back(self._failure, group, doubt)

    # ---------------------------------------------------------------- looking after it

    def sync(self) -> None:
        """Bring all that is written to the disk. Raises OSError, after which the journal takes nothing any more."""
        with self._turn:
            if self._failure is not None or not self._dirty:
                return
            self._dirty = False
            self._unsynced_nbytes = 0
            commit, segments, current = self._last_commit, self._in_use(), self._segment
        try:
            for segment in segments:
                segment.disk.sync_data(segment.file)
        except OSError as error:
            with self._turn:
                self._fail(error)
            raise
        with self._turn:
            for segment in segments:
                if segment in self._unsynced:
                    self._unsynced.remove(segment)
                    segment.file.close()
            if current is not None and current is self._segment:
                self._note_synced(current, max(commit, self._synced))

    def _note_synced(self, segment: Segment, commit: int) -> None:
        self._synced = commit
        self.counts.syncs += 1
        with contextlib.suppress(OSError):
            # Without them the next start knows less about what it finds; that is no reason to refuse anything.
            segment.put("mark", commit)
            if self._watermark is not None:
                self._watermark.put(commit)

    def _in_use(self) -> list[Segment]:
        return [*self._unsynced, *([] if self._segment is None else [self._segment])]

    def _keep(self) -> None:
        """What is to be done about once a second."""
        self.sync()
        self._look_at_the_disk()
        if not self._is_low:
            self._shelf.prepare()

    def _look_at_the_disk(self) -> None:
        free_nbytes = self._shelf.disk.free_nbytes(self._shelf.directory)
        was_low, self._is_low = self._is_low, free_nbytes < self._min_free_nbytes
        if self._is_low and not was_low:
            logger.error("only %d bytes are free in %s: changes are refused", free_nbytes, self._shelf.directory)
        elif was_low and not self._is_low:
            logger.warning("%d bytes are free in %s: changes are taken again", free_nbytes, self._shelf.directory)


def _no_room(error: OSError) -> DiskFull:
    if error.errno in _NO_ROOM:
        return DiskFull("the disk is full, so this cannot be written down; nothing was changed. Make room and retry")
    return DiskFull(
        f"the disk refused to write this down: {error.strerror or error}; nothing was changed. Check the disk and retry"
    )
