"""The async client as a sync test sees it: every call runs on an event loop in a thread, and is waited for."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

import paramserver_client as ps
from paramserver_wire.messages import Answer, Message

Result = TypeVar("Result")


class Loop:
    """An event loop in a thread of its own. `run` may be called from several threads; `close` ends it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()


class Driven:
    """Has the calls of `client`, each of which returns when it is done. Closing it closes the client."""

    def __init__(self, client: ps.AsyncParameterClient, loop: Loop) -> None:
        self._client = client
        self._loop = loop
        self.transport = DrivenTransport(client.transport, loop)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not callable(method):
            return method

        def call(*arguments: Any, **named: Any) -> Any:
            waited = method(*arguments, **named)
            assert inspect.iscoroutine(waited), f"AsyncParameterClient.{name} is no coroutine function"
            return self._loop.run(waited)

        return call

    def __enter__(self) -> Self:
        self._loop.run(self._client.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._client.__aexit__(kind, error, trace))


class DrivenTransport:
    """Has the calls of a `Transport` of the async client."""

    def __init__(self, transport: ps.AsyncTransport, loop: Loop) -> None:
        self._transport = transport
        self._loop = loop

    def deliver(self, message: Message, timeout_s: float) -> Answer:
        return self._loop.run(self._transport.deliver(message, timeout_s))

    def close(self) -> None:
        self._loop.run(self._transport.close())


def driven_http(loop: Loop) -> Callable[..., DrivenTransport]:
    """What makes an `AsyncHttpTransport` where a test makes an `HttpTransport`."""

    def make(url: str, *, sleep: Callable[[float], None] | None = None, **settings: Any) -> DrivenTransport:
        if sleep is not None:

            async def pause(seconds: float) -> None:
                sleep(seconds)

            settings["sleep"] = pause
        return DrivenTransport(ps.AsyncHttpTransport(url, **settings), loop)

    return make


class DrivenSocket(httpx.BaseTransport):
    """An `AsyncSocketTransport` where a test wants a `SocketTransport`."""

    def __init__(self, loop: Loop, **settings: Any) -> None:
        self._loop = loop
        self._transport = ps.AsyncSocketTransport(**settings)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._loop.run(self._transport.handle_async_request(request))

    def close(self) -> None:
        self._loop.run(self._transport.aclose())
