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
        self._client = ""
        self._begin()

    def next(self) -> str:
        """The next id; nobody else has it."""
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            self._seq += 1
            return f"{self._client}-{self._seq}"

    def renew(self, refused: str) -> str:
        """An id of a new client, after the server has called `refused` too old.

        When another thread has renewed the client already, the next id of that one is given.
        """
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            if refused.rpartition("-")[0] == self._client:
                self._client, self._seq = self._new_client(), 0
            self._seq += 1
            return f"{self._client}-{self._seq}"

    def _begin(self) -> None:
        # The lock is new too: in a fork, the old one may be held by a thread that the child does not have.
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._client, self._seq = self._new_client(), 0

    def _new_client(self) -> str:
        return self._prefix + secrets.token_hex(8)
