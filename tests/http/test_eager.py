from __future__ import annotations

import asyncio

import pytest

from paramserver.http.eager import begun


def test_what_never_waits_is_over_at_once() -> None:
    done = []

    async def work() -> None:
        done.append(asyncio.current_task())

    async def main() -> None:
        assert begun(work(), asyncio.get_running_loop()) is None

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
        task = begun(work(), asyncio.get_running_loop())
        assert told == ["begun"]
        assert task is not None
        await task

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
        with pytest.raises(ValueError, match="at once"):
            begun(at_once(), loop)
        task = begun(later(), loop)
        assert task is not None
        with pytest.raises(ValueError, match="later"):
            await task

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
        first, second = begun(stubborn(), loop), begun(meek(), loop)
        assert first is not None
        assert second is not None
        await asyncio.sleep(0)
        first.cancel()
        second.cancel()
        await first
        with pytest.raises(asyncio.CancelledError):
            await second

    asyncio.run(main())
    assert told == ["heard", "cleaned up", "went on"]
