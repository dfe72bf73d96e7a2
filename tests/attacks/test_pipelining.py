"""Requests upon requests, without a wait for an answer: what is read and not yet answered is bounded (CWE-770)."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

from support.attackers import resident_nbytes
from support.raw_http import read_reply
from support.server import Server

QUESTION = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
COUNT = 30_000
# Those of one packet wait, some 1,500, and what was answered until garbage is collected: 30 MB, however many are asked. All of
# them at once would take 80 MB more.
GROWTH_NBYTES = 56 << 20


def test_questions_wait_in_the_socket_and_not_in_memory(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-of-some-length-0123456789\n")
    tokens.chmod(0o600)
    with (
        Server("--token-file", str(tokens)) as server,
        socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=60) as connection,
    ):
        connection.sendall(QUESTION)
        read_reply(connection)
        before, most = resident_nbytes(server.process.pid), 0

        def ask() -> None:
            with contextlib.suppress(OSError):
                connection.sendall(QUESTION * COUNT)

        asking = threading.Thread(target=ask)
        asking.start()
        for number in range(COUNT):
            assert read_reply(connection).status == 200
            if number % 200 == 0:
                most = max(most, resident_nbytes(server.process.pid))
        asking.join()
    assert most - before < GROWTH_NBYTES
