"""The guide "from PyTorch": two workers of its example learn real digits through one server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import paramserver_client as ps
from support.server import Server

ROOT = Path(__file__).parents[2]


def start(url: str, worker: int, cache: Path) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "examples.torch_digits",
        "--url",
        url,
        "--worker",
        str(worker),
        "--cache",
        str(cache),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def test_two_workers_learn_real_digits(tmp_path: Path) -> None:
    with Server(data_dir=tmp_path / "data") as server:
        workers = [start(server.url, number, tmp_path / f"digits-{number}.npy") for number in (0, 1)]
        for number, worker in enumerate(workers):
            out, errors = worker.communicate(timeout=100)
            assert worker.returncode == 0, errors
            accuracy = re.search(rf"^worker {number}: held-out accuracy (\d+\.\d)%$", out, re.MULTILINE)
            assert accuracy is not None, out
            assert float(accuracy[1]) > 92, out
        with ps.ParameterClient(server.url) as client:
            assert client.read("digits/step") == 2 * 6 * 40
            assert client.get_variable("digits/0.weight/digits_sgd").version == 480
