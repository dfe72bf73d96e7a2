"""Where settings come from, and which place wins."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
from pydantic import ValidationError

from paramserver import settings
from paramserver.settings import Settings, config_file, in_file, source_of


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of settings; the environment sets two."""
    path = tmp_path / "paramserver.toml"
    path.write_text('port = 9001\nmax_to_keep = 7\ncheckpoint_every_s = 5\ndata_dir = "/data"\n')
    monkeypatch.setenv("PARAMSERVER_PORT", "9002")
    monkeypatch.setenv("PARAMSERVER_MAX_TO_KEEP", "8")
    return path


def test_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(settings).failed == 0


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(file: Path) -> None:
    flags = {"config": file, "port": 9003}
    read = Settings(**flags)
    assert (read.port, read.max_to_keep, read.checkpoint_every_s, read.log_level) == (9003, 8, 5.0, "info")
    assert read.data_dir == Path("/data")
    sources = [source_of(name, flags, file) for name in ("port", "max_to_keep", "checkpoint_every_s", "log_level")]
    assert sources == ["flag", "environment", "file", "default"]


def test_the_environment_names_the_file_unless_a_flag_does(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = file.with_name("other.toml")
    other.write_text("variables_limit = 5\n")
    monkeypatch.setenv("PARAMSERVER_CONFIG", str(other))
    assert Settings().variables_limit == 5
    assert config_file({}) == other
    assert config_file({"config": str(file)}) == file
    assert Settings(config=file).variables_limit == 10_000


def test_an_empty_variable_of_the_environment_counts_as_none(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAMSERVER_PORT", "")
    assert Settings(config=file).port == 9001
    assert source_of("port", (), file) == "file"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("port = \n", "is not TOML"),
        ("port = 1\nport = 2\n", "is not TOML"),
        ("\x00", "is not TOML"),
        ('config = "other.toml"\n', "names another file"),
        ("prot = 9000\n", "prot"),
        ("[server]\nport = 9000\n", "server"),
        ("port = 99999\n", "less than or equal to 65535"),
        ("port = [1]\n", "valid integer"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "paramserver.toml"
    path.write_text(content)
    with pytest.raises(ValidationError, match=words):
        Settings(config=path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nope.toml"):
        with pytest.raises(ValidationError, match="cannot be read"):
            Settings(config=path)
        assert in_file(path) == {}
