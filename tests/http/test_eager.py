from __future__ import annotations

import asyncio

import pytest

from paramserver.http.eager import Arrival, begin


def test_what_never_waits_is_over_at_once() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("over")

    async def main() -> None:
        tasks: list[asyncio.Task[None]] = []
        begin(work(), asyncio.get_running_loop(), tasks.append)
        assert not tasks

    asyncio.run(main())
    assert len(done) == 1


def test_what_waits_goes_on_as_a_task() -> None:
    told: list[object] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        told.append("begun")
        told.append(await loop.run_in_executor(None, str, 7))
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            told.append(await asyncio.sleep(0.001, "slept"))

    async def main() -> None:
        tasks: list[asyncio.Task[None]] = []
        begin(work(), asyncio.get_running_loop(), tasks.append)
        assert told == ["begun"]
        await tasks[0]

    asyncio.run(main())
    assert told == ["begun", "7", "slept"]


def test_an_error_is_raised_where_it_comes() -> None:
    async def at_once() -> None:
        raise ValueError("at once")

    async def later() -> None:
        await asyncio.sleep(0)
        raise ValueError("later")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []
        with pytest.raises(ValueError, match="at once"):
            begin(at_once(), loop, tasks.append)
        begin(later(), loop, tasks.append)
        with pytest.raises(ValueError, match="later"):
            await tasks[0]

    asyncio.run(main())


def test_a_cancellation_reaches_it_and_may_be_survived() -> None:
    told: list[str] = []

    async def stubborn() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            told.append("heard")
        await asyncio.sleep(0)
        told.append("went on")

    async def meek() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            told.append("cleaned up")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []
        begin(stubborn(), loop, tasks.append)
        begin(meek(), loop, tasks.append)
        first, second = tasks
        await asyncio.sleep(0)
        first.cancel()
        second.cancel()
        await first
        with pytest.raises(asyncio.CancelledError):
            await second

    asyncio.run(main())
    assert told == ["heard", "cleaned up", "went on"]


def test_what_waits_for_an_arrival_goes_on_within_it() -> None:
    told: list[object] = []

    async def work(arrivals: list[Arrival]) -> None:
        for arrival in arrivals:
            told.append(await arrival)
        await asyncio.sleep(0)
        told.append("over")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []
        arrivals = [Arrival(loop=loop) for _ in range(3)]
        begin(work(arrivals), loop, tasks.append)
        arrivals[0].arrive(True)
        arrivals[0].arrive(False)
        assert told == [True]
        arrivals[1].arrive(False)
        assert told == [True, False]
        assert not tasks
        arrivals[2].arrive(True)
        assert told == [True, False, True]
        await tasks[0]

    asyncio.run(main())
    assert told[-1] == "over"


def test_a_task_may_wait_for_an_arrival_too() -> None:
    async def main() -> bool:
        arrival = Arrival(loop=asyncio.get_running_loop())
        asyncio.get_running_loop().call_soon(arrival.arrive, True)
        return await asyncio.create_task(asyncio.wait_for(arrival, 10))

    assert asyncio.run(main())
