"""Who did what only an admin may, when, and with what outcome: a line of JSON for each.

    {"at": "2026-11-27T08:07:06.123456Z", "who": "ops", "from": "10.0.0.7", "did": "restore", "names": ["model/w"],
     "checkpoint": "step-100", "status": 200, "code": ""}

What was refused to somebody without the right is on record too, but not as often as he likes: the first time in a minute as a line
of its own, the others together in one that says how many `more` there were.

Tokens, values and bodies are never in it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from paramserver.engine.values import timestamp
from paramserver.grants import EVERYTHING
from paramserver.http.networks import network_of
from paramserver.settings import Settings

MAX_NAMES: Final = 20
WINDOW_S: Final = 60.0
MAX_STRANGERS: Final = 100
"""So many kinds of strangers (from where, what, why not) have lines of their own in a window."""
_NOT_LET: Final = frozenset({"unauthenticated", "forbidden", "overloaded", "wrong_host"})

logger = logging.getLogger("paramserver.audit")


class Act(NamedTuple):
    """What somebody did, or was refused: `who` is '' for a stranger, `code` is '' for what was done, `checkpoint` its id if it was
    about one."""

    who: str
    client: str
    did: str
    status: int
    code: str = ""
    names: Sequence[str] = ()
    checkpoint: str = ""


class _Kind(NamedTuple):
    """What is counted together."""

    who: str
    client: str
    did: str
    code: str


_OTHERS: Final = _Kind("", "others", "", "")


class AuditLog:
    """Appends to a file, which may be moved away at any time, or tells the log where there is none. A line is written whole, and
    before the answer is sent. Thread-safe.

    `later` calls a function after some seconds; by default the running event loop does.
    """

    def __init__(
        self,
        path: Path | None,
        clock: Callable[[], float] = time.time,
        later: Callable[[float, Callable[[], None]], Any] | None = None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._later = later or _on_the_loop
        self._lock = threading.Lock()
        # How many more of each kind there were since the window began.
        self._refused: Counter[_Kind] = Counter()
        self._strangers = 0
        self._waiting = False

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The one that the settings ask for. Raises OSError when its file cannot be written."""
        made = cls(settings.audit_log)
        if settings.audit_log is not None:
            made._append("")
        return made

    def note(self, act: Act) -> None:
        """Write down one act, or count it where there are many alike."""
        with self._lock:
            # A stranger does nothing: whatever he was told, it is a refusal, and at his speed.
            if (not act.who or act.code in _NOT_LET) and not self._is_first(act):
                return
        told: dict[str, Any] = {
            "who": act.who,
            "from": act.client,
            "did": act.did,
            "names": list(act.names[:MAX_NAMES]),
        }
        if act.checkpoint:
            told["checkpoint"] = act.checkpoint
        self._write({**told, "status": act.status, "code": act.code})

    def close(self) -> None:
        """Tell what was counted. What is noted later is written all the same."""
        with self._lock:
            refused, self._refused = self._refused, Counter()
            self._strangers, self._waiting = 0, False
        for kind, more in refused.items():
            if more:
                self._write({"who": kind.who, "from": kind.client, "did": kind.did, "code": kind.code, "more": more})

    def _is_first(self, act: Act) -> bool:
        """Whether there was none of this kind in this window; counts it."""
        # By what is not his to choose: a holder has many addresses, and a stranger many names.
        kind = _Kind(act.who, "" if act.who else network_of(act.client), act.did, act.code)
        if kind in self._refused:
            self._refused[kind] += 1
            return False
        if not self._waiting:
            self._waiting = True
            self._later(WINDOW_S, self.close)
        if not act.who:
            if self._strangers >= MAX_STRANGERS:
                self._refused[_OTHERS] += 1
                return False
            self._strangers += 1
        self._refused[kind] = 0
        return True

    def _write(self, told: dict[str, Any]) -> None:
        line = json.dumps({"at": timestamp(self._clock()), **told})
        if self._path is None:
            # Without tokens nobody is anybody: a line for each save would only be in the way.
            if told["who"] != EVERYTHING.holder:
                logger.info("%s", line)
            return
        try:
            self._append(f"{line}\n")
        except OSError as error:
            # What was done is answered all the same; the log has it at least.
            logger.error("the audit log cannot be written: %s: %s", error.strerror or error, line)

    def _append(self, text: str) -> None:
        assert self._path is not None, "there is a file"
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, text.encode("ascii"))
        finally:
            os.close(file)


def _on_the_loop(delay_s: float, call: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(delay_s, call)
