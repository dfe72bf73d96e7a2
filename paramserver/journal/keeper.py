"""The thread that looks after a journal: about once a second it syncs, looks at the disk, and prepares a segment."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

logger = logging.getLogger("paramserver.journal")

PERIOD_S: Final = 1.0
"""What was written has reached the disk after this long, as far as the disk is fast enough."""
_SHORTEST_S: Final = 0.05


class Keeper:
    """Calls `keep` so often that each call ends within `PERIOD_S` of the end of the one before."""

    def __init__(self, keep: Callable[[], None]) -> None:
        self._keep = keep
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="paramserver-journal", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a call that is under way is finished first. Safe to call twice."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        took_s = 0.0
        # Twice what the last one took, because a disk that is getting slower is not to make us late.
        while not self._stopped.wait(max(_SHORTEST_S, PERIOD_S - 2 * took_s)):
            began = time.monotonic()
            try:
                self._keep()
            except Exception:
                logger.exception("the journal could not be looked after; the next try is in a second")
            took_s = time.monotonic() - began
