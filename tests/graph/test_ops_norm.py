"""Normalization, dropout and the weighted cross-entropy, against numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]
X = np.random.default_rng(13).standard_normal((4, 5, 3))


@pytest.mark.parametrize("axes", [[0], [0, 1], [0, 1, 2], 1])
def test_moments(axes: Any, run: Run) -> None:
    over = tuple(axes) if isinstance(axes, list) else axes
    for keep in (False, True):
        mean, variance = tf.nn.moments(X, axes, keep_dims=keep)
        np.testing.assert_allclose(run(mean), X.mean(over, keepdims=keep))
        np.testing.assert_allclose(run(variance), X.var(over, keepdims=keep))
        assert mean.shape.as_list() == variance.shape.as_list() == list(X.mean(over, keepdims=keep).shape)
    half = tf.nn.moments(np.full([4096], 30.0, np.float16), [0])
    assert [each.dtype for each in half] == [tf.float16] * 2
    assert run(half) == (30.0, 0.0)


def test_batch_normalization(run: Run) -> None:
    mean, variance, offset, scale = X.mean((0, 1)), X.var((0, 1)), np.arange(3.0), np.array([1.0, 2.0, -1.0])
    plain = (X - mean) / np.sqrt(variance + 0.1)
    for shift, factor in ((offset, scale), (None, scale), (offset, None), (None, None)):
        got = run(tf.nn.batch_normalization(X, mean, variance, shift, factor, 0.1))
        np.testing.assert_allclose(got, plain * (1 if factor is None else factor) + (0 if shift is None else shift))


def test_l2_normalize(run: Run) -> None:
    np.testing.assert_allclose(run(tf.nn.l2_normalize(X, 1)), X / np.sqrt((X**2).sum(1, keepdims=True)))
    np.testing.assert_allclose(run(tf.nn.l2_normalize(X, dim=[0, 2])), X / np.sqrt((X**2).sum((0, 2), keepdims=True)))
    assert run(tf.nn.l2_normalize([0.0, 0.0], 0)).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="both 'axis' and 'dim'"):
        tf.nn.l2_normalize(X, 1, dim=1)


@pytest.mark.parametrize("arguments", [{"keep_prob": 0.25}, {"rate": 0.75}])
def test_dropout_scales_what_it_keeps(arguments: dict[str, float], run: Run) -> None:
    x = tf.ones([100, 100])
    dropped = tf.nn.dropout(x, seed=3, **arguments)
    value, gradient = run([dropped, tf.gradients(dropped, x)[0]])
    assert set(np.unique(value)) == {0.0, 4.0}
    assert (value > 0).mean() == pytest.approx(0.25, abs=0.02)
    np.testing.assert_array_equal(value, gradient)
    assert dropped.shape.as_list() == [100, 100]


def test_dropout_of_whole_parts_and_by_a_tensor(run: Run) -> None:
    x = tf.ones([50, 20])
    rows = run(tf.nn.dropout(x, 0.5, noise_shape=[None, 1]))
    assert {tuple(np.unique(row)) for row in rows} == {(0.0,), (2.0,)}
    keep = tf.placeholder(tf.float32, [])
    late = tf.nn.dropout(x, keep)
    np.testing.assert_array_equal(run(late, {keep: 1.0}), np.ones([50, 20]))
    assert 0 < (run(late, {keep: 0.5}) > 0).mean() < 1
    unknown = tf.placeholder(tf.float32)
    assert run(tf.nn.dropout(unknown, keep), {unknown: [1.0], keep: 1.0}).tolist() == [1.0]
    constant = tf.constant([1.0])
    assert tf.nn.dropout(constant, 1.0) is constant
    assert tf.nn.dropout(constant, rate=0.0) is constant


def test_dropout_refuses() -> None:
    x = tf.ones([2])
    with pytest.raises(ValueError, match="You must provide a rate to dropout"):
        tf.nn.dropout(x)
    with pytest.raises(ValueError, match="both 'rate' and 'keep_prob'"):
        tf.nn.dropout(x, 0.5, rate=0.5)
    for rate in (1.0, -0.1):
        with pytest.raises(ValueError, match=r"in the range \[0, 1\), got"):
            tf.nn.dropout(x, rate=rate)
    with pytest.raises(ValueError, match="Got a int32 tensor instead"):
        tf.nn.dropout(tf.constant([1]), 0.5)
    with pytest.raises(ValueError, match="rate must be a scalar"):
        tf.nn.dropout(x, rate=[0.5, 0.5])
    with pytest.raises(ValueError, match="does not know"):
        tf.nn.dropout(tf.placeholder(tf.float32), 0.5, noise_shape=[None, 1])


def test_weighted_cross_entropy(run: Run) -> None:
    logits, labels = np.array([-50.0, -1.0, 0.0, 2.0, 50.0]), np.array([1.0, 0.5, 0.0, 1.0, 0.0])
    with np.errstate(over="ignore"):
        plus, minus = np.logaddexp(0, -logits), np.logaddexp(0, logits)
    wanted = labels * 3.0 * plus + (1 - labels) * minus
    np.testing.assert_allclose(run(tf.nn.weighted_cross_entropy_with_logits(labels, logits, 3.0)), wanted)
    np.testing.assert_allclose(
        run(tf.nn.weighted_cross_entropy_with_logits(targets=labels, logits=logits, pos_weight=3.0)), wanted
    )
    with pytest.raises(ValueError, match="same shape"):
        tf.nn.weighted_cross_entropy_with_logits([1.0], [1.0, 2.0], 1.0)
    with pytest.raises(ValueError, match="wants labels, logits and pos_weight"):
        tf.nn.weighted_cross_entropy_with_logits([1.0], [1.0])


def test_small_ones(run: Run) -> None:
    assert run(tf.nn.zero_fraction([0, 1, 2, 0])) == 0.5
    assert run(tf.nn.zero_fraction([0.0, 1.0])) == 0.5
    with pytest.raises(ValueError, match="must have rank 4"):
        tf.nn.lrn(tf.ones([2]))
