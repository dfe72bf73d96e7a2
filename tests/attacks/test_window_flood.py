"""More clients than the server remembers, so that what others have sent is forgotten and their repeats are done twice (CWE-837).

(Exactly once by a table of bounded size: D. Ongaro, "Consensus: Bridging Theory and Practice", 2014, section 6.3.)
"""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import numpy as np
from typer.testing import CliRunner

from paramserver.cli import application
from paramserver.store.requests import MAX_CLIENTS
from paramserver_wire import safetensors
from paramserver_wire.tensors import Tensor
from support.server import Server

AT_ONCE = 100


def token_of(directory: Path, holder: str, rights: str) -> str:
    """A new token, added to the file `tokens`."""
    to = directory / holder
    made = CliRunner().invoke(
        application(), ["token", holder, rights, "--to", str(to), "--add-to", str(directory / "tokens")]
    )
    assert made.exit_code == 0
    return to.read_text().strip()


def flood(server: Server, token: str, clients: range, *, imports: bool = False) -> None:
    """One request of each of many new clients."""
    file = b"".join(
        bytes(part) for part in safetensors.encode({"tensors": {"theirs": Tensor(np.zeros((), np.float32))}})
    )
    line, media_type, body = (
        ("PUT /v1/variables:import", safetensors.MEDIA_TYPE, file)
        if imports
        else ("POST /v1/variables/theirs:assign", "application/json", b'{"value":1}')
    )
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=30) as connection:
        for begin in range(clients.start, clients.stop, AT_ONCE):
            sent = [
                f"{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nAuthorization: Bearer {token}\r\n"
                f"Idempotency-Key: flood{index}-1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
                for index in range(begin, min(begin + AT_ONCE, clients.stop))
            ]
            connection.sendall(b"".join(sent))
            answered = b""
            while answered.count(b"HTTP/1.1 200 ") < len(sent):
                answered += connection.recv(65536)
                assert b"HTTP/1.1 4" not in answered, answered


def test_a_repeat_stays_a_repeat(tmp_path: Path) -> None:
    victim = token_of(tmp_path, "victim", "write:mine/*")
    flooder = token_of(tmp_path, "flooder", "write:theirs")
    ops = token_of(tmp_path, "ops", "admin:*")
    push = {"updates": [{"name": "mine/w", "op": "assign_add", "value": 1.0}]}

    def client(server: Server, token: str) -> httpx.Client:
        return httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {token}"}, timeout=30)

    def replayed(server: Server) -> list[bool]:
        """Whether this was no first try: of a worker with a scope, and of somebody who may everything."""
        found = []
        for token, key in ((victim, "worker-1"), (ops, "boss-1")):
            with client(server, token) as http:
                answer = http.post("/v1/variables:push", json=push, headers={"idempotency-key": key})
                assert answer.status_code == 200
                found.append("idempotent-replayed" in answer.headers)
        return found

    flags = ("--token-file", str(tmp_path / "tokens"))
    half = MAX_CLIENTS // 2 + 100
    with Server(*flags, data_dir=tmp_path / "data") as server:
        with client(server, ops) as http:
            for name in ("mine/w", "theirs"):
                assert http.put(f"/v1/variables/{name}", json={"value": 0.0}).status_code == 201
        assert replayed(server) == [False, False]
        flood(server, flooder, range(half))
        server.kill()
    # What is remembered of whom outlives a kill, in the journal, and an orderly end, in a checkpoint.
    with Server(*flags, data_dir=tmp_path / "data") as server:
        assert replayed(server) == [True, True]
        flood(server, flooder, range(half, 2 * half))
        assert replayed(server) == [True, True]
    with Server(*flags, data_dir=tmp_path / "data") as server:
        flood(server, flooder, range(2 * half, 3 * half), imports=True)
        flood(server, flooder, range(3 * half, 4 * half), imports=True)
        assert replayed(server) == [True, True]
        with client(server, victim) as http:
            assert http.get("/v1/variables/mine/w:read").json()["value"] == 2.0
