"""Hostile clients of every kind at once, and one who works: what he notices of them, and how many are left after 15 s.

Idle ones say nothing, slow heads and dripping bodies say a byte a second, slow readers ask for 400 MB and read nothing. They are
let in all at once (the limits on connections are raised for it): what ends them is time.

    PYTHONPATH=tests:. python -m attacks.hostile --count 500
"""

from __future__ import annotations

import resource
import select
import socket
import subprocess
import sys
import time
from collections import Counter
from typing import Final, NamedTuple

import numpy as np

from faults.outcome import Outcome, main, timed
from paramserver_client import ParameterClient
from paramserver_wire import frame
from support.attackers import resident_nbytes
from support.server import Server

# Of 500 idle ones; the others in proportion.
KINDS: Final = {"idle": 500, "slow heads": 200, "dripping bodies": 50, "slow readers": 50}
SURVIVE_S: Final = 15.0
QUIET_S: Final = 5.0
VALUE_NBYTES: Final = 400_000_000
P99_RATIO: Final = 2.0
ADDED_NBYTES: Final = 64_000_000

_HEAD: Final = b"GET /v1/variables/large:read HTTP/1.1\r\nHost: localhost\r\n"
_DRIP: Final = b"POST /v1/variables/w:assign HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n["
_ASK: Final = _HEAD + b"Accept: " + frame.MEDIA_TYPE.encode() + b"\r\n\r\n"


def run(seed: int, count: int) -> Outcome:
    """`count` idle connections, and the others in proportion."""
    share = count / KINDS["idle"]
    counts = {kind: max(1, round(number * share)) for kind, number in KINDS.items()}
    value_nbytes = max(20_000_000, int(VALUE_NBYTES * min(1.0, share)))
    _allow_files(sum(counts.values()) + 200)
    with timed() as seconds, Server("--connections-limit", "4096", "--connections-per-peer-limit", "0") as server:
        with ParameterClient(server.url) as client:
            client.create_variable("w", value=np.zeros(250, np.float32))
            client.create_variable("large", value=np.ones(value_nbytes // 4, np.float32))
            client.read("large")
        victim = _Victim(server.url)
        victim.work(1.0)
        before = victim.work(QUIET_S)
        before_nbytes = resident_nbytes(server.process.pid)
        attackers = _Attackers(int(server.url.rpartition(":")[2]), counts)
        began = time.monotonic()
        victim.begin(SURVIVE_S)
        peak_nbytes = 0
        while time.monotonic() - began < SURVIVE_S:
            attackers.act()
            peak_nbytes = max(peak_nbytes, resident_nbytes(server.process.pid))
        survivors = attackers.survivors()
        during = victim.end()
        attackers.close()
        victim.close()
    added_nbytes = peak_nbytes - before_nbytes
    wrong = [
        f"{kind}: {number} of {counts[kind]} are still there after {SURVIVE_S:.0f} s"
        for kind, number in survivors.items()
    ]
    figures = {
        "hostile": ", ".join(f"{number} {kind}" for kind, number in counts.items()),
        "survivors after 15 s": str(sum(survivors.values())),
    }
    for whose, then, now in (
        ("of who adds 1 KB", before.additions, during.additions),
        ("of who comes anew", before.newcomers, during.newcomers),
    ):
        p99_before, p99_during = _p99(then), _p99(now)
        told = f"{p99_before:.2f} and {p99_during:.2f} ms"
        figures[f"p99 {whose}, before and during"] = f"{told} (ratio {p99_during / p99_before:.2f})"
        if p99_during > P99_RATIO * p99_before:
            wrong.append(f"p99 {whose}: {told}")
    if added_nbytes > ADDED_NBYTES:
        wrong.append(f"the server took {added_nbytes / 1e6:.0f} MB more")
    if len(during.additions) < 100:
        wrong.append(f"only {len(during.additions)} requests came through")
    figures |= {
        "requests of others meanwhile": f"{sum(map(len, during)):,}",
        "memory beyond before": f"{added_nbytes / 1e6:.0f} MB",
    }
    return Outcome("hostile clients", sum(counts.values()), tuple(wrong), figures, seconds())


class _Attackers:
    """All of them, from one thread: a look at each a second is all that they need."""

    def __init__(self, port: int, counts: dict[str, int]) -> None:
        self._poll = select.poll()
        self._kind: dict[int, str] = {}
        self._sockets: dict[int, socket.socket] = {}
        self._next_s = 0.0
        for kind, number in counts.items():
            for _ in range(number):
                attacker = socket.socket()
                if kind == "slow readers":
                    attacker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                attacker.settimeout(30)
                attacker.connect(("127.0.0.1", port))
                attacker.sendall(
                    {"idle": b"", "slow heads": _HEAD, "dripping bodies": _DRIP, "slow readers": _ASK}[kind]
                )
                attacker.setblocking(False)
                self._kind[attacker.fileno()] = kind
                self._sockets[attacker.fileno()] = attacker
                # Of answers that nobody reads only the end is of interest.
                self._poll.register(attacker, select.POLLHUP | select.POLLERR | select.POLLRDHUP)

    def act(self) -> None:
        """Let those who trickle do so, once a second, and see who was cut."""
        for number, _ in self._poll.poll(50):
            self._gone(number)
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + 1.0
        for number, attacker in list(self._sockets.items()):
            piece = {"slow heads": b"X", "dripping bodies": b"1"}.get(self._kind[number])
            if piece is not None:
                try:
                    attacker.send(piece)
                except OSError:
                    self._gone(number)

    def survivors(self) -> Counter[str]:
        """How many of each kind are still connected."""
        return Counter(self._kind[number] for number in self._sockets)

    def close(self) -> None:
        """Give up."""
        for number in list(self._sockets):
            self._gone(number)

    def _gone(self, number: int) -> None:
        attacker = self._sockets.pop(number)
        self._poll.unregister(attacker)
        attacker.close()


_WORK = """
import socket, sys, time
import numpy as np
from paramserver_client import ParameterClient

change = np.ones(250, np.float32)
address = ("127.0.0.1", int(sys.argv[1].rpartition(":")[2]))

def come_anew():
    with socket.create_connection(address) as connection:
        connection.sendall(b"GET /v1/variables/w HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")

with ParameterClient(sys.argv[1]) as client:
    print("ready", flush=True)
    for line in sys.stdin:
        taken, end = {"w": [], "n": []}, time.monotonic() + float(line)
        while time.monotonic() < end:
            for kind, work in (("w", lambda: client.assign_add("w", change)), ("n", come_anew)):
                began = time.perf_counter()
                work()
                taken[kind].append(time.perf_counter() - began)
            time.sleep(0.001)
        print(*(f"{kind}{1000 * each:.3f}" for kind in taken for each in taken[kind]), flush=True)
"""


class _Taken(NamedTuple):
    """What requests took, in ms: additions over one connection, and connections that ask once."""

    additions: list[float]
    newcomers: list[float]


class _Victim:
    """A client in a process of its own, who adds 1 KB again and again, and another who comes anew each time."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORK, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._line() == "ready\n"

    def work(self, seconds: float) -> _Taken:
        """Work for so long."""
        self.begin(seconds)
        return self.end()

    def begin(self, seconds: float) -> None:
        """Begin to work for so long."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()

    def end(self) -> _Taken:
        """What each request took."""
        told = self._line().split()
        additions, newcomers = ([float(each[1:]) for each in told if each[0] == kind] for kind in "wn")
        return _Taken(additions, newcomers)

    def close(self) -> None:
        """Let it go."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def _p99(taken_ms: list[float]) -> float:
    return float(np.percentile(taken_ms, 99)) if taken_ms else float("inf")


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(count, 4096)), hard))


if __name__ == "__main__":
    main(run, KINDS["idle"])
