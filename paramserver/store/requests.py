"""Request ids: every mutation happens once, however often it is sent.

A request id is `<client>-<seq>`, numbers starting at 1. The log remembers, per client, the answers of a window of
1,024 numbers, for 10,000 clients. Where there are more, one leaves of the token holder that has most of them: the one whose
newest commit is oldest. So whoever has no more than others keeps all of his, however many these bring. A number below the
window, or an unknown client that starts beyond it, can no longer be told from a repeat and is refused as `too_old`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from paramserver.store.errors import IdempotencyKeyReused, InvalidRequest, StoreError, TooOld

WINDOW = 1024
MAX_CLIENTS = 10_000
MAX_REQUEST_ID_LENGTH = 200


class Digest(NamedTuple):
    """What tells two bodies apart: their length in bytes and their crc32."""

    nbytes: int
    crc32: int


@dataclass(frozen=True, slots=True)
class _Done:
    digest: Digest
    commit: int
    answer: Any


class Claim:
    """The right to perform one request, held by exactly one caller from `claim` until `finish` or `abandon`.

    Others that arrive with the same id meanwhile hold on to it with `on_end` or `wait` and share its fate.
    """

    __slots__ = ("_callbacks", "_done", "_lock", "answer", "client", "commit", "digest", "error", "holder", "seq")

    def __init__(self, client: str, seq: int, digest: Digest, holder: str) -> None:
        self.client = client
        self.seq = seq
        self.digest = digest
        self.holder = holder
        self.answer: Any = None
        self.commit: int | None = None
        self.error: BaseException | None = None
        self._done = False
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the request has ended, at once if it has. Any thread may be the one that calls it."""
        with self._lock:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback()

    def wait(self) -> None:
        """Block until the request has ended."""
        ended = threading.Event()
        self.on_end(ended.set)
        ended.wait()

    def _end(self) -> None:
        with self._lock:
            self._done = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


class Replay(NamedTuple):
    """The request was done before: its `answer` and `commit`, as they were."""

    answer: Any
    commit: int


class Running(NamedTuple):
    """The request is being done by somebody else: wait for `claim` to end, then take its answer or error."""

    claim: Claim


class _Client:
    __slots__ = ("done", "floor", "holder", "running", "top")

    def __init__(self, holder: str) -> None:
        # Who sent its first request; '' where tokens are not told apart.
        self.holder = holder
        self.done: dict[int, _Done] = {}
        self.running: dict[int, Claim] = {}
        self.floor = 0
        self.top = 0


def split_request_id(request_id: str) -> tuple[str, int]:
    """`"w7-12"` -> `("w7", 12)`; an id without a number behind its last `-` is a client of one request.

    Raises `InvalidRequest` for an empty or overlong id, one with control characters, and the number 0.
    """
    if not 0 < len(request_id) <= MAX_REQUEST_ID_LENGTH or not request_id.isprintable():
        raise InvalidRequest(
            f"a request id must be 1 to {MAX_REQUEST_ID_LENGTH} printable characters, got {request_id[:40]!r}; "
            "send Idempotency-Key: <client>-<number>"
        )
    client, dash, tail = request_id.rpartition("-")
    if not (dash and client and tail.isascii() and tail.isdigit() and len(tail) <= 18):
        return request_id, 1
    if int(tail) == 0:
        raise InvalidRequest(f"the numbers of a client's request ids start at 1, got {request_id!r}")
    return client, int(tail)


class RequestLog:
    """Who asked for what, and what they were told. Thread-safe; every call is short."""

    def __init__(self, *, window: int = WINDOW, max_clients: int = MAX_CLIENTS) -> None:
        self._window = window
        self._max_clients = max_clients
        self._clients: dict[str, _Client] = {}
        # The names of each holder's clients that were answered, in the order of their newest commits, oldest first.
        self._held: dict[str, dict[str, None]] = {}
        self._lock = threading.Lock()

    def claim(self, request_id: str, digest: Digest, holder: str = "") -> Claim | Replay | Running:
        """Take on a request, or learn that it was done or is running. `holder` is whose token asks.

        Raises `IdempotencyKeyReused` when the id stood for another body, `TooOld` when its number has left the
        window, or its client is another holder's. Whoever gets a `Claim` must end it by `finish` or `abandon`.
        """
        name, seq = split_request_id(request_id)
        with self._lock:
            client = self._clients.get(name)
            if client is None:
                if seq > self._window:
                    raise TooOld(
                        f"request id {request_id!r}: this server does not know client {name!r}, whose numbers start above "
                        f"{self._window}, so a repeat could not be told from a first try; use a new client id, from 1 on"
                    )
                client = _Client(holder)
            elif client.holder != holder:
                # Its window would be pushed on, and its answers told, by somebody else.
                raise TooOld(
                    f"request id {request_id!r}: client {name!r} belongs to another token holder, so a repeat could not be told "
                    "from a first try; use a client id of your own, from 1 on"
                )
            known = client.running.get(seq) or client.done.get(seq)
            if known is not None:
                if known.digest != digest:
                    raise IdempotencyKeyReused(
                        f"request id {request_id!r} was used for another request; use a new number for a new request"
                    )
                return Running(known) if isinstance(known, Claim) else Replay(known.answer, known.commit)
            if seq <= client.floor:
                raise TooOld(
                    f"request id {request_id!r} is below the window of its client (numbers above {client.floor} are "
                    "remembered); if it was sent before, its outcome is unknown here; else use the next number"
                )
            claim = Claim(name, seq, digest, client.holder)
            client.running[seq] = claim
            self._clients[name] = client
            return claim

    def reclaim(self, name: str, seq: int, digest: Digest, holder: str = "") -> Claim:
        """Take on a request that was done in an earlier life, to `finish` it as it was; nothing is refused."""
        claim = Claim(name, seq, digest, holder)
        with self._lock:
            self._clients.setdefault(name, _Client(holder)).running[seq] = claim
        return claim

    def knows(self, request_id: str) -> bool:
        """Whether a request of that id was done, or is being done. Raises `InvalidRequest` for what is no id."""
        name, seq = split_request_id(request_id)
        with self._lock:
            client = self._clients.get(name)
            return client is not None and (seq in client.done or seq in client.running)

    def finish(self, claim: Claim, commit: int, answer: Any) -> None:
        """Remember the answer. Called at the moment the effect becomes visible; `announce` wakes those who wait."""
        with self._lock:
            client = self._clients[claim.client]
            # Taken out and put back at the end.
            held = self._held.setdefault(client.holder, {})
            held.pop(claim.client, None)
            held[claim.client] = None
            del client.running[claim.seq]
            client.done[claim.seq] = _Done(claim.digest, commit, answer)
            self._slide(client, claim.seq)
            self._evict()
        claim.answer, claim.commit = answer, commit

    def announce(self, claim: Claim) -> None:
        """Wake everybody who waits for a claim that was finished."""
        claim._end()

    def abandon(self, claim: Claim, error: BaseException) -> None:
        """Forget a request that was refused, and hand its error to those who waited for it."""
        with self._lock:
            client = self._clients[claim.client]
            client.running.pop(claim.seq, None)
            if not client.running and not client.done and not client.floor:
                del self._clients[claim.client]
        claim.error = error
        claim._end()

    def rows(self, up_to_commit: int) -> tuple[Mapping[str, Any], ...]:
        """The table as plain rows, with what was answered up to a commit: safe to take after the cut itself.

        What has left a window meanwhile raises the row's `floor`, so that it is refused, never done twice.
        """
        with self._lock:
            clients = [
                (name, holder, dict(client.done), client.floor)
                for holder, held in self._held.items()
                for name in held
                for client in (self._clients[name],)
            ]
        rows: list[Mapping[str, Any]] = []
        for name, holder, done, floor in clients:
            kept = [
                [seq, entry.digest.nbytes, entry.digest.crc32, entry.commit, entry.answer]
                for seq, entry in done.items()
                if entry.commit <= up_to_commit
            ]
            if kept or floor:
                rows.append({"client": name, **({"holder": holder} if holder else {}), "floor": floor, "done": kept})
        return tuple(rows)

    def load(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Replace the table by rows of an earlier `rows` call."""
        clients: dict[str, _Client] = {}
        held: dict[str, dict[str, None]] = {}
        for row in rows:
            client = clients[row["client"]] = _Client(row.get("holder", ""))
            held.setdefault(client.holder, {})[row["client"]] = None
            client.floor = row["floor"]
            for seq, nbytes, crc32, commit, answer in row["done"]:
                client.done[seq] = _Done(Digest(nbytes, crc32), commit, answer)
            client.top = max(client.done, default=client.floor)
        with self._lock:
            self._clients, self._held = clients, held

    def _slide(self, client: _Client, seq: int) -> None:
        client.top = max(client.top, seq)
        floor = client.top - self._window
        if floor <= client.floor:
            return
        if floor - client.floor > self._window:
            client.done = {number: entry for number, entry in client.done.items() if number > floor}
        else:
            for number in range(client.floor + 1, floor + 1):
                client.done.pop(number, None)
        client.floor = floor

    def _evict(self) -> None:
        while len(self._clients) > self._max_clients:
            holder, held = max(self._held.items(), key=lambda each: len(each[1]))
            oldest = next((name for name in held if not self._clients[name].running), None)
            if oldest is None:
                return
            del self._clients[oldest], held[oldest]
            if not held:
                del self._held[holder]


def outcome(claim: Claim) -> Replay:
    """What became of a claim somebody else has ended: its answer, or its error raised again."""
    if claim.error is not None:
        raise claim.error
    if claim.commit is None:
        raise StoreError(f"request {claim.client}-{claim.seq} ended without an outcome")
    return Replay(claim.answer, claim.commit)
