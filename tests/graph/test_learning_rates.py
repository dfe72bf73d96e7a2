"""Learning rates by the global step, against the reference page and against the formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]
AT = (5, 10, 14)


@pytest.mark.parametrize(
    ("decay", "wanted"),
    [
        (lambda s: tf.train.exponential_decay(0.1, s, 10, 0.5), (0.0707107, 0.05, 0.0378929)),
        (lambda s: tf.train.exponential_decay(0.1, s, 10, 0.5, staircase=True), (0.1, 0.05, 0.05)),
        (lambda s: tf.train.inverse_time_decay(0.1, s, 10, 0.5), (0.08, 0.0666667, 0.0588235)),
        (lambda s: tf.train.inverse_time_decay(0.1, s, 10, 0.5, True), (0.1, 0.0666667, 0.0666667)),
        (lambda s: tf.train.natural_exp_decay(0.1, s, 10, 0.5), (0.0778801, 0.0606531, 0.0496585)),
        (lambda s: tf.train.natural_exp_decay(0.1, s, 10, 0.5, True), (0.1, 0.0606531, 0.0606531)),
        (lambda s: tf.train.polynomial_decay(0.1, s, 10, 0.01, 2.0), (0.0325, 0.01, 0.01)),
        (lambda s: tf.train.polynomial_decay(0.1, s, 10, 0.01, cycle=True), (0.055, 0.01, 0.1 - 0.09 * 0.7)),
        (lambda s: tf.train.piecewise_constant(s, [5, 10], [1.0, 0.5, 0.25]), (1.0, 0.5, 0.25)),
        (lambda s: tf.train.piecewise_constant_decay(s, [4, 13], [3, 2, 1]), (2, 2, 1)),
        (lambda s: tf.train.cosine_decay(0.1, s, 10), (0.05, 0.0, 0.0)),
        (lambda s: tf.train.cosine_decay(0.1, s, 10, alpha=0.2), (0.06, 0.02, 0.02)),
        # Periods of 4, 8 steps: step 5 is 1/8 into the second, 10 is 6/8; 14 is 2/16 into the third.
        (
            lambda s: tf.train.cosine_decay_restarts(0.1, s, 4, m_mul=0.5),
            [0.1 * 0.5**n * 0.5 * (1 + math.cos(math.pi * x)) for n, x in ((1, 1 / 8), (1, 6 / 8), (2, 2 / 16))],
        ),
        (
            lambda s: tf.train.cosine_decay_restarts(0.1, s, 4, t_mul=1.0, alpha=0.5),
            [0.1 * (0.5 * 0.5 * (1 + math.cos(math.pi * x)) + 0.5) for x in (1 / 4, 2 / 4, 2 / 4)],
        ),
        (
            lambda s: tf.train.linear_cosine_decay(0.1, s, 20, alpha=0.1, beta=0.2),
            [0.1 * ((0.1 + 1 - x) * 0.5 * (1 + math.cos(math.pi * x)) + 0.2) for x in (0.25, 0.5, 0.7)],
        ),
        (
            lambda s: tf.train.noisy_linear_cosine_decay(0.1, s, 20, initial_variance=0.0),
            [0.1 * ((1 - x) * 0.5 * (1 + math.cos(math.pi * x)) + 0.001) for x in (0.25, 0.5, 0.7)],
        ),
    ],
)  # fmt: skip
def test_rates_at_three_steps(run: Run, decay: Callable[[Any], Any], wanted: Any) -> None:
    step = tf.placeholder(tf.int64, [])
    rate = decay(step)
    with tf.Session() as sess:
        got = [sess.run(rate, {step: at}) for at in AT]
    np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=1e-7)


def test_noise_has_the_variance_of_the_step(run: Run) -> None:
    step = tf.placeholder(tf.float32, [])
    rate = tf.train.noisy_linear_cosine_decay(1.0, step, 100.0, initial_variance=4.0, variance_decay=1.0)
    with tf.Session() as sess:
        drawn = [float(sess.run(rate, {step: 3.0})) for _ in range(2000)]
    cosine = 0.5 * (1 + math.cos(math.pi * 0.03))
    assert abs(np.std(drawn) / (1.0 * cosine) - 1.0) < 0.1  # sqrt(4 / (1 + 3)) = 1
    assert abs(np.mean(drawn) - (0.97 * cosine + 0.001)) < 0.1


def test_a_rate_with_a_variable_step_goes_down_as_training_goes_on(sess: tf.Session) -> None:
    v, step = tf.Variable([0.0], name="v"), tf.train.get_or_create_global_step()
    rate = tf.train.piecewise_constant(step, [0, 1], [1.0, 0.5, 0.25])
    train = tf.train.GradientDescentOptimizer(rate).apply_gradients([([1.0], v)], global_step=step)
    sess.run(tf.global_variables_initializer())
    for wanted in (-1.0, -1.5, -1.75, -2.0):
        sess.run(train)
        assert sess.run(v).tolist() == [wanted]


def test_names_and_dtypes() -> None:
    assert tf.train.exponential_decay(0.1, 1, 10, 0.5).op.name == "ExponentialDecay"
    assert tf.train.polynomial_decay(0.1, 1, 10, name="mine").op.name == "mine"
    assert tf.train.cosine_decay(tf.constant(0.1, tf.float64), 1, 10).dtype == tf.float64


def test_errors() -> None:
    with pytest.raises(ValueError, match="global_step is required for exponential_decay"):
        tf.train.exponential_decay(0.1, None, 10, 0.5)
    with pytest.raises(ValueError, match="length of boundaries should be 1 less"):
        tf.train.piecewise_constant(1, [1], [1.0])
    with pytest.raises(ValueError, match="must have elements all with the same dtype"):
        tf.train.piecewise_constant(1, [1], [1.0, 2])
    with pytest.raises(ValueError, match=r"Boundaries \(float32\) must have the same dtype as x \(int32\)"):
        tf.train.piecewise_constant(1, [1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="t_mul must be at least 1"):
        tf.train.cosine_decay_restarts(0.1, 1, 10, t_mul=0.5)
