"""httpx's own network transport belongs to the event loop that first used it: told in time, and in words."""

from __future__ import annotations

import asyncio

import httpx

from paramserver_client.aio.transport import AsyncBaseTransport, AsyncTransport


class OneLoopTransport(httpx.AsyncBaseTransport):
    """Passes requests on to `inner`, from the first event loop that asks. Raises RuntimeError in any other."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self._loop: asyncio.AbstractEventLoop | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass the request on."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if loop is not self._loop:
            raise RuntimeError(
                "Wanted to be used in one event loop, got a second: the connections of httpx.AsyncHTTPTransport belong to "
                "the first. Make a client for each loop, or leave transport out."
            )
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close `inner`."""
        await self._inner.aclose()


def in_one_loop(given: AsyncBaseTransport | AsyncTransport | None) -> AsyncBaseTransport | AsyncTransport | None:
    """The transport that was given, held to one event loop if it cannot do with more."""
    return OneLoopTransport(given) if isinstance(given, httpx.AsyncHTTPTransport) else given
