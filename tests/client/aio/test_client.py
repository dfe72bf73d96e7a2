from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest

import paramserver_client as ps
from paramserver_client.aio.embedded import AsyncEmbeddedTransport
from paramserver_client.socket_transport import BODY, ViewStream
from support.fake_server import FakeServer, Peer


class Signals:
    """What a script in a thread tells a task."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def set(self) -> None:
        self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        async with asyncio.timeout(30):
            await self._event.wait()


def test_a_cancelled_call_closes_its_connection() -> None:
    """Neither its unread answer nor its half of an answer reaches the next call."""

    async def main(first_bytes: bytes) -> None:
        sent, gone = Signals(), Signals()

        def script(peer: Peer) -> None:
            peer.request()
            if peer.number == 1:
                peer.send(first_bytes)
                sent.set()
                with contextlib.suppress(ConnectionResetError):
                    assert peer.read(1) == b""
                gone.set()
            else:
                peer.answer(b'{"commit": 7}')

        with FakeServer(script) as server:
            async with ps.AsyncParameterClient(server.url) as client:
                call = asyncio.create_task(client.server())
                await sent.wait()
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                await gone.wait()
                assert await client.server() == {"commit": 7}
            assert server.connections == 2

    for first_bytes in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"):
        asyncio.run(main(first_bytes))


def test_a_call_that_is_cancelled_while_it_sends_closes_its_connection() -> None:
    async def main() -> None:
        started, gone = Signals(), Signals()

        def script(peer: Peer) -> None:
            peer.read(1000)
            started.set()
            with contextlib.suppress(ConnectionResetError):
                while peer.read(1 << 20):
                    pass
            gone.set()

        with FakeServer(script) as server:
            async with ps.AsyncParameterClient(server.url) as client:
                call = asyncio.create_task(client.assign("w", np.zeros(50_000_000, np.uint8)))
                await started.wait()
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                await gone.wait()

    asyncio.run(main())


def test_a_deadline_of_the_callers_own_ends_a_call() -> None:
    async def main() -> None:
        with FakeServer(lambda peer: peer.read(1 << 20) and None) as server:
            async with ps.AsyncParameterClient(server.url) as client:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await client.server()

    asyncio.run(main())


def test_many_tasks_share_a_client_and_its_connections() -> None:
    def script(peer: Peer) -> None:
        while True:
            peer.answer(b'{"at": "%s"}' % peer.request().line.encode())

    async def main() -> None:
        with FakeServer(script) as server:
            transport = ps.AsyncHttpTransport(server.url, transport=ps.AsyncSocketTransport(max_connections=8))
            async with ps.AsyncParameterClient(transport=transport) as client:
                found = await asyncio.gather(*(client._ask("get_variable", name=f"v{i}") for i in range(500)))
            assert [answer.body["at"] for answer in found] == [f"GET /v1/variables/v{i} HTTP/1.1" for i in range(500)]
            assert server.connections <= 8

    asyncio.run(main())


def test_one_client_in_several_event_loops() -> None:
    def script(peer: Peer) -> None:
        while True:
            peer.request()
            peer.answer()

    with FakeServer(script) as server:
        client = ps.AsyncParameterClient(server.url)
        for _ in range(2):
            assert asyncio.run(client.server()) == {}
        threads = [threading.Thread(target=lambda: asyncio.run(client.server())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        asyncio.run(client.close())


def test_httpx_itself_is_for_one_event_loop() -> None:
    def script(peer: Peer) -> None:
        while True:
            peer.request()
            peer.answer()

    async def main() -> None:
        assert await client.server() == {}
        await client.close()

    with FakeServer(script) as server, asyncio.Runner() as runner:
        client = ps.AsyncParameterClient(server.url, transport=httpx.AsyncHTTPTransport())
        assert runner.run(client.server()) == {}
        with pytest.raises(RuntimeError, match="a client for each loop"):
            asyncio.run(client.server())
        runner.run(client.close())


def test_any_async_transport_of_httpx_may_take_the_place_of_the_socket() -> None:
    async def main() -> None:
        answering = httpx.MockTransport(lambda request: httpx.Response(200, json={"url": str(request.url)}))
        async with ps.AsyncParameterClient("http://h:1", transport=answering) as client:
            assert await client.server() == {"url": "http://h:1/v1/server"}

    asyncio.run(main())


def test_the_environment_gives_url_and_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAMSERVER_TOKEN", "from-outside")
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["authorization"])
        return httpx.Response(200, json={})

    async def main() -> None:
        await ps.AsyncParameterClient(transport=httpx.MockTransport(answer)).server()
        await ps.AsyncParameterClient(token="given", transport=httpx.MockTransport(answer)).server()

    asyncio.run(main())
    assert asked == ["Bearer from-outside", "Bearer given"]
    monkeypatch.setenv("PARAMSERVER_URL", "http://from-outside:7")
    transport = ps.AsyncParameterClient().transport
    assert isinstance(transport, ps.AsyncHttpTransport)
    assert transport.url == "http://from-outside:7"


def test_an_embedded_call_that_waits_leaves_the_loop_free() -> None:
    async def main() -> None:
        async with ps.AsyncParameterClient() as client:
            tag = (await client.create_variable("w", value=1.0)).tag
            polls = [asyncio.create_task(client.wait("w", after_version=tag, timeout_s=60)) for _ in range(40)]
            await client.assign("w", 2.0)
            assert {float(value) for value, _ in await asyncio.gather(*polls)} == {2.0}

    asyncio.run(main())


def test_an_embedded_server_keeps_its_data_dir(tmp_path: Path) -> None:
    async def main() -> None:
        async with ps.AsyncParameterClient(data_dir=tmp_path) as client:
            await client.create_variable("w", value=[1.0, 2.0])
        async with ps.AsyncParameterClient(data_dir=tmp_path) as client:
            assert (await client.read("w")).tolist() == [1, 2]
        (tmp_path / "file").touch()
        async with ps.AsyncParameterClient(data_dir=tmp_path / "file") as client:
            with pytest.raises(ps.ParameterServerError):
                await client.server()

    asyncio.run(main())


def test_closing_twice_and_asking_afterwards() -> None:
    async def main() -> None:
        client = ps.AsyncParameterClient()
        assert await client.list_variables() == []
        await client.close()
        await client.close()
        with pytest.raises(RuntimeError, match="closed before"):
            await client.server()

    asyncio.run(main())
    asyncio.run(AsyncEmbeddedTransport().close())


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="timeout_s"):
        ps.AsyncParameterClient(timeout_s=0)
    with pytest.raises(ValueError, match="got both"):
        ps.AsyncParameterClient("http://h", data_dir="x")


def test_bulk_leaves_turns_to_other_tasks() -> None:
    """A socket that is always ready would keep the loop to itself until all is through."""
    body = np.zeros(64 << 20, np.uint8)

    def script(peer: Peer) -> None:
        while True:
            peer.answer(peer.request().body)

    async def main() -> int:
        turns = [0]

        async def others() -> None:
            while True:
                turns[0] += 1
                await asyncio.sleep(0)

        with FakeServer(script) as server:
            request = httpx.Request(
                "POST", server.url, headers={"Content-Length": str(len(body))}, stream=ViewStream([body.data])
            )
            async with ps.AsyncSocketTransport() as transport:
                running = asyncio.create_task(others())
                response = await transport.handle_async_request(request)
                running.cancel()
        assert len(response.extensions[BODY]) == len(body)
        return turns[0]

    assert asyncio.run(main()) >= 2 * 64
