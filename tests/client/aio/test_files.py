"""Files and asyncio: the disk is waited for in threads, and a cancelled call leaves nothing half-written."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

import paramserver_client as ps
from paramserver_client.aio.waiting import apart
from support.server import Server


def test_a_file_there_and_back_over_a_socket(tmp_path: Path) -> None:
    array = np.random.default_rng(1).random((700, 1000)).astype(np.float32)
    threads: set[str] = set()
    path = tmp_path / "model.safetensors"

    def progress(done: int, total: int) -> None:
        threads.add(threading.current_thread().name)

    async def main(url: str) -> None:
        async with ps.AsyncParameterClient(url) as client:
            await client.create_variable("enc/w", value=array)
            assert list((await client.export_safetensors(path, progress=progress)).versions) == ["enc/w"]
            done = await client.import_safetensors(path, prefix="copy", progress=progress)
            assert done.created == ("copy/enc/w",)
            np.testing.assert_array_equal(await client.read("copy/enc/w"), array)
            export = asyncio.create_task(client.export_safetensors(tmp_path / "cancelled.safetensors"))
            while not list(tmp_path.glob("cancelled*")):
                await asyncio.sleep(0)
            export.cancel()
            with pytest.raises(asyncio.CancelledError):
                await export
            assert (await client.get_variable("enc/w")).nbytes == array.nbytes

    with Server() as server:
        asyncio.run(main(server.url))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert threads


def test_work_on_a_file_is_over_when_its_call_is_cancelled() -> None:
    began, end, over = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        end.wait(30)
        over.set()

    async def main() -> None:
        doing = asyncio.create_task(apart(work))
        while not began.is_set():
            await asyncio.sleep(0)
        doing.cancel()
        await asyncio.sleep(0)
        end.set()
        with pytest.raises(asyncio.CancelledError):
            await doing
        assert over.is_set()

    asyncio.run(main())
