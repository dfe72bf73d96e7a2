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
Engine.claim = lambda self, message, digest, holder: None
"""
"""Does every request, however often it comes."""

LOST_UPDATES: Final = """
import time
from paramserver.store import commits
from paramserver.http import performing
class NoLocks(commits.WriteLocks):
    def __enter__(self):
        variables = self._commits.head.variables
        return {name: variables[name] for name in self._names if name in variables}
commits.WriteLocks = NoLocks
performing.Performer._is_quick = lambda self, call: False
from paramserver.store import validation
_apply = validation.apply
def slow(op, old, value, dtype, **options):
    new = _apply(op, old, value, dtype, **options)
    time.sleep(0.001)
    return new
validation.apply = slow
"""
"""Writers do not wait for each other."""

TORN_READS: Final = """
import time
import numpy as np
from paramserver.store import validation
from paramserver.http import performing
from support.planted_server import in_place
performing.Performer._is_quick = lambda self, call: call.message.operation in ("read", "pull")
def slow(op, old, value, dtype, **options):
    if op != "assign_add":
        return in_place(op, old, value, dtype, **options)
    for at in range(value.size):
        in_place(op, old[at : at + 1], value[at : at + 1], dtype)
        time.sleep(0.001)
    return old
validation.apply = slow
"""
"""Adds into the published array, element by element."""

HALVES: Final = """
import time
from paramserver.store import reading
from paramserver.store.selection import Selection
from paramserver.http import performing
performing.Performer._is_quick = lambda self, call: False
_snapshot = reading.Reader.snapshot
def in_pieces(self, selection=reading.EVERYTHING, **options):
    if not selection.names or len(selection.names) < 2:
        return _snapshot(self, selection, **options)
    import dataclasses
    parts = []
    for name in selection.names:
        parts.append(_snapshot(self, Selection(names=[name])))
        time.sleep(0.001)
    return dataclasses.replace(parts[-1], variables={k: v for part in parts for k, v in part.variables.items()})
reading.Reader.snapshot = in_pieces
"""
"""A pull that looks at one variable after the other."""

HALVES_OF_A_CUT: Final = """
import time
from paramserver.store import commits
_swap = commits.Commits.swap
def in_pieces(self, transaction):
    for variable, state in list(transaction.states.items()):
        variable.published = state
        time.sleep(0.0005)
    _swap(self, transaction)
commits.Commits.swap = in_pieces
"""
"""Lets a push be seen variable by variable."""

OFF_BY_A_BIT: Final = """
import numpy as np
from paramserver.optim import rules
_adagrad = rules.adagrad
from paramserver.optim import optimizer
_update = optimizer.Optimizer.update
def off(self, value, slots, scalars, gradient, out_value, out_slots, **options):
    _update(self, value, slots, scalars, gradient, out_value, out_slots, **options)
    if self.kind.type == "adagrad":
        np.nextafter(out_value, np.float32(np.inf), out=out_value)
optimizer.Optimizer.update = off
"""
"""Rounds the other way, with one of the optimizers."""
