"""An ASGI app as a transport: the whole of HTTP but for the socket, in this process."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx


class InProcessTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Runs `app`, lifespan included, on an event loop in a thread of its own. `close` ends both."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._asgi = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._life = asyncio.run_coroutine_threadsafe(self._live(), self._loop)
        self._lifespan("startup")

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Have the app answer the request."""
        return asyncio.run_coroutine_threadsafe(self._answer(_with(request, request.read())), self._loop).result(60)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The same, for another event loop than the app's own."""
        asked = _with(request, await request.aread())
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._answer(asked), self._loop))

    def close(self) -> None:
        """Shut the app down and end its thread."""
        self._lifespan("shutdown")
        self._life.result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        response = await self._asgi.handle_async_request(request)
        body = await response.aread()
        return httpx.Response(response.status_code, headers=response.headers.raw, stream=httpx.ByteStream(body))

    async def _live(self) -> None:
        await self._app({"type": "lifespan", "asgi": {"version": "3.0"}}, self._to_app.get, self._from_app.put)

    def _lifespan(self, step: str) -> None:
        async def take() -> None:
            await self._to_app.put({"type": f"lifespan.{step}"})
            message = await self._from_app.get()
            assert message["type"] == f"lifespan.{step}.complete", message

        asyncio.run_coroutine_threadsafe(take(), self._loop).result(60)


def _with(request: httpx.Request, body: bytes) -> httpx.Request:
    stream = httpx.ByteStream(body)
    return httpx.Request(request.method, request.url, headers=request.headers.raw, stream=stream)
