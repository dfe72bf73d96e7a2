"""Pushes through a network that cuts, delays, stalls, throttles and repeats: each is applied exactly once.

Several clients add into one variable, each whole numbers of its own, through a proxy that does something to two requests of
five. What the SDK says of each push (applied, not applied, unknown) is held against the sum and the version. In the middle
the server is killed and comes back, several times.
"""

from __future__ import annotations

import logging
import random
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np

import paramserver_client as ps
from faults.outcome import Outcome, main, timed
from faults.zygote import Zygote, serve_flags
from support.fault_proxy import Fault, FaultProxy

NAME: Final = "network faults"
CLIENTS: Final = 8
RATE: Final = 0.42
KILLS: Final = 3
FAULTS: Final = tuple(fault for fault in Fault if fault is not Fault.NONE)


def run(seed: int, count: int, plant: str = "") -> Outcome:
    """Push `count` times through the proxy, at `everysec`."""
    logging.getLogger("paramserver_client").setLevel(logging.ERROR)
    with timed() as seconds, Zygote(plant) as zygote, tempfile.TemporaryDirectory(prefix="faults-network-") as place:
        flags = serve_flags(Path(place) / "data", "everysec", "--journal-limit-nbytes", str(4 << 20))
        server = zygote.serve(*flags)
        port = int(server.url.rpartition(":")[2])
        flags = [*flags, "--port", str(port)]
        with ps.ParameterClient(server.url) as client:
            client.create_variable("sum", value=np.zeros(4, np.int64))
        with FaultProxy(port, seed=seed, rate=RATE, faults=FAULTS) as proxy:
            work = _Work(proxy.url, seed, count)
            for kill in range(KILLS):
                work.wait_for(count * (kill + 1) // (KILLS + 1))
                server.kill()
                server = zygote.serve(*flags)
            work.end()
            faults = sum(number for fault, number in proxy.counts.items() if fault is not Fault.NONE)
        with ps.ParameterClient(server.url) as client:
            wrong = work.check(client)
        if server.stop() != 0:
            wrong.append("the server did not end with 0")
    figures = {
        "faults": f"{faults:,}",
        "kills": str(KILLS),
        **{f"told {what}": f"{number:,}" for what, number in sorted(work.told.items())},
    }
    return Outcome(NAME, work.pushes, tuple(wrong), figures, seconds())


class _Work:
    """The clients, and what they were told."""

    def __init__(self, url: str, seed: int, count: int) -> None:
        self._url = url
        self._more = threading.Condition()
        self._left = count
        self.pushes = 0
        self.told: Counter[str] = Counter()
        self._applied = 0
        self._applied_pushes = 0
        self._unknown: list[int] = []
        self._threads = [threading.Thread(target=self._push, args=(seed * 100 + n,)) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, pushes: int) -> None:
        with self._more:
            self._more.wait_for(lambda: self.pushes >= pushes, 600)

    def end(self) -> None:
        for thread in self._threads:
            thread.join()

    def _push(self, seed: int) -> None:
        draw = random.Random(seed)
        with ps.ParameterClient(self._url, timeout_s=60) as client:
            while True:
                with self._more:
                    if self._left <= 0:
                        return
                    self._left -= 1
                by, outcome = draw.randrange(1, 1000), "applied"
                try:
                    client.assign_add("sum", np.full(4, by))
                except ps.ParameterServerError as error:
                    outcome = error.outcome
                with self._more:
                    self.pushes += 1
                    self.told[outcome] += 1
                    self._applied += by * (outcome == "applied")
                    self._applied_pushes += outcome == "applied"
                    if outcome == "unknown":
                        self._unknown.append(by)
                    self._more.notify_all()

    def check(self, client: ps.ParameterClient) -> list[str]:
        """The sum is that of the pushes that were applied, and of none or some of which nobody knows."""
        value, tag = client.read("sum", with_version=True)
        pushes = int(tag.rpartition("-")[2]) - 1
        extra, extra_pushes = int(value[0]) - self._applied, pushes - self._applied_pushes
        if (value != value[0]).any():
            return [f"torn: {value.tolist()}"]
        possible = {(0, 0)}
        for by in self._unknown:
            possible |= {(total + by, number + 1) for total, number in possible}
        if (extra, extra_pushes) not in possible:
            return [
                f"told of {self._applied_pushes} pushes that add {self._applied}, found {pushes} that add {value[0]}; "
                f"unknown: {self._unknown}"
            ]
        return []


if __name__ == "__main__":
    main(run, 2000)
