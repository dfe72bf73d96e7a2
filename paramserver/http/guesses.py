"""Wrong tokens are counted by the address they come from: who guesses has to wait, and what was right before is not hurt."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Final

MAX_PEERS: Final = 10_000
_MAX_RIGHT: Final = 64


@dataclass(slots=True)
class _Peer:
    since: float
    wrong: int = 0
    right: OrderedDict[bytes, None] = field(default_factory=OrderedDict)


class Guesses:
    """What came from which address in this minute. Takes little memory, whoever asks. For one event loop.

    With `limit` wrong tokens from one address, no token is tried from there until the minute is over, but for those that were
    right before: workers behind the address of an attacker go on. 0 is without a limit.
    """

    WINDOW_S: ClassVar[int] = 60

    def __init__(self, limit: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._peers: OrderedDict[str, _Peer] = OrderedDict()

    def may_try(self, peer: str, digest: bytes) -> bool:
        """Whether a token of this digest from that address is to be looked at."""
        found = self._peers.get(peer)
        if found is None or not self._limit:
            return True
        if self._clock() - found.since >= self.WINDOW_S:
            found.since, found.wrong = self._clock(), 0
        return found.wrong < self._limit or digest in found.right

    def was_right(self, peer: str, digest: bytes) -> None:
        """Remember it."""
        found = self._peers.get(peer)
        if found is not None and next(reversed(found.right), None) == digest:
            # As nearly always.
            self._peers.move_to_end(peer)
            return
        right = self._of(peer).right
        right[digest] = None
        right.move_to_end(digest)
        while len(right) > _MAX_RIGHT:
            right.popitem(last=False)

    def was_wrong(self, peer: str) -> None:
        """Count it."""
        self._of(peer).wrong += 1

    def _of(self, peer: str) -> _Peer:
        found = self._peers.get(peer)
        if found is None:
            found = self._peers[peer] = _Peer(self._clock())
        self._peers.move_to_end(peer)
        while len(self._peers) > MAX_PEERS:
            self._peers.popitem(last=False)
        return found
