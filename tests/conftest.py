"""Fixtures for all tests: the doors to a parameter server, and the contract that holds behind each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from paramserver_client import ParameterClient
from support.doors import DOORS, Door
from support.driven import Loop
from support.server import Server


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on the environment of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("PARAMSERVER_"):
            monkeypatch.delenv(name)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A real server process with a data directory of its own."""
    with Server(data_dir=tmp_path / "data") as server:
        yield server


@pytest.fixture(scope="module", params=DOORS)
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A parameter server behind one of its doors, with a data directory. One for all tests of a file."""
    with DOORS[request.param](tmp_path_factory.mktemp("door") / "data") as door:
        yield door


@pytest.fixture
def client(door: Door) -> Iterator[ParameterClient]:
    """A client of an empty server behind each door."""
    with door.client() as client:
        client.delete_variables(prefix="", confirm=True)
        for checkpoint in client.checkpoints():
            client.delete_checkpoint(checkpoint.id)
        yield client


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    """An event loop in a thread, to drive what is async."""
    loop = Loop()
    yield loop
    loop.close()
