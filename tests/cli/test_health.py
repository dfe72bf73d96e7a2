from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from paramserver.cli.health import main
from support.fake_server import FakeServer, Peer
from support.server import Server


def test_a_server_by_its_url_and_by_the_environment(running: Server, capsys: pytest.CaptureFixture[str]) -> None:
    port = running.url.rpartition(":")[2]
    assert main([running.url], {}) == 0
    assert main([f"{running.url}/"], {}) == 0
    assert main([], {"PARAMSERVER_PORT": port}) == 0
    assert main([], {"PARAMSERVER_HOST": "0.0.0.0", "PARAMSERVER_PORT": port, "PARAMSERVER_UDS": ""}) == 0
    assert capsys.readouterr().out == '200 {"status":"ready"}\n' * 4


def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "ps.sock")
    assert main([], {"PARAMSERVER_UDS": path}) == 1
    with Server("--uds", path) as server:
        assert server.url
        assert main([], {"PARAMSERVER_UDS": path}) == 0


def test_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
        assert main([], {"PARAMSERVER_PORT": port}) == 1
        assert main([], {"PARAMSERVER_PORT": "x"}) == 1
        assert main([f"http://127.0.0.1:{port}"], {}) == 1
    assert capsys.readouterr().out.count("no server: ") == 3


def test_one_that_drains_or_talks_rubbish() -> None:
    def drains(peer: Peer) -> None:
        peer.request()
        peer.answer(b'{"code":"draining"}', status="503 Service Unavailable")

    def rubbish(peer: Peer) -> None:
        peer.request()
        peer.send(b"hello\r\n\r\n")

    for script in (drains, rubbish):
        with FakeServer(script) as server:
            assert main([server.url], {}) == 1


@pytest.mark.parametrize("arguments", [["https://x"], ["x"], ["http://a", "http://b"]])
def test_what_is_no_url(arguments: list[str]) -> None:
    assert main(arguments, {}) == 2


def test_it_imports_nothing_that_takes_long(running: Server) -> None:
    code = (
        "import sys; from paramserver.cli.health import main; status = main([sys.argv[1]], {}); "
        "sys.exit(status or any(name in sys.modules for name in ('numpy', 'typer', 'pydantic', 'httpx', 'asyncio')))"
    )
    assert subprocess.run([sys.executable, "-c", code, running.url], timeout=60, check=False).returncode == 0
    environment = {"PARAMSERVER_PORT": running.url.rpartition(":")[2], "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-m", "paramserver.cli.health"], env=environment, timeout=60, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
