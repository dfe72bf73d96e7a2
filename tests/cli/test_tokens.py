"""`paramserver token`, and a server that takes what it made."""

from __future__ import annotations

import json
import signal
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from paramserver.cli import application
from paramserver.keyring import read_keyring
from support.raw_http import eventually
from support.server import Server


def run(*arguments: str) -> Result:
    return CliRunner().invoke(application(), arguments)


def test_a_token_goes_into_a_file_and_its_line_is_printed(tmp_path: Path) -> None:
    made = run("token", "w", "write:model/*", "--to", str(tmp_path / "w.token"))
    assert made.exit_code == 0
    token = (tmp_path / "w.token").read_text().strip()
    assert len(token) == 64
    assert token not in made.output
    assert stat.S_IMODE((tmp_path / "w.token").stat().st_mode) == 0o600
    (tmp_path / "tokens").write_text(made.stdout)
    assert [grant.holder for grant in read_keyring(tmp_path / "tokens").grants.values()] == ["w"]


@pytest.mark.parametrize("arguments", [("a b", "read:*"), ("a", "read"), ("a", "root:*"), ("a", "read:a b")])
def test_what_no_line_can_say_makes_no_file(tmp_path: Path, arguments: tuple[str, str]) -> None:
    assert run("token", *arguments, "--to", str(tmp_path / "token")).exit_code == 2
    assert not (tmp_path / "token").exists()


def test_no_token_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("precious")
    made = run("token", "a", "read:*", "--to", str(tmp_path / "token"))
    assert made.exit_code == 1
    assert (tmp_path / "token").read_text() == "precious"
    made = run("token", "a", "read:*", "--to", str(tmp_path / "new"), "--add-to", str(tmp_path))
    assert made.exit_code == 1
    assert "sha256:" in made.stderr


def test_a_holder_and_the_server_have_a_file_each(tmp_path: Path) -> None:
    made = run("token", "a", "read:*", "--to", str(tmp_path / "t"), "--add-to", str(tmp_path / "t"))
    assert made.exit_code == 2
    assert "two files" in made.output
    assert not (tmp_path / "t").exists()


def test_a_line_is_added_behind_a_last_one_without_an_end(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("# the last comment")
    assert run("token", "a", "read:*", "--to", str(tmp_path / "t"), "--add-to", str(tmp_path / "tokens")).exit_code == 0
    assert [grant.holder for grant in read_keyring(tmp_path / "tokens").grants.values()] == ["a"]


def test_a_server_takes_them_and_reads_the_file_again(tmp_path: Path) -> None:
    tokens = str(tmp_path / "tokens")

    def make(name: str, rights: str) -> str:
        to = str(tmp_path / f"{name}.token")
        assert run("token", name, rights, "--to", to, "--add-to", tokens).exit_code == 0
        return to

    ops, reader = make("ops", "admin:*"), make("reader", "read:*")
    with Server("--token-file", tokens) as server:
        assert run("set", "model/w", "1.5", "--create", "--url", server.url, "--token-file", ops).exit_code == 0
        shown = run("get", "model/w", "--json", "--url", server.url, "--token-file", reader)
        assert json.loads(shown.stdout)["value"] == 1.5
        refused = run("set", "model/w", "2", "--url", server.url, "--token-file", reader)
        assert refused.exit_code == 1
        assert "write:model/w" in refused.stderr
        late = make("late", "write:model/*")
        assert run("get", "model/w", "--url", server.url, "--token-file", late).exit_code == 1
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: run("set", "model/w", "2", "--url", server.url, "--token-file", late).exit_code == 0)
        # A file that is none any more leaves what was there.
        Path(tokens).write_text("sha256:nonsense\n")
        server.process.send_signal(signal.SIGHUP)
        assert run("get", "model/w", "--url", server.url, "--token-file", reader).exit_code == 0
        Path(tokens).write_text(Path(late).read_text())
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: run("get", "model/w", "--url", server.url, "--token-file", reader).exit_code == 1)
        assert run("get", "model/w", "--url", server.url, "--token-file", late).exit_code == 0
