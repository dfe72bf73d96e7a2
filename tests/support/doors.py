"""The ways to a parameter server: embedded, the app in this process, a real socket; each for threads and for asyncio.

One contract holds for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

import httpx

from paramserver.engine import Engine
from paramserver.http.app import create_app
from paramserver.settings import Settings
from paramserver_client import AsyncParameterClient, ParameterClient
from paramserver_client.aio.embedded import AsyncEmbeddedTransport
from paramserver_client.embedded import EmbeddedTransport
from support.driven import Driven, Loop
from support.in_process import InProcessTransport
from support.server import Server


class _Shared(httpx.BaseTransport):
    """A transport that outlives the clients that use it."""

    def __init__(self, transport: InProcessTransport) -> None:
        self._transport = transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._transport.handle_request(request)


class _AsyncShared(httpx.AsyncBaseTransport):
    """The same for asyncio."""

    def __init__(self, transport: InProcessTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._transport.handle_async_request(request)


class Door:
    """Makes clients of one server. `kind` is "embedded", "app", "socket" or "unix"; `url` is the socket's, else None.

    A `loop` makes them async clients, driven by it.
    """

    def __init__(
        self,
        kind: str,
        make: Callable[..., ParameterClient],
        make_async: Callable[..., AsyncParameterClient],
        url: str | None = None,
    ) -> None:
        self.kind = kind
        self.url = url
        self.loop: Loop | None = None
        self._make = make
        self._make_async = make_async

    def client(self, **settings: Any) -> ParameterClient:
        """A new client. Closing it leaves the server as it is."""
        if self.loop is None:
            return self._make(**settings)
        return cast(ParameterClient, Driven(self._make_async(**settings), self.loop))


class _Lasting(EmbeddedTransport):
    """The embedded server of a door, which outlives the clients that use it."""

    def close(self) -> None:
        return None


@contextmanager
def embedded(data_dir: Path) -> Iterator[Door]:
    """The engine in this process, without any HTTP."""
    with Engine.open(data_dir, checkpoint_every_s=0) as engine:
        yield Door(
            "embedded",
            lambda **settings: ParameterClient(transport=_Lasting(engine), **settings),
            lambda **settings: AsyncParameterClient(transport=AsyncEmbeddedTransport(_Lasting(engine)), **settings),
        )


@contextmanager
def app(data_dir: Path) -> Iterator[Door]:
    """The app in this process: all of HTTP but for the socket."""
    settings = Settings(data_dir=data_dir)
    with (
        Engine.open(data_dir, checkpoint_every_s=0) as engine,
        InProcessTransport(create_app(engine, settings)) as transport,
    ):
        yield Door(
            "app",
            lambda **settings: ParameterClient(transport=_Shared(transport), **settings),
            lambda **settings: AsyncParameterClient(transport=_AsyncShared(transport), **settings),
        )


@contextmanager
def socket(data_dir: Path) -> Iterator[Door]:
    """A real server process behind a real socket."""
    with Server("--checkpoint-every-s", "0", data_dir=data_dir) as server:
        yield Door(
            "socket",
            lambda **settings: ParameterClient(server.url, **settings),
            lambda **settings: AsyncParameterClient(server.url, **settings),
            server.url,
        )


@contextmanager
def unix(data_dir: Path) -> Iterator[Door]:
    """A real server process behind a Unix socket, which takes the short way from the second request of a head on."""
    program = (str(Path(__file__).with_name("knowing_server.py")),)
    # The path of a Unix socket has 107 bytes at most, and a test's own directory may have more.
    with TemporaryDirectory(prefix="ps-") as place:
        path = f"{place}/socket"
        with Server("--checkpoint-every-s", "0", "--uds", path, data_dir=data_dir, program=program):
            yield Door(
                "unix",
                lambda **settings: ParameterClient(f"unix://{path}", **settings),
                lambda **settings: AsyncParameterClient(f"unix://{path}", **settings),
            )


Opening = Callable[[Path], AbstractContextManager[Door]]


def _for_asyncio(opening: Opening) -> Opening:
    @contextmanager
    def opened(data_dir: Path) -> Iterator[Door]:
        with opening(data_dir) as door:
            door.loop = Loop()
            try:
                yield door
            finally:
                door.loop.close()

    return opened


_FOR_THREADS: Final[Mapping[str, Opening]] = {
    "embedded": embedded,
    "app": app,
    "socket": socket,
    "unix": unix,
}

DOORS: Final[Mapping[str, Opening]] = {
    **_FOR_THREADS,
    **{f"async-{name}": _for_asyncio(opening) for name, opening in _FOR_THREADS.items()},
}
