"""Sizes are checked before memory is taken: what a body may be, and the one way to receive it."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request

from paramserver.http.protocol import EXTENSION, LARGE_NBYTES, LargeBody
from paramserver.store.buffers import BufferPool
from paramserver_wire.errors import BodyTooLarge, InvalidRequest, MalformedBody

# Pieces of this size keep a checksum's thread busy behind a body that arrives at several GB/s.
_CHECKED_NBYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Body:
    """A received body: `data` is one buffer, writable when it is large. Views of it keep its memory."""

    data: memoryview
    known_crc32: int | None = None

    @property
    def nbytes(self) -> int:
        return self.data.nbytes

    def crc32(self) -> int:
        """The crc32 of the body: known already when it was computed while the body arrived."""
        return zlib.crc32(self.data) if self.known_crc32 is None else self.known_crc32


async def receive_body(
    request: Request, limit_nbytes: int, pool: BufferPool, threads: Executor, *, checked: bool
) -> Body:
    """The body of `request`, in one buffer; a large one of declared length arrives in a block of the pool.

    With `checked` its crc32 is computed in a thread while it arrives (100 MB take 24 ms). Raises `BodyTooLarge` as soon as
    the declared or received length is over `limit_nbytes`, before more memory is taken, `MalformedBody` when fewer bytes
    came than were declared, and `ClientDisconnect` when the client went away.
    """
    declared = declared_nbytes(request)
    if declared is not None and declared > limit_nbytes:
        raise _too_large(f"a body of {declared} bytes", limit_nbytes)
    large = request.scope.get("extensions", {}).get(EXTENSION)
    if isinstance(large, LargeBody):
        buffer = pool.take(large.nbytes).data
        if not checked:
            await large.receive(buffer)
            return Body(buffer)
        checksum = _Checksum(buffer, threads)
        await large.receive(buffer, checksum.arrived)
        return Body(buffer, await checksum.finish())
    if declared is not None and declared >= LARGE_NBYTES:
        return await _into_block(request, pool.take(declared).data)
    return await _grown(request, limit_nbytes)


def declared_nbytes(request: Request) -> int | None:
    """The request's Content-Length; None when it does not say."""
    value = request.headers.get("content-length")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise MalformedBody(f"Content-Length must be a number of bytes, got {value[:40]!r}")
    return int(value)


def check_counts(fields: Mapping[str, Any], limit: int) -> None:
    """Refuse a request that names more than `limit` variables in any of its fields."""
    for field, value in fields.items():
        if isinstance(value, (list, dict)) and field in _COUNTED and len(value) > limit:
            raise InvalidRequest(f"{field}: at most {limit} variables in one request, got {len(value)}; send several")


_COUNTED: Final = frozenset({"names", "updates", "return", "if_versions", "rename"})


class _Checksum:
    """The crc32 of a buffer, computed in a thread behind the place to which it is filled. Used from the event loop."""

    def __init__(self, buffer: memoryview, threads: Executor) -> None:
        self._buffer = buffer
        self._threads = threads
        self._handed_over = 0
        self._job: Future[int] | None = None

    def arrived(self, filled: int) -> None:
        """The first `filled` bytes will not change any more."""
        if filled - self._handed_over >= _CHECKED_NBYTES and (self._job is None or self._job.done()):
            self._hand_over(filled)

    async def finish(self) -> int:
        """The crc32 of the whole buffer, which is full now."""
        if self._job is not None:
            await asyncio.wrap_future(self._job)
        return await asyncio.wrap_future(self._hand_over(self._buffer.nbytes))

    def _hand_over(self, filled: int) -> Future[int]:
        before = 0 if self._job is None else self._job.result()
        piece = self._buffer[self._handed_over : filled]
        self._handed_over = filled
        self._job = self._threads.submit(zlib.crc32, piece, before)
        return self._job


async def _into_block(request: Request, buffer: memoryview) -> Body:
    at = 0
    more = True
    while more:
        chunk, more = await _next_chunk(request)
        if at + len(chunk) > buffer.nbytes:
            raise MalformedBody(f"the body is longer than its Content-Length of {buffer.nbytes} bytes")
        buffer[at : at + len(chunk)] = chunk
        at += len(chunk)
    if at != buffer.nbytes:
        raise MalformedBody(f"the body ended after {at} bytes, Content-Length promised {buffer.nbytes}; send it again")
    return Body(buffer)


async def _grown(request: Request, limit_nbytes: int) -> Body:
    chunk, more = await _next_chunk(request)
    if not more:
        # The usual small request: no copy.
        _check_received(len(chunk), limit_nbytes)
        return Body(memoryview(chunk))
    grown = bytearray(chunk)
    while more:
        _check_received(len(grown), limit_nbytes)
        chunk, more = await _next_chunk(request)
        grown += chunk
    _check_received(len(grown), limit_nbytes)
    return Body(memoryview(grown))


async def _next_chunk(request: Request) -> tuple[bytes, bool]:
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)


def _check_received(nbytes: int, limit_nbytes: int) -> None:
    if nbytes > limit_nbytes:
        raise _too_large("the body", limit_nbytes)


def _too_large(what: str, limit_nbytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"{what} is over the limit of {limit_nbytes} bytes for this media type and route; send large tensors as "
        "application/vnd.paramserver.frame, in several requests, or raise the server's limit"
    )
