from __future__ import annotations

import asyncio
import select
import socket
import threading

import pytest

from paramserver_client.aio.waiting import Places, connected, until_ready
from paramserver_client.http1 import Origin


def test_a_socket_is_waited_for() -> None:
    async def main() -> list[int]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            found = [await until_ready(ours, select.POLLIN, 0.01), await until_ready(ours, select.POLLOUT, 10)]
            reading = asyncio.create_task(until_ready(ours, select.POLLIN, None))
            await asyncio.sleep(0)
            theirs.send(b"x")
            return [*found, await reading]

    assert asyncio.run(main()) == [0, select.POLLOUT, select.POLLIN]


def test_a_wait_that_is_cancelled_leaves_nothing_on_the_loop() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            waiting = asyncio.create_task(until_ready(ours, select.POLLIN | select.POLLOUT, None))
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            reading = asyncio.create_task(until_ready(ours, select.POLLIN, None))
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            loop = asyncio.get_running_loop()
            assert not loop.remove_reader(ours)
            assert not loop.remove_writer(ours)

    asyncio.run(main())


def test_the_next_address_is_tried_when_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(port: int) -> object:
        loop = asyncio.get_running_loop()

        async def two_addresses(*asked: object, **how: object) -> object:
            tcp = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            return [(*tcp, ("127.0.0.1", unused)), (*tcp, ("127.0.0.1", port))]

        monkeypatch.setattr(loop, "getaddrinfo", two_addresses)
        with await connected(Origin("http", "two", port), None, 10) as sock:
            return sock.getpeername()[1]

    with socket.create_server(("127.0.0.1", 0)) as closed:
        unused = closed.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert asyncio.run(main(port)) == port


def test_a_host_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async def none(*asked: object, **how: object) -> list[object]:
            return []

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", none)
        with pytest.raises(OSError, match="no address"):
            await connected(Origin("http", "nowhere", 1), None, 10)

    asyncio.run(main())


def test_a_connection_attempt_that_is_cancelled_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def never(sock: socket.socket, address: object) -> None:
            opened.append(sock)
            await loop.create_future()

        monkeypatch.setattr(loop, "sock_connect", never)
        connecting = asyncio.create_task(connected(Origin("http", "127.0.0.1", 1), None, None))
        while not opened:
            await asyncio.sleep(0)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        with pytest.raises(TimeoutError):
            await connected(Origin("http", "127.0.0.1", 1), None, 0.01)

    asyncio.run(main())
    assert [sock.fileno() for sock in opened] == [-1, -1]


def test_places_go_to_those_who_came_first() -> None:
    order: list[int] = []

    async def main() -> None:
        places = Places(1)

        async def work(number: int) -> None:
            assert await places.take(None)
            order.append(number)
            await asyncio.sleep(0)
            places.give_back()

        await asyncio.gather(*(work(number) for number in range(5)))

    asyncio.run(main())
    assert order == [0, 1, 2, 3, 4]


def test_a_place_that_does_not_come_free_in_time() -> None:
    async def main() -> None:
        places = Places(1)
        assert await places.take(0)
        assert not await places.take(0.01)
        places.give_back()
        await asyncio.sleep(0)
        assert await places.take(0)

    asyncio.run(main())


def test_a_place_given_to_one_who_is_cancelled_at_that_moment_goes_on() -> None:
    async def main() -> None:
        places = Places(1)
        assert await places.take(None)
        waiting = asyncio.create_task(places.take(None))
        await asyncio.sleep(0)
        places.give_back()
        await asyncio.sleep(0)  # the place is granted now; the task has not run yet
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await places.take(10)

    asyncio.run(main())


def test_one_who_was_cancelled_before_is_passed_over() -> None:
    async def main() -> None:
        places = Places(1)
        assert await places.take(None)
        first, second = (asyncio.create_task(places.take(None)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        places.give_back()
        assert await second

    asyncio.run(main())


def test_places_are_shared_by_event_loops() -> None:
    places = Places(2)
    most, now, lock = [0], [0], threading.Lock()

    async def work() -> None:
        assert await places.take(30)
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        await asyncio.sleep(0)
        with lock:
            now[0] -= 1
        places.give_back()

    async def main() -> None:
        await asyncio.gather(*(work() for _ in range(100)))

    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= 2
    assert places._free == 2


def test_a_loop_that_was_closed_with_tasks_waiting_is_passed_over() -> None:
    places = Places(1)

    async def leave() -> None:
        places._waiting.append(asyncio.get_running_loop().create_future())

    async def main() -> None:
        assert await places.take(0)
        places.give_back()
        assert await places.take(0)

    asyncio.run(leave())
    asyncio.run(main())
