"""Request ids: `<client>-<seq>`, by which a server tells a repeat from a new request."""

from __future__ import annotations

import os
import secrets
import threading

MAX_NAME_LENGTH = 60


class RequestIds:
    """Gives out the ids of one client, from 1 on. Thread-safe, and safe over `fork`.

    `name` makes ids readable; random digits behind it keep apart two processes of one name, a process from the fork
    that it made, and a program from its next run: an id that came twice would have its second request swallowed.
    """

    def __init__(self, name: str | None = None) -> None:
        if name is not None and not (0 < len(name) <= MAX_NAME_LENGTH and name.isascii() and name.isprintable()):
            raise ValueError(f"Wanted a client id of 1 to {MAX_NAME_LENGTH} visible ASCII characters, got {name!r}.")
        self._prefix = f"{name}." if name else ""
        self._series = self._new_series()

    def next(self) -> str:
        """The next id; nobody else has it."""
        return self._own_series().next()

    def renew(self, refused: str) -> str:
        """An id of a new client, after the server has called `refused` too old.

        When another thread has renewed the client already, the next id of that one is given.
        """
        series = self._own_series()
        if refused.rpartition("-")[0] == series.client:
            series = self._series = self._new_series()
        return series.next()

    def _own_series(self) -> _Series:
        """The series of this process. Threads of a child that come here at once may begin one each."""
        series = self._series
        if series.pid != os.getpid():
            series = self._series = self._new_series()
        return series

    def _new_series(self) -> _Series:
        return _Series(self._prefix + secrets.token_hex(8))


class _Series:
    """The ids of one client name in one process. In a fork it is left alone: its lock may be held for ever there."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.pid = os.getpid()
        self.seq = 0
        self._lock = threading.Lock()

    def next(self) -> str:
        with self._lock:
            self.seq += 1
            return f"{self.client}-{self.seq}"
