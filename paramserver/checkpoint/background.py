"""Saves that go on after their request was answered."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from paramserver.checkpoint.errors import CheckpointBusy

LIMIT: Final = 8
"""At most so many at once: each holds on to a whole cut of the store."""


class Background:
    """Threads that run to their end, whoever asked for them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()

    def start(self, work: Callable[[], None]) -> None:
        """Run `work`, which must not raise, in a thread of its own. Raises CheckpointBusy when too many run already."""

        def run() -> None:
            try:
                work()
            finally:
                with self._lock:
                    self._threads.discard(thread)

        # No daemon: an interpreter that ends by itself waits for it.
        thread = threading.Thread(target=run, name="paramserver-save")
        with self._lock:
            if len(self._threads) >= LIMIT:
                raise CheckpointBusy(f"{LIMIT} saves are running in the background already; wait for one to end")
            self._threads.add(thread)
        thread.start()

    def wait(self) -> None:
        """Block until all that was started has ended."""
        while True:
            with self._lock:
                thread = next(iter(self._threads), None)
            if thread is None:
                return
            thread.join()
