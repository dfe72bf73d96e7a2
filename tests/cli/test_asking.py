"""Exit statuses, and the real command in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.commands import Run
from support.fake_server import FakeServer, Peer
from support.server import Server


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "paramserver.cli", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_prints_plain_text_into_a_pipe(running: Server) -> None:
    done = command("ls", "--url", running.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert done.stdout.splitlines()[-1].endswith(" B")


def test_no_server_ends_with_3_at_once_and_says_how_to_start_one(run: Run) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        began = time.monotonic()
        done = run("ls", url=f"http://127.0.0.1:{port}")
        assert time.monotonic() - began < 10
    assert done.exit_code == 3
    assert done.stderr.startswith(f"paramserver: no server at http://127.0.0.1:{port}: ")
    assert f"`paramserver serve --port {port}`" in done.stderr


def test_no_socket_ends_with_3_at_once_and_says_how_to_make_one(run: Run) -> None:
    began = time.monotonic()
    done = run("ls", url="unix:///nowhere/ps.sock")
    assert time.monotonic() - began < 10
    assert done.exit_code == 3
    assert done.stderr.startswith("paramserver: no server at unix:///nowhere/ps.sock: ")
    assert "`paramserver serve --uds /nowhere/ps.sock`" in done.stderr


def test_a_server_that_says_nothing_ends_with_3() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.read(1)

    with FakeServer(script) as server:
        done = command("ls", "--url", server.url, "--timeout", "1")
    assert done.returncode == 3
    assert "--url" in done.stderr


def test_a_connection_lost_once_is_tried_again(run: Run) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        if peer.number == 1:
            peer.reset()
        else:
            peer.answer(b'{"variables": [], "next_page_token": null}')

    with FakeServer(script) as server:
        done = run("ls", url=server.url)
    assert (done.exit_code, done.stdout, server.connections) == (0, "0 variables, 0 B\n", 2)


def test_another_kind_of_server_ends_with_1(run: Run) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.answer(b"<html>hello</html>", media_type="text/html")

    with FakeServer(script) as server:
        done = run("ls", url=server.url)
    assert done.exit_code == 1
    assert "Check that the URL is a parameter server's" in done.stderr


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PARAMSERVER_")}

    def status(*flags: str, **more: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "paramserver.cli", "ls", "--url", server.url, *flags],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment | more,
        )
        assert "0123456789abcdef" not in done.stdout + done.stderr
        return done.returncode, done.stderr

    with Server("--token-file", str(file)) as server:
        assert status("--token-file", str(file)) == (0, "")
        assert status(PARAMSERVER_TOKEN_FILE=str(file)) == (0, "")
        assert status(PARAMSERVER_TOKEN="0123456789abcdef") == (0, "")
        assert status("--token-file", str(file), PARAMSERVER_TOKEN="wrong") == (0, "")
        refused, why = status(PARAMSERVER_TOKEN="wrong")
        assert (refused, "unauthenticated" in why) == (1, True)
        file.write_text("")
        usage, why = status("--token-file", str(file))
        assert (usage, "empty" in why) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls", "--nope"],
        ["get"],
        ["save", "--step", "x"],
        ["ls", "--timeout", "0"],
        ["ls", "--url", "ftp://example.org"],
    ],
)
def test_wrong_usage_ends_with_2(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert "Usage: " in done.stderr


@pytest.mark.parametrize("name", ["ls", "tree", "get", "set", "save", "restore", "checkpoints"])
def test_help_teaches_by_example(run: Run, name: str) -> None:
    done = run(name, "--help")
    assert done.exit_code == 0
    assert f"\n    paramserver {name} " in done.stdout
    assert "PARAMSERVER_URL" in done.stdout
