"""More connections than there are places (CWE-770, CWE-400), with nothing on them or with half a head."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from paramserver_client import ParameterClient
from support.attackers import connect, cut_by
from support.raw_http import read_reply
from support.server import Server

SERVER_HEAD = b"GET /v1/server HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with few places."""
    with Server("--connections-limit", "20", "--connections-per-peer-limit", "0") as server:
        yield server


@pytest.mark.parametrize("said", [b"", SERVER_HEAD[:10]], ids=["nothing", "half a head"])
def test_those_who_work_get_in_between_those_who_do_not(server: Server, said: bytes) -> None:
    with ExitStack() as stack, ParameterClient(server.url) as client:
        client.create_variable(f"counter{len(said)}", value=0)
        for _ in range(200):
            connection = stack.enter_context(connect(server))
            connection.sendall(said)
        with ParameterClient(server.url) as late:
            for _ in range(5):
                late.assign_add(f"counter{len(said)}", 1)
                client.assign_add(f"counter{len(said)}", 1)
        assert client.read(f"counter{len(said)}") == 10
        assert cut_by(server, client)["gave way"] >= 150
        assert client.server()["connections"]["open"] <= 20


def test_when_all_are_at_work_a_new_one_is_told_when_to_come_back(server: Server) -> None:
    with ExitStack() as stack:
        busy: list[socket.socket] = []
        for _ in range(20):
            connection = stack.enter_context(connect(server))
            connection.sendall(SERVER_HEAD)
            assert read_reply(connection).status == 200
            busy.append(connection)
        with connect(server) as refused:
            reply = read_reply(refused)
            assert (reply.status, reply.headers["retry-after"]) == (429, "1")
            assert reply.json()["code"] == "overloaded"
            assert refused.recv(1) == b""
        busy[0].close()
        # Tries again by itself until there is a place.
        with ParameterClient(server.url) as client:
            assert client.server()["connections"]["cut"]["refused"] >= 1


def test_one_address_leaves_places_to_others() -> None:
    with Server("--connections-per-peer-limit", "5") as server, ExitStack() as stack:
        for _ in range(5):
            connection = stack.enter_context(connect(server))
            connection.sendall(SERVER_HEAD)
            assert read_reply(connection).status == 200
        with connect(server) as refused:
            assert read_reply(refused).status == 429
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=30, source_address=("127.0.0.2", 0)) as other:
            other.sendall(SERVER_HEAD)
            assert read_reply(other).status == 200
