"""Eight clients push two variables in opposite orders over a real socket; the same with bugs planted into the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from paramserver_client import ParameterClient, Update
from support.races import LEFT, RIGHT, Verdict, race
from support.server import Server

PLANTED = Path(__file__).parents[1] / "support" / "planted_server.py"


class ClientAccess:
    def __init__(self, url: str, size: int, timeout_s: float) -> None:
        self.client = ParameterClient(url, timeout_s=timeout_s)
        self.ones = np.ones(size, np.float32)

    def push_ones(self, first: str, second: str) -> None:
        self.client.push([Update(first, "assign_add", self.ones), Update(second, "assign_add", self.ones)])

    def pull(self) -> tuple[np.ndarray, int, np.ndarray, int]:
        cut = self.client.pull([LEFT, RIGHT])
        versions = {name: int(tag.rpartition("-")[2]) for name, tag in cut.versions.items()}
        return cut[LEFT], versions[LEFT], cut[RIGHT], versions[RIGHT]


def raced(server: Server, size: int, *, writers: int, pushes: int, deadline_s: float) -> Verdict:
    with ParameterClient(server.url) as client:
        for name in (LEFT, RIGHT):
            client.create_variable(name, value=np.zeros(size, np.float32))
    opened: list[ClientAccess] = []

    def connect() -> ClientAccess:
        opened.append(ClientAccess(server.url, size, timeout_s=deadline_s))
        return opened[-1]

    verdict = race(connect, writers=writers, pushes=pushes, readers=2, deadline_s=deadline_s)
    if not verdict.finished:
        server.kill()
    for thread in verdict.threads:
        thread.join()
    for access in opened:
        access.client.close()
    return verdict


@contextmanager
def planted(bug: str) -> Iterator[Server]:
    """A server with the bug in it, which is killed at the end: it may be past answering a SIGTERM."""
    server = Server(program=(str(PLANTED), bug))
    server.start()
    try:
        yield server
    finally:
        if server.process.returncode is None:
            server.kill()


def test_pushes_in_opposite_orders_add_up_and_are_never_seen_half(server: Server) -> None:
    verdict = raced(server, 64, writers=8, pushes=200, deadline_s=90)
    assert (verdict.finished, verdict.errors, verdict.torn) == (True, [], [])
    assert verdict.reads > 0
    with ParameterClient(server.url) as client:
        for name in (LEFT, RIGHT):
            assert client.get_variable(name).version == 1 + 8 * 200
            assert set(client.read(name).tolist()) == {8 * 200}


def test_large_ones_too(server: Server) -> None:
    verdict = raced(server, 600_000, writers=4, pushes=15, deadline_s=90)
    assert (verdict.finished, verdict.errors, verdict.torn) == (True, [], [])
    with ParameterClient(server.url) as client:
        assert {client.get_variable(name).version for name in (LEFT, RIGHT)} == {1 + 4 * 15}
        assert set(client.read(RIGHT).tolist()) == {4 * 15}


def test_the_check_catches_locks_taken_in_any_order() -> None:
    with planted("no_sort") as server:
        verdict = raced(server, 600_000, writers=8, pushes=60, deadline_s=8)
    assert not verdict.finished


def test_the_check_catches_writing_in_place() -> None:
    with planted("in_place") as server:
        verdict = raced(server, 3_000_000, writers=4, pushes=15, deadline_s=60)
    assert verdict.torn
