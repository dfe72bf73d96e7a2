"""The TensorFlow 1 program of the examples: killed in the middle and started again, in process and with a server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.server import Server

ROOT = Path(__file__).parents[2]


def program(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PARAMSERVER_")}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # Small products: threads would wait for each other.
    command = [sys.executable, "-m", "examples.tf1_digits", "--home", str(home), "--steps", "200", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=110)


@pytest.mark.parametrize("target", ["embedded", "server"])
def test_it_goes_on_from_its_newest_checkpoint(target: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    if target == "embedded":
        runs = [program(home, "--kill-after", "130"), program(home)]
    else:
        with Server(data_dir=tmp_path / "data") as server:
            url = ["--url", server.url]
            runs = [program(home, "--kill-after", "130", *url), program(home, *url)]
    killed, finished = runs
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert killed.stdout.splitlines()[0] == "begins at step 0"
    assert f"saved {home}/checkpoints/model-100" in killed.stdout
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert lines[0] == "begins at step 100"
    assert lines[1].startswith("step 200: loss ")
    accuracy = re.fullmatch(r"held-out accuracy: (\d+\.\d\d) %", lines[-1])
    assert accuracy is not None
    assert float(accuracy[1]) >= 75
    here = (home / "checkpoints").is_dir()
    assert here is (target == "embedded")
