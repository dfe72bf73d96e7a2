"""`paramserver inspect`: no server, and nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from typer.testing import CliRunner, Result

from paramserver.checkpoint import CheckpointManager
from paramserver.cli import application
from paramserver.store import NewVariable
from support.checkpoints import opened, store_with


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(application(), ["inspect", *map(str, arguments)])


@pytest.fixture
def manager(tmp_path: Path) -> CheckpointManager:
    store = store_with(**{"conv1/weight": 1.5, "conv1/bias": 0.5})
    store.create(NewVariable("late", shape=(2, 3)))
    manager = opened(tmp_path / "data", store)
    manager.start()
    manager.save("epoch-1", step=100, metadata={"loss": 0.5})
    manager.save("part", prefix="conv1", series="mine")
    manager.close()
    return manager


@pytest.fixture
def data(manager: CheckpointManager, tmp_path: Path) -> Path:
    """A data directory with a full and a partial checkpoint."""
    return tmp_path / "data"


@pytest.fixture
def directory(data: Path) -> Callable[[str], Path]:
    def directory(id: str) -> Path:
        (found,) = (data / "checkpoints").glob(f"{id}.*")
        return found

    return directory


def flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_checkpoint(directory: Callable[[str], Path]) -> None:
    for path in (directory("epoch-1"), directory("epoch-1") / "manifest.json"):
        done = run(path)
        assert done.exit_code == 0
        for words in (
            "checkpoint epoch-1\n",
            "  step       100\n",
            "full: a server can start from it",
            '{"loss": 0.5}',
            "model.safetensors",
            "conv1/weight  2      float32   8 B         1  yes",
            "late          2x3    float32  24 B  no value  yes",
            "3 variables, 16 B, 1 without a value\n",
        ):
            assert words in done.stdout, words
    assert "partial: no recovery point" in run(directory("part")).stdout


def test_a_checkpoint_as_json(directory: Callable[[str], Path]) -> None:
    document = json.loads(run(directory("part"), "--json", "--verify").stdout)
    assert (document["kind"], document["id"], document["full"], document["series"]) == (
        "checkpoint",
        "part",
        False,
        "mine",
    )
    assert document["damage"] == []
    assert document["variables"][1] | {"initializer": None} == {
        "name": "conv1/weight",
        "shape": [2],
        "dtype": "float32",
        "nbytes": 8,
        "version": 1,
        "initialized": True,
        "trainable": True,
        "collections": ["variables", "trainable_variables"],
        "initializer": None,
    }


def test_one_variable(directory: Callable[[str], Path]) -> None:
    for path in (directory("part"), directory("part") / "model.safetensors"):
        assert "[1.5 1.5]" in run(path, "--variable", "conv1/weight").stdout
        assert json.loads(run(path, "--variable", "conv1/weight", "--json").stdout)["value"] == [1.5, 1.5]
        absent = run(path, "--variable", "nope")
        assert absent.exit_code == 1
        assert absent.stderr.startswith("paramserver: variable_not_found: ")
    assert "no value" in run(directory("epoch-1"), "--variable", "late").stdout


def test_verify_of_a_sound_one(data: Path, directory: Callable[[str], Path]) -> None:
    for path in (data, directory("epoch-1")):
        done = run(path, "--verify")
        assert done.exit_code == 0
        assert done.stdout.endswith("\nsound: every checksum matches\n")


def test_verify_names_the_place_of_damage_and_the_way_out(data: Path, directory: Callable[[str], Path]) -> None:
    file = directory("epoch-1") / "model.safetensors"
    flip(file)
    done = run(directory("epoch-1"), "--verify")
    assert done.exit_code == 1
    assert f"epoch-1: {file} is damaged: the value of variable 'conv1/bias'" in done.stdout
    assert "restore another checkpoint" in done.stdout
    assert run(directory("part"), "--verify").exit_code == 0
    whole = run(data, "--verify")
    assert whole.exit_code == 1
    assert f"epoch-1: {file}" in whole.stdout
    assert [line.split()[-2] for line in whole.stdout.splitlines() if line.startswith("epoch-1 ")] == ["damaged"]
    assert "epoch-1" in json.loads(run(data, "--verify", "--json").stdout)["damage"]


def test_a_manifest_that_is_damaged(data: Path, directory: Callable[[str], Path]) -> None:
    flip(directory("epoch-1") / "manifest.json")
    done = run(directory("epoch-1"))
    assert done.exit_code == 1
    assert done.stderr.startswith("paramserver: checkpoint_corrupt: ")
    assert "does not match its checksum" in done.stderr
    listed = run(data)
    assert listed.exit_code == 0
    assert "damaged" in listed.stdout
    assert run(data, "--verify").exit_code == 1


def test_a_data_directory(data: Path) -> None:
    for path in (data, data / "checkpoints"):
        done = run(path)
        assert done.exit_code == 0
        assert "in use      no" in done.stdout
        assert "next start  restores " in done.stdout
        rows = [line.split() for line in done.stdout.splitlines()]
        assert ["part", "-", "2"] in [row[:3] for row in rows]
        assert ["epoch-1", "100", "2"] in [row[:3] for row in rows]


def test_a_data_directory_as_json(data: Path) -> None:
    document = json.loads(run(data, "--json").stdout)
    assert (document["kind"], document["in_use_by"], document["leftovers"]) == ("data directory", None, [])
    assert {"part", "epoch-1"} <= {each["id"] for each in document["checkpoints"]}
    assert document["checkpoints"][0]["created"].endswith("Z")


def test_one_that_a_server_has(tmp_path: Path) -> None:
    manager = opened(tmp_path / "data", store_with(a=1.0))
    manager.start()
    assert "in use      by process " in run(tmp_path / "data").stdout
    manager.close()


def test_a_file_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    arrays: dict[str, Any] = {"w": np.ones((2, 3), np.float16), "evil\x1b[2J": np.zeros(1, np.uint8)}
    safetensors.numpy.save_file(arrays, path, {"note": "a\x1b[31mb"})
    done = run(path)
    assert done.exit_code == 0
    assert "\x1b" not in done.stdout
    assert "evil\\x1b[2J" in done.stdout
    assert "w            2x3    float16  12 B" in done.stdout
    assert "2 variables, 13 B" in done.stdout
    document = json.loads(run(path, "--json").stdout)
    assert document["metadata"] == {"note": "a\x1b[31mb"}


@pytest.mark.parametrize(
    "content", [b"", b"1234567", b"\xff" * 64, (10).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"{}x"]
)
def test_files_that_are_not_sound(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    done = run(tmp_path / "x.safetensors")
    assert done.exit_code == 1
    assert "is no sound .safetensors file" in done.stderr
    assert "Traceback" not in done.stderr


def test_places_that_hold_nothing(tmp_path: Path, data: Path) -> None:
    assert run(tmp_path / "nope").exit_code == 2
    (tmp_path / "empty").mkdir()
    done = run(tmp_path / "empty")
    assert done.exit_code == 1
    assert "holds no checkpoint" in done.stderr
    assert run(data, "--variable", "w").exit_code == 2


def test_a_newer_format_is_refused_by_name(data: Path) -> None:
    (data / "checkpoints" / "checkpoint.json").write_text('{"format_version": 99, "checkpoints": []}')
    done = run(data)
    assert done.exit_code == 1
    assert "newer version" in done.stderr
