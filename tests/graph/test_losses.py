"""tf.losses against numpy: every loss, weights, reductions, the collections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]
rng = np.random.default_rng(17)
LABELS = rng.uniform(0.1, 0.9, (3, 4)).astype(np.float32)
GUESSES = rng.uniform(0.1, 0.9, (3, 4)).astype(np.float32)
LOGITS = rng.standard_normal((3, 4)).astype(np.float32)
BITS = rng.integers(0, 2, (3, 4)).astype(np.float32)
ERROR = np.abs(GUESSES - LABELS)
CASES = {
    "absolute_difference": (lambda **k: tf.losses.absolute_difference(LABELS, GUESSES, **k), ERROR),
    "mean_squared_error": (lambda **k: tf.losses.mean_squared_error(LABELS, GUESSES, **k), ERROR**2),
    "huber_loss": (lambda **k: tf.losses.huber_loss(LABELS, GUESSES, delta=0.2, **k),
                   np.where(ERROR <= 0.2, ERROR**2 / 2, 0.2 * ERROR - 0.02)),
    "log_loss": (lambda **k: tf.losses.log_loss(LABELS, GUESSES, **k),
                 -LABELS * np.log(GUESSES) - (1 - LABELS) * np.log(1 - GUESSES)),
    "hinge_loss": (lambda **k: tf.losses.hinge_loss(BITS, LOGITS, **k), np.maximum(0, 1 - (2 * BITS - 1) * LOGITS)),
    "sigmoid_cross_entropy": (lambda **k: tf.losses.sigmoid_cross_entropy(BITS, LOGITS, **k),
                              np.log1p(np.exp(LOGITS)) - BITS * LOGITS),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_loss_and_reduction(name: str, run: Run) -> None:
    build, each = CASES[name]
    weights = np.array([[1.0], [0.0], [2.5]], np.float32)
    weighted = each * weights
    wanted = {
        tf.losses.Reduction.NONE: weighted, tf.losses.Reduction.SUM: weighted.sum(),
        tf.losses.Reduction.MEAN: weighted.sum() / (weights.sum() * 4),
        tf.losses.Reduction.SUM_OVER_BATCH_SIZE: weighted.sum() / 12,
        tf.losses.Reduction.SUM_BY_NONZERO_WEIGHTS: weighted.sum() / 8,
    }  # fmt: skip
    for reduction, value in wanted.items():
        np.testing.assert_allclose(run(build(weights=weights, reduction=reduction)), value, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(run(build()), each.mean(), rtol=1e-4)
    np.testing.assert_allclose(run(build(weights=2.0)), 2 * each.mean(), rtol=1e-4)
    assert run(build(weights=0.0)) == 0.0
    assert len(tf.losses.get_losses()) == 8


def test_softmax_losses(run: Run) -> None:
    log_chances = LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True))
    onehot, classes = np.eye(4, dtype=np.float32)[[2, 0, 1]], np.array([2, 0, 1])
    each = -log_chances[np.arange(3), classes]
    np.testing.assert_allclose(run(tf.losses.softmax_cross_entropy(onehot, LOGITS)), each.mean(), rtol=1e-5)
    np.testing.assert_allclose(run(tf.losses.sparse_softmax_cross_entropy(classes, LOGITS)), each.mean(), rtol=1e-5)
    columns = tf.losses.sparse_softmax_cross_entropy(classes[:, None], LOGITS, weights=[[1.0], [2.0], [0.0]])
    np.testing.assert_allclose(run(columns), (each[0] + 2 * each[1]) / 2, rtol=1e-5)
    smooth = onehot * 0.8 + 0.05
    got = run(tf.losses.softmax_cross_entropy(onehot, LOGITS, label_smoothing=0.2))
    np.testing.assert_allclose(got, -(smooth * log_chances).sum(1).mean(), rtol=1e-5)
    smooth = BITS * 0.9 + 0.05
    got = run(tf.losses.sigmoid_cross_entropy(BITS, LOGITS, label_smoothing=0.1))
    np.testing.assert_allclose(got, (np.log1p(np.exp(LOGITS)) - smooth * LOGITS).mean(), rtol=1e-5)
    labels = tf.constant(onehot)
    assert tf.gradients(tf.losses.softmax_cross_entropy(labels, LOGITS), labels) == [None]


def test_cosine_distance(run: Run) -> None:
    a, b = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (LABELS, GUESSES))
    wanted = (1 - (a * b).sum(1)).mean()
    np.testing.assert_allclose(run(tf.losses.cosine_distance(a, b, axis=1)), wanted, rtol=1e-4)
    np.testing.assert_allclose(run(tf.losses.cosine_distance(a, b, dim=1)), wanted, rtol=1e-4)
    with pytest.raises(ValueError, match="You must specify 'axis'"):
        tf.losses.cosine_distance(a, b)


def test_mean_pairwise_squared_error(run: Run) -> None:
    error = GUESSES - LABELS
    pairs = np.array([np.mean([(row[i] - row[j]) ** 2 for i in range(4) for j in range(4) if i != j]) for row in error])
    np.testing.assert_allclose(run(tf.losses.mean_pairwise_squared_error(LABELS, GUESSES)), pairs.sum(), rtol=1e-4)
    weights = np.array([[1.0], [0.0], [3.0]])
    got = run(tf.losses.mean_pairwise_squared_error(LABELS, GUESSES, weights))
    np.testing.assert_allclose(got, pairs[0] + 3 * pairs[2], rtol=1e-4)
    with pytest.raises(ValueError, match="known rank"):
        tf.losses.mean_pairwise_squared_error(tf.placeholder(tf.float32), tf.placeholder(tf.float32))


def test_gradients_and_dtypes(run: Run) -> None:
    x = tf.constant([1.0, 3.0])
    loss = tf.losses.mean_squared_error([0.0, 0.0], x)
    assert run(tf.gradients(loss, x)[0]).tolist() == [1.0, 3.0]
    wide = tf.losses.compute_weighted_loss(tf.constant([1.0, 2.0], tf.float64))
    assert (wide.dtype, run(wide)) == (tf.float64, 1.5)
    late = tf.placeholder(tf.float32)
    assert run(tf.losses.absolute_difference(late, late + 2.0, weights=late), {late: [[1.0, 0.0]]}) == 2.0


def test_names_and_collections(run: Run) -> None:
    first = tf.losses.mean_squared_error([1.0], [3.0], scope="fit")
    tf.losses.absolute_difference([1.0], [2.0], loss_collection=None)
    with tf.variable_scope("net", regularizer=tf.contrib.layers.l2_regularizer(0.5)):
        w = tf.get_variable("w", [2], initializer=tf.constant_initializer(2.0))
    tf.losses.add_loss(tf.constant(10.0), "mine")
    assert tf.losses.get_losses() == [first]
    assert first.op.name == "fit/value"
    assert tf.losses.get_losses(scope="fi") == [first]
    assert tf.losses.get_losses(scope="net") == []
    total, alone = tf.losses.get_total_loss(), tf.losses.get_total_loss(add_regularization_losses=False)
    only = tf.losses.get_total_loss(scope="fit")
    with tf.Session() as sess:
        sess.run(w.initializer)
        assert sess.run([total, alone, only, tf.losses.get_regularization_loss()]) == [6.0, 4.0, 4.0, 2.0]


def test_what_does_not_fit() -> None:
    for function in (tf.losses.mean_squared_error, tf.losses.absolute_difference, tf.losses.hinge_loss):
        with pytest.raises(ValueError, match="labels must not be None"):
            function(None, [1.0])
        with pytest.raises(ValueError, match="incompatible"):
            function([1.0, 2.0], [1.0])
    for function in (
        tf.losses.softmax_cross_entropy,
        tf.losses.sigmoid_cross_entropy,
        tf.losses.sparse_softmax_cross_entropy,
    ):
        with pytest.raises(ValueError, match="must not be None"):
            function(None, [1.0])
    with pytest.raises(ValueError, match=r"weights can not be broadcast to values. values.rank=2. weights.rank=1"):
        tf.losses.mean_squared_error(LABELS, GUESSES, weights=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="Mismatch at dim 0"):
        tf.losses.mean_squared_error(LABELS, GUESSES, weights=[[1.0], [2.0]])
    with pytest.raises(ValueError, match="Invalid ReductionKey sum"):
        tf.losses.mean_squared_error(LABELS, GUESSES, reduction="sum")


def test_regularizers(run: Run) -> None:
    w = tf.constant([1.0, -2.0])
    assert run(tf.contrib.layers.l1_regularizer(0.5)(w)) == 1.5
    assert run(tf.contrib.layers.l2_regularizer(0.5)(w)) == 1.25
    assert tf.contrib.layers.l2_regularizer(0.0)(w) is None
    for wrong in (1, -0.5):
        with pytest.raises(ValueError, match="scale"):
            tf.contrib.layers.l2_regularizer(wrong)
