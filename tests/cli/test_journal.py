"""`paramserver journal`: no server, and nothing is changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from paramserver.cli import application
from paramserver.engine import Engine
from paramserver_wire.messages import Message


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(application(), ["journal", *map(str, arguments)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a checkpoint in the middle of its journal, as a kill left it."""
    options = {"checkpoint_every_s": 0, "min_free_disk_nbytes": 0, "segment_nbytes": 1 << 16}
    with Engine.open(tmp_path / "live", durability="always", **options) as engine:
        value = np.zeros(2_000, np.float32)
        engine.perform(Message("create_variable", {"name": "conv1/w", "value": value}, "w-1"))
        for number in range(20):
            engine.perform(Message("assign_add", {"name": "conv1/w", "value": value + 1}, f"w-{number + 2}"))
            if number == 9:
                engine.perform(Message("save", {"id": "middle"}))
        shutil.copytree(tmp_path / "live", tmp_path / "data")
    return tmp_path / "data"


def spoil(data: Path, segment: int, offset: int) -> Path:
    path = sorted((data / "wal").glob("*.wal"))[segment]
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    return path


def test_inspect_shows_the_segments(data: Path) -> None:
    done = run("inspect", data)
    assert done.exit_code == 0, done.output
    assert "1 to 21" in done.stdout
    assert "up to commit 21" in done.stdout
    assert "sealed" in done.stdout
    assert "always" in done.stdout
    told = json.loads(run("inspect", data, "--json").stdout)
    assert (told["first_commit"], told["last_commit"], told["synced_commit"]) == (1, 21, 21)
    assert sum(each["records"] for each in told["segments"]) == 21
    assert "records" not in told


def test_inspect_shows_the_records(data: Path) -> None:
    told = json.loads(run("inspect", data, "--records", "--json").stdout)["records"]
    assert [each["commit"] for each in told] == list(range(1, 22))
    assert (told[0]["kind"], told[0]["names"], told[0]["request_id"]) == ("create", ["conv1/w"], "w-1")
    shown = run("inspect", data, "--records").stdout
    assert "conv1/w" in shown
    assert "w-21" in shown


def test_verify_rehearses_a_start(data: Path) -> None:
    done = run("verify", data)
    assert done.exit_code == 0, done.output
    assert "checkpoint middle (commit 11)" in done.stdout
    assert "10 records" in done.stdout
    told = json.loads(run("verify", data, "--json").stdout)
    assert told["sound"] is True
    assert (told["start"]["checkpoint"], told["start"]["records"], told["start"]["to_commit"]) == ("middle", 10, 21)


def test_verify_tells_damage_and_ends_with_1(data: Path) -> None:
    path = spoil(data, -1, 4200)
    done = run("verify", data)
    assert done.exit_code == 1
    assert "a start would be refused" in done.stdout
    assert str(path) in done.stdout
    assert "--recover truncate" in done.stdout
    told = json.loads(run("verify", data, "--json").stdout)
    assert told["sound"] is False
    assert "damaged" in told["start"]["refused"]


def test_verify_tells_damage_that_a_checkpoint_covers(data: Path) -> None:
    spoil(data, 0, 4200)
    done = run("verify", data)
    assert done.exit_code == 1
    assert "a start goes on from checkpoint middle" in done.stdout
    assert "only an older checkpoint" in done.stdout


def test_a_segment_without_its_header_is_told(data: Path) -> None:
    spoil(data, 0, 20)
    assert "not the header of a segment" in run("inspect", data).stdout
    assert run("inspect", data, "--records").exit_code == 0


def test_without_segments_it_says_so(tmp_path: Path) -> None:
    with Engine.open(tmp_path / "data", durability="none"):
        pass
    for command in ("inspect", "verify"):
        done = run(command, tmp_path / "data")
        assert done.exit_code == 0, done.output
        assert "no segments" in done.stdout


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_what_is_no_data_directory_is_refused(command: str, tmp_path: Path) -> None:
    done = run(command, tmp_path / "nowhere")
    assert (done.exit_code, "no such directory" in done.stderr) == (2, True)
    done = run(command, tmp_path)
    assert (done.exit_code, "is no data directory" in done.stderr) == (1, True)


def test_nothing_is_changed(data: Path) -> None:
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    for command in ("inspect", "verify"):
        run(command, data)
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before
