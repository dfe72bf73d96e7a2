"""Sizes are checked before memory is taken: what a body may be, and the one way to receive it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

from starlette.requests import Request

from paramserver.http.bodies import BodyReader, next_chunk
from paramserver.http.large_body import LARGE_NBYTES
from paramserver.http.models.base import MAX_FIELDS
from paramserver.store.buffers import BufferPool, Hold
from paramserver_wire.errors import BodyTooLarge, InvalidRequest, MalformedBody


class Body(NamedTuple):
    """A request's body, in one buffer, and its crc32 if that was taken while it came."""

    view: memoryview
    checksum: int | None = None


async def receive_body(request: Request, limit_nbytes: int, pool: BufferPool, hold: Hold) -> Body:
    """The body of `request`, in one buffer; a large one of declared length arrives in a writable block of the pool.

    Views of it keep its memory; `hold` counts it against the memory budget (`MemoryLimitExceeded`). Raises `BodyTooLarge` as soon as the declared or received length is over `limit_nbytes`,
    before more memory is taken, `MalformedBody` when fewer bytes came than were declared, and `ClientDisconnect` when the
    client went away.
    """
    declared = declared_nbytes(request)
    if declared is not None and declared > limit_nbytes:
        raise _too_large(f"a body of {declared} bytes", limit_nbytes)
    if declared is not None and declared >= LARGE_NBYTES:
        reader = BodyReader(request, declared, summed=True)
        view = await receive_large(declared, reader.fill, pool, hold)
        return Body(view, reader.checksum)
    chunk, more = await next_chunk(request)
    hold.add(len(chunk))
    _check_received(len(chunk), limit_nbytes)
    # The usual small request has no more: no copy.
    return Body(memoryview(await _grown(chunk, request, limit_nbytes, hold) if more else chunk))


async def receive_large(
    nbytes: int, fill: Callable[[memoryview], Awaitable[None]], pool: BufferPool, hold: Hold
) -> memoryview:
    """A body of `nbytes` in a block of the pool, which `fill` fills; `hold` counts it first."""
    hold.add(nbytes)
    buffer = pool.take(nbytes).data
    await fill(buffer)
    return buffer


def check_no_body(request: Request) -> None:
    """Refuse a body where none is taken: proxies disagree about what that means, and nobody sends one for a reason."""
    if (declared_nbytes(request) or 0) > 0 or "transfer-encoding" in request.headers:
        raise InvalidRequest(f"{request.method} {request.url.path[:200]} takes no body, got one; leave it out")


def declared_nbytes(request: Request) -> int | None:
    """The request's Content-Length; None when it does not say."""
    value = request.headers.get("content-length")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise MalformedBody(f"Content-Length must be a number of bytes, got {value[:40]!r}")
    return int(value)


def check_counts(fields: Mapping[str, Any], limit: int) -> None:
    """Refuse a request of too many fields, or that names more than `limit` variables in any of them."""
    if len(fields) > MAX_FIELDS:
        raise InvalidRequest(f"at most {MAX_FIELDS} fields, got {len(fields)}; send those that the route knows")
    for field, value in fields.items():
        if isinstance(value, (list, dict)) and field in COUNTED and len(value) > limit:
            raise InvalidRequest(f"{field}: at most {limit} variables in one request, got {len(value)}; send several")


COUNTED: Final = frozenset(
    {"names", "updates", "gradients", "then", "return", "if_versions", "rename", "slots", "scalars"}
)


async def _grown(begin: bytes, request: Request, limit_nbytes: int, hold: Hold) -> bytearray:
    """A body that begins with `begin` and comes in pieces of its sender's choice."""
    grown, more = bytearray(begin), True
    while more:
        chunk, more = await next_chunk(request)
        hold.add(len(chunk))
        grown += chunk
        _check_received(len(grown), limit_nbytes)
    return grown


def _check_received(nbytes: int, limit_nbytes: int) -> None:
    if nbytes > limit_nbytes:
        raise _too_large("the body", limit_nbytes)


def _too_large(what: str, limit_nbytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"{what} is over the limit of {limit_nbytes} bytes for this media type and route; send large tensors as "
        "application/vnd.paramserver.frame, in several requests, or raise the server's limit"
    )
