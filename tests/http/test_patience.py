"""Who is waited for, and for how long: by the clock of the test, and without a socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from paramserver.http.patience import Bounds, Patience, Phase

KIB = 1024
BOUNDS = Bounds(
    head_s=5,
    idle_s=10,
    keep_alive_s=60,
    grace_s=10,
    slowest_nbytes_per_s=16 * KIB,
    connections=3,
    connections_per_peer=2,
)


@dataclass(eq=False)
class FakeConnection:
    """At what it is told to be."""

    peer: str | None = "10.0.0.1"
    proven: bool = False
    phase: Phase = "idle"
    request: int = 0
    moved: int = 0
    is_cut: bool = field(default=False, init=False)

    def standing(self) -> tuple[Phase, int]:
        return self.phase, self.request

    def moved_nbytes(self) -> int:
        return self.moved

    def cut(self) -> None:
        self.is_cut = True


class Watch:
    """A `Patience` whose time passes when it is told to."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bounds: Bounds = BOUNDS) -> None:
        self.now = 1000.0
        self.patience = Patience(bounds, lambda: self.now)
        self.loop = loop

    def admit(self, *connections: FakeConnection) -> list[bool]:
        return [self.patience.admit(connection, self.loop) for connection in connections]

    def pass_s(self, seconds: int, *moving: tuple[FakeConnection, int]) -> None:
        """Let whole seconds pass, with a look at the end of each; what moves does so by so many bytes a second."""
        for _ in range(seconds):
            self.now += 1
            for connection, nbytes in moving:
                connection.moved += nbytes
            self.patience.look()

    def cut(self) -> Any:
        return self.patience.facts()["cut"]


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def watch(loop: asyncio.AbstractEventLoop) -> Watch:
    return Watch(loop)


@pytest.mark.parametrize(
    ("phase", "proven", "lasts_s", "reason"),
    [
        ("idle", False, 10, "idle"),
        ("idle", True, 60, "idle"),
        ("head", False, 5, "slow head"),
        ("head", True, 5, "slow head"),
    ],
)
def test_what_is_waited_for_ends(watch: Watch, phase: Phase, proven: bool, lasts_s: int, reason: str) -> None:
    connection = FakeConnection(phase=phase, proven=proven)
    watch.admit(connection)
    # Seen first after a second: from then on it counts.
    watch.pass_s(lasts_s)
    assert not connection.is_cut
    watch.pass_s(1)
    assert connection.is_cut
    assert watch.cut() == {reason: 1}


def test_bytes_that_trickle_do_not_make_a_head_last(watch: Watch) -> None:
    connection = FakeConnection(phase="head")
    watch.admit(connection)
    watch.pass_s(7, (connection, 100_000))
    assert connection.is_cut


def test_each_request_has_its_own_time(watch: Watch) -> None:
    connection = FakeConnection(phase="head")
    watch.admit(connection)
    for number in range(10):
        connection.request = number
        watch.pass_s(4)
    assert not connection.is_cut


@pytest.mark.parametrize("phase", ["body", "answer"])
def test_a_steady_one_goes_on_and_a_slow_one_does_not(watch: Watch, phase: Phase) -> None:
    steady, slow = FakeConnection(phase=phase), FakeConnection(phase=phase)
    watch.admit(steady, slow)
    watch.pass_s(60, (steady, 17 * KIB), (slow, 15 * KIB))
    assert not steady.is_cut
    assert slow.is_cut
    assert watch.cut()[f"slow {phase}"] >= 1


@pytest.mark.parametrize("phase", ["idle", "head", "body", "answer"])
def test_a_stranger_gives_way_whatever_it_is_at(loop: asyncio.AbstractEventLoop, phase: Phase) -> None:
    watch = Watch(loop, Bounds(connections=2))
    stranger, known = FakeConnection(phase=phase), FakeConnection(phase="body", proven=True)
    watch.admit(known, stranger)
    watch.admit(FakeConnection())
    assert stranger.is_cut
    assert not known.is_cut


@pytest.mark.parametrize("phase", ["body", "answer"])
def test_a_fast_beginning_buys_no_slow_rest(watch: Watch, phase: Phase) -> None:
    connection = FakeConnection(phase=phase)
    watch.admit(connection)
    watch.pass_s(4, (connection, 100_000_000))
    watch.pass_s(8)
    assert connection.is_cut


def test_a_slow_one_has_its_grace(watch: Watch) -> None:
    connection = FakeConnection(phase="body")
    watch.admit(connection)
    watch.pass_s(10)
    assert not connection.is_cut


def test_nobody_is_hurried_while_it_is_our_turn(watch: Watch) -> None:
    connection = FakeConnection(phase="ours")
    watch.admit(connection)
    watch.pass_s(1000)
    assert not connection.is_cut


def test_what_has_shown_nothing_gives_way_the_oldest_first(watch: Watch) -> None:
    first, second = FakeConnection(phase="head"), FakeConnection()
    other, more = FakeConnection(peer="10.0.0.2"), FakeConnection(peer="10.0.0.2")
    assert watch.admit(first, second, other, more) == [True] * 4
    assert [each.is_cut for each in (first, second, other, more)] == [True, False, False, False]
    assert watch.patience.facts()["open"] == 3


def test_what_was_let_in_stays(watch: Watch) -> None:
    proven, busy = FakeConnection(proven=True), FakeConnection(phase="body", peer="10.0.0.2", proven=True)
    local, late = FakeConnection(peer=None, proven=True), FakeConnection(peer="10.0.0.3")
    assert watch.admit(proven, busy, local, late) == [True, True, True, False]
    assert watch.cut() == {"refused": 1}
    watch.patience.forget(late)
    assert watch.patience.facts()["open"] == 3


def test_one_address_cannot_take_all_places(loop: asyncio.AbstractEventLoop) -> None:
    watch = Watch(loop, Bounds(connections=10, connections_per_peer=2))
    crowd = [FakeConnection(proven=True) for _ in range(4)]
    assert watch.admit(*crowd) == [True, True, False, False]
    assert watch.admit(FakeConnection(peer="10.0.0.2")) == [True]
    watch.patience.forget(crowd[0])
    assert watch.admit(crowd[2]) == [True]
    # By a Unix socket everybody is of this machine.
    assert watch.admit(*(FakeConnection(peer=None, proven=True) for _ in range(5))) == [True] * 5


def test_without_bounds_everybody_is_waited_for(loop: asyncio.AbstractEventLoop) -> None:
    watch = Watch(loop, Bounds())
    phases: list[Phase] = ["idle", "head", "body", "answer", "ours"]
    connections = [FakeConnection(phase=phase) for phase in phases * 100]
    assert all(watch.admit(*connections))
    watch.pass_s(1000)
    assert not any(connection.is_cut for connection in connections)


def test_the_log_hears_of_it_once_a_minute(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "paramserver.http"):
        for _ in range(70):
            connection = FakeConnection(phase="head")
            watch.admit(connection)
            watch.pass_s(1)
            connection.phase, connection.request = "head", 1
            watch.patience.forget(connection)
            watch.admit(*(FakeConnection(proven=True) for _ in range(4)))
            for each in list(watch.patience._seen):
                watch.patience.forget(each)
    assert len(caplog.records) == 2
    assert "2 refused" in caplog.messages[0]


def test_what_comes_behind_an_answer_is_borne_up_to_a_body(loop: asyncio.AbstractEventLoop) -> None:
    patience = Patience(Bounds(body_nbytes=100))
    borne, cut = FakeConnection(), FakeConnection()
    patience.bear(borne, 100)
    patience.bear(cut, 101)
    assert (borne.is_cut, cut.is_cut) == (False, True)
    assert patience.facts()["cut"] == {"endless body": 1}
    Patience(Bounds()).bear(borne, 10**12)
    assert not borne.is_cut


def test_it_looks_by_itself_while_there_is_somebody(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paramserver.http.patience.LOOK_S", 0.001)
    connection = FakeConnection()
    patience = Patience(Bounds(idle_s=0.01))
    patience.admit(connection, loop)

    async def until_cut() -> None:
        while not connection.is_cut:
            await asyncio.sleep(0.001)
        patience.forget(connection)
        while patience._next_look is not None:
            await asyncio.sleep(0.001)

    loop.run_until_complete(asyncio.wait_for(until_cut(), 10))
