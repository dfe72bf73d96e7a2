"""The relu family and its kin: values from their definitions, edges, types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]
X = np.array([-1000.0, -2.0, -0.5, 0.0, 0.5, 6.0, 9.0, 1000.0])


def test_values(run: Run) -> None:
    below = np.expm1(np.minimum(X, 0))
    wanted = {
        tf.nn.relu6: np.clip(X, 0, 6), tf.nn.leaky_relu: np.where(X > 0, X, 0.2 * X), tf.nn.elu: np.where(X > 0, X, below),
        tf.nn.selu: 1.0507009873554805 * np.where(X > 0, X, 1.6732632423543772 * below),
        tf.nn.softplus: np.where(X > 100, X, np.log1p(np.exp(np.minimum(X, 100)))), tf.nn.softsign: X / (1 + np.abs(X)),
    }  # fmt: skip
    for function, values in wanted.items():
        np.testing.assert_allclose(run(function(X)), values, rtol=1e-12)
        single = run(function(X.astype(np.float32)))
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, values, rtol=1e-5)
    np.testing.assert_allclose(
        run(tf.nn.log_sigmoid(X)), -np.where(X < -100, -X, np.log1p(np.exp(-np.maximum(X, -100))))
    )
    np.testing.assert_allclose(run(tf.nn.leaky_relu([-1.0, 1.0], alpha=0.5)), [-0.5, 1.0])
    assert run(tf.nn.crelu([[1.0, -2.0]])).tolist() == [[1.0, 0.0, 0.0, 2.0]]
    assert run(tf.nn.crelu([[1.0, -2.0]], axis=0)).tolist() == [[1.0, 0.0], [0.0, 2.0]]


def test_gradients_at_the_edges(run: Run) -> None:
    x = tf.constant([0.0, 6.0])
    assert run(tf.gradients(tf.nn.relu6(x), x)[0]).tolist() == [0.0, 0.0]
    zero = tf.constant([0.0])
    for function, slope in ((tf.nn.leaky_relu, 0.2), (tf.nn.elu, 1.0), (tf.nn.softplus, 0.5), (tf.nn.softsign, 1.0)):
        np.testing.assert_allclose(run(tf.gradients(function(zero), zero)[0]), [slope])
    far = tf.constant([-1000.0, 1000.0])
    for function in (tf.nn.elu, tf.nn.selu, tf.nn.softplus, tf.nn.softsign, tf.nn.log_sigmoid):
        assert np.isfinite(run(tf.gradients(function(far), far)[0])).all()


def test_integers(run: Run) -> None:
    assert run(tf.nn.relu6([-1, 9])).tolist() == [0, 6]
    assert tf.nn.leaky_relu([1]).dtype == tf.float32
    for function in (tf.nn.elu, tf.nn.selu, tf.nn.softplus, tf.nn.softsign):
        with pytest.raises(TypeError, match="'features' has DataType int32"):
            function([1])
