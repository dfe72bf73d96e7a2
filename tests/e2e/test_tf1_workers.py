"""The three workers of the examples, each by itself and step by step together, on real digits."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from paramserver_client import ParameterClient
from support.server import Server

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("flags", "steps", "wanted"), [([], 360, 90), (["--sync"], 120, 88)])
def test_three_workers_learn_real_digits(flags: list[str], steps: int, wanted: float, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PARAMSERVER_")}
    run = subprocess.run(
        [sys.executable, "-m", "examples.tf1_workers", "--home", str(tmp_path), *flags],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=110,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    told = re.fullmatch(r"global step: (\d+)\nheld-out accuracy: (\d+\.\d\d) %\n", run.stdout)
    assert told is not None, run.stdout
    # A worker by itself may be in a step, and begin another, before it sees that the last one was made.
    assert steps <= int(told[1]) <= steps + (0 if flags else 6)
    assert float(told[2]) >= wanted
    with Server(data_dir=tmp_path / "data") as server, ParameterClient(server.url) as client:
        names = {each.name for each in client.list_variables()}
        assert {"conv1/weight/Adam", "conv1/weight/Adam_1", "conv1/weight/ExponentialMovingAverage"} <= names
        saved = [int(each.id.rpartition("-")[2]) for each in client.checkpoints() if each.id.startswith("digits-cnn/")]
        assert min(saved) == 0
        assert max(saved) >= int(told[1])
        average, value = client.read("dense/bias/ExponentialMovingAverage"), client.read("dense/bias")
        assert (average != value).any()
