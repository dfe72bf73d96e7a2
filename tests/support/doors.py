"""The three ways to a parameter server: embedded, the app in this process, a real socket. One contract holds for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from paramserver.engine import Engine
from paramserver.http.app import create_app
from paramserver.settings import Settings
from paramserver_client import ParameterClient
from paramserver_client.embedded import EmbeddedTransport
from support.in_process import InProcessTransport
from support.server import Server


class _Shared(httpx.BaseTransport):
    """A transport that outlives the clients that use it."""

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._transport = transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._transport.handle_request(request)


class Door:
    """Makes clients of one server. `kind` is "embedded", "app" or "socket"; `url` is the socket's, else None."""

    def __init__(self, kind: str, make: Callable[..., ParameterClient], url: str | None = None) -> None:
        self.kind = kind
        self.url = url
        self._make = make

    def client(self, **settings: Any) -> ParameterClient:
        """A new client. Closing it leaves the server as it is."""
        return self._make(**settings)


class _Lasting(EmbeddedTransport):
    """The embedded server of a door, which outlives the clients that use it."""

    def close(self) -> None:
        return None


@contextmanager
def embedded(data_dir: Path) -> Iterator[Door]:
    """The engine in this process, without any HTTP."""
    with Engine.open(data_dir, checkpoint_every_s=0) as engine:
        yield Door("embedded", lambda **settings: ParameterClient(transport=_Lasting(engine), **settings))


@contextmanager
def app(data_dir: Path) -> Iterator[Door]:
    """The app in this process: all of HTTP but for the socket."""
    settings = Settings(data_dir=data_dir)
    with (
        Engine.open(data_dir, checkpoint_every_s=0) as engine,
        InProcessTransport(create_app(engine, settings)) as transport,
    ):
        yield Door("app", lambda **settings: ParameterClient(transport=_Shared(transport), **settings))


@contextmanager
def socket(data_dir: Path) -> Iterator[Door]:
    """A real server process behind a real socket."""
    with Server("--checkpoint-every-s", "0", data_dir=data_dir) as server:
        yield Door("socket", lambda **settings: ParameterClient(server.url, **settings), server.url)


DOORS: Final[Mapping[str, Callable[[Path], AbstractContextManager[Door]]]] = {
    "embedded": embedded,
    "app": app,
    "socket": socket,
}
