"""The whole process: what it says, how it ends, and what it refuses to do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from paramserver.http.serve import CannotServe, check_exposure, serve
from paramserver.settings import Settings
from support.raw_http import read_reply


class Process:
    """`paramserver serve` with these flags, in a process of its own."""

    def __init__(self, *flags: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "paramserver.cli", "serve", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("PARAMSERVER_")},
        )
        self.lines: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if line.startswith("paramserver listening on "):
                break

    @property
    def address(self) -> str:
        return self.lines[-1].removeprefix("paramserver listening on ")

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(30)


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    running: list[Process] = []

    def begin(*flags: str) -> Process:
        running.append(Process(*flags))
        return running[-1]

    yield begin
    for process in running:
        process.process.kill()
        process.process.communicate()


def test_it_says_where_it_listens_and_what_a_crash_loses(start: Callable[..., Process]) -> None:
    server = start("--port", "0")
    assert "nothing was restored" in server.lines[0]
    assert "durability none" in server.lines[1]
    assert "loses every value" in server.lines[1]
    assert len(server.lines) == 3
    assert httpx.get(f"{server.address}/readyz", trust_env=False).status_code == 200
    assert server.end() == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_saves_and_exits_0(start: Callable[..., Process], tmp_path: Path, how: signal.Signals) -> None:
    flags = ("--port", "0", "--data-dir", str(tmp_path / "data"), "--checkpoint-every-s", "0")
    server = start(*flags)
    with httpx.Client(base_url=server.address, trust_env=False, timeout=30) as http, ThreadPoolExecutor(1) as pool:
        http.put("/v1/variables/w", json={"value": [1.0, 2.5]})
        polling = threading.Event()

        def poll() -> httpx.Response:
            polling.set()
            return httpx.get(
                f"{server.address}/v1/variables/w:read?after_version=1&wait_s=60", trust_env=False, timeout=60
            )

        waiting = pool.submit(poll)
        polling.wait()
        assert server.end(how) == 0
        try:
            released = waiting.result(20)
        except httpx.TransportError:
            # It had not got through the door yet when it closed.
            released = None
        assert released is None or (released.status_code, released.json()["code"]) == (503, "draining")
    again = start(*flags)
    assert "restoring" in again.lines[0]
    assert "restored checkpoint" in again.lines[1]
    assert "durability everysec" in again.lines[2]
    assert httpx.get(f"{again.address}/v1/variables/w:read", trust_env=False).json()["value"] == [1.0, 2.5]
    assert again.end() == 0


def test_an_open_long_poll_does_not_hold_up_the_end(start: Callable[..., Process]) -> None:
    server = start("--port", "0")
    httpx.put(f"{server.address}/v1/variables/w", json={"value": 1.0}, trust_env=False)
    port = int(server.address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as poll:
        # The second request of the pipeline shows that the first is at work: they are parsed together.
        poll.sendall(b"GET /v1/variables/w:read?after_version=1&wait_s=60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert httpx.get(f"{server.address}/healthz", trust_env=False).status_code == 200
        server.process.send_signal(signal.SIGTERM)
        reply = read_reply(poll)
        assert (reply.status, reply.json()["code"]) == (503, "draining")
        assert poll.recv(1) == b""
    assert server.process.wait(10) == 0


def test_a_request_in_flight_is_finished(start: Callable[..., Process]) -> None:
    server = start("--port", "0")
    port = int(server.address.rpartition(":")[2])
    body = b'{"value": [1.0, 2.0]}'
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        head = f"PUT /v1/variables/w HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        connection.sendall(head.encode() + b"\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        server.process.send_signal(signal.SIGTERM)
        connection.sendall(body)
        reply = read_reply(connection)
    # Begun before the signal, so it is either done or refused whole; never left without an answer.
    assert reply.status in (201, 503)
    assert server.process.wait(20) == 0


def test_a_unix_socket(start: Callable[..., Process], tmp_path: Path) -> None:
    path = tmp_path / "ps.sock"
    server = start("--uds", str(path))
    assert server.address == f"unix:{path}"
    assert path.stat().st_mode & 0o777 == 0o600
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://x") as http:
        assert http.put("/v1/variables/w", json={"value": 1.0}).status_code == 201
    with pytest.raises(CannotServe, match="another server listens"):
        serve(Settings(uds=path), print)
    assert server.end() == 0
    assert not path.exists()


def test_a_unix_socket_left_by_a_crash_is_taken_over_and_a_port_may_stand_beside(
    start: Callable[..., Process], tmp_path: Path
) -> None:
    path = tmp_path / "ps.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = start("--uds", str(path), "--port", "0")
    tcp, unix = server.address.split(" and ")
    assert unix == f"unix:{path}"
    assert httpx.get(f"{tcp}/healthz", trust_env=False).status_code == 200
    assert server.end() == 0


def test_no_file_is_taken_for_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(CannotServe, match="no socket"):
        serve(Settings(uds=path), print)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_it_does_not_open_itself_to_others_unasked(host: str) -> None:
    with pytest.raises(CannotServe, match="--insecure") as caught:
        serve(Settings(host=host, port=0), print)
    assert caught.value.exit_code == 2


def test_beyond_this_machine_it_wants_a_token_and_warns_without_tls(caplog: pytest.LogCaptureFixture) -> None:
    everywhere = Settings(host="0.0.0.0")
    with pytest.raises(CannotServe, match="--token-file FILE, or PARAMSERVER_TOKEN"):
        check_exposure(everywhere, None)
    check_exposure(everywhere, "0123456789abcdef")
    (warned,) = caplog.messages
    assert "without TLS: the token and every value" in warned
    assert "0123456789abcdef" not in warned
    caplog.clear()
    check_exposure(Settings(host="0.0.0.0", insecure=True), None)
    assert "everybody who reaches 0.0.0.0" in caplog.messages[0]
    assert "without TLS: every value" in caplog.messages[1]


@pytest.mark.parametrize("content", [None, b"", b" \n", b"two words", b"\xff"])
def test_a_token_file_without_a_token_exits_2(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CannotServe, match="token file") as caught:
        serve(Settings(port=0, token_file=file), print)
    assert caught.value.exit_code == 2


def test_a_token_file_that_all_can_read_is_warned_about(start: Callable[..., Process], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef-secret\n")
    file.chmod(0o644)
    server = start("--port", "0", "--token-file", str(file))
    assert httpx.get(f"{server.address}/v1/server", trust_env=False).status_code == 401
    assert server.end() == 0
    assert server.process.stderr is not None
    told = server.process.stderr.read()
    assert "chmod 600" in told
    assert "0123456789abcdef-secret" not in told + "".join(server.lines)


def test_a_port_in_use(start: Callable[..., Process]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(CannotServe, match="cannot listen") as caught:
            serve(Settings(port=taken.getsockname()[1]), print)
    assert caught.value.exit_code == 1


def test_a_host_that_is_none() -> None:
    with pytest.raises(CannotServe, match="--host"):
        serve(Settings(host="no such host", port=0), print)
