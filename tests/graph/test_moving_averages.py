"""Moving averages: the reference page's figures, names, collections, and what a Saver restores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import paramserver_client.graph as tf
from support.graph_target import Target, counted

STEPS = ([1.0, 2.0], [3.0, 4.0], [5.0, 6.0])
AVERAGES = ([9.1, 18.2], [8.49, 16.78], [8.141, 15.702])


def test_the_figures_of_the_reference_page(sess: tf.Session) -> None:
    v = tf.Variable([10.0, 20.0], name="v")
    ema = tf.train.ExponentialMovingAverage(0.9)
    update = ema.apply([v])
    assert update.name == ema.name == "ExponentialMovingAverage"
    average = ema.average(v)
    assert average is not None
    assert (average.op.name, average.trainable, average in tf.global_variables()) == (
        "v/ExponentialMovingAverage", False, True,
    )  # fmt: skip
    assert tf.moving_average_variables() == [v]
    sess.run(tf.global_variables_initializer())
    assert sess.run(average).tolist() == [10.0, 20.0]
    counting = counted(sess.client)
    for value, wanted in zip(STEPS, AVERAGES, strict=True):
        sess.run(v.assign(value))
        assert sess.run(update) is None
        np.testing.assert_allclose(sess.run(average), wanted, rtol=1e-6)
    assert counting.counts["push"] == 6
    assert counting.counts["pull"] == 3


def test_an_average_starts_at_the_initial_value_though_it_is_random(sess: tf.Session) -> None:
    v = tf.get_variable("v", [5])
    average = tf.train.ExponentialMovingAverage(0.9)
    average.apply()
    sess.run(tf.global_variables_initializer())
    got, wanted = sess.run([average.average(v), v])
    np.testing.assert_array_equal(got, wanted)


def test_num_updates_lowers_the_decay(sess: tf.Session) -> None:
    v, n = tf.Variable([0.0]), tf.Variable(0, trainable=False)
    ema = tf.train.ExponentialMovingAverage(0.3, num_updates=n)
    update = ema.apply([v])
    sess.run(tf.global_variables_initializer())
    sess.run(v.assign([1.0]))
    expected = 0.0
    for count in (0, 1, 50):
        sess.run(n.assign(count))
        sess.run(update)
        expected -= (1 - min(0.3, (1 + count) / (10 + count))) * (expected - 1.0)
        np.testing.assert_allclose(sess.run(ema.average(v)), [expected], atol=1e-6)


@pytest.mark.parametrize("zero_debias", [False, True])
def test_averages_of_tensors_start_at_zero(sess: tf.Session, zero_debias: bool) -> None:
    p = tf.placeholder(tf.float32, [2])
    product = tf.multiply(p, 2.0, name="mul")
    ema = tf.train.ExponentialMovingAverage(0.9, zero_debias=zero_debias)
    update = ema.apply([product])
    average = ema.average(product)
    assert average is not None
    assert average.op.name == "mul/ExponentialMovingAverage"
    names = {each.op.name for each in tf.global_variables()}
    extra = {f"mul/ExponentialMovingAverage/{name}" for name in ("biased", "local_step")}
    assert names == {average.op.name} | (extra if zero_debias else set())
    assert tf.moving_average_variables() == []
    sess.run(tf.global_variables_initializer())
    expected = np.zeros(2)
    for t, value in enumerate(STEPS, start=1):
        sess.run(update, {p: value})
        expected = expected * 0.9 + 0.1 * 2.0 * np.array(value)
        wanted = expected / (1 - 0.9**t) if zero_debias else expected
        np.testing.assert_allclose(sess.run(average), wanted, rtol=0, atol=2e-6)


def test_it_follows_a_training_step_in_the_same_push(sess: tf.Session) -> None:
    v = tf.Variable([1.0], name="v")
    train = tf.train.GradientDescentOptimizer(1.0).apply_gradients([([0.5], v)])
    ema = tf.train.ExponentialMovingAverage(0.5)
    with tf.control_dependencies([train]):
        update = ema.apply([v])
    sess.run(tf.global_variables_initializer())
    sess.run(update)
    counting = counted(sess.client)
    sess.run(update)
    assert counting.counts == {"push": 1}
    assert sess.run(ema.average(v)).tolist() == [0.375]  # 1 -> 0.75 -> 0.375, after 0.5 and 0.


def test_a_step_that_waits_for_the_average_comes_after_it(sess: tf.Session) -> None:
    v = tf.Variable([1.0], name="v")
    ema = tf.train.ExponentialMovingAverage(0.5)
    sess.run(v.initializer)
    with tf.control_dependencies([v.assign([3.0])]):
        update = ema.apply([v])
    with tf.control_dependencies([update]):
        train = tf.train.GradientDescentOptimizer(1.0).apply_gradients([([100.0], v)])
    sess.run(tf.global_variables_initializer())
    sess.run(train)
    assert [each.tolist() for each in sess.run([v, ema.average(v)])] == [[-97.0], [2.0]]


def test_local_variables_are_averaged_too(sess: tf.Session) -> None:
    v = tf.Variable([1.0], name="v", collections=["local_variables"])
    ema = tf.train.ExponentialMovingAverage(0.5)
    update = ema.apply([v])
    sess.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
    sess.run(v.assign([3.0]))
    sess.run(update)
    assert sess.run(ema.average(v)).tolist() == [2.0]


def test_names_in_scopes_and_without_apply() -> None:
    ema = tf.train.ExponentialMovingAverage(0.9)
    with tf.variable_scope("s"):
        v = tf.get_variable("v", [1])
        assert ema.average_name(v) == "s/s/v/ExponentialMovingAverage"
        ema.apply([v])
    assert ema.average_name(v) == "s/s/v/ExponentialMovingAverage"
    other = tf.get_variable("other", [1])
    assert ema.average(other) is None
    assert ema.average_name(other) == "other/ExponentialMovingAverage"
    with tf.name_scope("n"):
        ema.apply([other])
    assert ema.average(other).op.name == "other/ExponentialMovingAverage"
    named = tf.train.ExponentialMovingAverage(0.9, name="Mean")
    named.apply([other])
    named.apply([other])
    assert named.average_name(other) == "other/Mean"
    with pytest.raises(TypeError, match="The variables must be half, float, or double: i:0"):
        ema.apply([tf.Variable(1, name="i")])


def test_variables_to_restore(target: Target, tmp_path: Path) -> None:
    v, n = tf.Variable([10.0], name="v"), tf.Variable([1.0], name="n", trainable=False)
    ema = tf.train.ExponentialMovingAverage(0.9)
    assert ema.variables_to_restore() == {"v/ExponentialMovingAverage": v, "n": n}
    update = ema.apply([v])
    assert ema.variables_to_restore([n])["n/ExponentialMovingAverage"] is n
    path = str(tmp_path / "m") if target.kind == "embedded" else f"{target.container}/m"
    with target.session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(v.assign([0.0]))
        sess.run(update)
        prefix = tf.train.Saver().save(sess, path)
    with tf.Graph().as_default(), target.session() as sess:
        v = tf.Variable([10.0], name="v")
        tf.train.Saver(tf.train.ExponentialMovingAverage(0.9).variables_to_restore()).restore(sess, prefix)
        assert sess.run(v).tolist() == [9.0]


def test_a_tensor_is_debiased_once(sess: tf.Session) -> None:
    p = tf.placeholder(tf.float32, [])
    ema = tf.train.ExponentialMovingAverage(0.5, zero_debias=True)
    first, second = ema.apply([p]), ema.apply([p])
    sess.run(tf.global_variables_initializer())
    sess.run(first, {p: 8.0})
    assert sess.run(ema.average(p)) == 8.0
    sess.run(second, {p: 4.0})
    assert sess.run(ema.average(p)) == 6.0
    assert len(tf.global_variables()) == 3
