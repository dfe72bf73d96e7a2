"""SIGTERM under load: no request fails, and the successor knows all of them. And how long starts take."""

from __future__ import annotations

import logging
import random
import re
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

import numpy as np

import paramserver_client as ps
from faults.outcome import Outcome, main, timed
from faults.zygote import Zygote, serve_flags
from support.server import Server

NAME: Final = "SIGTERM under load"
THREADS: Final = 4
CLEAN_RESTART_S: Final = 2.0


def run(seed: int, count: int) -> Outcome:
    """Stop a server under load and start its successor on the same port, `count` times."""
    draw = random.Random(seed)
    wrong: list[str] = []
    restarts: list[float] = []
    with timed() as seconds, Zygote() as zygote, tempfile.TemporaryDirectory(prefix="faults-drains-") as place:
        logging.getLogger("paramserver_client").setLevel(logging.ERROR)
        flags = [*serve_flags(Path(place) / "data", "everysec"), "--port", str(_free_port())]
        server = zygote.serve(*flags)
        with ps.ParameterClient(server.url) as client:
            client.create_variable("w", value=np.zeros(100, np.float64))
        load = _Load(server.url)
        for number in range(count):
            load.wait_for(draw.randrange(20, 120))
            status = server.stop()
            if status != 0:
                wrong.append(f"stop {number}: ended with status {status}: {server.errors()[-300:]}")
            began = time.monotonic()
            server = zygote.serve(*flags)
            restarts.append(time.monotonic() - began)
        wrong += load.end()
        with ps.ParameterClient(server.url) as client:
            value = client.read("w")
            if not (value == load.done).all():
                wrong.append(f"acknowledged {load.done} pushes, the variable holds {value[0]}")
        server.stop()
    if max(restarts, default=0) > CLEAN_RESTART_S:
        wrong.append(f"a clean restart took {max(restarts):.1f} s")
    figures = {"requests": f"{load.done:,}", "longest clean restart": f"{max(restarts, default=0):.2f} s"}
    return Outcome(NAME, count, tuple(wrong), figures, seconds())


class _Load:
    """Threads that push one after the other, through every stop; each failure is kept."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        self._over = False
        self._failed: list[str] = []
        self.done = 0
        self._threads = [threading.Thread(target=self._push) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int) -> None:
        """Until so many more pushes are acknowledged."""
        with self._more:
            wanted = self.done + count
            self._more.wait_for(lambda: self.done >= wanted or bool(self._failed), 60)

    def end(self) -> list[str]:
        self._over = True
        for thread in self._threads:
            thread.join()
        return self._failed

    def _push(self) -> None:
        with ps.ParameterClient(self._url, timeout_s=30) as client:
            while not self._over and not self._failed:
                try:
                    client.assign_add("w", np.ones(100, np.float64))
                except ps.ParameterServerError as error:
                    self._failed.append(f"{type(error).__name__}: {error}")
                    return
                with self._more:
                    self.done += 1
                    self._more.notify_all()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


# -------------------------------------------------------------------- how long starts take

START_S: Final = 10.0
MB: Final = 1_000_000


def run_starts(seed: int, count: int) -> Outcome:
    """Start with `count` MB of state and as much of a journal behind its checkpoint, after a kill; then after a clean stop."""
    wrong: list[str] = []
    figures = {}
    with timed() as seconds, tempfile.TemporaryDirectory(prefix="faults-starts-") as place:
        # Not forked: what an operator waits for has the start of python in it.
        server = Server(
            *(
                "--checkpoint-every-s",
                "0",
                "--journal-limit-nbytes",
                str(100 * count * MB),
                "--min-free-disk-nbytes",
                "0",
            ),
            data_dir=Path(place) / "data",
        )
        server.start()
        wanted = _fill(server.url, count, seed)
        server.kill()
        for how, limit_s in (("after a kill", START_S), ("after a clean stop", START_S)):
            began = time.monotonic()
            server.start()
            took_s = time.monotonic() - began
            told = re.search(r"([\d]+) records of the journal, ([\d]+) bytes", " ".join(server.lines))
            figures[f"ready {how}"] = f"{took_s:.1f} s" + (f" ({told[0]})" if told else "")
            if took_s > limit_s:
                wrong.append(f"it took {took_s:.1f} s {how}, wanted {limit_s:g}")
            with ps.ParameterClient(server.url, timeout_s=60) as client:
                for name, value in wanted.items():
                    if not (client.read(name) == value).all():
                        wrong.append(f"{name} is not what it was {how}")
            server.stop()
        figures["ready after a clean stop, 1 variable"] = f"{_small_start_s(Path(place) / 'small'):.2f} s"
    figures = {"state": f"{count} MB", **figures}
    return Outcome("starts", 2, tuple(wrong), figures, seconds())


def _small_start_s(data_dir: Path) -> float:
    server = Server(data_dir=data_dir)
    server.start()
    with ps.ParameterClient(server.url) as client:
        client.create_variable("w", value=np.zeros(100))
    server.stop()
    began = time.monotonic()
    server.start()
    took_s = time.monotonic() - began
    server.stop()
    return took_s


def _fill(url: str, megabytes: int, seed: int) -> dict[str, float]:
    """Variables of 10 MB, saved; then one update of each. What each of them holds."""
    nbytes = 10 * MB
    draw = random.Random(seed)
    wanted = {}
    with ps.ParameterClient(url, timeout_s=120) as client:
        names = [f"state/{number}" for number in range(max(1, megabytes * MB // nbytes))]
        for name in names:
            client.create_variable(name, (nbytes // 4,), "float32", "zeros", initialize=True)
        client.save("before")
        for name in names:
            wanted[name] = float(draw.randrange(1, 100))
            client.assign_add(name, np.full(nbytes // 4, wanted[name], np.float32))
    return wanted


if __name__ == "__main__":
    main(run, 10)
