"""A day's work by count: small operations, connections that come and go, checkpoints; memory and descriptors stay flat.

Ten million operations are 115 a second for a day. They go over a few connections of a Unix socket, one request at a time on each,
reads and additions with request ids; meanwhile, over TCP, others connect, ask once and go, and checkpoints are saved. At the end the sum is exact.

    PYTHONPATH=tests:. python -m attacks.soak --count 10000000
"""

from __future__ import annotations

import os
import select
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from faults.outcome import Outcome, main, timed
from paramserver_client import ParameterClient
from support.attackers import resident_nbytes
from support.raw_http import read_reply
from support.server import Server

CONNECTIONS: Final = 16
# Of ten million operations.
CONNECTS: Final = 10_000
CHECKPOINTS: Final = 1_000
# One in so many adds, the others read.
_ADDS: Final = 16
_WARM: Final = 0.1
_WINDOW: Final = 1_024
_FLAGS: Final = ("--checkpoint-every-s", "0", "--log-level", "error")
# As the image has it.
_ENVIRONMENT: Final = {"MALLOC_ARENA_MAX": "2"}
GROWTH_NBYTES: Final = 16 * 2**20
GROWTH_FILES: Final = 4

_READ: Final = b"GET /v1/variables/counter:read HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"


def _add(client: int, number: int) -> bytes:
    return (
        b"POST /v1/variables/counter:assign_add HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Idempotency-Key: soak%d-%d\r\nContent-Length: 11\r\n\r\n" % (client, number)
    ) + b'{"value":1}'


def run(seed: int, count: int) -> Outcome:
    """`count` operations, and connects and checkpoints in proportion."""
    share = count / 10_000_000
    connects, checkpoints = max(10, int(CONNECTS * share)), max(3, int(CHECKPOINTS * share))
    wrong: list[str] = []
    with timed() as seconds, tempfile.TemporaryDirectory() as place:
        path = Path(place) / "ps.sock"
        server = Server("--uds", str(path), *_FLAGS, data_dir=Path(place) / "data", environment=_ENVIRONMENT)
        with server, ParameterClient(server.url, timeout_s=120) as client:
            client.create_variable("counter", value=0, dtype="int64")
            for number in range(max(3, int(_WINDOW * share))):
                # Their answers are kept for repeats: from here on the newest takes the place of the oldest.
                client.save(f"warm-{number}", max_to_keep=3)
            beside = _Beside(server, client, connects, checkpoints, count)
            worker = _Worker(path)
            beside.start()
            samples: list[tuple[int, int]] = []
            for number in range(20):
                worker.work(count // 20)
                beside.reached(worker.done)
                samples.append((resident_nbytes(server.process.pid), _files(server.process.pid)))
                if number == 0:
                    began_s, began_at = time.monotonic(), worker.done
            beside.reached(count * 2)
            beside.join()
            worker.close()
            rate = (worker.done - began_at) / (time.monotonic() - began_s)
            got = int(client.read("counter"))
            end = (resident_nbytes(server.process.pid), _files(server.process.pid))
    wrong += beside.wrong + worker.wrong
    if got != worker.added:
        wrong.append(f"the counter says {got}, added were {worker.added}")
    warm = samples[max(1, int(len(samples) * _WARM))]
    growth_nbytes, growth_files = max(each[0] for each in samples) - warm[0], end[1] - warm[1]
    if growth_nbytes > GROWTH_NBYTES:
        wrong.append(f"memory grew by {growth_nbytes / 2**20:.1f} MiB: {[each[0] >> 20 for each in samples]}")
    if growth_files > GROWTH_FILES:
        wrong.append(f"{growth_files} descriptors more: {[each[1] for each in samples]}")
    figures = {
        "operations": f"{worker.done:,}, {worker.added:,} of them additions, {rate:,.0f} a second",
        "connects and disconnects": f"{beside.connected:,}",
        "checkpoints": f"{beside.saved:,}",
        "memory, in twenty parts": " ".join(f"{each[0] / 2**20:.0f}" for each in samples) + " MiB",
        "descriptors, likewise": " ".join(str(each[1]) for each in samples),
    }
    return Outcome("soak", worker.done, tuple(wrong), figures, seconds())


class _Worker:
    """Keeps a few connections busy, each with one request at a time."""

    def __init__(self, path: Path) -> None:
        self.done = self.added = 0
        self.wrong: list[str] = []
        self._path = path
        self._connections = [self._connect() for _ in range(CONNECTIONS)]
        self._numbers = [0] * CONNECTIONS

    def work(self, count: int) -> None:
        """So many operations more, at least."""
        end = self.done + count
        while self.done < end and not self.wrong:
            for index, connection in enumerate(self._connections):
                if (self.done // CONNECTIONS + index) % _ADDS:
                    connection.send(_READ)
                else:
                    self._numbers[index] += 1
                    self.added += 1
                    connection.send(_add(index, self._numbers[index]))
            for connection in self._connections:
                reply = connection.recv(65536)
                if not reply.startswith(b"HTTP/1.1 200 "):
                    self.wrong.append(f"wanted 200, got {reply[:300]!r}")
            self.done += CONNECTIONS

    def close(self) -> None:
        """Let the connections go."""
        for connection in self._connections:
            connection.close()

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect(str(self._path))
        return connection


class _Beside(threading.Thread):
    """Connects and goes, and saves checkpoints, as far as the work has come."""

    def __init__(self, server: Server, client: ParameterClient, connects: int, checkpoints: int, count: int) -> None:
        super().__init__(daemon=True)
        self.connected = self.saved = 0
        self.wrong: list[str] = []
        self._port = int(server.url.rpartition(":")[2])
        self._client = client
        self._wanted = (connects, checkpoints)
        self._count = count
        self._share = 0.05
        self._went_on = threading.Event()

    def reached(self, done: int) -> None:
        """So many operations are done: it may go as far, and a step ahead."""
        self._share = min(1.0, done / self._count + 0.05)
        self._went_on.set()

    def run(self) -> None:
        """Until all is done."""
        connects, checkpoints = self._wanted
        try:
            while self.connected < connects or self.saved < checkpoints:
                if self.connected < connects * self._share:
                    self._connect_and_go()
                if self.saved < checkpoints * self._share and self.saved * connects <= self.connected * checkpoints:
                    self._client.save(f"soak-{self.saved}", max_to_keep=3)
                    self.saved += 1
                elif self.connected >= connects * self._share:
                    self._went_on.wait(1.0)
                    self._went_on.clear()
        except Exception as error:
            self.wrong.append(f"beside: {error!r}")

    def _connect_and_go(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=60) as connection:
            connection.sendall(_READ)
            # One in three goes without waiting for its answer.
            if self.connected % 3:
                read_reply(connection)
            else:
                select.select([connection], [], [], 0)
        self.connected += 1


def _files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


if __name__ == "__main__":
    main(run, 10_000_000)
