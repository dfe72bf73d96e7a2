"""`paramserver export` and `paramserver import` against a real server."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from typer.testing import CliRunner

from paramserver.cli import application
from paramserver_client import ParameterClient
from support.commands import Run
from support.server import Server


def test_export_writes_a_file_that_others_read(run: Run, client: ParameterClient, tmp_path: Path) -> None:
    client.delete_variable("conv1/bias")  # bfloat16, which the public package's numpy face cannot read
    done = run("export", str(tmp_path / "m.safetensors"))
    assert done.exit_code == 0, done.stderr
    head, skipped = done.stdout.splitlines()
    assert head.startswith(f"exported 2 variables to {tmp_path / 'm.safetensors'}: ")
    assert head.endswith(f", commit {client.server()['commit']}")
    assert skipped == "  left out, without a value  late"
    held = safetensors.numpy.load_file(tmp_path / "m.safetensors")
    assert sorted(held) == ["conv1/weight", "global_step"]
    assert np.array_equal(held["conv1/weight"], client.read("conv1/weight"))
    assert done.stderr == ""


def test_export_selects(run: Run, tmp_path: Path) -> None:
    document = json.loads(run("export", str(tmp_path / "m"), "--prefix", "conv1", "--json").stdout)
    assert sorted(document["versions"]) == ["conv1/bias", "conv1/weight"]
    assert document["nbytes"] == (tmp_path / "m").stat().st_size
    document = json.loads(run("export", str(tmp_path / "m"), "--collection", "trainable_variables", "--json").stdout)
    assert "global_step" not in document["versions"]
    assert document["skipped"] == ["late"]


def test_import_brings_all_back(run: Run, client: ParameterClient, tmp_path: Path) -> None:
    file = str(tmp_path / "m.safetensors")
    run("export", file)
    client.assign("conv1/weight", 0.0)
    client.delete_variable("global_step")
    done = run("import", file)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"imported 3 variables from {file}: ")
    assert "created, 1  global_step" in done.stdout
    assert client.read("conv1/weight")[2, 3] == 11
    assert client.read("global_step") == 7


def test_import_below_a_scope(run: Run, client: ParameterClient, tmp_path: Path) -> None:
    file = str(tmp_path / "m.safetensors")
    run("export", file, "--prefix", "conv1")
    document = json.loads(run("import", file, "--prefix", "teacher", "--json").stdout)
    assert sorted(document["created"]) == ["teacher/conv1/bias", "teacher/conv1/weight"]
    assert client.read("teacher/conv1/bias").astype(float).tolist() == [1, 1, 1, 1]


def test_import_without_creating_refuses_what_is_not_there(run: Run, client: ParameterClient, tmp_path: Path) -> None:
    file = str(tmp_path / "m.safetensors")
    run("export", file)
    client.delete_variable("global_step")
    client.assign("conv1/weight", 0.0)
    done = run("import", file, "--no-create")
    assert done.exit_code == 1
    assert "global_step" in done.stderr
    assert client.read("conv1/weight")[2, 3] == 0


def test_nothing_is_changed_by_a_file_that_does_not_fit(run: Run, client: ParameterClient, tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    safetensors.numpy.save_file({"conv1/weight": np.zeros((4, 3), np.float32), "new": np.zeros(1, np.float32)}, file)
    done = run("import", str(file))
    assert done.exit_code == 1
    assert "shape_mismatch" in done.stderr
    assert "conv1/weight" in done.stderr
    with pytest.raises(Exception, match="new"):
        client.get_variable("new")


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\xff" * 100])
def test_files_that_are_none(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    done = run("import", str(tmp_path / "m"))
    assert done.exit_code == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("paramserver: ")


def test_places_that_cannot_be_read_or_written(run: Run, tmp_path: Path) -> None:
    for arguments in (
        ["import", str(tmp_path / "nope")],
        ["import", str(tmp_path)],
        ["export", str(tmp_path / "no" / "m")],
    ):
        done = run(*arguments)
        assert done.exit_code == 1
        assert done.stderr.startswith(f"paramserver: {arguments[1]}: "), done.stderr


def test_a_refused_export_leaves_nothing(run: Run, client: ParameterClient, tmp_path: Path) -> None:
    client.create_variable("z", value=np.zeros(2, np.complex128))
    assert run("export", str(tmp_path / "m")).exit_code == 1
    assert run("export", str(tmp_path / "m"), "--collection", "nope").exit_code == 1
    assert run("export", str(tmp_path / "m"), url="http://127.0.0.1:1").exit_code == 3
    assert not list(tmp_path.iterdir())
    client.delete_variable("z")


def test_standard_output_and_input(running: Server, client: ParameterClient) -> None:
    runner, environment = CliRunner(), {"PARAMSERVER_URL": running.url}
    exported = runner.invoke(application(), ["export", "-", "--prefix", "conv1"], env=environment)
    assert exported.exit_code == 0
    arguments = ["import", "-", "--prefix", "copy"]
    imported = runner.invoke(application(), arguments, input=exported.stdout_bytes, env=environment)
    assert imported.exit_code == 0, imported.stderr
    assert np.array_equal(client.read("copy/conv1/weight"), client.read("conv1/weight"))
    assert runner.invoke(application(), ["export", "-", "--json"], env=environment).exit_code == 2


def test_a_terminal_sees_a_bar_and_standard_output_stays_plain(
    running: Server, client: ParameterClient, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"}
    command = [sys.executable, "-m", "paramserver.cli", "export", str(tmp_path / "m"), "--url", running.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b""
    while True:
        try:
            block = os.read(ours, 4096)
        except OSError:  # the terminal is gone with the last who wrote to it
            break
        if not block:
            break
        seen += block
    os.close(ours)
    assert process.stdout is not None
    with process.stdout:
        told = process.stdout.read().decode()
    assert process.wait(60) == 0
    assert "export" in seen.decode()
    assert "━" in seen.decode()
    assert told.startswith("exported 3 variables")
    assert "\x1b" not in told
