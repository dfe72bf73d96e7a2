"""Completion by the protocol of the shells, against a real server and without one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from paramserver.cli import application
from paramserver_client import ParameterClient
from support.fake_server import FakeServer, Peer
from support.server import Server


def complete(line: str, **environment: str) -> list[str]:
    """What bash is offered at the end of `line`."""
    given = {
        "_PARAMSERVER_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        **environment,
    }
    done = CliRunner().invoke(application(), [], env=given)
    assert done.exit_code == 0
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("paramserver che", ["checkpoints"]),
        ("paramserver get ", ["conv1/bias", "conv1/weight", "global_step", "late"]),
        ("paramserver get conv1/w", ["conv1/weight"]),
        ("paramserver get glo", ["global_step"]),
        ("paramserver get nope", []),
        ("paramserver set conv1/b", ["conv1/bias"]),
        ("paramserver ls co", ["conv1", "conv1/bias", "conv1/weight"]),
        ("paramserver tree ", ["conv1", "conv1/bias", "conv1/weight", "global_step", "late"]),
        ("paramserver restore ", ["latest", "new", "old"]),
        ("paramserver restore o", ["old"]),
        ("paramserver restore --name late --name conv1/b", ["conv1/bias"]),
        ("paramserver save ol", ["old"]),
        ("paramserver checkpoints --delete n", ["new"]),
        ("paramserver serve --max", ["--max-to-keep"]),
        ("paramserver inspect --ver", ["--verify"]),
    ],
)
def test_names_come_from_the_server(running: Server, client: ParameterClient, line: str, offered: list[str]) -> None:
    client.save("old")
    client.save("new")
    assert complete(line, PARAMSERVER_URL=running.url) == offered


def test_the_options_of_the_line_say_which_server(running: Server, client: ParameterClient) -> None:
    assert complete(f"paramserver get --url {running.url} late") == ["late"]


def test_a_token_is_sent(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0123456789abcdef0123456789abcdef")
    (tmp_path / "token").chmod(0o600)
    with Server("--token-file", str(tmp_path / "token")) as server:
        with ParameterClient(server.url, token="0123456789abcdef0123456789abcdef") as client:
            client.create_variable("w", value=1.0)
        assert complete("paramserver get ", PARAMSERVER_URL=server.url) == []
        given = {"PARAMSERVER_URL": server.url, "PARAMSERVER_TOKEN_FILE": str(tmp_path / "token")}
        assert complete("paramserver get ", **given) == ["w"]


def test_without_a_server_nothing_is_offered_and_nothing_said() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    for given in (url, "ftp://nonsense", "http://"):
        assert complete("paramserver get ", PARAMSERVER_URL=given) == []
    assert complete("paramserver get --token-file /nowhere ", PARAMSERVER_URL=url) == []


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.read(1)

    with FakeServer(script) as server:
        assert complete("paramserver get ", PARAMSERVER_URL=server.url) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_each_shell_gets_its_script(shell: str) -> None:
    done = CliRunner().invoke(application(), [], env={"_PARAMSERVER_COMPLETE": f"source_{shell}"})
    assert done.exit_code == 0
    assert "_PARAMSERVER_COMPLETE" in done.stdout
