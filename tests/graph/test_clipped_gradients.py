"""Clipping in a step: values, rows, and gradients on their way to an optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]


def rows() -> tf.IndexedSlices:
    return tf.IndexedSlices(tf.constant([[3.0, 4.0], [6.0, 8.0]]), tf.constant([2, 2]), tf.constant([4, 2]))


def test_by_value(run: Run) -> None:
    x = tf.constant([-2.0, -1.0, 0.5, 1.0, 3.0])
    clipped = tf.clip_by_value(x, -1.0, 1.0)
    assert clipped.op.name == "clip_by_value"
    value, gradient = run([clipped, tf.gradients(clipped, x)[0]])
    assert value.tolist() == [-1.0, -1.0, 0.5, 1.0, 1.0]
    assert gradient.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]  # The edges let it pass.
    sparse = tf.clip_by_value(rows(), 3.5, 6.5)
    assert run(sparse).values.tolist() == [[3.5, 4.0], [6.0, 6.5]]
    with pytest.raises(ValueError, match="compatible"):
        tf.clip_by_value(x, [[-1.0]], 1.0)


def test_by_norm(run: Run) -> None:
    x = np.array([[3.0, 4.0], [0.3, 0.4]], np.float32)
    np.testing.assert_allclose(run(tf.clip_by_norm(x, 1.0, axes=[1])), [[0.6, 0.8], [0.3, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(run(tf.clip_by_norm(x, 2.0)), x * 2.0 / np.linalg.norm(x), rtol=1e-6)
    np.testing.assert_array_equal(run(tf.clip_by_norm(x, 100.0)), x)
    zeros = tf.zeros([2])
    clipped = tf.clip_by_norm(zeros, 1.0)
    assert run([clipped, tf.gradients(clipped, zeros)[0]])[1].tolist() == [1.0, 1.0]
    assert run(tf.clip_by_norm(rows(), 5.0)).indices.tolist() == [2, 2]


def test_by_average_norm(run: Run) -> None:
    x = np.array([3.0, 4.0], np.float32)
    np.testing.assert_allclose(run(tf.clip_by_average_norm(x, 0.5)), x * 0.5 / 2.5, rtol=1e-6)
    np.testing.assert_allclose(run(tf.clip_by_average_norm(x, 5.0)), x, rtol=1e-6)


def test_by_global_norm(run: Run) -> None:
    one, two = tf.constant([3.0, 0.0]), tf.constant([[4.0]])
    clipped, norm = tf.clip_by_global_norm([one, None, two], 1.0)
    assert clipped[1] is None
    first, second, length = run([clipped[0], clipped[2], norm])
    assert length == 5.0
    np.testing.assert_allclose(first, [0.6, 0.0], rtol=1e-6)
    np.testing.assert_allclose(second, [[0.8]], rtol=1e-6)
    unchanged, _ = tf.clip_by_global_norm([one, two], 10.0)
    assert run(unchanged[0]).tolist() == [3.0, 0.0]
    given, _ = tf.clip_by_global_norm([one], 1.0, use_norm=tf.constant(6.0))
    assert run(given[0]).tolist() == [0.5, 0.0]
    broken, _ = tf.clip_by_global_norm([one, tf.constant([np.inf])], 1.0)
    assert np.isnan(run(broken[0])).all()
    sparse, norm = tf.clip_by_global_norm((rows(),), 1.0)
    np.testing.assert_allclose(run(norm), np.sqrt(125.0), rtol=1e-6)
    np.testing.assert_allclose(run(sparse[0]).values, np.array([[3, 4], [6, 8]]) / np.sqrt(125.0), rtol=1e-6)


def test_the_norm_of_no_list() -> None:
    for function in (lambda value: tf.clip_by_global_norm(value, 1.0), tf.global_norm):
        with pytest.raises(TypeError, match="t_list should be a sequence"):
            function(tf.constant(1.0))


def test_clipped_gradients_are_applied(sess: tf.Session) -> None:
    v, w = tf.Variable([0.0], name="v"), tf.Variable([0.0], name="w")
    optimizer = tf.train.GradientDescentOptimizer(1.0)
    gradients, variables = zip(*optimizer.compute_gradients(tf.reduce_sum(3.0 * v + 4.0 * w)), strict=True)
    clipped, _ = tf.clip_by_global_norm(gradients, 1.0)
    train = optimizer.apply_gradients(zip(clipped, variables, strict=True))
    sess.run(tf.global_variables_initializer())
    sess.run(train)
    np.testing.assert_allclose(np.ravel(sess.run([v, w])), [-0.6, -0.8], rtol=1e-6)
