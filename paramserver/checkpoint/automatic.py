"""When a server saves by itself: a decision that is pure, and the thread that asks it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

logger = logging.getLogger("paramserver.checkpoint")

RETRY_S: Final = 10.0
"""After a failure so long nothing is tried: a full disk is not to be written to all the time."""

POLL_S: Final = 0.25
"""Between two looks at the store. A look costs next to nothing."""


@dataclass(frozen=True, slots=True)
class Covered:
    """The newest full checkpoint, as the decision sees it: its `commit`, and when it, or a try, was `at`."""

    commit: int
    at: float = 0.0
    failed: bool = False


def is_due(
    covered: Covered, *, now: float, commit: int, every_s: float, every_commits: int, grown: bool = False
) -> bool:
    """Whether to save now: something changed, and enough time or commits have passed, or the log of it has `grown` long. 0
    turns either off."""
    if commit == covered.commit or (covered.failed and now - covered.at < RETRY_S):
        return False
    by_time = every_s > 0 and now - covered.at >= every_s
    by_commits = every_commits > 0 and commit - covered.commit >= every_commits
    return by_time or by_commits or grown


class Automatic:
    """Calls `save` when it is due, from a thread of its own between `start` and `stop`. Thread-safe.

    `save` returns whether it did: false when now is not the time, which is no failure.
    """

    def __init__(
        self,
        save: Callable[[], bool],
        monotonic: Callable[[], float],
        every_s: float,
        every_commits: int,
        grown: Callable[[], bool] | None = None,
    ) -> None:
        self._save = save
        self._monotonic = monotonic
        self._every_s = every_s
        self._every_commits = every_commits
        self._grown = grown
        self._covered = Covered(0)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, commit: Callable[[], int]) -> None:
        """Begin: what is committed now is saved already, later ones `commit` tells. No thread if nothing is ever due."""
        self.cover(commit())
        if self._every_s > 0 or self._every_commits > 0 or self._grown is not None:
            self._thread = threading.Thread(
                target=self._run, args=(commit,), name="paramserver-checkpoints", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End the thread; a save that is under way is finished first."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def cover(self, commit: int) -> None:
        """A full checkpoint of `commit` was saved, by whomever."""
        self._covered = Covered(commit, self._monotonic())

    def run_if_due(self, commit: int) -> bool:
        """Save if it is due, and tell whether that was done. A failure is logged, never raised."""
        due = is_due(
            self._covered,
            now=self._monotonic(),
            commit=commit,
            every_s=self._every_s,
            every_commits=self._every_commits,
            grown=self._grown is not None and self._grown(),
        )
        if not due:
            return False
        try:
            return self._save()
        except Exception:
            # Whatever it was, the server serves on; the next try may find room on the disk.
            self._covered = replace(self._covered, at=self._monotonic(), failed=True)
            logger.exception("the automatic checkpoint failed; the next try is in %g s or more", RETRY_S)
            return False

    def _run(self, commit: Callable[[], int]) -> None:
        while not self._stopped.wait(POLL_S):
            self.run_if_due(commit())
