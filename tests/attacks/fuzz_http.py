"""A hundred thousand fuzzed requests over HTTP, heads too, against a server of its own: it answers or cuts, and goes on.

PYTHONPATH=tests:. python -m attacks.fuzz_http --count 100000
"""

from __future__ import annotations

import os
import random
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from attacks.fuzz import GROWTH_NBYTES, SLOW_S, keep
from attacks.mutators import Mutator, Request
from faults.outcome import Outcome, main, timed
from paramserver_client import ParameterClient, ParameterServerError
from support.attackers import resident_nbytes
from support.raw_http import read_reply
from support.server import Server

_CONNECTIONS: Final = 4
# One in so many has its head damaged as well; what comes back then may be nothing but the end.
_HEADS: Final = 5
# How many travel in one packet.
_AT_ONCE: Final = (1, 1, 1, 1, 2, 4)
_FLAGS: Final = (
    "--tensor-limit-nbytes",
    "262144",
    "--memory-limit-nbytes",
    "134217728",
    "--json-limit-nbytes",
    "1048576",
    "--checkpoint-every-s",
    "0",
    "--log-level",
    "error",
)
# How long the disk takes is not what is looked for.
_MEMORY: Final = next((path for path in ("/dev/shm",) if os.path.isdir(path)), None)
_WARM: Final = 4_000
_FRESH_EVERY: Final = 1_000


def run(seed: int, count: int) -> Outcome:
    """`count` requests, over a few connections that are kept for as long as the server keeps them."""
    with timed() as seconds, tempfile.TemporaryDirectory(dir=_MEMORY) as place:
        log = Path(place) / "log"
        server = Server(*_FLAGS, data_dir=Path(place) / "data", log=log)
        with server:
            workers = [
                Worker(server.url, seed * _CONNECTIONS + number, -(-count // _CONNECTIONS))
                for number in range(_CONNECTIONS)
            ]
            before_nbytes = _warmed(server, workers)
            for worker in workers:
                worker.join()
            growth_nbytes = resident_nbytes(server.process.pid) - before_nbytes
            with ParameterClient(server.url) as client:
                assert client.server()["state"] == "ready"
            alive = server.process.poll() is None
        told = log.read_text()
    statuses: Counter[str] = sum((worker.answers for worker in workers), Counter())
    wrong = [line for worker in workers for line in worker.wrong]
    if "Traceback" in told:
        wrong.append(f"the log tells of something unforeseen: {told[:2000]}")
    if not alive:
        wrong.append("the server is gone")
    if growth_nbytes > GROWTH_NBYTES:
        wrong.append(f"memory grew by {growth_nbytes / 2**20:.1f} MiB")
    figures = {
        "answers": ", ".join(f"{number:,} of {status}" for status, number in sorted(statuses.items())),
        "5xx": str(sum(number for status, number in statuses.items() if status.startswith("5") and status != "507")),
        "slowest": f"{1000 * max(worker.slowest_s for worker in workers):.1f} ms",
        "over 100 ms once, not again": str(sum(worker.slow_once for worker in workers)),
        "memory growth": f"{growth_nbytes / 2**20:.1f} MiB",
    }
    return Outcome("fuzzed requests over HTTP", sum(statuses.values()), tuple(wrong), figures, seconds())


def prepare(url: str) -> None:
    """The variables that the seeds are about."""
    # What is fuzzed meanwhile may be in the way.
    with ParameterClient(url) as client, suppress(ParameterServerError):
        client.delete_variables(prefix="", confirm=True)
        for name in ("w", "rows"):
            client.create_variable(name, value=np.zeros((2, 3), np.float32))
        client.create_variable("step", value=np.zeros((), np.int64))
        client.create_optimizer("sgd", "gradient_descent", learning_rate=0.1)


def _warmed(server: Server, workers: list[Worker]) -> int:
    """Wait until each has done some of its work, and see what memory the server has then."""
    for worker in workers:
        worker.start()
    while any(worker.is_alive() and worker.done < min(_WARM, worker.count // 2) for worker in workers):
        time.sleep(0.05)
    return resident_nbytes(server.process.pid)


class Worker(threading.Thread):
    """Sends one request after the other over a connection, now and then several at once, and over a new one when that was cut."""

    def __init__(self, url: str, seed: int, count: int) -> None:
        super().__init__(daemon=True)
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.slowest_s = 0.0
        self.slow_once = self.done = 0
        self._prepared = -1
        self.count = count
        # One of them sees to it that what the seeds are about is there.
        self._prepares = seed % _CONNECTIONS == 0
        self._url = url
        self._port = int(url.rpartition(":")[2])
        self._mutator = Mutator(seed)
        self._random = random.Random(seed)
        self._connection: socket.socket | None = None

    def run(self) -> None:
        """All of them."""
        try:
            self._work()
        except Exception as error:
            self.wrong.append(f"ended by {error!r}")

    def _work(self) -> None:
        while self.done < self.count:
            if self._prepares and self.done // _FRESH_EVERY > self._prepared:
                self._prepared = self.done // _FRESH_EVERY
                prepare(self._url)
            several = min(self._random.choice(_AT_ONCE), self.count - self.done)
            requests = list(islice(self._mutator, several))
            # One that is damaged in its head may take those behind it for its body: it goes alone.
            pieces = [(request.as_sent() if several > 1 else self._sent(request), request) for request in requests]
            answers = self._ask(pieces)
            if several > 1 and answers[-1][0] == "cut":
                # One before it ended the connection, and what was on the way is lost with it.
                answers.pop()
            for piece, answer in zip(pieces, answers, strict=False):
                self._judge(*piece, answer)
            for piece in pieces[len(answers) :]:
                self._judge(*piece, self._ask([piece])[0])
            self.done += several
        self._drop()

    def _judge(self, sent: bytes, request: Request, first: tuple[str, float]) -> None:
        tries = [first]
        if first[1] > SLOW_S:
            # As in process; both answers count here too.
            self.slow_once += 1
            tries += self._ask([(sent, request)])
        self.answers[first[0]] += 1
        took_s = min(each[1] for each in tries)
        self.slowest_s = max(self.slowest_s, took_s)
        answers = [answer for answer, _ in tries]
        if any(_is_wrong(answer, sent, request) for answer in answers):
            self.wrong.append(f"answered {answers}: {keep(request)}")
        elif took_s > SLOW_S:
            self.wrong.append(f"slow, {1000 * took_s:.0f} ms: {keep(request)}")

    def _sent(self, request: Request) -> bytes:
        sent = bytearray(request.as_sent())
        if self._random.randrange(_HEADS) == 0:
            end = sent.index(b"\r\n\r\n")
            for _ in range(self._random.randint(1, 3)):
                sent[self._random.randrange(end)] = self._random.choice(b"\0\xff\r\n :;\tA9%")
        return bytes(sent)

    def _ask(self, pieces: Sequence[tuple[bytes, Request]]) -> list[tuple[str, float]]:
        """Send them at once. The status of each, or how it ended, and how long that took; none for those behind an end."""
        found: list[tuple[str, float]] = []
        is_whole = _is_whole(*pieces[-1])
        began = time.perf_counter()
        ended = ""
        try:
            connection = self._connection = self._connection or self._connect()
            connection.sendall(b"".join(sent for sent, _ in pieces))
            # Half a head, or a body that is announced and does not come, waits for more; there is none.
            if not is_whole:
                connection.shutdown(socket.SHUT_WR)
            for _, request in pieces:
                reply = read_reply(connection, method=request.method)
                now = time.perf_counter()
                found.append((str(reply.status), now - began))
                began = now
                if reply.headers.get("connection") == "close":
                    is_whole = False
                    break
        except TimeoutError:
            ended = "nothing"
        except (OSError, ValueError):
            ended = "cut"
        if ended:
            found.append((ended, time.perf_counter() - began))
        if ended or not is_whole:
            self._drop()
        return found

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=20)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _is_wrong(answer: str, sent: bytes, request: Request) -> bool:
    """A cut is an answer to a head that is damaged; a whole request has a right to a status."""
    if answer == "cut":
        return _is_whole(sent, request)
    return answer == "nothing" or (answer.startswith("5") and answer != "507")


def _is_whole(sent: bytes, request: Request) -> bool:
    return sent == request.as_sent()


if __name__ == "__main__":
    main(run, 100_000)
