"""The command as a whole: its version, its list of commands, and what it imports to show that."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from paramserver import VERSION, cli
from paramserver.cli.sections import SECTIONS

# Pydantic, and what it brings along.
PYDANTIC = ("pydantic", "pydantic_settings", "paramserver.settings", "email", "importlib.metadata", "tempfile")
SLOW = (
    *("fastapi", "httpx", "ml_dtypes", "numpy", "rich", "starlette", "uvicorn"),
    *("http.client", "ssl"),
    *("paramserver.checkpoint", "paramserver.store", "paramserver_client", "paramserver_wire"),
)


def test_the_version_is_told() -> None:
    done = CliRunner().invoke(cli.application(), ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"paramserver {VERSION}\n")


def test_every_command_stands_in_one_section() -> None:
    listed = [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(get_command(cli.application()).commands)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_lists_every_command_under_its_section(arguments: list[str]) -> None:
    told = CliRunner().invoke(cli.application(), arguments).output
    for title, names in SECTIONS.items():
        assert f"{title}:" in told
        for name in names:
            assert f"\n  {name} " in told
    assert "Examples:" in told


def test_a_command_that_is_no_command_is_told_with_its_like() -> None:
    done = CliRunner().invoke(cli.application(), ["chekpoints"])
    assert done.exit_code == 2
    assert "'checkpoints'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "banned"),
    [
        (["--help"], (*PYDANTIC, *SLOW)),
        (["--version"], (*PYDANTIC, *SLOW)),
        # Once there is a command typer checks options by pydantic.
        (["ls", "--help"], SLOW),
        (["nonsense"], SLOW),
        (["--show-completion", "bash"], SLOW),
    ],
)
def test_help_is_quick_for_it_imports_nothing_large(arguments: list[str], banned: tuple[str, ...]) -> None:
    # The time itself depends on the machine: it was 0.45 s with these imports, and is half of that without.
    code = (
        "import sys\nfrom paramserver.cli import main\n"
        f"sys.argv = ['paramserver', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(sorted(set({banned!r}) & set(sys.modules)), file=sys.stderr)"
    )
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    assert done.stderr.splitlines()[-1] == "[]"
    assert done.stdout or arguments == ["nonsense"]


def test_importing_the_command_line_needs_no_extra() -> None:
    banned = (*PYDANTIC, *SLOW, "typer", "orjson")
    code = f"import sys, paramserver.cli; sys.exit(any(name in sys.modules for name in {banned!r}))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_without_the_server_extra_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "fastapi" else object())
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    told = capsys.readouterr().err
    assert "fastapi" in told
    assert cli.INSTALL_LINE in told
