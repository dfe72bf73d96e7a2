"""The body of a large request, received straight from the socket into buffers of whoever asks for it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from starlette.requests import ClientDisconnect

from paramserver.http.eager import Arrival
from paramserver_wire.checksum import crc32

EXTENSION: Final = "paramserver.body"
LARGE_NBYTES: Final = 256 * 1024
# What is received at a time where it is summed up at once: it fits into the cache of a processor's core.
_SUMMED_NBYTES: Final = 256 * 1024
_NOTHING: Final = memoryview(b"")


class Flow(Protocol):
    """Whether the socket is read."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Receiving(Protocol):
    """The connection that a body comes by."""

    loop: asyncio.AbstractEventLoop

    @property
    def flow(self) -> Flow: ...

    def start_large(self, body: LargeBody) -> bytearray | None:
        """Route what comes into the windows of `body`; what the parser has of it is returned."""

    def stop_large(self, body: LargeBody) -> None:
        """Nobody waits for it any more."""

    def throw_away(self, nbytes: int) -> None:
        """So much of it came that nobody waits for."""

    def end_large(self) -> None:
        """It has come as a whole."""


class LargeBody:
    """The body of one request of a known, large size, to be received once, into buffers of the caller's.

    It stands in `scope["extensions"]["paramserver.body"]`. Nothing is read from the socket before `receive`, beyond
    what came with the head, nor between one call of it and the next. `early` is what is known to have come; its memory is
    somebody else's until `keep`. Where `checksum` is set to 0 before, it is the crc32 of what was received: taken as the bytes come, while the processor
    still has them at hand (of 1 MB that takes 20 us; at the end it would take 80).
    """

    def __init__(
        self, connection: Receiving, nbytes: int, early: memoryview = _NOTHING, *, of_known_head: bool = False
    ) -> None:
        self.nbytes = nbytes
        # Those still to come from the socket.
        self.left_nbytes = nbytes - len(early)
        # The parser has seen nothing of the request.
        self.of_known_head = of_known_head
        self.asked_for = False
        self.checksum: int | None = None
        self._connection = connection
        self._early = early
        self._windows: deque[memoryview] = deque()
        self._filled: Arrival | None = None
        self._lost = False

    async def receive(self, *buffers: memoryview) -> None:
        """Fill the buffers (writable bytes) one after the other with the next bytes of the body.

        Together they must not be longer than what is left of it. Raises `ClientDisconnect` when the connection ends
        first; the buffers' content is then undefined.
        """
        if not self.asked_for:
            self.asked_for = True
            parsed = self._connection.start_large(self)
            if parsed:
                self._early = memoryview(parsed)
                self.left_nbytes -= len(parsed)
        self._windows.extend(buffer for buffer in buffers if buffer.nbytes)
        try:
            self._take_early()
            if self._windows and (self._lost or not await self._come()):
                raise ClientDisconnect
        finally:
            # Cut off or cancelled, too: this object lives as long as the connection, the buffers must not.
            if self._windows:
                self._windows.clear()
                self._connection.stop_large(self)

    def keep(self) -> bool:
        """The memory of what came early is going to be used again. Says whether somebody waits for the rest."""
        if self._early:
            self._early = memoryview(bytes(self._early))
        return bool(self._windows)

    def window(self) -> memoryview | None:
        """Where the next bytes belong; None when nobody wants them."""
        if not self._windows:
            return None
        return self._windows[0] if self.checksum is None else self._windows[0][:_SUMMED_NBYTES]

    def advance(self, nbytes: int) -> None:
        """Count `nbytes` received."""
        self.left_nbytes -= nbytes
        filled = False
        if self._windows:
            self._count(nbytes)
            filled = not self._windows
        else:
            self._connection.throw_away(nbytes)
        if not self.left_nbytes:
            self._connection.end_large()
        elif filled:
            self._connection.flow.pause_reading()
        if filled and self._filled is not None:
            # Last: whoever waits goes on in here, up to the answer.
            self._filled.arrive(True)

    def cut_off(self) -> None:
        """The connection is gone."""
        self._lost = True
        if self._filled is not None:
            self._filled.arrive(False)

    def _come(self) -> Arrival:
        self._filled = Arrival(loop=self._connection.loop)
        self._connection.flow.resume_reading()
        return self._filled

    def _take_early(self) -> None:
        while self._windows and self._early:
            window = self._windows[0]
            nbytes = min(len(window), len(self._early))
            window[:nbytes] = self._early[:nbytes]
            self._early = self._early[nbytes:]
            self._count(nbytes)

    def _count(self, nbytes: int) -> None:
        window = self._windows.popleft()
        if self.checksum is not None:
            self.checksum = crc32(window[:nbytes], self.checksum)
        if rest := window[nbytes:]:
            self._windows.appendleft(rest)
