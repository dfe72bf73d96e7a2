"""The TensorFlow 1 programs of the examples that learn from text: vectors of words, and letters one by one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.server import Server

ROOT = Path(__file__).parents[2]


def program(module: str, *arguments: str) -> list[str]:
    """What the program prints; it must end with 0."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PARAMSERVER_")}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # Small products: threads would wait for each other.
    command = [sys.executable, "-m", f"examples.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(params=["embedded", "server"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    if request.param == "embedded":
        yield []
    else:
        with Server(data_dir=tmp_path / "data") as server:
            yield ["--url", server.url]


def losses(lines: list[str]) -> list[float]:
    return [float(found[1]) for line in lines if (found := re.match(r"step \d+: loss (\d+\.\d+)", line))]


def test_words_learn_from_their_neighbours(target: list[str]) -> None:
    lines = program("tf1_word2vec", "--steps", "1500", *target)
    rows = re.fullmatch(r"a step changes (\d+) of (\d+) and (\d+) of \d+ rows", lines[1])
    assert rows is not None
    assert max(int(rows[1]), int(rows[3])) < int(rows[2]) / 3, "gradients of tables are rows"
    first, *_, last = losses(lines)
    assert last < 0.85 * first
    shown = {line.partition(":")[0].strip(): line.partition(":")[2].split(", ") for line in lines[-6:]}
    assert {len(nearest) for nearest in shown.values()} == {6}
    assert "class" in shown


def test_letters_learn_from_those_before_them(target: list[str], tmp_path: Path) -> None:
    home = ["--home", str(tmp_path / "home")]
    lines = program("tf1_char_rnn", "--steps", "150", *home, *target)
    assert lines[0] == "begins at step 0"
    first, *_, last = losses(lines)
    assert last < 0.85 * first
    assert f"saved {tmp_path}/home/model-150" in lines
    again = program("tf1_char_rnn", "--steps", "160", "--go-on", *home, *target)
    assert again[0] == "begins at step 150"
    assert losses(again)[-1] < 0.85 * first, "what was learned is there again"
    assert any(line.startswith("The statement ") for line in again)
