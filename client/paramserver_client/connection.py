"""One connection: a request goes out by scatter-gather, its response comes into one buffer of the right size.

The socket never blocks: a call tries first and waits only when it must. That costs the fewest system calls,
keeps every wait within the deadline, and lets a response be seen that comes while the request is still being sent (a
413, say, from a server that will not read on).
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np

from paramserver_client.files import PIECE_NBYTES, FileSink
from paramserver_client.http1 import (
    MAX_HEAD_NBYTES,
    MAX_LINE_NBYTES,
    Head,
    ProtocolError,
    parse_chunk_size,
    parse_head,
)
from paramserver_client.landing import Landing
from paramserver_client.waiting import apart, let_others_run, until_ready
from paramserver_wire.frame import PREAMBLE_NBYTES

# sendmsg takes at most IOV_MAX views: 1024 on Linux and macOS, and POSIX promises only 16 elsewhere.
MAX_VIEWS: Final = 512
# A TLS write copies what it is given, so a big view goes in pieces.
_TLS_PIECE_NBYTES: Final = 1 << 20
_FIRST_READ_NBYTES: Final = 16 * 1024
_CHUNK_READ_NBYTES: Final = 64 * 1024
# What is moved in one turn of an event loop: some 0.2 ms.
_TURN_NBYTES: Final = 1 << 20


class NotSentError(Exception):
    """The connection broke before the whole request was out: the server cannot have acted on it."""


class LostError(Exception):
    """The connection broke after the request was out. `status` is the answer's, when its head had come already."""

    def __init__(self, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.status = status


class SlowError(Exception):
    """Nothing moved for as long as was allowed. `sent` says whether the whole request was out, `status` as above."""

    def __init__(self, detail: str, *, sent: bool, status: int | None = None) -> None:
        super().__init__(detail)
        self.sent = sent
        self.status = status


@dataclass(frozen=True, slots=True)
class Waits:
    """How long to wait: `send_s` and `receive_s` without any progress, and `deadline` (monotonic) in all."""

    send_s: float | None = None
    receive_s: float | None = None
    deadline: float | None = None


class Connection:
    """A socket that carries one request at a time. The pool lends it to one call.

    After any exception the connection is of no further use: close it.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._unread = bytearray()
        self._moved_nbytes = 0
        self._arrivals = select.poll()
        self._arrivals.register(sock, select.POLLIN)

    def close(self) -> None:
        """Close the socket; a second time does nothing."""
        self._sock.close()

    def is_stale(self) -> bool:
        """Whether the server has closed this idle connection, or said something that nobody asked for."""
        return bool(self._unread) or bool(self._arrivals.poll(0))

    def exchange(
        self,
        method: str,
        head: bytes,
        views: Iterable[memoryview],
        waits: Waits,
        sink: FileSink | None = None,
        landing: Landing | None = None,
    ) -> tuple[Head, memoryview, bool]:
        """Send a request, receive its response: its head, its body, and whether the connection can be used again.

        `views` that are no sequence are asked for one by one, each when the one before it is out. The body is a view of
        a fresh buffer that belongs to the caller; that of a 200 goes into the `sink`, if there is one, and none is
        returned; a frame of a known length goes to the `landing`, and what comes before its values is returned. Raises what that
        raises, `NotSentError`, `LostError`, `SlowError` or `ProtocolError`.
        """
        whole = isinstance(views, Sequence)
        sent = self._send([memoryview(head), *(views if whole else ())], waits)
        if not whole:
            sent = sent and self._send_file(iter(views), waits)
        response = self._receive_head(method, waits)
        try:
            if sink is not None and response.status == 200:
                body = self._receive_file(response.length, waits, sink)
            elif landing is not None and response.status == 200 and response.length:
                body = self._receive_values(response.length, waits, landing)
            elif response.length is None:
                body = self._receive_chunks(waits)
            else:
                body = self._receive_body(response.length, waits)
        except LostError as error:
            raise LostError(str(error), response.status) from error.__cause__
        except SlowError as error:
            raise SlowError(str(error), sent=True, status=response.status) from None
        return response, body, sent and response.keep_alive and not self._unread

    def _send_file(self, pieces: Iterator[memoryview], waits: Waits) -> bool:
        while (piece := apart(_next, pieces)) is not None:
            if not self._send([piece], waits):
                return False
        return True

    def _send(self, views: Iterable[memoryview], waits: Waits) -> bool:
        """Send all views; false when the response began before the request ended."""
        queue = deque(view.cast("B") for view in views if view.nbytes)
        while queue:
            try:
                count = self._send_some(queue)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError) as error:
                ready = self._wait(error, select.POLLOUT, waits.send_s, waits.deadline, sent=False)
                if ready & ~select.POLLOUT and not self._tls:
                    self._receive_early(error)
                    return False
            except OSError as error:
                self._receive_early(error)
                return False
            else:
                _drop(queue, count)
                self._take_turns(count)
        return True

    def _send_some(self, queue: deque[memoryview]) -> int:
        if self._tls:
            return self._sock.send(queue[0][:_TLS_PIECE_NBYTES])
        return self._sock.sendmsg(list(islice(queue, MAX_VIEWS)))

    def _receive_early(self, cause: OSError) -> None:
        """Take the first bytes of an answer that began before the request ended, or raise `NotSentError`."""
        try:
            self._unread += self._sock.recv(_FIRST_READ_NBYTES)
        except OSError as error:
            raise NotSentError(f"The connection broke while the request was being sent: {error}.") from cause
        if not self._unread:
            raise NotSentError("The server closed the connection while the request was being sent.") from cause

    def _receive_head(self, method: str, waits: Waits) -> Head:
        if not self._unread and not self._tls:
            # No server answers within the time of a system call: the first try would always be in vain.
            self._wait(BlockingIOError(), select.POLLIN, waits.receive_s, waits.deadline, sent=True)
        while True:
            head = parse_head(self._receive_until(b"\r\n\r\n", MAX_HEAD_NBYTES, waits), method)
            if head.status >= 200:
                return head
            if head.status == 101:
                raise ProtocolError("Wanted an answer, got 101 Switching Protocols, which nobody asked for.")

    def _receive_until(self, mark: bytes, limit: int, waits: Waits) -> bytes:
        """The bytes up to and with `mark`; what came behind it stays for the next read."""
        looked = 0
        while (found := self._unread.find(mark, looked)) < 0:
            if len(self._unread) > limit:
                raise ProtocolError(f"Wanted at most {limit} bytes up to {mark!r}, got {len(self._unread)} without it.")
            looked = max(0, len(self._unread) - len(mark) + 1)
            self._unread += self._receive_some(waits)
        end = found + len(mark)
        taken = bytes(self._unread[:end])
        del self._unread[:end]
        return taken

    def _receive_some(self, waits: Waits) -> bytes:
        while True:
            try:
                data = self._sock.recv(_FIRST_READ_NBYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                self._wait(error, select.POLLIN, waits.receive_s, waits.deadline, sent=True)
            except OSError as error:
                raise LostError(f"The connection broke before the answer came: {error}.") from error
            else:
                if not data:
                    raise LostError("The server closed the connection before the answer was whole.")
                return data

    def _receive_body(self, length: int, waits: Waits) -> memoryview:
        body = np.empty(length, np.uint8).data
        self._fill(body, waits)
        return body

    def _receive_values(self, length: int, waits: Waits, landing: Landing) -> memoryview:
        preamble = np.empty(min(length, PREAMBLE_NBYTES), np.uint8).data
        self._fill(preamble, waits)
        begin_nbytes = landing.begin_nbytes(preamble, length)
        # No frame after all: it is received as any other body.
        body = np.empty(length if begin_nbytes is None else begin_nbytes, np.uint8).data
        body[: len(preamble)] = preamble
        self._fill(body[len(preamble) :], waits)
        if begin_nbytes is not None:
            for view in landing.views(body, length):
                self._fill(view, waits)
            landing.end()
        return body

    def _receive_file(self, length: int | None, waits: Waits, sink: FileSink) -> memoryview:
        apart(sink.begin, length)
        if length is None:
            self._receive_chunks(waits, sink.write)
        else:
            buffer = memoryview(bytearray(min(length, PIECE_NBYTES)))
            for begin in range(0, length, PIECE_NBYTES):
                piece = buffer[: length - begin]
                self._fill(piece, waits)
                apart(sink.write, piece)
        return memoryview(b"")

    def _fill(self, target: memoryview, waits: Waits) -> None:
        """Receive exactly `len(target)` bytes into `target`: first what came with the head, the rest with no copy."""
        filled = min(len(self._unread), len(target))
        target[:filled] = self._unread[:filled]
        del self._unread[:filled]
        while filled < len(target):
            try:
                count = self._sock.recv_into(target[filled:])
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                self._wait(error, select.POLLIN, waits.receive_s, waits.deadline, sent=True)
                continue
            except OSError as error:
                raise LostError(f"The connection broke in the middle of the answer: {error}.") from error
            if not count:
                raise LostError(f"Wanted {len(target)} bytes of an answer, got {filled}, then the connection's end.")
            filled += count
            self._take_turns(count)

    def _receive_chunks(self, waits: Waits, write: Callable[[memoryview], object] | None = None) -> memoryview:
        """Receive a chunked body, whole, or piece by piece into `write`."""
        body = bytearray()
        while size := parse_chunk_size(self._receive_until(b"\r\n", MAX_LINE_NBYTES, waits)[:-2]):
            while size:
                piece = memoryview(bytearray(min(size, _CHUNK_READ_NBYTES)))
                self._fill(piece, waits)
                if write is None:
                    body += piece
                else:
                    apart(write, piece)
                size -= len(piece)
            if (end := self._receive_until(b"\r\n", MAX_LINE_NBYTES, waits)) != b"\r\n":
                raise ProtocolError(f"Wanted the end of a chunk, got {end[:80]!r}.")
        while self._receive_until(b"\r\n", MAX_LINE_NBYTES, waits) != b"\r\n":
            pass
        return memoryview(body)

    def _take_turns(self, count: int) -> None:
        self._moved_nbytes += count
        if self._moved_nbytes >= _TURN_NBYTES:
            self._moved_nbytes = 0
            let_others_run()

    def _wait(
        self, error: OSError, wanted: int, progress_s: float | None, deadline: float | None, *, sent: bool
    ) -> int:
        """Wait until the socket is ready for what `error` says it waits for."""
        if isinstance(error, ssl.SSLWantReadError):
            wanted = select.POLLIN
        elif isinstance(error, ssl.SSLWantWriteError):
            wanted = select.POLLOUT
        elif not sent:
            wanted |= select.POLLIN
        left_s = progress_s
        if deadline is not None:
            until_s = max(0.0, deadline - time.monotonic())
            left_s = until_s if left_s is None else min(left_s, until_s)
        ready = until_ready(self._sock, wanted, left_s)
        if not ready:
            doing = "The server sent nothing" if sent else "The server took nothing"
            raise SlowError(f"{doing} for {left_s:.3g} s.", sent=sent)
        return ready


def _next(pieces: Iterator[memoryview]) -> memoryview | None:
    return next(pieces, None)


def _drop(queue: deque[memoryview], count: int) -> None:
    """Take `count` bytes, which have been sent, off the front of the queue."""
    while count:
        if count < queue[0].nbytes:
            queue[0] = queue[0][count:]
            return
        count -= queue.popleft().nbytes
