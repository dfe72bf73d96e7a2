"""`paramserver set` against a real server."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from paramserver.cli import application
from paramserver_client import ParameterClient
from support.commands import Run
from support.server import Server


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def test_set_replaces_adds_and_subtracts(run: Run, client: ParameterClient) -> None:
    assert run("set", "global_step", "5").stdout == "set global_step: version 2\n"
    assert run("set", "global_step", "3", "--add").stdout == "added to global_step: version 3\n"
    assert run("set", "global_step", "10", "--sub").stdout == "subtracted from global_step: version 4\n"
    assert client.read("global_step") == -2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", [0.5] * 4),
        ("-0.5", [-0.5] * 4),
        ("-3", [-3] * 4),
        ("1e-2", [0.01] * 4),
        ("[1, 2.5, -3, 4e1]", [1, 2.5, -3, 40]),
    ],
)
def test_a_value_takes_the_dtype_of_its_variable(run: Run, client: ParameterClient, text: str, value: object) -> None:
    done = run("set", "conv1/bias", text)
    assert done.exit_code == 0, done.stderr
    np.testing.assert_allclose(client.read("conv1/bias").astype(float), value, rtol=1e-2)


def test_set_gives_a_first_value(run: Run, client: ParameterClient) -> None:
    assert run("set", "late", "[[1, 2, 3], [4, 5, 6]]").exit_code == 0
    assert client.read("late").tolist() == [[1, 2, 3], [4, 5, 6]]


def test_values_from_files(run: Run, client: ParameterClient, tmp_path: Path) -> None:
    value = np.full((3, 4), 2.5, np.float32)
    (tmp_path / "w.npy").write_bytes(npy(value))
    (tmp_path / "b.json").write_text("[1, 2, 3, 4]\n")
    assert run("set", "conv1/weight", "--from", str(tmp_path / "w.npy")).exit_code == 0
    assert np.array_equal(client.read("conv1/weight"), value)
    assert run("set", "conv1/bias", "--from", str(tmp_path / "b.json"), "--add").exit_code == 0
    assert client.read("conv1/bias").tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("content", [b"[1, 2, 3, 4]", npy(np.array([1, 2, 3, 4], np.float32))])
def test_values_from_standard_input(running: Server, client: ParameterClient, content: bytes) -> None:
    client.create_variable("in", (4,), "float32", "zeros")
    done = CliRunner().invoke(
        application(), ["set", "in", "--from", "-"], input=content, env={"PARAMSERVER_URL": running.url}
    )
    assert done.exit_code == 0, done.stderr
    assert client.read("in").tolist() == [1, 2, 3, 4]


def test_create_makes_what_is_not_there(run: Run, client: ParameterClient) -> None:
    assert run("set", "scale", "[[1, 2]]", "--create", "--dtype", "bfloat16").stdout == "created scale: version 1\n"
    assert client.get_variable("scale").dtype.name == "bfloat16"
    assert run("set", "scale", "[[3, 4]]", "--create").stdout == "set scale: version 2\n"
    assert run("set", "scale", "[[1, 1]]", "--create", "--add").stdout == "added to scale: version 3\n"
    assert client.read("scale").astype(float).tolist() == [[4, 5]]


def test_as_json(run: Run, client: ParameterClient) -> None:
    told = json.loads(run("set", "global_step", "5", "--json").stdout)
    assert (told["name"], told["version"], told["created"]) == ("global_step", 2, False)
    assert told["commit"] == client.server()["commit"]
    assert json.loads(run("set", "new", "5", "--create", "--json").stdout)["created"] is True


def test_if_version(run: Run, client: ParameterClient) -> None:
    tag = client.get_variable("global_step").tag
    assert run("set", "global_step", "5", "--if-version", tag).exit_code == 0
    refused = run("set", "global_step", "6", "--if-version", tag)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("paramserver: version_mismatch: ")
    assert client.read("global_step") == 5


def test_what_is_not_finite_must_be_asked_for(run: Run, client: ParameterClient) -> None:
    for text in ('"NaN"', '[1, 2, "Infinity", 4]'):
        refused = run("set", "conv1/bias", text)
        assert refused.exit_code == 1
        assert "non_finite" in refused.stderr
        assert run("set", "conv1/bias", text, "--allow-non-finite").exit_code == 0
    assert np.isinf(client.read("conv1/bias").astype(float)[2])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nope", "5"], "variable_not_found"),
        (["a:b", "5"], "invalid_name"),
        (["conv1/weight", "[1, 2]"], "shape_mismatch"),
        (["conv1/weight", "5", "--add"], "shape_mismatch"),
        (["global_step", "0.5"], "dtype_mismatch"),
        (["global_step", "true"], "dtype_mismatch"),
        (["conv1/bias", "[[1], [2, 3]]"], "shape_mismatch"),
        (["conv1/bias", '["x"]'], "dtype_mismatch"),
        (["late", "[[1, 2, 3], [4, 5, 6]]", "--add"], "uninitialized"),
        (["new", "5", "--create", "--dtype", "float33"], "dtype_mismatch"),
    ],
)
def test_a_refusal_changes_nothing(run: Run, client: ParameterClient, arguments: list[str], code: str) -> None:
    before = client.list_variables()
    done = run("set", *arguments)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"paramserver: {code}: ")
    assert client.list_variables() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "got neither"),
        (["5", "--from", "w.npy"], "got both"),
        (["--nope"], "no option --nope"),
        (["--nope", "5"], "5"),
        (["[1, 2"], "VALUE does not fit"),
        (["NaN"], '"NaN" with the quotes'),
        (["null"], "got null"),
        (["{}"], "got {}"),
        (["[" * 100_000], "VALUE does not fit"),
        (["5", "--add", "--sub"], "not both"),
        (["5", "--create", "--if-version", "1"], "--if-version"),
        (["5", "--dtype", "int8"], "--create"),
        (["--from", "/nowhere/w.npy"], "No such file"),
        (["--from", "/"], "directory"),
    ],
)
def test_wrong_usage_ends_with_2_and_asks_no_server(run: Run, arguments: list[str], words: str) -> None:
    done = run("set", "global_step", *arguments, url="http://127.0.0.1:1")
    assert done.exit_code == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"\x93NUMPY",
        npy(np.zeros(4))[:100],
        npy(np.zeros(4))[:-1],
        b"\x93NUMPY\x01\x00\x10\x00{'descr': '|O'}\n",
        b"not json",
    ],
)
def test_files_that_hold_no_value(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    done = run("set", "conv1/bias", "--from", str(tmp_path / "w"))
    assert done.exit_code == 2
    assert str(tmp_path / "w") in done.stderr
    assert "Traceback" not in done.stderr


def test_an_array_of_objects_is_not_unpickled(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.array([{}], dtype=object), allow_pickle=True)
    done = run("set", "conv1/bias", "--from", str(tmp_path / "w.npy"))
    assert done.exit_code == 2
    assert "allow_pickle=False" in done.stderr
