"""TLS through the same doors: what is told, what is refused, what comes through whole, and a certificate that is renewed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from paramserver.cli.health import main as health
from paramserver.http.serve import CannotServe, tls_of
from paramserver.settings import Settings
from paramserver_client import AsyncParameterClient, ParameterClient, UnreachableError
from paramserver_client.socket_transport import SocketTransport
from support.raw_http import eventually, read_reply
from support.server import Server

TLS = Path(__file__).parent.parent / "support" / "tls"
CERT, KEY = TLS / "localhost.pem", TLS / "localhost.key"
MAKE_ONE = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost")
FLAGS = ("--tls-cert", str(CERT), "--tls-key", str(KEY))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with a certificate."""
    with Server(*FLAGS, "--head-timeout-s", "1") as server:
        yield server


def trusting(*, certificate: bool = False) -> ssl.SSLContext:
    """What trusts the server, and shows a certificate of its own if told so."""
    context = ssl.create_default_context(cafile=CERT)
    if certificate:
        context.load_cert_chain(CERT, KEY)
    return context


def client_of(server: Server, context: ssl.SSLContext) -> ParameterClient:
    return ParameterClient(server.url, transport=SocketTransport(ssl_context=context), timeout_s=5)


def port_of(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


@pytest.mark.parametrize("count", [1, 1000, 5_000_000])
def test_values_come_through_whole(server: Server, count: int) -> None:
    assert server.url.startswith("https://")
    values = np.arange(count, dtype=np.float32)
    with client_of(server, trusting()) as client:
        name = f"w{count}"
        client.create_variable(name, value=values)
        for _ in range(3):
            client.assign_add(name, values)
        assert np.array_equal(client.read(name), values * 4)
        assert np.array_equal(client.pull([name])[name], values * 4)


def test_the_health_check_asks_by_tls(server: Server) -> None:
    environment = {**os.environ, "PARAMSERVER_PORT": str(port_of(server)), "PARAMSERVER_TLS_CERT": str(CERT)}
    done = subprocess.run([sys.executable, "-m", "paramserver.cli.health"], env=environment, timeout=60)
    assert done.returncode == 0


def test_the_environment_names_the_authority(server: Server) -> None:
    code = f"import paramserver_client as ps; print(ps.ParameterClient({server.url!r}).server()['state'])"
    for environment, words in (({"SSL_CERT_FILE": str(CERT)}, "ready"), ({"SSL_CERT_FILE": os.devnull}, "CERTIFICATE")):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
        )
        assert words in done.stdout + done.stderr


def test_the_async_client_speaks_it_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERT))

    async def write_and_read() -> object:
        async with AsyncParameterClient(server.url) as client:
            await client.create_variable("async", value=[1.0, 2.0])
            return (await client.read("async")).tolist()

    assert asyncio.run(write_and_read()) == [1, 2]


def test_who_does_not_know_the_authority_sends_nothing(server: Server) -> None:
    with (
        client_of(server, ssl.create_default_context()) as client,
        pytest.raises(UnreachableError, match="CERTIFICATE"),
    ):
        client.assign_add("w1", [1.0])


def test_nothing_older_than_1_2(server: Server) -> None:
    context = trusting()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=10) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="localhost")


def test_plain_http_gets_no_answer(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=10) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert not plain.recv(1000).startswith(b"HTTP")


def test_a_greeting_that_does_not_end_is_cut(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=30) as silent:
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            assert silent.recv(1000) == b""
        assert time.monotonic() - began < 10


def test_greetings_count_as_connections() -> None:
    flags = ("--connections-per-peer-limit", "8", "--head-timeout-s", "600", "--idle-timeout-s", "600")
    with Server(*FLAGS, *flags) as server, contextlib.ExitStack() as stack, client_of(server, trusting()) as client:
        assert client.server()["connections"]["open"] == 1
        files = os.listdir(f"/proc/{server.process.pid}/fd")
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port_of(server)), timeout=30)) for _ in range(20)
        ]
        # The oldest give way to those who come: the one who was let in, seven who greet, and nobody else.
        for each in silent[:13]:
            with contextlib.suppress(ConnectionError):
                assert each.recv(1) == b""
        told = client.server()["connections"]
        assert told["open"] == 8
        assert told["cut"] == {"gave way": 13}
        with client_of(server, trusting()) as other:
            assert other.server()["connections"]["open"] == 8
        for each in silent:
            each.close()
        eventually(lambda: client.server()["connections"]["open"] <= 2)
        eventually(lambda: len(os.listdir(f"/proc/{server.process.pid}/fd")) <= len(files) + 1)


def test_who_is_refused_before_the_greeting_is_counted() -> None:
    with Server(*FLAGS, "--connections-limit", "1") as server, client_of(server, trusting()) as client:
        assert client.server()["connections"]["open"] == 1
        # The reset may come as early as that.
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection(("127.0.0.1", port_of(server)), timeout=30) as plain,
        ):
            assert plain.recv(1) == b""
        assert client.server()["connections"]["cut"] == {"refused": 1}


def test_without_a_descriptor_left_newcomers_wait() -> None:
    with Server(*FLAGS) as server, client_of(server, trusting()) as client, contextlib.ExitStack() as stack:
        assert client.server()["state"] == "ready"
        pid = server.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")) + 1, before[1]))
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port_of(server)), timeout=30)) for _ in range(4)
        ]
        assert client.server()["connections"]["open"] <= 3
        for each in silent:
            each.close()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        with client_of(server, trusting()) as other:
            assert other.server()["state"] == "ready"


def test_a_server_ends_while_somebody_greets() -> None:
    server = Server(*FLAGS, "--head-timeout-s", "600")
    server.start()
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=30) as silent:
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 20
        with contextlib.suppress(ConnectionError):
            assert silent.recv(1) == b""


def test_a_head_that_trickles_inside_is_cut(server: Server) -> None:
    with (
        socket.create_connection(("127.0.0.1", port_of(server)), timeout=30) as plain,
        trusting().wrap_socket(plain, server_hostname="localhost") as inside,
    ):
        inside.sendall(b"GET /v1/ser")
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert inside.recv(1000) == b""


def test_clients_can_be_asked_for_a_certificate() -> None:
    with Server(*FLAGS, "--tls-client-ca", str(CERT)) as server:
        with client_of(server, trusting(certificate=True)) as client:
            assert client.server()["state"] == "ready"
        with client_of(server, trusting()) as client, pytest.raises(UnreachableError):
            client.server()


def test_the_certificate_of_the_environment_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(CERT.read_bytes() + KEY.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(CERT))
    command = [sys.executable, "-m", "paramserver.cli", "ls", "--url"]

    async def asked(url: str) -> str:
        async with AsyncParameterClient(url, timeout_s=5) as client:
            return str((await client.server())["state"])

    with Server(*FLAGS, "--tls-client-ca", str(CERT)) as server:
        port = {"PARAMSERVER_PORT": str(port_of(server)), "PARAMSERVER_TLS_CERT": str(CERT)}
        for shown in (
            {"PARAMSERVER_CLIENT_CERT": str(CERT), "PARAMSERVER_CLIENT_KEY": str(KEY)},
            {"PARAMSERVER_CLIENT_CERT": str(both)},
        ):
            with monkeypatch.context() as set_to:
                for name, value in shown.items():
                    set_to.setenv(name, value)
                with ParameterClient(server.url, timeout_s=5) as client:
                    assert client.server()["state"] == "ready"
                assert asyncio.run(asked(server.url)) == "ready"
                assert subprocess.run([*command, server.url], capture_output=True, check=False).returncode == 0
                assert health([], port | shown) == 0
        assert health([], port) == 1
        with ParameterClient(server.url, timeout_s=1) as client, pytest.raises(UnreachableError):
            client.server()


@pytest.mark.parametrize("content", [None, b"nonsense", CERT.read_bytes()])
def test_a_certificate_that_cannot_be_shown_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    path = tmp_path / "cert.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("PARAMSERVER_CLIENT_CERT", str(path))
    with pytest.raises(ValueError, match=r"cert\.pem \(PARAMSERVER_CLIENT_CERT\), which cannot be used"):
        ParameterClient("https://localhost:1")
    command = [sys.executable, "-m", "paramserver.cli", "ls", "--url", "https://localhost:1"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "PARAMSERVER_CLIENT_CERT" in ended.stderr


def test_a_certificate_is_renewed_without_a_stop(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(CERT, cert)
    shutil.copy(KEY, key)
    with Server("--tls-cert", str(cert), "--tls-key", str(key)) as server:
        assert shown(server) == ssl.PEM_cert_to_DER_cert(CERT.read_text())
        subprocess.run(
            [*MAKE_ONE, "-keyout", str(key), "-out", str(cert)],
            check=True,
            capture_output=True,
        )
        renewed = ssl.PEM_cert_to_DER_cert(cert.read_text())
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: shown(server) == renewed)
        # What is none leaves what was there.
        cert.write_text("nonsense")
        server.process.send_signal(signal.SIGHUP)
        with ParameterClient(server.url, transport=SocketTransport(ssl_context=unchecked())) as client:
            assert client.server()["state"] == "ready"
        assert shown(server) == renewed


def test_the_authorities_of_clients_are_read_again(tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    subprocess.run(
        [*MAKE_ONE, "-keyout", str(tmp_path / "other.key"), "-out", str(authority)], check=True, capture_output=True
    )
    with Server(*FLAGS, "--tls-client-ca", str(authority)) as server:
        with client_of(server, trusting(certificate=True)) as client, pytest.raises(UnreachableError):
            client.server()
        shutil.copy(CERT, authority)
        server.process.send_signal(signal.SIGHUP)

        def is_taken() -> bool:
            with client_of(server, trusting(certificate=True)) as client, contextlib.suppress(UnreachableError):
                return bool(client.server()["state"] == "ready")
            return False

        eventually(is_taken)
        with client_of(server, trusting()) as client, pytest.raises(UnreachableError):
            client.server()


def test_a_key_with_a_password_is_refused_and_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "locked.key"
    lock = ("openssl", "pkey", "-aes128", "-passout", "pass:secret", "-in", str(KEY), "-out", str(key))
    subprocess.run(lock, check=True, capture_output=True)
    with pytest.raises(CannotServe, match="without a password"):
        tls_of(Settings(tls_cert=CERT, tls_key=key))
    monkeypatch.setenv("PARAMSERVER_CLIENT_CERT", str(CERT))
    monkeypatch.setenv("PARAMSERVER_CLIENT_KEY", str(key))
    with pytest.raises(ValueError, match="without a password"):
        ParameterClient("https://localhost:1")


def unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def shown(server: Server) -> bytes | None:
    """The certificate that the server shows."""
    with (
        socket.create_connection(("127.0.0.1", port_of(server)), timeout=10) as plain,
        unchecked().wrap_socket(plain) as inside,
    ):
        inside.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_reply(inside).status == 200
        return inside.getpeercert(binary_form=True)


@pytest.mark.parametrize(
    "given",
    [
        {"tls_key": KEY},
        {"tls_client_ca": CERT},
        {"tls_cert": TLS / "nowhere"},
        {"tls_cert": CERT},
        {"tls_cert": CERT, "tls_key": CERT},
        {"tls_cert": KEY, "tls_key": KEY},
        {"tls_cert": CERT, "tls_key": KEY, "tls_client_ca": KEY},
    ],
)
def test_what_is_no_certificate_is_refused(given: dict[str, Path]) -> None:
    with pytest.raises(CannotServe) as refused:
        tls_of(Settings(**given))
    assert refused.value.exit_code == 2
    assert "PRIVATE" not in str(refused.value)
