from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from paramserver.settings import SECRET, Settings


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "paramserver.cli", *arguments], capture_output=True, text=True, timeout=60, env=env
    )


def test_help_names_every_setting() -> None:
    told = run("serve", "--help").stdout
    for name in Settings.model_fields.keys() - SECRET:
        assert f"--{name.replace('_', '-')} " in told
    assert "--token " not in told
    assert "--workers" in told


def test_several_workers_are_refused_with_the_reason() -> None:
    done = run("serve", "--workers", "4")
    assert done.returncode == 2
    assert "one process" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--port", "99999"], "--port (PARAMSERVER_PORT)"),
        (["--port", "http"], "--port (PARAMSERVER_PORT)"),
        (["--durability", "always", "--port", "0"], "--data-dir"),
        (["--durability", "sometimes"], "'everysec'"),
        (["--max-to-keep", "0"], "--max-to-keep"),
        (["--uds", "/tmp/" + "x" * 120], "103 bytes"),
        (["--body-limit-nbytes", "1"], "--body-limit-nbytes"),
        (["--host", "0.0.0.0", "--port", "0"], "--insecure"),
        (["--nonsense"], "nonsense"),
        (["--config", "/nowhere/paramserver.toml"], "--config (PARAMSERVER_CONFIG): cannot be read"),
        (["--token", "0123456789abcdef"], "--token"),
        (["--token-file", "/nowhere/token"], "/nowhere/token"),
        (["--allowed-hosts", "localhost:8080"], "without ports"),
        (["--headers-limit", "1"], "--headers-limit"),
    ],
)
def test_settings_that_do_not_fit_exit_2(flags: list[str], words: str) -> None:
    done = run("serve", *flags)
    assert done.returncode == 2, done
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("token", [" ", "two words-0123456789", "0123456789abcdef-\xe9", "x" * 5000])
def test_a_token_of_the_environment_that_is_none_exits_2_and_is_not_repeated(token: str) -> None:
    done = run("serve", "--port", "0", env={**os.environ, "PARAMSERVER_TOKEN": token})
    assert done.returncode == 2
    assert "PARAMSERVER_TOKEN: " in done.stderr
    assert not token.strip() or token.strip() not in done.stderr
    assert "0123456789" not in done.stderr


def test_the_environment_is_read_and_a_flag_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAMSERVER_PORT", "7001")
    monkeypatch.setenv("PARAMSERVER_DATA_DIR", "/data")
    monkeypatch.setenv("PARAMSERVER_URL", "http://elsewhere")
    settings = Settings()
    assert (settings.port, settings.data_dir) == (7001, Path("/data"))
    assert Settings(port=7002).port == 7002


def test_a_data_directory_that_cannot_be_used_exits_1(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    done = run("serve", "--port", "0", "--data-dir", str(tmp_path / "file"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "file") in done.stderr
