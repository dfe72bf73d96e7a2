"""How long the server waits for those it talks to, and for how many: one look a second over all connections.

    idle     between two requests           `idle_s` until a request was let in, `keep_alive_s` from then on
    head     a request's head is coming     `head_s`, however it trickles
    body     its body is coming             after `grace_s` at `slowest_nbytes_per_s` or more, over the last few seconds
    answer   the peer takes its answer      the same
    behind   what comes of a body that was answered already: at most `body_nbytes` are read, and thrown away
    ours     we are at it: a lock, the disk, a long poll. Nobody is hurried

Nothing is done for each packet, and no timer belongs to one connection: slow peers are found by looking at them twice. Who
is cut is counted by reason, and the log hears of it once a minute.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from paramserver.settings import Settings

Phase = Literal["idle", "head", "body", "answer", "ours"]
LOOK_S: Final = 1.0
_WINDOW_S: Final = 5.0
_LOG_S: Final = 60.0
_RESET: Final = struct.pack("ii", 1, 0)

logger = logging.getLogger("paramserver.http")


class Watched(Protocol):
    """A connection, as it is looked at."""

    @property
    def peer(self) -> str | None:
        """The address or network at the other end; None for a Unix socket."""

    @property
    def proven(self) -> bool:
        """Whether one of its requests was let in."""

    def standing(self) -> tuple[Phase, int]:
        """What it is at, and the number of the request that this is about."""

    def moved_nbytes(self) -> int:
        """How much has come and gone by it."""

    def cut(self) -> None:
        """End it at once."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long and for how many; 0 is without a bound."""

    head_s: float = 0
    idle_s: float = 0
    keep_alive_s: float = 0
    grace_s: float = 0
    slowest_nbytes_per_s: int = 0
    connections: int = 0
    connections_per_peer: int = 0
    body_nbytes: int = 0

    @classmethod
    def of(cls, settings: Settings) -> Bounds:
        """What the settings say."""
        return cls(
            settings.head_timeout_s,
            settings.idle_timeout_s,
            settings.keep_alive_s,
            settings.slow_grace_s,
            settings.slowest_nbytes_per_s,
            settings.connections_limit,
            settings.connections_per_peer_limit,
            # Who sends a little too much is to see that he did.
            2 * settings.body_limit_nbytes,
        )


@dataclass(slots=True)
class _Seen:
    """What a connection was at when it was looked at, since when, and how much had moved at each look."""

    standing: tuple[Phase, int] | None = None
    since: float = 0.0
    moved: deque[tuple[float, int]] = field(default_factory=deque)


class Patience:
    """Watches the connections of one event loop, while there are any."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self._bounds = bounds
        self._clock = clock
        # In the order in which they came.
        self._seen: dict[Watched, _Seen] = {}
        self._of_peer: Counter[str | None] = Counter()
        self._cut: Counter[str] = Counter()
        self._unlogged: Counter[str] = Counter()
        self._logged_at = -_LOG_S
        self._next_look: asyncio.TimerHandle | None = None

    def admit(self, connection: Watched, loop: asyncio.AbstractEventLoop) -> bool:
        """Watch a new connection; False if there is no room for it, not even in the place of one that has shown nothing yet."""
        bounds, peer = self._bounds, connection.peer
        crowded = (
            peer is not None and bounds.connections_per_peer and self._of_peer[peer] >= bounds.connections_per_peer
        )
        full = bounds.connections and len(self._seen) >= bounds.connections
        if (crowded and not self._give_way(peer)) or (full and not crowded and not self._give_way(None)):
            self._note("refused")
            return False
        self._seen[connection] = _Seen()
        self._of_peer[peer] += 1
        if self._next_look is None:
            self._next_look = loop.call_later(LOOK_S, self._look_again, loop)
        return True

    def forget(self, connection: Watched) -> None:
        """A connection has ended; one that was never admitted is none of ours."""
        if self._seen.pop(connection, None) is not None:
            self._of_peer[connection.peer] -= 1
            if not self._of_peer[connection.peer]:
                del self._of_peer[connection.peer]

    def bear(self, connection: Watched, nbytes: int) -> None:
        """Cut a connection that has sent so much behind its answer, if that is too much."""
        if self._bounds.body_nbytes and nbytes > self._bounds.body_nbytes:
            self._note("endless body")
            connection.cut()

    def facts(self) -> Mapping[str, Any]:
        """How many connections there are, and how many were cut since the start, by reason."""
        return {"open": len(self._seen), "cut": dict(self._cut)}

    def look(self) -> None:
        """Look at every connection once, and cut those that have been waited for long enough."""
        now = self._clock()
        for connection, seen in list(self._seen.items()):
            standing = connection.standing()
            if standing != seen.standing:
                seen.standing, seen.since = standing, now
                seen.moved.clear()
            reason = self._reason(standing[0], connection, seen, now)
            if reason is not None:
                self._note(reason)
                connection.cut()
        self._log(now)

    def _reason(self, phase: Phase, connection: Watched, seen: _Seen, now: float) -> str | None:
        bounds, age_s = self._bounds, now - seen.since
        if phase == "idle":
            limit_s = bounds.keep_alive_s if connection.proven else bounds.idle_s
            return "idle" if limit_s and age_s >= limit_s else None
        if phase == "head":
            return "slow head" if bounds.head_s and age_s >= bounds.head_s else None
        if phase == "ours" or not bounds.slowest_nbytes_per_s:
            return None
        moved_nbytes = connection.moved_nbytes()
        seen.moved.append((now, moved_nbytes))
        while len(seen.moved) > 1 and seen.moved[1][0] <= now - _WINDOW_S:
            seen.moved.popleft()
        then, before_nbytes = seen.moved[0]
        wanted_nbytes = bounds.slowest_nbytes_per_s * (now - then)
        # A peer that was looked at once only has had no time to move anything.
        slow = now > then and moved_nbytes - before_nbytes < wanted_nbytes
        return f"slow {phase}" if slow and age_s >= bounds.grace_s else None

    def _give_way(self, peer: str | None) -> bool:
        """Cut the oldest connection (of `peer`, if that is not None) that has shown nothing yet; False if all have."""
        for connection in self._seen:
            asked = peer is None or connection.peer == peer
            if asked and not connection.proven:
                self._note("gave way")
                self.forget(connection)
                connection.cut()
                return True
        return False

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self.look()
        self._next_look = loop.call_later(LOOK_S, self._look_again, loop) if self._seen else None

    def _note(self, reason: str) -> None:
        self._cut[reason] += 1
        self._unlogged[reason] += 1

    def _log(self, now: float) -> None:
        if self._unlogged and now - self._logged_at >= _LOG_S:
            told = ", ".join(f"{count} {reason}" for reason, count in sorted(self._unlogged.items()))
            logger.warning("connections cut or refused: %s; %d are open", told, len(self._seen))
            self._unlogged.clear()
            self._logged_at = now


def reset_on_close(sock: socket.socket) -> None:
    """Have its close reset the connection: what lies in the kernel for a reader who does not read would stay there."""
    if sock.fileno() >= 0:
        # A twin, because what uvloop shows of its socket takes no options.
        with socket.socket(fileno=os.dup(sock.fileno())) as twin:
            twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
