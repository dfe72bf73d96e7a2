"""Heads that never end, a byte at a time (Slowloris: R. Hansen, 2009), and connections that never begin one.

A server that waits for each of them is soon out of places for others, at the cost of a few bytes a minute.
"""

from __future__ import annotations

import itertools
import select
from collections.abc import Iterator

import pytest

from paramserver_client import ParameterClient
from support.attackers import connect, cut_by, trickling, until_cut
from support.server import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that is in a hurry."""
    with Server("--head-timeout-s", "1", "--idle-timeout-s", "1", "--keep-alive-s", "3") as server:
        yield server


@pytest.mark.parametrize(
    "begin", [b"", b"GET /v1/server HTTP/1.1\r\nHost: localhost\r\n"], ids=["from the first byte", "behind a line"]
)
def test_a_head_that_trickles_is_cut(server: Server, begin: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(begin)
        pieces = itertools.repeat(b"X-a: b\r\n") if begin else itertools.chain([b"GET /v1/"], itertools.repeat(b"x"))
        assert until_cut(connection, trickling(connection, pieces)) < 10
    with ParameterClient(server.url) as client:
        assert cut_by(server, client)["slow head"] >= 1


@pytest.mark.parametrize("said", [b"", b"\r\n"], ids=["nothing", "an empty line"])
def test_who_says_nothing_is_cut(server: Server, said: bytes) -> None:
    with connect(server) as connection:
        assert until_cut(connection, lambda: connection.sendall(said), every_s=0.5) < 10


def test_the_second_head_has_no_more_time_than_the_first(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv(65536)
        assert until_cut(connection, trickling(connection, itertools.repeat(b"G"))) < 10


def test_a_client_that_was_let_in_may_rest_longer(server: Server) -> None:
    with connect(server) as resting, connect(server) as silent:
        resting.sendall(b"GET /v1/server HTTP/1.1\r\nHost: localhost\r\n\r\n")
        resting.recv(65536)
        until_cut(silent)
        assert not select.select([resting], [], [], 0)[0]
        until_cut(resting)


def test_a_pooled_connection_that_was_cut_costs_its_owner_nothing(server: Server) -> None:
    with ParameterClient(server.url) as client:
        client.create_variable("counter", value=0)
        with connect(server) as witness:
            # Rests no longer than the client's own connection.
            witness.sendall(b"GET /v1/server HTTP/1.1\r\nHost: localhost\r\n\r\n")
            witness.recv(65536)
            until_cut(witness)
        assert client.assign_add("counter", 1).versions["counter"]
        assert client.read("counter") == 1
