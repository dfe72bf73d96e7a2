"""The local graph: training steps against numpy written by hand, and against PyTorch on one thread where it is installed;
what an operation costs; how long large graphs take to build and to run first."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from examples.digits import model as digits

import paramserver_client.graph as tf
from benchmarks.by_hand import RATE, Cnn, Mlp
from benchmarks.measuring import Result, Target, WrongResultError, figure, in_turns, seconds_each

_GROUP: Final = "local graph"
_CNN: Final = "demo CNN step"
_OPS: Final = 10_000
_HALF: Final = Target("ratio", "at least", 0.5)


@dataclass(frozen=True)
class _Network:
    """One network three ways: a step on the graph, by hand, and in PyTorch (None without it)."""

    name: str
    graph: Callable[[], float]
    by_hand: Callable[[], float]
    torch: Callable[[], object] | None


def measure_graph(rounds: int, steps: int) -> Iterator[Result]:
    """All of it. The graph's session is embedded, so that its steps include reading and writing a server's variables."""
    for make in (_mlp, _cnn):
        with tf.Graph().as_default(), tf.Session() as sess:
            yield from _steps(make(sess), rounds, steps)
    yield from _large_graph(rounds)


def _steps(network: _Network, rounds: int, steps: int) -> Iterator[Result]:
    for number in range(3):
        ours, wanted = network.graph(), network.by_hand()
        if not np.isclose(ours, wanted, rtol=1e-3):
            raise WrongResultError(f"{network.name}: loss {ours} in step {number}, by hand {wanted}")
    trials = {
        "graph": lambda: seconds_each(network.graph, steps),
        "numpy": lambda: seconds_each(network.by_hand, steps),
    }
    if network.torch is not None:
        step = network.torch
        trials["torch"] = lambda: seconds_each(step, steps)
    taken = in_turns(trials, rounds)
    rates = {kind: figure([1 / each for each in seconds]) for kind, seconds in taken.items()}
    for kind, words in (("numpy", "numpy"), ("torch", "PyTorch")):
        if kind in rates:
            ratio = rates["graph"].median / rates[kind].median
            target = _HALF if kind == "numpy" or network.name == _CNN else None
            name = f"{network.name}, to {words}"
            yield Result(_GROUP, name, None, "/s", rates["graph"], rates[kind], ratio, target)


def _mlp(sess: tf.Session) -> _Network:
    rng = np.random.default_rng(0)
    x, labels = rng.random((128, 784), np.float32), rng.integers(0, 10, 128)
    start = {
        "w1": rng.normal(0, 0.05, (784, 256)),
        "b1": np.zeros(256),
        "w2": rng.normal(0, 0.05, (256, 10)),
        "b2": np.zeros(10),
    }
    weights = {name: value.astype(np.float32) for name, value in start.items()}
    images, classes = tf.placeholder(tf.float32, [None, 784]), tf.placeholder(tf.int32, [None])
    w = {name: tf.get_variable(name, initializer=value) for name, value in weights.items()}
    hidden = tf.nn.relu(tf.matmul(images, w["w1"]) + w["b1"])
    logits = tf.matmul(hidden, w["w2"]) + w["b2"]
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=logits))
    train = tf.train.GradientDescentOptimizer(float(RATE)).minimize(loss)
    sess.run(tf.global_variables_initializer())
    hand = Mlp(dict(weights))
    feeds = {images: x, classes: labels}
    return _Network(
        "MLP step", lambda: float(sess.run([loss, train], feeds)[0]), lambda: hand.step(x, labels),
        _torch_mlp(weights, x, labels),
    )  # fmt: skip


def _cnn(sess: tf.Session) -> _Network:
    rng = np.random.default_rng(0)
    x, labels = rng.random((digits.BATCH, 28, 28, 1), np.float32), rng.integers(0, 10, digits.BATCH)
    network = digits.build()
    sess.run(tf.global_variables_initializer())
    names = {
        "k1": "conv1/weight",
        "b1": "conv1/bias",
        "k2": "conv2/weight",
        "b2": "conv2/bias",
        "w": "dense/weight",
        "b": "dense/bias",
    }
    weights = {short: sess.run(f"{name}:0") for short, name in names.items()}
    hand = Cnn(dict(weights))
    feeds = {network.images: x, network.labels: labels}
    fetches = [network.loss, network.train]
    return _Network(
        _CNN, lambda: float(sess.run(fetches, feeds)[0]), lambda: hand.step(x, labels),
        _torch_cnn(weights, x, labels),
    )  # fmt: skip


def _torch() -> Any:
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    return torch


def _torch_mlp(weights: dict[str, Any], x: Any, labels: Any) -> Callable[[], object] | None:
    torch = _torch()
    if torch is None:
        return None
    w = {name: torch.tensor(value, requires_grad=True) for name, value in weights.items()}
    inputs, classes = torch.tensor(x), torch.tensor(labels)
    optimizer = torch.optim.SGD(w.values(), lr=float(RATE))

    def step() -> object:
        optimizer.zero_grad()
        logits = torch.relu(inputs @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"]
        loss = torch.nn.functional.cross_entropy(logits, classes)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _torch_cnn(weights: dict[str, Any], x: Any, labels: Any) -> Callable[[], object] | None:
    torch = _torch()
    if torch is None:
        return None
    kernels = {name: weights[name].transpose(3, 2, 0, 1).copy() for name in ("k1", "k2")}
    w = {name: torch.tensor(value, requires_grad=True) for name, value in {**weights, **kernels}.items()}
    inputs, classes = torch.tensor(x.transpose(0, 3, 1, 2).copy()), torch.tensor(labels)
    optimizer, functional = torch.optim.SGD(w.values(), lr=float(RATE)), torch.nn.functional

    def step() -> object:
        optimizer.zero_grad()
        layer = inputs
        for number in "12":
            convolved = functional.conv2d(layer, w[f"k{number}"], w[f"b{number}"], padding=2)
            layer = functional.max_pool2d(torch.relu(convolved), 2)
        loss = functional.cross_entropy(layer.flatten(1) @ w["w"] + w["b"], classes)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _large_graph(rounds: int) -> Iterator[Result]:
    built, first, over = [], [], []
    for _ in range(rounds):
        with tf.Graph().as_default(), tf.Session() as sess:
            built_ms, first_ms, over_us = _one_large_graph(sess)
        built.append(built_ms)
        first.append(first_ms)
        over.append(over_us)
    second = Target("value", "at most", 1000)
    yield Result(_GROUP, f"building {_OPS:,} operations", None, "ms", figure(built), target=second)
    yield Result(_GROUP, f"first run of {_OPS:,} operations", None, "ms", figure(first), target=second)
    yield Result(_GROUP, "overhead of an operation", None, "us", figure(over), target=Target("value", "at most", 20))


def _one_large_graph(sess: tf.Session) -> tuple[float, float, float]:
    """How long building and the first run take, and what an operation costs beyond its numpy call."""
    began = time.perf_counter()
    x = tf.placeholder(tf.float32, [4])
    y = x
    while sess.graph.version < _OPS:
        y = tf.add(y, x)
    built_s = time.perf_counter() - began
    ones = np.ones(4, np.float32)
    feeds = {x: ones}
    first_s = seconds_each(lambda: sess.run(y, feeds), 1)
    run_s = seconds_each(lambda: sess.run(y, feeds), 3) / _OPS
    plain_s = seconds_each(lambda: np.add(ones, ones), _OPS)
    return built_s * 1e3, first_s * 1e3, (run_s - plain_s) * 1e6
