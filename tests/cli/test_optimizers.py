"""`paramserver optimizers` against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from paramserver_client import ParameterClient
from support.commands import Run
from support.server import Server


@pytest.fixture(autouse=True)
def no_optimizers(client: ParameterClient) -> Iterator[None]:
    """Each test begins without any."""
    for each in client.optimizers():
        client.delete_optimizer(each.name)
    yield
    for each in client.optimizers():
        client.delete_optimizer(each.name)


def test_none_is_said_plainly(run: Run) -> None:
    assert run("optimizers").stdout == "0 optimizers, 0 B\n"


def test_create_tells_the_hyper_parameters(run: Run, client: ParameterClient) -> None:
    done = run("optimizers", "create", "Adam", "adam", "learning_rate=0.01")
    assert done.exit_code == 0, done.stderr
    head, *fields = done.stdout.splitlines()
    assert head == "Adam: adam"
    assert ["learning_rate", "0.01"] in [line.split() for line in fields]
    assert ["beta1", "0.9"] in [line.split() for line in fields]
    assert client.get_optimizer("Adam").hyper["learning_rate"] == 0.01


def test_create_changes_one_that_is_there(run: Run, client: ParameterClient) -> None:
    run("optimizers", "create", "SGD", "gradient_descent", "learning_rate=0.1")
    run("optimizers", "create", "SGD", "gradient_descent", "learning_rate=0.2")
    assert client.get_optimizer("SGD").hyper["learning_rate"] == 0.2


def test_the_list_counts_slots_and_what_they_take(run: Run, client: ParameterClient) -> None:
    run("optimizers", "create", "Adam", "adam", "learning_rate=0.01")
    run("optimizers", "create", "M", "momentum", "learning_rate=1", "momentum=0.9", "use_nesterov=true")
    client.push_gradients({"conv1/weight": np.ones((3, 4), np.float32)}, "Adam")
    head, adam, momentum, total = run("optimizers").stdout.splitlines()
    assert head.split() == ["name", "type", "trains", "slots", "size", "hyper-parameters"]
    # Two slots of 48 bytes, and two powers of beta.
    assert adam.split()[:6] == ["Adam", "adam", "1", "2", "104", "B"]
    assert "learning_rate 0.01" in adam
    assert momentum.split()[:6] == ["M", "momentum", "0", "0", "0", "B"]
    assert "use_nesterov true" in momentum
    assert total == "2 optimizers, 104 B"
    document = json.loads(run("optimizers", "--json").stdout)
    assert [each["name"] for each in document["optimizers"]] == ["Adam", "M"]
    assert list(document["optimizers"][0]["slots"]) == ["conv1/weight"]


def test_delete_takes_the_slots_along(run: Run, client: ParameterClient) -> None:
    run("optimizers", "create", "M", "momentum", "learning_rate=1", "momentum=0.9")
    client.push_gradients({"conv1/weight": np.ones((3, 4), np.float32)}, "M")
    assert run("optimizers", "delete", "M").stdout == "deleted M\n"
    assert [each.name for each in client.list_variables(prefix="conv1")] == ["conv1/bias", "conv1/weight"]
    assert run("optimizers", "delete", "M").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["X", "nope"], "nope"),
        (["X", "adam", "lerning_rate=1"], "lerning_rate"),
        (["X", "adam", "learning_rate=-1"], "learning_rate"),
        (["a:b", "adam", "learning_rate=1"], "invalid_name"),
    ],
)
def test_refusals_end_with_1(run: Run, client: ParameterClient, arguments: list[str], words: str) -> None:
    done = run("optimizers", "create", *arguments)
    assert done.exit_code == 1
    assert words in done.stderr
    assert client.optimizers() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "X"],
        ["create", "X", "adam", "learning_rate"],
        ["create", "X", "adam", "=1"],
        ["create", "X", "adam", "learning_rate=fast"],
        ["create", "X", "adam", "learning_rate=[1]"],
        ["create", "X", "adam", "learning_rate=1", "learning_rate=2"],
        ["delete"],
        ["destroy", "X"],
        ["--timeout", "5", "delete", "X"],
    ],
)
def test_wrong_usage_ends_with_2(run: Run, arguments: list[str]) -> None:
    done = run("optimizers", *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""


def test_inspect_tells_those_of_a_checkpoint(run: Run, running: Server, client: ParameterClient) -> None:
    run("optimizers", "create", "M", "momentum", "learning_rate=1", "momentum=0.9")
    client.push_gradients({"conv1/weight": np.ones((3, 4), np.float32)}, "M")
    run("save", "with-optimizer")
    data = next(each for each in running.process.args if each.endswith("/data"))
    (directory,) = (Path(data) / "checkpoints").glob("with-optimizer.*")
    assert "optimizers   M\n" in run("inspect", str(directory)).stdout
    told = json.loads(run("inspect", str(directory), "--json").stdout)["optimizers"]
    assert told["M"]["slots"] == {"conv1/weight": ["conv1/weight/M"]}
