"""A transaction on its way into the journal."""

from __future__ import annotations

import logging
import threading

from paramserver.journal.ahead import Ahead
from paramserver.journal.format import ALIGNMENT, HEADER_NBYTES, RecordHeader, pack_record_header, record_nbytes
from paramserver.journal.packing import Parts
from paramserver.journal.records import encode_entry
from paramserver.journal.segments import Segment
from paramserver.store.entries import entry_of
from paramserver.store.publisher import Transaction
from paramserver_wire.checksum import crc32

logger = logging.getLogger("paramserver.journal")

_ZEROS = bytes(ALIGNMENT)


class Ticket:
    """What a transaction's thread and the writer share. `done` once its fate is settled; `error` if it was refused."""

    __slots__ = ("_ahead", "_crc32", "_lock", "_nbytes", "_parts", "done", "error", "transaction")

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction
        self.done = False
        self.error: BaseException | None = None
        self._parts: Parts | None = None
        self._nbytes = 0
        self._crc32 = 0
        self._ahead: Ahead | None = None
        self._lock = threading.Lock()

    @property
    def commit(self) -> int:
        """The number of its transaction."""
        assert self.transaction.receipt is not None, "a transaction has its receipt once it is staged"
        return self.transaction.receipt.commit

    def encode(self, ahead: Ahead | None = None) -> None:
        """Make the payload, once: whoever comes first does it, its own thread or that of the writer. `ahead` is what of it
        is written already, if it is."""
        with self._lock:
            if self._parts is None and not self.done:
                parts = self._encoded(None if ahead is None else ahead.head_nbytes)
                self._nbytes = sum(map(len, parts))
                known = None if ahead is None or not parts else ahead.checksum_of(parts)
                if known is not None:
                    self._crc32, self._ahead = known, ahead
                else:
                    for part in parts:
                        self._crc32 = crc32(part, self._crc32)
                self._parts = parts

    @property
    def record_nbytes(self) -> int:
        """The room its record takes; 0 for one that only waits until those before it are written."""
        return record_nbytes(self._nbytes) if self._parts else 0

    def record(self, segment: Segment, synced: int, *, first: bool) -> Parts:
        """What is to be written of its record; `first` if it comes right behind the end of the segment."""
        if not self._parts:
            return []
        salt = segment.header.salt
        header = RecordHeader(self.transaction.kind, self.commit, self._nbytes, synced, self._crc32)
        if first and self._ahead is not None and self._ahead.is_in_place(segment):
            return [pack_record_header(salt, header), self._parts[0]]
        gap = self.record_nbytes - HEADER_NBYTES - self._nbytes
        return [pack_record_header(salt, header), *self._parts, _ZEROS[:gap]]

    def settle(self, error: BaseException | None = None) -> None:
        """Its fate is known: what it held is let go."""
        self.error = error
        self.done = True
        self._parts = self._ahead = None

    def _encoded(self, head_nbytes: int | None) -> Parts:
        if not self.transaction.is_note:
            return encode_entry(entry_of(self.transaction), head_nbytes)
        if self.transaction.claim is None:
            return []
        try:
            return encode_entry(entry_of(self.transaction))
        except Exception:
            # What was done stays done: the answer is remembered for as long as the process lives.
            logger.exception("an answer cannot be written down; a repeat of its request after a crash is done anew")
            return []
