"""The journal: what is acknowledged is written down first, and done again after a crash."""

from paramserver.journal.errors import JournalCorrupt, JournalError, JournalForeign, JournalTooNew
from paramserver.journal.journal import AHEAD_NBYTES, QUICK_NBYTES, Counts, Journal
from paramserver.journal.recovery import DAMAGED, JournalReport, recover
from paramserver.journal.segments import LARGEST_NBYTES, WAL, Shelf, segment_paths
from paramserver.journal.walk import Progress

__all__ = [
    "AHEAD_NBYTES",
    "DAMAGED",
    "LARGEST_NBYTES",
    "QUICK_NBYTES",
    "WAL",
    "Counts",
    "Journal",
    "JournalCorrupt",
    "JournalError",
    "JournalForeign",
    "JournalReport",
    "JournalTooNew",
    "Progress",
    "Shelf",
    "recover",
    "segment_paths",
]
