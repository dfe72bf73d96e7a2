"""One client shared by threads, by tasks, and by a process with its fork: over a real socket, counted on the server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import paramserver_client as ps
from support.server import Server


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def url(running: Server) -> str:
    with ps.ParameterClient(running.url) as client:
        client.delete_variables(prefix="", confirm=True)
        client.create_variable("n", value=np.zeros(3, np.int64))
        client.create_variable("w", value=np.zeros(300_000, np.float32))
    return running.url


def test_threads(url: str) -> None:
    workers, rounds = 8, 25
    wrong: list[object] = []
    with ps.ParameterClient(url) as client:
        barrier = threading.Barrier(workers)

        def work() -> None:
            barrier.wait()
            for _ in range(rounds):
                client.push({"n": [1, 1, 1], "w": np.ones(300_000, np.float32)})
                seen = client.pull()
                if len({*seen["n"].tolist(), float(seen["w"][0]), float(seen["w"][-1])}) != 1:
                    wrong.append(seen)

        threads = [threading.Thread(target=work) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert client.read("n").tolist() == [workers * rounds] * 3


def test_tasks(url: str) -> None:
    async def main() -> None:
        async with ps.AsyncParameterClient(url) as client:

            async def work() -> None:
                await client.push({"n": [1, 1, 1], "w": np.ones(300_000, np.float32)})
                seen = await client.pull()
                assert len({*seen["n"].tolist(), float(seen["w"][0]), float(seen["w"][-1])}) == 1

            await asyncio.gather(*(work() for _ in range(100)))
            assert (await client.read("n")).tolist() == [100] * 3

    asyncio.run(main())


def test_tasks_that_are_cancelled_leave_the_others_whole(url: str) -> None:
    async def main() -> None:
        async with ps.AsyncParameterClient(url) as client:
            doomed = [asyncio.create_task(client.read("w")) for _ in range(40)]
            for turns, task in enumerate(doomed):
                for _ in range(turns % 7):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.gather(*doomed, return_exceptions=True)
            for _ in range(20):
                assert (await client.read("w")).shape == (300_000,)
                assert (await client.get_variable("n")).name == "n"

    asyncio.run(main())


def run(program: str, url: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, url], check=True, timeout=60)


def test_a_fork_while_a_connection_is_in_use(url: str) -> None:
    """The child's calls are its own, and the parent's long poll, begun before the fork, gets its answer."""
    run(
        "import os, sys, threading, paramserver_client as ps\n"
        "client = ps.ParameterClient(sys.argv[1])\n"
        "ids, give = [], client._request_ids.next\n"
        "client._request_ids.next = lambda: ids.append(give()) or ids[-1]\n"
        "tag, found = client.get_variable('n').tag, []\n"
        "poll = threading.Thread(target=lambda: found.append(client.wait('n', after_version=tag, timeout_s=50)))\n"
        "poll.start()\n"
        "client.push({}), client.server()\n"
        "out, into = os.pipe()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    ids.clear()\n"
        "    client.assign_add('w', client.read('w') + 1)\n"
        "    os.write(into, ' '.join(ids).encode())\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert poll.is_alive()\n"
        "for _ in range(20):\n"
        "    client.assign_add('n', [1, 1, 1])\n"
        "poll.join(30)\n"
        "assert found[0][0].tolist()[0] >= 1, found\n"
        "childs = os.read(out, 1000).decode().split()\n"
        "assert len(childs) == 1 and not {each.rpartition('-')[0] for each in childs} & {\n"
        "    each.rpartition('-')[0] for each in ids}, (childs, ids)\n"
        "assert client.read('w')[0] == 1\n"
        "client.close()\n",
        url,
    )
    with ps.ParameterClient(url) as client:
        assert client.read("n").tolist() == [20, 20, 20]


def test_a_fork_of_an_async_client(url: str) -> None:
    run(
        "import asyncio, os, sys, paramserver_client as ps\n"
        "client = ps.AsyncParameterClient(sys.argv[1])\n"
        "async def push():\n"
        "    await asyncio.gather(*(client.assign_add('n', [1, 1, 1]) for _ in range(20)))\n"
        "asyncio.run(push())\n"
        "child = os.fork()\n"
        "asyncio.run(push())\n"
        "if not child:\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "asyncio.run(push())\n"
        "asyncio.run(client.close())\n",
        url,
    )
    with ps.ParameterClient(url) as client:
        assert client.read("n").tolist() == [80, 80, 80]


def test_a_worker_that_was_there_before_its_server() -> None:
    with Server() as server:
        server.stop()
        found: list[dict[str, object]] = []
        with ps.ParameterClient(server.url, timeout_s=0.05) as client:
            with pytest.raises(ps.UnreachableError):
                client.wait_ready(timeout_s=0.2)
            worker = threading.Thread(target=lambda: found.append(client.wait_ready(timeout_s=60)))
            worker.start()
            server.start()
            worker.join(60)
        assert "commit" in found[0]
