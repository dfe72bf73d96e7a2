"""What can be wrong with a journal that a server is to start from.

    JournalError (internal)
     └─ JournalCorrupt           what had been acknowledged is damaged or missing
         ├─ JournalForeign       another data directory's
         └─ JournalTooNew        sound, but of a format this version does not know

While a server runs, what the journal refuses is told by the store's errors: `DiskFull`, `Draining`, `StoreError`.
"""

from __future__ import annotations

from typing import ClassVar


class JournalError(Exception):
    """The journal cannot be read or begun; nothing was changed. `str(error)` says where, and what to do."""

    code: ClassVar[str] = "internal"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class JournalCorrupt(JournalError):
    code = "checkpoint_corrupt"


class JournalTooNew(JournalCorrupt):
    """Written by a newer version: nothing is wrong with it, but reading it here could get it wrong."""


class JournalForeign(JournalCorrupt):
    """A segment of another data directory."""
