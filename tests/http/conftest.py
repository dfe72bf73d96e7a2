"""A real server in a thread, and the app in process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest

from paramserver.engine import Engine
from paramserver.http.app import create_app
from paramserver.http.patience import Bounds, Patience
from paramserver.http.performing import Drain
from paramserver.http.serve import prepare_engine
from paramserver.http.server import Server, config_of
from paramserver.settings import Settings
from paramserver_wire.messages import Message
from support.described import check_described


@dataclass(frozen=True)
class Served:
    """A running server: its address, and what is behind it."""

    engine: Engine
    settings: Settings
    drain: Drain
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> httpx.Client:
        """A client whose every answer is held to the description."""
        hooks = {"response": [check_described]}
        return httpx.Client(base_url=self.url, trust_env=False, timeout=20, event_hooks=hooks, **options)

    def connect(self) -> socket.socket:
        """A connection over TCP, or over the Unix socket of a server that has one."""
        if self.settings.uds is not None:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(20)
            connection.connect(str(self.settings.uds))
            return connection
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def create(self, name: str, value: Any) -> None:
        self.engine.perform(Message("create_variable", {"name": name, "value": value}))

    def value(self, name: str) -> np.ndarray[Any, Any]:
        value = self.engine.store.get(name).value
        assert value is not None
        return value


@contextmanager
def serving(settings: Settings) -> Iterator[Served]:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    port = bound.getsockname()[1]
    drain, listening = Drain(), threading.Event()
    with prepare_engine(settings) as engine:
        server = Server(
            config_of(create_app(engine, settings, drain), settings, Patience(Bounds.of(settings))),
            drain,
            settings.uds,
            announce=listening.set,
            start=engine.start,
        )
        thread = threading.Thread(target=server.run, args=([bound],), name="test-server")
        thread.start()
        try:
            assert listening.wait(20)
            yield Served(engine, settings, drain, port)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def settings() -> Settings:
    return Settings()


@pytest.fixture
def served(settings: Settings) -> Iterator[Served]:
    with serving(settings) as running:
        yield running


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    """One server for all tests of a file."""
    with serving(Settings()) as running:
        yield running


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server with a data directory for all tests of a file."""
    with serving(Settings(data_dir=tmp_path_factory.mktemp("data"), checkpoint_every_s=0)) as running:
        yield running


@pytest.fixture
def serve_with() -> Iterator[Callable[..., Served]]:
    """Start a server with other settings; it stops at the end of the test."""
    running = []

    def start(**changes: Any) -> Served:
        context = serving(Settings(**changes))
        running.append(context)
        return context.__enter__()

    yield start
    for context in running:
        context.__exit__(None, None, None)
