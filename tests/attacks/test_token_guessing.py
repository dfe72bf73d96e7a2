"""Tokens of the wrong length, alphabet and form against a server that has one (CWE-307, CWE-208)."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.raw_http import read_reply
from support.server import Server

TOKEN = "5f2b7c0d9e8a41663df07a1c2b9e4d58"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose token lies in a file."""
    file: Path = tmp_path_factory.mktemp("secret") / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    with Server("--token-file", str(file)) as server:
        yield server


GUESSES = [
    b"",
    b"Bearer",
    b"Bearer ",
    b"Bearer x",
    b"Bearer " + TOKEN[:-1].encode(),
    b"Bearer " + TOKEN.encode() + b"0",
    b"Bearer " + TOKEN.upper().encode(),
    b"Bearer " + TOKEN.encode() + b"\xc3\xa9",
    "Bearer ５f2b7c0d9e8a41663df07a1c2b9e4d58".encode(),
    b"Bearer \xff\xfe\xfd",
    b"Bearer " + b"x" * 12_000,
    b"Bearer " + TOKEN.encode() + b", Bearer " + TOKEN.encode(),
    b"Basic " + TOKEN.encode(),
    b"Bearer null",
    TOKEN.encode(),
]


@pytest.mark.parametrize("guess", GUESSES)
def test_a_guess_opens_nothing(locked: Server, guess: bytes) -> None:
    reply = asked(locked, guess)
    assert reply[0] == 401
    problem = json.loads(reply[1])
    assert problem["code"] == "unauthenticated"
    assert TOKEN not in problem["detail"]


def test_the_token_opens(locked: Server) -> None:
    assert asked(locked, b"Bearer " + TOKEN.encode())[0] == 200


def test_who_guesses_on_has_to_wait_and_those_who_work_do_not(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n{TOKEN[::-1]}\n")
    file.chmod(0o600)
    with Server("--token-file", str(file), "--wrong-tokens-limit", "5") as server:
        assert asked(server, b"Bearer " + TOKEN.encode())[0] == 200
        # The same, where heads become known, and different ones.
        statuses = [asked(server, b"Bearer wrong", path=b"/v1/variables/w:read")[0] for _ in range(3)]
        statuses += [asked(server, b"Bearer wrong-%d" % number)[0] for number in range(10)]
        assert statuses == [401] * 5 + [429] * 8
        assert asked(server, b"Bearer " + TOKEN.encode())[0] == 200
        # Right, but never seen from here: it could be the guess that hits.
        assert asked(server, b"Bearer " + TOKEN[::-1].encode())[0] == 429


def test_whoever_works_by_requests_that_are_known_works_on_too(tmp_path: Path) -> None:
    """A head that is known is not taken apart again, wherever it comes from; that its token was right is known there all the same."""
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    right = b"Bearer " + TOKEN.encode()
    with Server("--token-file", str(file), "--wrong-tokens-limit", "5") as server:
        for _ in range(3):
            assert asked(server, right, path=b"/v1/variables/w:read")[0] == 404
        assert asked(server, right, path=b"/v1/variables/w:read", source="127.0.0.2")[0] == 404
        assert [asked(server, b"Bearer wrong", source="127.0.0.2")[0] for _ in range(6)] == [401] * 5 + [429]
        assert asked(server, right, source="127.0.0.2")[0] == 200


def asked(
    server: Server, authorization: bytes, path: bytes = b"/v1/variables", source: str = "127.0.0.1"
) -> tuple[int, bytes]:
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=30, source_address=(source, 0)) as connection:
        connection.sendall(
            b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + authorization + b"\r\n\r\n"
        )
        reply = read_reply(connection)
        return reply.status, reply.body
