"""tf.metrics: running over batches, weights, local variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

rng = np.random.default_rng(19)
BATCHES = [(rng.integers(0, 2, 5), rng.integers(0, 2, 5), rng.uniform(0, 2, 5)) for _ in range(3)]


def _accuracy(labels: Any, guesses: Any, weights: Any) -> float:
    return float(np.average(labels == guesses, weights=weights))


def _precision(labels: Any, guesses: Any, weights: Any) -> float:
    return float((weights * labels * guesses).sum() / (weights * guesses).sum())


def _recall(labels: Any, guesses: Any, weights: Any) -> float:
    return float((weights * labels * guesses).sum() / (weights * labels).sum())


def _square(labels: Any, guesses: Any, weights: Any) -> float:
    return float(np.average((labels - guesses) ** 2, weights=weights))


METRICS: dict[str, Callable[..., float]] = {
    "accuracy": _accuracy, "precision": _precision, "recall": _recall, "mean_squared_error": _square,
    "root_mean_squared_error": lambda *a: _square(*a) ** 0.5,
    "mean_absolute_error": lambda x, y, w: float(np.average(np.abs(x - y), weights=w)),
}  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("weighted", [False, True])
def test_over_batches(name: str, weighted: bool, sess: tf.Session) -> None:
    labels, guesses, weights = (
        tf.placeholder(tf.int64, [None]),
        tf.placeholder(tf.int32, [None]),
        tf.placeholder(tf.float32, [None]),
    )
    value, update = getattr(tf.metrics, name)(labels, guesses, weights if weighted else None,
                                              metrics_collections="values", updates_collections=["updates"])  # fmt: skip
    assert tf.get_collection("values") == [value]
    assert tf.get_collection("updates") == [update]
    assert not tf.global_variables()
    assert not tf.trainable_variables()
    assert tf.get_collection(tf.GraphKeys.METRIC_VARIABLES) == tf.local_variables()
    for _ in range(2):  # The second time from the beginning.
        sess.run(tf.local_variables_initializer())
        assert sess.run(value) == 0.0
        for count, batch in enumerate(BATCHES, 1):
            got = sess.run(update, dict(zip((labels, guesses, weights), batch, strict=True)))
            seen = [np.concatenate(parts) for parts in zip(*BATCHES[:count], strict=True)]
            wanted = METRICS[name](seen[0], seen[1], seen[2] if weighted else np.ones(len(seen[0])))
            assert got == pytest.approx(wanted, rel=1e-5)
            assert sess.run(value) == got


def test_mean_names_and_weights(sess: tf.Session) -> None:
    x = tf.placeholder(tf.float32, [None, 2])
    value, update = tf.metrics.mean(x, weights=[[1.0, 3.0]])
    tf.metrics.mean(x, name="other")
    assert [v.op.name for v in tf.local_variables()] == ["mean/total", "mean/count", "other/total", "other/count"]
    assert (value.op.name, update.op.name) == ("mean/value", "mean/update_op")
    sess.run(tf.local_variables_initializer())
    assert sess.run(update, {x: [[1.0, 2.0], [3.0, 4.0]]}) == (1 + 6 + 3 + 12) / 8


def test_ranks_that_differ_by_one(sess: tf.Session) -> None:
    _, update = tf.metrics.accuracy([[1], [0]], [1, 1], weights=[[1.0], [3.0]])
    sess.run(tf.local_variables_initializer())
    assert sess.run(update) == 0.25
    with pytest.raises(ValueError, match="incompatible"):
        tf.metrics.accuracy([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="weights can not be broadcast to values"):
        tf.metrics.mean([1.0, 2.0], weights=[1.0, 2.0, 3.0])


def test_names_of_counts() -> None:
    tf.metrics.precision([1], [1])
    tf.metrics.recall([1], [1], name="r")
    assert [v.op.name for v in tf.local_variables()] == [
        "precision/true_positives/count", "precision/false_positives/count", "r/true_positives/count",
        "r/false_negatives/count"]  # fmt: skip
