"""`python -m benchmarks.soak [--minutes N]`: full load for a while; memory and descriptors stay as they are, and the sums are exact.

Two workers push and pull 16 MB, four add 1 KB, and one comes, pulls the beginning of 16 MB, and goes, again and again: all with a
journal (`everysec`) and checkpoints. The first fifth warms up.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Final

import numpy as np

from benchmarks.measuring import MB, WrongResultError
from benchmarks.peers.table import PAGE
from benchmarks.processes import ServerProcess
from benchmarks.report import write_between
from paramserver_client import ParameterClient

BULK_NBYTES: Final = 16 * MB
BULK_WORKERS: Final = 2
SMALL_WORKERS: Final = 4
GROWTH: Final = 1.05
GROWTH_FILES: Final = 4
_SAMPLES: Final = 20
_WARM: Final = _SAMPLES // 5


class Load:
    """The workers, each a thread, and what they have done."""

    def __init__(self, url: str) -> None:
        self.pushed = [0] * BULK_WORKERS
        self.added = [0] * SMALL_WORKERS
        self.left = 0
        self.failures: list[BaseException] = []
        self._client = ParameterClient(url, timeout_s=60)
        self._address = url.removeprefix("http://")
        self._stop = threading.Event()
        self._client.create_variable("bulk", (BULK_NBYTES // 4,), "float32", "zeros", initialize=True)
        self._client.create_variable("small", (250,), "int64", "zeros", initialize=True)
        bodies = [self._move(number) for number in range(BULK_WORKERS)]
        bodies += [self._add(number) for number in range(SMALL_WORKERS)]
        bodies.append(self._leave)
        self._threads = [threading.Thread(target=self._again, args=(body,), daemon=True) for body in bodies]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Stop, and hold the sums to what was acknowledged."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        if self.failures:
            raise self.failures[0]
        for name, wanted in (("bulk", sum(self.pushed)), ("small", sum(self.added))):
            if not (self._client.read(name) == wanted).all():
                raise WrongResultError(f"{name}: wanted {wanted}, the sum of what was acknowledged, got others")
        self._client.close()

    def _again(self, body: Callable[[], None]) -> None:
        try:
            while not self._stop.is_set():
                body()
        except BaseException as error:
            self.failures.append(error)
            self._stop.set()

    def _move(self, number: int) -> Callable[[], None]:
        # Sums up to 2^24 are exact in float32: that is more pushes than there will be.
        delta, out = np.ones(BULK_NBYTES // 4, np.float32), np.zeros(BULK_NBYTES // 4, np.float32)

        def body() -> None:
            self._client.assign_add("bulk", delta)
            self._client.read("bulk", out=out)
            self.pushed[number] += 1

        return body

    def _add(self, number: int) -> Callable[[], None]:
        delta = np.ones(250, np.int64)

        def body() -> None:
            self._client.assign_add("small", delta)
            self.added[number] += 1

        return body

    def _leave(self) -> None:
        connection = HTTPConnection(self._address, timeout=60)
        connection.request("GET", "/v1/variables/bulk:read", headers={"Accept": "application/vnd.paramserver.frame"})
        connection.getresponse().read(1000)
        connection.close()
        self.left += 1
        time.sleep(0.1)


def run(minutes: float) -> list[str]:
    """The lines of the report. Raises `WrongResultError` for a sum that is not exact, memory or descriptors that grow."""
    with (
        tempfile.TemporaryDirectory(prefix="paramserver-soak-") as place,
        ServerProcess("--data-dir", place, "--durability", "everysec", "--log-level", "error") as server,
    ):
        load, samples = Load(server.url), []
        for _ in range(_SAMPLES):
            time.sleep(minutes * 60 / _SAMPLES)
            samples.append((server.resident_nbytes(), len(os.listdir(f"/proc/{server.pid}/fd"))))
        pushed, added, left = sum(load.pushed), sum(load.added), load.left
        load.end()
    memory, files = [each[0] for each in samples], [each[1] for each in samples]
    half = _WARM + (_SAMPLES - _WARM) // 2
    growth = max(memory[half:]) / max(memory[_WARM:half])
    lines = [
        f"- {minutes:g} minutes: {pushed:,} pushes and pulls of 16 MB ({2 * pushed * BULK_NBYTES / minutes / 60 / 1e9:.1f} GB/s), "
        f"{added:,} additions of 1 KB ({added / minutes / 60:,.0f} a second) beside them, {left:,} readers that went away; sums exact",
        f"- memory of the server: {' '.join(f'{each / MB:.0f}' for each in memory)} MB; the second half's most is {growth:.2f} of the "
        "first's",
        f"- its descriptors: {' '.join(map(str, files))}",
    ]
    if growth > GROWTH or max(files[half:]) > max(files[_WARM:half]) + GROWTH_FILES:
        raise WrongResultError("\n".join(["memory or descriptors grow:", *lines]))
    return lines


def main() -> int:
    """Run, print, and put it into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long; the page is written from ten on")
    minutes = parser.parse_args().minutes
    try:
        lines = run(minutes)
    except WrongResultError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(lines))
    if minutes >= 10:
        write_between(PAGE, "soak", "\n".join([f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.", "", *lines]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
