"""Every test of the graph starts with an empty default graph; those that ask for `target` run embedded and on a server."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import paramserver_client.graph as tf
from paramserver_client import ParameterClient
from support.graph_target import Target
from support.server import Server

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _fresh_graph() -> Iterator[None]:
    tf.reset_default_graph()
    yield
    tf.reset_default_graph()


@pytest.fixture(scope="session")
def graph_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One real server for all tests of the graph; each works in a container of its own."""
    with Server(data_dir=tmp_path_factory.mktemp("graph-server") / "data") as server:
        yield server


@pytest.fixture(params=["embedded", "server"])
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """Makes sessions that share their variables: in one embedded client, or in one container of a live server."""
    if request.param == "embedded":
        with ParameterClient() as client:
            yield Target("embedded", lambda **settings: tf.Session(client=client, **settings), client=client)
        return
    url, container = request.getfixturevalue("graph_server").url, f"test{next(_numbers)}"
    yield Target("server", lambda **settings: tf.Session(url, **{"container": container, **settings}), url, container)


@pytest.fixture
def sess(target: Target) -> Iterator[tf.Session]:
    """An entered session of the default graph, on each target."""
    with target.session() as session:
        yield session


@pytest.fixture
def run() -> Callable[..., Any]:
    """Runs fetches in a fresh embedded session of the default graph: for what needs no server."""

    def run(fetches: Any, feed_dict: Any = None) -> Any:
        with tf.Session() as session:
            return session.run(fetches, feed_dict)

    return run
