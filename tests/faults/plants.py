"""Bugs to plant into a server, as python that runs before it: a check that does not find them is worth nothing."""

from __future__ import annotations

from typing import Final

BEFORE_LOGGED: Final = """
from paramserver.journal import journal
def _write_later(self, group, nbytes, _write=journal.Journal._write):
    # Acknowledged first, written with the next group: what a crash in between takes is lost.
    kept, self.kept = getattr(self, "kept", None), (group, nbytes)
    for ticket in group:
        ticket.encode()
    if kept is not None:
        _write(self, *kept)
journal.Journal._write = _write_later
"""
"""Acknowledges what is not in the journal yet."""

FORGETS_REQUESTS: Final = """
from paramserver.store import replaying
from paramserver.store.entries import Entry
import dataclasses
_replay = replaying.Replaying.replay
replaying.Replaying.replay = lambda self, entry: _replay(self, dataclasses.replace(entry, asked=None))
"""
"""Does not remember after a crash which requests it did: a repeat is done twice."""

HALF_A_PUSH: Final = """
from paramserver.store import replaying
from paramserver.store.entries import Updates
_steps = replaying.Replaying._update_steps
replaying.Replaying._update_steps = lambda self, updates: _steps(self, updates[:1])
"""
"""Does half of a push again after a crash."""

SKIPS_DAMAGE: Final = """
from paramserver.journal import walk
def _judge(self, at, reader):
    raise walk._Ended(walk.Cut(reader.path, reader.offset, self._expected, 0, False, self._beyond(at)))
walk.Walk._judge = _judge
"""
"""Cuts at the first bad record, whatever stands behind it."""

NEVER_SYNCS: Final = """
from paramserver import disk
disk.Disk.sync_data = lambda self, file: None
"""
"""Acknowledges what is only written."""

NO_REQUEST_IDS: Final = """
from paramserver.engine import Engine
Engine.claim = lambda self, message, digest: None
"""
"""Does every request, however often it comes."""
