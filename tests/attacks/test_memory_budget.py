"""Everybody at once takes all the memory there is: writers, readers, those who copy, import, promise and never send (CWE-400, CWE-770).

The server stays below its budget and what it is itself, says 507 to those it has nothing left for, keeps every value whole, and
at the end nothing is counted that is not there.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest

from paramserver_wire import frame, packed, safetensors
from paramserver_wire.tensors import Tensor
from support.attackers import connect
from support.raw_http import eventually
from support.server import Server

MIB = 1024 * 1024
LIMIT_NBYTES = 200 * MIB
VALUE_NBYTES = 16 * MIB
# The pool may keep an eighth beside the budget, and malloc 64 MiB in each of its two arenas that it does not give back at once.
BESIDE_NBYTES = LIMIT_NBYTES // 8 + 2 * 64 * MIB
ROUNDS = 12
FRAME = {"content-type": frame.MEDIA_TYPE, "accept": frame.MEDIA_TYPE}
FULL = frozenset({200, 201, 507})


def value_of(number: float) -> bytes:
    return b"".join(bytes(part) for part in frame.encode(np.full(VALUE_NBYTES // 4, number, np.float32)))


def file_of(name: str, number: float) -> bytes:
    values = {name: Tensor(np.full(VALUE_NBYTES // 4, number, np.float32))}
    return b"".join(bytes(part) for part in safetensors.encode({"tensors": values}))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Holds three values, a quarter of what it may."""
    flags = ("--memory-limit-nbytes", str(LIMIT_NBYTES), "--log-level", "error", "--slow-grace-s", "60")
    with Server(*flags, environment={"MALLOC_ARENA_MAX": "2"}) as server:
        with httpx.Client(base_url=server.url, timeout=60) as http:
            for name in "abc":
                made = {"shape": [VALUE_NBYTES // 4], "initializer": {"type": "zeros"}}
                http.put(f"/v1/variables/{name}", json=made).raise_for_status()
            for turn in range(3):
                assert writes(http, turn) == 200
        yield server


def used_nbytes(server: Server) -> int:
    nbytes: int = httpx.get(f"{server.url}/v1/server").json()["memory"]["used_nbytes"]
    return nbytes


def writes(http: httpx.Client, turn: int) -> int:
    return http.post(f"/v1/variables/{'abc'[turn % 3]}:assign", content=value_of(turn), headers=FRAME).status_code


def reads_copies(http: httpx.Client, turn: int) -> int:
    return http.post("/v1/variables:pull", json={}, headers={"accept": packed.MEDIA_TYPE}).status_code


def writes_and_wants_all(http: httpx.Client, turn: int) -> int:
    push = {"updates": [], "return": ["a", "b", "c"]}
    return http.post("/v1/variables:push", json=push, headers={"accept": packed.MEDIA_TYPE}).status_code


def imports(http: httpx.Client, turn: int) -> int:
    headers = {"content-type": safetensors.MEDIA_TYPE}
    return http.put("/v1/variables:import", content=file_of("abc"[turn % 3], turn), headers=headers).status_code


def says_much(http: httpx.Client, turn: int) -> int:
    text = b'{"value":[' + b"1," * 1_000_000 + b"1]}"
    status = http.post("/v1/variables/a:assign", content=text, headers={"content-type": "application/json"}).status_code
    # The shape is another's: it is told so, where there was memory to read it.
    return 200 if status == 422 else status


ATTACKS = (writes, reads_copies, writes_and_wants_all, imports, says_much)


def attacked(server: Server, attack: Callable[[httpx.Client, int], int], told: Counter[tuple[str, int]]) -> None:
    with httpx.Client(base_url=server.url, timeout=120) as http:
        for turn in range(ROUNDS):
            told[attack.__name__, attack(http, turn)] += 1


def whole(server: Server) -> None:
    """No value is half of one write and half of another."""
    with httpx.Client(base_url=server.url, timeout=60) as http:
        for name in "abc":
            answer = http.get(f"/v1/variables/{name}:read", headers=FRAME)
            answer.raise_for_status()
            assert len(np.unique(frame.decode(answer.content).array)) == 1


def promise(server: Server) -> socket.socket:
    """A body that is announced, begun and never ended."""
    promised = connect(server)
    head = f"POST /v1/variables/a:assign HTTP/1.1\r\nHost: localhost\r\nContent-Type: {frame.MEDIA_TYPE}\r\n"
    promised.sendall(f"{head}Content-Length: {24 * MIB}\r\n\r\n".encode() + value_of(0)[:MIB])
    return promised


def read_slowly(server: Server) -> socket.socket:
    """An answer that is asked for and not read."""
    reader = connect(server)
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.sendall(
        f"GET /v1/variables/b:read HTTP/1.1\r\nHost: localhost\r\nAccept: {frame.MEDIA_TYPE}\r\n\r\n".encode()
    )
    return reader


def test_all_at_once_stay_within_the_budget(server: Server) -> None:
    before_nbytes = server.resident_nbytes()
    told: Counter[tuple[str, int]] = Counter()
    held = [promise(server), promise(server), *(read_slowly(server) for _ in range(8))]
    threads = [threading.Thread(target=attacked, args=(server, attack, told)) for attack in ATTACKS for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    grown_nbytes = server.peak_nbytes() - before_nbytes
    assert {status for _, status in told} <= FULL, told
    # Some came through, and some did not: else this were no attack.
    assert any(status != 507 for _, status in told)
    assert any(status == 507 for _, status in told), told
    assert sum(told.values()) == 2 * ROUNDS * len(ATTACKS)
    assert grown_nbytes < LIMIT_NBYTES - 3 * VALUE_NBYTES + BESIDE_NBYTES
    for connection in held:
        connection.close()
    eventually(lambda: used_nbytes(server) == 3 * VALUE_NBYTES)
    whole(server)


def test_what_was_refused_for_want_of_memory_is_taken_when_there_is_some(server: Server) -> None:
    held = [promise(server) for _ in range(6)]
    with httpx.Client(base_url=server.url, timeout=60) as http:
        eventually(lambda: writes(http, 0) == 507)
        version = http.get("/v1/variables/a").json()["version"]
        assert writes(http, 0) == 507
        assert http.get("/v1/variables/a").json()["version"] == version
        # Reading takes nothing, and goes on.
        whole(server)
        while held:
            held.pop().close()
        eventually(lambda: used_nbytes(server) == 3 * VALUE_NBYTES)
        assert writes(http, 0) == 200
        assert http.get("/v1/variables/a").json()["version"] == version + 1
