"""Connections that break at the worst moments, over a real socket: whatever happens, a write is applied once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

import paramserver_client as ps
from support.contract import f32, value
from support.fault_proxy import CUTS, Fault, FaultProxy
from support.server import Server

FAULTS = CUTS


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def port(running: Server) -> int:
    with ps.ParameterClient(running.url) as client:
        client.delete_variables(prefix="", confirm=True)
        client.create_variable("a", value=f32(0, 0))
        client.create_variable("b", value=np.zeros(3, np.int64))
    return int(running.url.rpartition(":")[2])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_push_is_applied_once(port: int, fault: Fault) -> None:
    with FaultProxy(port, rate=0, script=(fault, fault)) as proxy, ps.ParameterClient(proxy.url) as client:
        applied = client.push({"a": f32(1, 2), "b": [1, 1, 1]}, returns=["a"])
        assert proxy.counts == {fault: 2, Fault.NONE: 1}
        assert applied.versions == {"a": 2, "b": 2}
        assert applied.values["a"].tolist() == [1, 2]
        assert applied.replayed is (fault in (Fault.BEFORE_ANSWER, Fault.IN_ANSWER))
        assert value(client, "a") == ([1, 2], 2)
        assert value(client, "b") == ([1, 1, 1], 2)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_read_is_repeated(port: int, fault: Fault) -> None:
    with FaultProxy(port, rate=0, script=(fault,)) as proxy, ps.ParameterClient(proxy.url) as client:
        assert client.read("a").tolist() == [0, 0]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_goes_out_and_in_once(port: int, fault: Fault, tmp_path: Path) -> None:
    with FaultProxy(port, rate=0, script=(fault, fault)) as proxy, ps.ParameterClient(proxy.url) as client:
        path = tmp_path / "model.safetensors"
        assert client.export_safetensors(path).versions.keys() == {"a", "b"}
        assert list(tmp_path.iterdir()) == [path]
    with FaultProxy(port, rate=0, script=(fault, fault)) as proxy, ps.ParameterClient(proxy.url) as client:
        done: list[int] = []
        taken = client.import_safetensors(path, progress=lambda done_nbytes, _: done.append(done_nbytes))
        assert taken.versions == {"a": 2, "b": 2}
        assert taken.replayed is (fault in (Fault.BEFORE_ANSWER, Fault.IN_ANSWER))
        assert done[-1] == path.stat().st_size
        assert proxy.counts == {fault: 2, Fault.NONE: 1}


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault.BEFORE_REQUEST, "unknown"),
        (Fault.IN_REQUEST, "unknown"),
        (Fault.BEFORE_ANSWER, "unknown"),
        (Fault.IN_ANSWER, "applied"),
    ],
)
def test_out_of_time_the_error_says_what_is_known(port: int, fault: Fault, outcome: str) -> None:
    with FaultProxy(port, rate=0, script=(fault,) * 100) as proxy:
        with ps.ParameterClient(proxy.url, timeout_s=0.3) as client, pytest.raises(ps.ParameterServerError) as raised:
            client.assign_add("a", f32(1, 1))
        assert raised.value.outcome == outcome
        assert isinstance(raised.value, ps.DeadlineExceededError if outcome == "applied" else ps.OutcomeUnknownError)
        assert raised.value.request_id


@pytest.mark.parametrize("seed", range(3))
def test_many_writers_over_bad_lines_are_exact(port: int, seed: int) -> None:
    rounds, workers = 50, 4
    failures: list[BaseException] = []
    with FaultProxy(port, seed=seed, rate=0.3) as proxy:

        def work(number: int) -> None:
            names = ("a", "b") if number % 2 else ("b", "a")
            values = {"a": f32(1, 1), "b": np.ones(3, np.int64)}
            try:
                with ps.ParameterClient(proxy.url, client_id=f"worker-{number}") as client:
                    for _ in range(rounds):
                        client.push({name: values[name] for name in names})
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        with ps.ParameterClient(proxy.url) as client:
            assert value(client, "a") == ([200, 200], 201)
            assert value(client, "b") == ([200, 200, 200], 201)
        assert all(proxy.counts[fault] > 0 for fault in (Fault.NONE, *CUTS))


def test_many_tasks_over_bad_lines_are_exact(port: int) -> None:
    rounds, workers = 50, 4

    async def main(url: str) -> None:
        async with ps.AsyncParameterClient(url) as client:

            async def work() -> None:
                for _ in range(rounds):
                    await client.push({"a": f32(1, 1), "b": np.ones(3, np.int64)})

            await asyncio.gather(*(work() for _ in range(workers)))

    with FaultProxy(port, seed=1, rate=0.3) as proxy:
        asyncio.run(main(proxy.url))
        assert all(proxy.counts[fault] > 0 for fault in (Fault.NONE, *CUTS))
        with ps.ParameterClient(proxy.url) as client:
            assert value(client, "a") == ([200, 200], 201)
            assert value(client, "b") == ([200, 200, 200], 201)


def test_a_fork_goes_on_with_its_parents_client(port: int, running: Server) -> None:
    program = (
        "import os, sys, numpy as np, paramserver_client as ps\n"
        "client = ps.ParameterClient(sys.argv[1])\n"
        "push = lambda: [client.assign_add('b', np.ones(3, np.int64)) for _ in range(50)]\n"
        "push()\n"
        "child = os.fork()\n"
        "push()\n"
        "if child:\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
        "    assert client.read('b').tolist() == [150] * 3\n"
        "client.close()\n"
    )
    subprocess.run([sys.executable, "-c", program, running.url], check=True, timeout=60)
    with ps.ParameterClient(running.url) as client:
        assert value(client, "b") == ([150, 150, 150], 151)


def test_httpx_may_bring_its_own_transport(port: int, running: Server) -> None:
    """Slower for bulk, but that is how proxies and the like come in."""
    array = np.random.default_rng(1).random(1_000_000)
    with ps.ParameterClient(running.url, transport=httpx.HTTPTransport()) as client:
        client.create_variable("bulk", value=array)
        assert client.push({"bulk": array, "a": [1.0, 1.0]}).versions == {"bulk": 2, "a": 2}
        np.testing.assert_array_equal(client.read("bulk"), 2 * array)
        with pytest.raises(ps.ShapeMismatchError):
            client.push({"bulk": array[1:]})


def test_httpx_may_bring_its_own_async_transport(port: int, running: Server) -> None:
    array = np.random.default_rng(1).random(1_000_000)

    async def main() -> None:
        async with ps.AsyncParameterClient(running.url, transport=httpx.AsyncHTTPTransport()) as client:
            await client.create_variable("bulk", value=array)
            assert (await client.push({"bulk": array, "a": [1.0, 1.0]})).versions == {"bulk": 2, "a": 2}
            np.testing.assert_array_equal(await client.read("bulk"), 2 * array)

    asyncio.run(main())
