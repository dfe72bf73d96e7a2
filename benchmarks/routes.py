"""What a route costs: reading and adding 1 KB beside the cheapest FastAPI route, and the pages of a long listing.

The caller is one raw socket that stays open and sends the same bytes again and again, so that only the server differs.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit

import numpy as np
from safetensors.numpy import save_file

from benchmarks.cheapest import NBYTES
from benchmarks.measuring import Figure, Result, Target, WrongResultError, figure, in_turns
from benchmarks.processes import Process
from paramserver_client import ParameterClient
from paramserver_wire import frame

PAGE_SIZE: Final = 1000
_CALLS: Final = 300
_IN_ONE_FILE: Final = 10_000
_NAME: Final = "routes/small"
_FRAME: Final = f"content-type: {frame.MEDIA_TYPE}\r\naccept: {frame.MEDIA_TYPE}\r\n"


class Caller:
    """One connection that is kept open, and knows just enough HTTP to find the end of an answer."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def ask(self, request: bytes) -> bytes:
        """Send a request, and return the body of its answer, which must be 200."""
        self._socket.sendall(request)
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        head = received[:end].lower()
        nbytes = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if not head.startswith(b"http/1.1 200"):
            raise WrongResultError(f"wanted 200, got {head[:60]!r}")
        while len(received) < end + 4 + nbytes:
            received += self._more()
        return received[end + 4 :]

    def _more(self) -> bytes:
        if not (some := self._socket.recv(65536)):
            raise EOFError
        return some


def measure_routes(url: str, rounds: int, listed: int) -> Iterator[Result]:
    """Microseconds a call, beside the cheapest route's, in turns."""
    yield from _beside_the_cheapest(url, rounds)
    yield from _listing(url, listed)


def _beside_the_cheapest(url: str, rounds: int) -> Iterator[Result]:
    delta = np.ones(NBYTES // 4, np.float32)
    body = b"".join(bytes(part) for part in frame.encode(delta))
    with ExitStack() as stack:
        process = Process("-m", "benchmarks.cheapest")
        port = int(process.start().split()[-1])
        stack.callback(process.end)
        ours = stack.enter_context(closing(Caller(urlsplit(url).port or 80)))
        theirs = stack.enter_context(closing(Caller(port)))
        client = stack.enter_context(ParameterClient(url))
        client.create_variable(_NAME, value=np.zeros_like(delta))
        asked: dict[str, Callable[[], bytes]] = {
            "read": partial(ours.ask, request("GET", f"/v1/variables/{_NAME}:read", _FRAME)),
            "assign_add": partial(ours.ask, request("POST", f"/v1/variables/{_NAME}:assign_add", _FRAME, body)),
            "cheapest GET": partial(theirs.ask, request("GET", "/value", "")),
            "cheapest POST": partial(theirs.ask, request("POST", "/value", "", body)),
        }
        taken = in_turns({name: partial(_seconds_each, call) for name, call in asked.items()}, rounds)
        wanted = (rounds + 1) * _CALLS
        if not np.all(client.read(_NAME) == wanted):
            raise WrongResultError(f"{_NAME}: wanted {wanted}, once for each assign_add")
        client.delete_variable(_NAME)
    for name, cheapest in (("read", "cheapest GET"), ("assign_add", "cheapest POST")):
        ratio = median(taken[name]) / median(taken[cheapest])
        target = Target("ratio", "at most", 1.5)
        beside = _microseconds(taken[cheapest])
        yield Result(
            "routes, beside FastAPI's cheapest", name, NBYTES, "us", _microseconds(taken[name]), beside, ratio, target
        )


def _listing(url: str, listed: int) -> Iterator[Result]:
    caller = Caller(urlsplit(url).port or 80)
    with ParameterClient(url) as client:
        _create(client, listed)
        taken, seen, token = [], 0, ""
        while True:
            began = time.perf_counter()
            path = f"/v1/variables?prefix=listed&page_size={PAGE_SIZE}" + (f"&page_token={token}" if token else "")
            answer = caller.ask(request("GET", path, "accept: application/json\r\n"))
            taken.append(time.perf_counter() - began)
            seen += answer.count(b'"incarnation"')
            token = answer.rpartition(b'"next_page_token":')[2].strip(b'}"').decode()
            if token == "null":
                break
        client.delete_variables(prefix="listed", confirm=True)
    caller.close()
    if seen != listed:
        raise WrongResultError(f"listing: wanted {listed} variables, got {seen}")
    pages = figure([1000 * seconds for seconds in taken])
    yield Result(
        "routes, beside FastAPI's cheapest",
        f"a page of {PAGE_SIZE:,} of {listed:,} names",
        None,
        "ms",
        pages,
        target=Target("value", "at most", 20),
    )


def _create(client: ParameterClient, count: int) -> None:
    """So many variables under `listed`, a file of them at a time."""
    value = np.zeros(1, np.float32)
    with TemporaryDirectory() as directory:
        file = Path(directory) / "many.safetensors"
        for first in range(0, count, _IN_ONE_FILE):
            numbers = range(first, min(first + _IN_ONE_FILE, count))
            save_file({f"layer{number % 100}/w{number}": value for number in numbers}, file)
            client.import_safetensors(file, prefix="listed")


def request(method: str, path: str, headers: str, body: bytes = b"") -> bytes:
    """The bytes of a request."""
    sized = f"content-length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}{sized}\r\n".encode() + body


def _seconds_each(call: Callable[[], bytes]) -> float:
    began = time.perf_counter()
    for _ in range(_CALLS):
        call()
    return (time.perf_counter() - began) / _CALLS


def _microseconds(seconds: list[float]) -> Figure:
    return figure([1e6 * each for each in seconds])
