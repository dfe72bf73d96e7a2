"""`paramserver config`, and settings that do not fit."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from paramserver.cli import application, settings_flags
from paramserver.settings import Settings


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(application(), ["config", *arguments], env=environment)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "paramserver.toml"
    path.write_text("max_to_keep = 7\n")
    return path


def test_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(settings_flags).failed == 0


def test_every_setting_is_shown_with_its_value_and_its_source(file: Path) -> None:
    done = run("--config", str(file), "--port", "9000", PARAMSERVER_LOG_LEVEL="debug")
    assert done.exit_code == 0
    head, *rows = (line.split() for line in done.stdout.splitlines())
    assert head == ["setting", "value", "from"]
    assert [row[0] for row in rows] == list(Settings.model_fields)
    shown = {row[0]: row[1:] for row in rows}
    assert shown["port"] == ["9000", "--port"]
    assert shown["log_level"] == ["debug", "PARAMSERVER_LOG_LEVEL"]
    assert shown["max_to_keep"] == ["7", str(file)]
    assert shown["checkpoint_every_s"] == ["60", "default"]
    assert shown["insecure"] == ["false", "default"]
    assert shown["data_dir"] == ["none", "default"]


def test_as_json(file: Path) -> None:
    listed = json.loads(run("--config", str(file), "--json").stdout)["settings"]
    assert [each["name"] for each in listed] == list(Settings.model_fields)
    assert next(each for each in listed if each["name"] == "max_to_keep") == {
        "name": "max_to_keep",
        "value": 7,
        "source": "file",
        "flag": "--max-to-keep",
        "environment": "PARAMSERVER_MAX_TO_KEEP",
    }


def test_a_token_is_not_shown(file: Path) -> None:
    file.write_text('token = "0123456789-of-the-file"\n')
    for environment in ({}, {"PARAMSERVER_TOKEN": "0123456789-of-the-environment"}):
        for flags in ((), ("--json",)):
            done = run("--config", str(file), *flags, **environment)
            assert done.exit_code == 0
            assert "0123456789" not in done.output
            assert "**********" in done.stdout
    token = next(
        each for each in json.loads(run("--config", str(file), "--json").stdout)["settings"] if each["name"] == "token"
    )
    assert (token["source"], token["flag"]) == ("file", None)
    file.write_text('token = "0123456789 two words"\n')
    done = run("--config", str(file))
    assert done.exit_code == 2
    assert "0123456789" not in done.output


def test_all_that_does_not_fit_is_told_with_its_place(file: Path) -> None:
    file.write_text("max_to_keep = 0\nprot = 1\nzzz = 1\n")
    done = run("--config", str(file), "--port", "x", PARAMSERVER_VARIABLES_LIMIT="0")
    assert done.exit_code == 2
    assert done.stdout == ""
    first, *lines = done.stderr.splitlines()
    assert first == "paramserver: these settings do not fit:"
    told = "\n".join(sorted(lines))
    assert f"--max-to-keep (PARAMSERVER_MAX_TO_KEEP) in {file}: " in told
    assert "--port (PARAMSERVER_PORT): " in told
    assert "--variables-limit (PARAMSERVER_VARIABLES_LIMIT): " in told
    assert f"prot in {file}: there is no such setting; did you mean port?" in told
    assert f"zzz in {file}: there is no such setting; `paramserver config` lists all" in told


def test_help_has_a_flag_for_each_setting_and_examples() -> None:
    told = run("--help").stdout
    for name in Settings.model_fields:
        assert settings_flags.flag_of(name) in told
    assert "paramserver config --config paramserver.toml" in told
