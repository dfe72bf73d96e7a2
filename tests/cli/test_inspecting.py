"""`paramserver ls` and `paramserver get` against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from paramserver.cli.inspecting import preview_index
from paramserver_client import ParameterClient
from support.commands import Run


def test_ls_shows_a_row_for_each_variable_and_the_total(run: Run) -> None:
    done = run("ls")
    assert done.exit_code == 0
    head, *rows, total = done.stdout.splitlines()
    assert head.split() == ["name", "shape", "dtype", "size", "version", "trainable", "updated"]
    assert [row.split()[0] for row in rows] == ["conv1/bias", "conv1/weight", "global_step", "late"]
    assert rows[1].split()[:7] == ["conv1/weight", "3x4", "float32", "48", "B", "1", "yes"]
    assert rows[2].split()[:7] == ["global_step", "scalar", "int32", "4", "B", "1", "no"]
    assert "no value" in rows[3]
    assert total == "4 variables, 84 B, 1 without a value"


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["conv1"], ["conv1/bias", "conv1/weight"]),
        (["conv"], []),
        (["--uninitialized"], ["late"]),
        (["--initialized", "conv1"], ["conv1/bias", "conv1/weight"]),
        (["--not-trainable"], ["global_step"]),
        (["--collection", "trainable_variables", "--initialized"], ["conv1/bias", "conv1/weight"]),
    ],
)
def test_ls_selects(run: Run, arguments: list[str], names: list[str]) -> None:
    done = run("ls", *arguments, "--json")
    assert done.exit_code == 0
    assert [each["name"] for each in json.loads(done.stdout)["variables"]] == names


def test_ls_of_nothing_says_so(run: Run) -> None:
    assert run("ls", "nowhere").stdout == "0 variables, 0 B\n"


def test_ls_as_json_is_what_the_server_says(run: Run, client: ParameterClient) -> None:
    listed = json.loads(run("ls", "conv1/weight", "--json").stdout)["variables"]
    metadata = client.get_variable("conv1/weight")
    assert listed == [
        {
            "name": "conv1/weight",
            "shape": [3, 4],
            "dtype": "float32",
            "version": 1,
            "incarnation": metadata.incarnation,
            "initialized": True,
            "trainable": True,
            "collections": ["variables", "trainable_variables"],
            "initializer": None,
            "nbytes": 48,
            "updated_at": metadata.updated_at,
        }
    ]


def test_get_shows_metadata_and_value(run: Run, client: ParameterClient) -> None:
    done = run("get", "conv1/weight")
    assert done.exit_code == 0
    assert "3x4 (12 elements)" in done.stdout
    assert client.get_variable("conv1/weight").tag in done.stdout
    assert "[ 8.  9. 10. 11.]]" in done.stdout
    assert "min 0, mean 5.5, max 11" in done.stdout


def test_get_of_a_part(run: Run) -> None:
    done = run("get", "conv1/weight", "--slice", "1:3,0")
    assert "[1:3,0]: 2 float32, 8 B\n[4. 8.]" in done.stdout


def test_get_casts(run: Run) -> None:
    assert "[1. 1. 1. 1.]" in run("get", "conv1/bias", "--dtype", "float32").stdout


def test_get_counts_what_is_not_finite(run: Run, client: ParameterClient) -> None:
    client.assign("conv1/weight", np.full((3, 4), np.nan, np.float32), allow_non_finite=True)
    assert run("get", "conv1/weight").stdout.endswith("\n12 not finite\n")


def test_get_without_a_value_tells_how_it_would_get_one(run: Run) -> None:
    done = run("get", "late")
    assert done.exit_code == 0
    assert "random_normal, mean 0.0, stddev 0.5, seed 1" in done.stdout
    assert "no value yet" in done.stdout
    assert json.loads(run("get", "late", "--json").stdout)["value"] is None


def test_get_as_json_holds_the_whole_value(run: Run) -> None:
    shown = json.loads(run("get", "conv1/weight", "--json").stdout)
    assert shown["value"] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert (shown["name"], shown["dtype"], shown["version"]) == ("conv1/weight", "float32", 1)


def test_get_of_a_large_value_reads_only_a_first_part(run: Run, client: ParameterClient) -> None:
    client.create_variable("large", value=np.zeros((2, 1_500_000), np.float32))
    shown = run("get", "large").stdout
    assert "[0:1,0:1000000]: 1x1000000 float32, 4.0 MB, the first part" in shown


def test_get_writes_a_file_that_numpy_loads(run: Run, client: ParameterClient, tmp_path: Path) -> None:
    target = tmp_path / "w"
    done = run("get", "conv1/weight", "--out", str(target))
    assert f"wrote {target}: 3x4 float32, 48 B" in done.stdout
    loaded = np.load(target)
    assert loaded.dtype == np.float32
    assert np.array_equal(loaded, client.read("conv1/weight"))
    assert list(tmp_path.iterdir()) == [target]


def test_get_refuses_a_file_that_cannot_hold_the_dtype(run: Run, tmp_path: Path) -> None:
    done = run("get", "conv1/bias", "--out", str(tmp_path / "b.npy"))
    assert done.exit_code == 2
    assert "--dtype float32" in done.stderr
    assert not list(tmp_path.iterdir())
    assert run("get", "conv1/bias", "--dtype", "float32", "--out", str(tmp_path / "b.npy")).exit_code == 0


def test_get_tells_of_a_file_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    done = run("get", "conv1/weight", "--out", str(tmp_path / "no" / "w.npy"))
    assert done.exit_code == 1
    assert "No such file or directory" in done.stderr


def test_an_uninitialized_variable_cannot_be_written_to_a_file(run: Run, tmp_path: Path) -> None:
    done = run("get", "late", "--out", str(tmp_path / "w.npy"))
    assert done.exit_code == 1
    assert "paramserver: uninitialized: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["get", "nope"], "variable_not_found"),
        (["get", "conv1/../x"], "invalid_name"),
        (["get", "conv1/weight", "--slice", "9:10,9"], "index_out_of_range"),
        (["get", "conv1/weight", "--dtype", "float33"], "dtype_mismatch"),
    ],
)
def test_a_refusal_shows_its_code_and_ends_with_1(run: Run, arguments: list[str], code: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"paramserver: {code}: ")


@pytest.mark.parametrize(
    ("shape", "itemsize", "index"),
    [
        ((), 4, None),
        ((0, 3), 4, None),
        ((1_000_000,), 4, None),
        ((1_000_001,), 4, "0:1000000"),
        ((3, 8_000_000), 4, "0:1,0:1000000"),
        ((5_000_000, 0), 8, None),
        ((2_000, 1_000, 1), 8, "0:500"),
    ],
)
def test_previews_are_bounded(shape: tuple[int, ...], itemsize: int, index: str | None) -> None:
    assert preview_index(shape, itemsize) == index
