"""A body piece by piece, into buffers that its receiver chooses as it goes: the header first, then what that promises."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

from paramserver.http.large_body import EXTENSION, LargeBody
from paramserver_wire.errors import MalformedBody


class BodyReader:
    """Receives the body of `request`, of which `nbytes` were declared.

    A large one comes straight from the socket where our protocol serves; any other, and any under another server, by
    plain ASGI. No more is asked of the client than buffers were given for. With `summed` there is a `checksum` where it
    costs next to nothing.
    """

    def __init__(self, request: Request, nbytes: int, *, summed: bool = False) -> None:
        self.nbytes = nbytes
        self.left_nbytes = nbytes
        large = request.scope.get("extensions", {}).get(EXTENSION)
        self._large = large if isinstance(large, LargeBody) else None
        if self._large is not None and summed:
            self._large.checksum = 0
        self._request = request
        self._chunk = memoryview(b"")
        self._more = True

    @property
    def checksum(self) -> int | None:
        """The crc32 of what was received, if it was taken meanwhile."""
        return None if self._large is None else self._large.checksum

    async def fill(self, *buffers: memoryview) -> None:
        """Fill the buffers, one after the other, with the next bytes.

        Raises `MalformedBody` when the body is shorter than they are, or does not keep to the length it declared, and
        `ClientDisconnect` when the connection ends.
        """
        wanted = sum(buffer.nbytes for buffer in buffers)
        if wanted > self.left_nbytes:
            raise MalformedBody(
                f"wanted {wanted} bytes more, got a body of {self.nbytes} bytes that has only {self.left_nbytes} left; "
                "send it whole"
            )
        if self._large is not None:
            await self._large.receive(*buffers)
        else:
            for buffer in buffers:
                await self._copy_into(buffer)
        self.left_nbytes -= wanted
        if not self.left_nbytes and self._large is None:
            await self._end()

    async def _copy_into(self, buffer: memoryview) -> None:
        at = 0
        while at < len(buffer):
            if not self._chunk:
                if not self._more:
                    came = self.nbytes - self.left_nbytes + at
                    raise MalformedBody(
                        f"the body ended after {came} bytes, Content-Length promised {self.nbytes}; send it again"
                    )
                await self._next()
            piece = self._chunk[: len(buffer) - at]
            buffer[at : at + len(piece)] = piece
            self._chunk = self._chunk[len(piece) :]
            at += len(piece)

    async def _end(self) -> None:
        while self._more and not self._chunk:
            await self._next()
        if self._chunk:
            raise MalformedBody(f"the body is longer than its Content-Length of {self.nbytes} bytes")

    async def _next(self) -> None:
        chunk, self._more = await next_chunk(self._request)
        self._chunk = memoryview(chunk)


async def next_chunk(request: Request) -> tuple[bytes, bool]:
    """The next piece of a body, as ASGI gives it, and whether more follow."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)
