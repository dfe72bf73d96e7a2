"""`paramserver save`, `restore` and `checkpoints` against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from paramserver_client import ParameterClient
from support.commands import Run
from support.server import Server


def test_save_tells_what_was_saved_and_what_was_left_out(run: Run, client: ParameterClient) -> None:
    done = run("save", "epoch-1", "--step", "40")
    assert done.exit_code == 0
    saved = client.get_checkpoint("epoch-1")
    assert (saved.step, saved.variables, saved.full) == (40, 3, True)
    assert done.stdout.startswith("saved epoch-1: full, 3 variables, ")
    assert f", step 40, commit {saved.commit}\n" in done.stdout
    assert "left out, without a value  late" in done.stdout


def test_save_of_a_part(run: Run, client: ParameterClient) -> None:
    done = run("save", "part", "--prefix", "conv1", "--series", "parts", "--json")
    shown = json.loads(done.stdout)
    assert (shown["id"], shown["variables"], shown["full"], shown["series"]) == ("part", 2, False, "parts")
    assert client.get_checkpoint("part").variables == 2


def test_restore_takes_the_newest_and_lists_what_it_did(run: Run, client: ParameterClient) -> None:
    run("save", "first")
    client.assign_add("conv1/weight", np.ones((3, 4), np.float32))
    client.delete_variable("conv1/bias")
    done = run("restore")
    assert done.exit_code == 0
    assert done.stdout.startswith("restored first (full, 3 variables, ")
    assert "restored, 3 " in done.stdout
    assert "missing in it, left alone  late" in done.stdout
    assert client.read("conv1/weight")[2, 3] == 11
    assert client.is_initialized("conv1/bias")


def test_restore_of_named_variables_as_json(run: Run, client: ParameterClient) -> None:
    run("save", "a")
    client.assign("conv1/weight", 0.0)
    client.assign("global_step", 0)
    shown = json.loads(run("restore", "a", "--name", "conv1/weight", "--json").stdout)
    assert (shown["id"], shown["restored"], shown["unexpected"]) == ("a", ["conv1/weight"], [])
    assert client.read("conv1/weight")[2, 3] == 11
    assert client.read("global_step") == 0


def test_restore_without_creating_lists_what_was_not_expected(run: Run, client: ParameterClient) -> None:
    run("save", "a")
    client.delete_variable("global_step")
    refused = run("restore", "a", "--no-create")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("paramserver: checkpoint_incompatible: ")
    assert "global_step" in refused.stderr
    done = run("restore", "a", "--no-create", "--no-strict")
    assert done.exit_code == 0
    assert "unexpected, not restored   global_step" in done.stdout


def test_checkpoints_are_listed_newest_first(run: Run) -> None:
    assert run("checkpoints").stdout == "0 checkpoints, 0 B\n"
    run("save", "old", "--step", "3")
    run("save", "new", "--prefix", "conv1")
    done = run("checkpoints")
    head, new, old, total = done.stdout.splitlines()
    assert head.split() == ["id", "step", "variables", "size", "age", "holds", "series"]
    assert new.split()[:3] == ["new", "-", "2"]
    assert "partial" in new
    assert old.split()[:3] == ["old", "3", "3"]
    assert "full" in old
    assert total.startswith("2 checkpoints, ")
    assert [each["id"] for each in json.loads(run("checkpoints", "--json").stdout)["checkpoints"]] == ["new", "old"]


def test_a_damaged_checkpoint_is_named(run: Run, tmp_path: Path) -> None:
    with Server(data_dir=tmp_path / "data") as server:
        for id in ("a", "b"):
            assert run("save", id, url=server.url).exit_code == 0
        (manifest,) = (tmp_path / "data" / "checkpoints").glob("a.*/manifest.json")
    manifest.write_text("{")
    with Server(data_dir=tmp_path / "data") as server:
        done = run("checkpoints", url=server.url)
        assert "a is damaged: " in done.stdout
        assert run("restore", "a", url=server.url).exit_code == 1


def test_a_checkpoint_that_is_not_there(run: Run) -> None:
    for arguments in (["restore"], ["restore", "nope"]):
        done = run(*arguments)
        assert done.exit_code == 1
        assert done.stderr.startswith("paramserver: checkpoint_not_found: ")


def test_a_server_without_a_data_directory_refuses(run: Run) -> None:
    with Server() as server:
        done = run("save", url=server.url)
    assert done.exit_code == 1
    assert done.stderr.startswith("paramserver: no_data_dir: ")


def test_restore_of_a_variable_saved_by_another_name(run: Run, client: ParameterClient) -> None:
    run("save", "a")
    done = run("restore", "a", "--name", "head/bias", "--rename", "head/bias=conv1/bias")
    assert done.exit_code == 0, done.stderr
    assert client.read("head/bias").astype(float).tolist() == [1, 1, 1, 1]


def test_restore_of_another_shape(run: Run, client: ParameterClient) -> None:
    run("save", "a")
    client.delete_variable("conv1/weight")
    client.create_variable("conv1/weight", (12,), "float32", "zeros")
    assert run("restore", "a", "--name", "conv1/weight").exit_code == 1
    assert run("restore", "a", "--name", "conv1/weight", "--reshape", "--sequentially").exit_code == 0
    assert client.read("conv1/weight").tolist() == list(range(12))


def test_a_dry_run_says_what_would_be_done_and_does_nothing(run: Run, client: ParameterClient) -> None:
    run("save", "a")
    client.assign("conv1/weight", 0.0)
    before = client.server()["commit"]
    done = run("restore", "a", "--dry-run")
    assert done.exit_code == 0
    assert done.stdout.startswith("would restore a (full, ")
    assert "conv1/weight" in done.stdout
    assert "commit" not in done.stdout
    assert client.server()["commit"] == before
    client.delete_variable("conv1/weight")
    client.create_variable("conv1/weight", (5,), "float32", "zeros")
    refused = run("restore", "a", "--dry-run")
    assert refused.exit_code == 1
    assert "checkpoint_incompatible" in refused.stderr


@pytest.mark.parametrize("text", ["conv1/bias", "=x", "x=", "="])
def test_a_rename_that_is_none_ends_with_2(run: Run, text: str) -> None:
    assert run("restore", "a", "--rename", text).exit_code == 2


def test_a_checkpoint_is_deleted(run: Run, client: ParameterClient) -> None:
    run("save", "a")
    run("save", "b")
    done = run("checkpoints", "--delete", "a")
    assert done.exit_code == 0
    assert [each.id for each in client.checkpoints()] == ["b"]
    assert "\nb " in done.stdout
    assert run("checkpoints", "--delete", "a").exit_code == 1
