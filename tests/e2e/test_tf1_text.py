"""The TensorFlow 1 programs of the examples that learn from text: vectors of words, and letters one by one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from examples import tf1_word2vec

import paramserver_client.graph as tf
from paramserver_client import ParameterClient
from paramserver_client.embedded import EmbeddedTransport
from paramserver_client.encoding import encode
from paramserver_wire.messages import OPERATIONS, Answer, Message
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


class Overheard(EmbeddedTransport):
    """An embedded server that keeps the writes it was sent."""

    writes: list[Message]

    def deliver(self, message: Message, timeout_s: float) -> Answer:
        if OPERATIONS[message.operation].mutates:
            self.writes.append(message)
        return super().deliver(message, timeout_s)


def test_a_step_pushes_each_row_it_looked_up_once() -> None:
    server = Overheard.open()
    server.writes = []
    corpus = tf1_word2vec.read_corpus()
    pairs = tf1_word2vec.Pairs(corpus, seed=1)
    with (
        tf.Graph().as_default(),
        ParameterClient(transport=server) as client,
        tf.Session(client=client) as session,
    ):
        network = tf1_word2vec.Network(len(corpus.words))
        session.run(tf.global_variables_initializer())
        centres, neighbours, others = pairs.draw()
        feeds = {network.centres: centres, network.neighbours: neighbours, network.others: others}
        session.run(network.train, feeds)  # The first step makes the optimizer too.
        server.writes.clear()
        session.run(network.train, feeds)
    (step,) = server.writes
    gradients = step.arguments["gradients"]
    looked_up = {"word2vec/vectors": centres, "word2vec/contexts": np.concatenate([neighbours, others])}
    assert gradients.keys() == looked_up.keys()
    for name, rows in looked_up.items():
        np.testing.assert_array_equal(gradients[name]["indices"], np.unique(rows))
        assert gradients[name]["value"].shape == (np.unique(rows).size, tf1_word2vec.WIDTH)
    nbytes = sum(len(view) for view in encode(step).views)
    tables_nbytes = 2 * 4 * len(corpus.words) * tf1_word2vec.WIDTH
    assert nbytes < tables_nbytes / 4, "what is sent is rows"
    assert all(np.unique(rows).size < rows.size for rows in looked_up.values()), "some rows were looked up twice"


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
