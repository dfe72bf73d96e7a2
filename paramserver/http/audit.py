"""Who did what only an admin may, when, and with what outcome: a line of JSON for each, refused ones included.

    {"at": "2026-11-27T08:07:06.123456Z", "who": "ops", "from": "10.0.0.7", "did": "delete_variable", "names": ["model/w"],
     "status": 204, "code": ""}

Tokens, values and bodies are never in it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

from paramserver.engine.values import timestamp
from paramserver.grants import EVERYTHING
from paramserver.settings import Settings

MAX_NAMES: Final = 20

logger = logging.getLogger("paramserver.audit")


class AuditLog:
    """Appends to a file, or tells the log where there is none. A line is written whole, and before the answer is sent."""

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._file: int | None = None
        if path is not None:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The one that the settings ask for. Raises OSError."""
        return cls(settings.audit_log)

    def note(self, who: str, client: str, operation: str, names: Sequence[str], status: int, code: str) -> None:
        """Write down one act, of somebody at an address."""
        told = {
            "at": timestamp(self._clock()),
            "who": who,
            "from": client,
            "did": operation,
            "names": list(names[:MAX_NAMES]),
            "status": status,
            "code": code,
        }
        line = json.dumps(told)
        if self._file is None:
            # Without tokens nobody is anybody: a line for each save would only be in the way.
            if who != EVERYTHING.holder:
                logger.info("%s", line)
            return
        try:
            os.write(self._file, f"{line}\n".encode("ascii"))
        except OSError as error:
            # What was done is answered all the same; the log has it at least.
            logger.error("the audit log cannot be written: %s: %s", error.strerror or error, line)

    def close(self) -> None:
        """Write no more. Safe to call twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
