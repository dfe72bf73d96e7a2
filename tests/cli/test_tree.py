"""`paramserver tree` against a real server."""

from __future__ import annotations

import json

import pytest

from paramserver_client import ParameterClient
from support.commands import Run


def test_a_pipe_gets_scopes_with_what_they_add_up_to(run: Run) -> None:
    done = run("tree")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "scope        variables  size  shape   dtype",
        "conv1/               2  56 B",
        "  bias                   8 B  4       bfloat16",
        "  weight                48 B  3x4     float32",
        "global_step              4 B  scalar  int32",
        "late                    24 B  2x3     float32, no value",
        "4 variables, 84 B, 1 without a value",
    ]


def test_a_terminal_gets_guides(run: Run, client: ParameterClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.create_variable("conv1/deep/er/w", value=1.0)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    told = run("tree", "conv1").stdout
    assert "├── bias " in told
    assert "├── deep/ " in told
    assert "│   └── er/ " in told
    assert "│       └── w " in told
    assert "└── weight " in told


def test_a_name_can_be_a_variable_and_a_scope(run: Run, client: ParameterClient) -> None:
    client.create_variable("conv1", value=1.0)
    rows = [line.split() for line in run("tree").stdout.splitlines()]
    assert rows[1] == ["conv1/", "3", "60", "B", "scalar", "float32"]
    assert rows[2][0] == "bias"


def test_one_scope(run: Run) -> None:
    told = run("tree", "conv1").stdout.splitlines()
    assert [line.split()[0] for line in told[1:-1]] == ["conv1/", "bias", "weight"]
    assert told[-1] == "2 variables, 56 B"


def test_one_variable_is_a_tree_of_its_own(run: Run) -> None:
    told = run("tree", "conv1/bias").stdout.splitlines()
    assert [line.split()[0] for line in told[1:]] == ["conv1/bias", "1"]


def test_depth_sums_up_what_is_below(run: Run, client: ParameterClient) -> None:
    client.create_variable("conv1/deep/er/w", value=1.0)
    told = run("tree", "--depth", "1").stdout.splitlines()
    assert [line.split()[0] for line in told[1:-1]] == ["conv1/...", "global_step", "late"]
    assert told[1].split()[1:4] == ["3", "60", "B"]
    told = run("tree", "--depth", "2").stdout.splitlines()
    assert [line.split()[0] for line in told[1:5]] == ["conv1/", "bias", "deep/...", "weight"]
    told = run("tree", "conv1", "--depth", "1").stdout.splitlines()
    assert [line.split()[0] for line in told[1:-1]] == ["conv1/", "bias", "deep/...", "weight"]


def test_one_collection(run: Run) -> None:
    told = run("tree", "--collection", "trainable_variables").stdout
    assert "global_step" not in told
    assert "weight" in told


def test_nothing_is_said_plainly(run: Run) -> None:
    assert run("tree", "nowhere").stdout == "0 variables, 0 B\n"


def test_as_json(run: Run, client: ParameterClient) -> None:
    document = json.loads(run("tree", "--json").stdout)
    assert (document["name"], document["variables"], document["nbytes"]) == ("", 4, 84)
    conv1, step, _ = document["children"]
    assert (conv1["name"], conv1["variables"], conv1["nbytes"]) == ("conv1", 2, 56)
    assert [each["variable"]["name"] for each in conv1["children"]] == ["conv1/bias", "conv1/weight"]
    assert step["variable"]["version"] == client.get_variable("global_step").version
    shut = json.loads(run("tree", "--json", "--depth", "1").stdout)
    assert "children" not in shut["children"][0]


def test_a_depth_below_one_is_wrong_usage(run: Run) -> None:
    assert run("tree", "--depth", "0").exit_code == 2
