"""tf.layers: variables, their names and sharing, what is computed, updates of batch normalization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]
rng = np.random.default_rng(23)
X = rng.standard_normal((6, 4)).astype(np.float32)
IMAGES = rng.standard_normal((4, 6, 5, 3)).astype(np.float32)


def _names() -> list[str]:
    return [v.op.name for v in tf.global_variables()]


def test_dense(sess: tf.Session) -> None:
    y = tf.layers.dense(X, 3, activation=tf.nn.relu, bias_initializer=tf.constant_initializer(0.5))
    plain = tf.layers.dense(X, 2, use_bias=False)
    assert _names() == ["dense/kernel", "dense/bias", "dense_1/kernel"]
    assert (y.op.name, y.shape.as_list(), plain.op.name) == ("dense/Relu", [6, 3], "dense_1/MatMul")
    sess.run(tf.global_variables_initializer())
    kernel, other, value, second = sess.run([tf.global_variables()[0], tf.global_variables()[2], y, plain])
    np.testing.assert_allclose(value, np.maximum(X @ kernel + 0.5, 0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(second, X @ other, rtol=1e-4, atol=1e-6)
    assert kernel.std() > 0


def test_dense_of_more_axes(sess: tf.Session) -> None:
    x = tf.placeholder(tf.float32, [None, 5, 4])
    y = tf.layers.dense(x, 3, name="d")
    assert y.shape.as_list() == [None, 5, 3]
    sess.run(tf.global_variables_initializer())
    value = rng.standard_normal((2, 5, 4)).astype(np.float32)
    got, kernel = sess.run([y, "d/kernel:0"], {x: value})
    np.testing.assert_allclose(got, value @ kernel, rtol=1e-4, atol=1e-5)


def test_names_and_sharing(sess: tf.Session) -> None:
    first = tf.layers.dense(X, 3, name="shared")
    with pytest.raises(ValueError, match="Variable shared/kernel already exists"):
        tf.layers.dense(X, 3, name="shared")
    again = tf.layers.dense(X, 3, name="shared", reuse=True)
    with tf.variable_scope("tower", reuse=tf.AUTO_REUSE):
        third, fourth = (tf.layers.dense(X, 3, name="in") for _ in range(2))
    assert _names() == ["shared/kernel", "shared/bias", "tower/in/kernel", "tower/in/bias"]
    tf.layers.dense(X, 3)
    tf.layers.dense(X, 3, reuse=True)
    assert _names()[4:] == ["dense/kernel", "dense/bias"]
    sess.run(tf.global_variables_initializer())
    values = sess.run([first, again, third, fourth])
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal(values[2], values[3])
    assert not np.array_equal(values[0], values[2])
    with pytest.raises(ValueError, match="does not exist"):
        tf.layers.dense(X, 3, name="nowhere", reuse=True)


def test_regularizers_constraints_and_frozen_layers(sess: tf.Session) -> None:
    def half(values: Any) -> Any:
        return tf.minimum(values, 0.5)

    y = tf.layers.dense(
        X, 1, name="d", kernel_initializer=tf.ones_initializer(), kernel_regularizer=tf.contrib.layers.l2_regularizer(1.0),
        activity_regularizer=lambda out: tf.reduce_sum(out) * 0.0 + 7.0, kernel_constraint=half,
    )  # fmt: skip
    tf.layers.dense(X, 1, name="frozen", trainable=False)
    assert [v.op.name for v in tf.trainable_variables()] == ["d/kernel", "d/bias"]
    assert tf.trainable_variables()[0].constraint is half
    sess.run(tf.global_variables_initializer())
    assert sess.run(tf.losses.get_regularization_loss()) == 2.0 + 7.0
    assert sess.run(y).shape == (6, 1)


def test_dense_wants_its_width() -> None:
    for x in (tf.placeholder(tf.float32, [3, None]), tf.placeholder(tf.float32)):
        with pytest.raises(ValueError, match="last dimension of the inputs to `Dense` should be defined"):
            tf.layers.dense(x, 3)


@pytest.mark.parametrize("padding", ["valid", "same", "SAME"])
def test_convolution_and_pooling(padding: str, sess: tf.Session) -> None:
    y = tf.layers.conv2d(IMAGES, 2, (3, 2), strides=2, padding=padding, activation=tf.nn.tanh, name="c")
    assert _names() == ["c/kernel", "c/bias"]
    kernel = tf.global_variables()[0]
    assert kernel.shape.as_list() == [3, 2, 3, 2]
    wanted = tf.tanh(tf.nn.conv2d(IMAGES, kernel, [1, 2, 2, 1], padding.upper()))
    largest = tf.layers.max_pooling2d(IMAGES, 2, (2, 1), padding)
    mean = tf.layers.average_pooling2d(IMAGES, [3, 2], 1, padding, name="avg")
    sess.run(tf.global_variables_initializer())
    np.testing.assert_allclose(*sess.run([y, wanted]), rtol=1e-5)
    pools = [tf.nn.max_pool(IMAGES, [1, 2, 2, 1], [1, 2, 1, 1], padding.upper()),
             tf.nn.avg_pool(IMAGES, [1, 3, 2, 1], [1, 1, 1, 1], padding.upper())]  # fmt: skip
    for got, want in zip(sess.run([largest, mean]), sess.run(pools), strict=True):
        np.testing.assert_array_equal(got, want)
    assert (largest.op.name, mean.op.name) == ("max_pooling2d/MaxPool", "avg/AvgPool")


def test_convolution_refuses() -> None:
    with pytest.raises(ValueError, match="channels_first"):
        tf.layers.conv2d(IMAGES, 2, 3, data_format="channels_first")
    with pytest.raises(ValueError, match=r"dilation_rate=\[2, 2\] is not supported"):
        tf.layers.conv2d(IMAGES, 2, 3, dilation_rate=2)
    with pytest.raises(ValueError, match="channel dimension of the inputs should be defined"):
        tf.layers.conv2d(tf.placeholder(tf.float32, [1, 4, 4, None]), 2, 3)
    with pytest.raises(ValueError, match="`kernel_size` argument must be an integer or a pair"):
        tf.layers.conv2d(IMAGES, 2, (1, 2, 3))
    with pytest.raises(ValueError, match="padding wants"):
        tf.layers.max_pooling2d(IMAGES, 2, 2, "half")


def test_flatten(run: Run) -> None:
    late = tf.placeholder(tf.float32, [None, 2, 3])
    assert tf.layers.flatten(late).shape.as_list() == [None, 6]
    assert tf.layers.flatten(IMAGES).shape.as_list() == [4, 90]
    assert tf.layers.flatten(tf.zeros([5])).shape.as_list() == [5, 1]
    for shape in ([None, None, 3], None):
        unknown = tf.placeholder(tf.float32, shape)
        assert run(tf.layers.flatten(unknown), {unknown: np.zeros([4, 2, 3])}).shape == (4, 6)
    with pytest.raises(ValueError, match="rank at least 1"):
        tf.layers.flatten(tf.constant(1.0))


def test_dropout(run: Run) -> None:
    x = tf.ones([40, 40])
    flag = tf.placeholder(tf.bool, [])
    late = tf.layers.dropout(x, 0.25, training=flag)
    np.testing.assert_array_equal(run(late, {flag: False}), np.ones([40, 40]))
    np.testing.assert_allclose(np.unique(run(late, {flag: True})), [0.0, 4 / 3], rtol=1e-6)
    np.testing.assert_array_equal(run(tf.layers.dropout(x)), np.ones([40, 40]))
    assert set(np.unique(run(tf.layers.dropout(x, training=True)))) == {0.0, 2.0}


@pytest.mark.parametrize("values", [X, IMAGES], ids=["matrix", "images"])
@pytest.mark.parametrize("late", [False, True])
def test_batch_normalization(values: Any, late: bool, sess: tf.Session) -> None:
    flag = tf.placeholder_with_default(True, []) if late else True
    x = tf.constant(values)
    y = tf.layers.batch_normalization(x, momentum=0.9, epsilon=0.01, training=flag)
    assert _names() == [f"batch_normalization/{each}" for each in ("gamma", "beta", "moving_mean", "moving_variance")]
    assert [v.op.name for v in tf.trainable_variables()] == ["batch_normalization/gamma", "batch_normalization/beta"]
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert len(updates) == 2
    sess.run(tf.global_variables_initializer())
    axes = tuple(range(values.ndim - 1))
    mean, variance = values.mean(axes), values.var(axes)
    got, _ = sess.run([y, updates])
    np.testing.assert_allclose(got, (values - mean) / np.sqrt(variance + 0.01), rtol=1e-3, atol=1e-5)
    count = values.size / values.shape[-1]
    kept = variance * count / (count - 1) if values.ndim == 4 else variance
    moving = sess.run(tf.global_variables()[2:])
    np.testing.assert_allclose(moving[0], 0.1 * mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(moving[1], 0.9 + 0.1 * kept, rtol=1e-4)
    if late:
        still, _ = sess.run([y, updates], {flag: False})
        np.testing.assert_allclose(still, (values - moving[0]) / np.sqrt(moving[1] + 0.01), rtol=1e-3, atol=1e-5)
        np.testing.assert_array_equal(sess.run(tf.global_variables()[2:]), moving)


def test_batch_normalization_for_use_and_shared(sess: tf.Session) -> None:
    trained = tf.layers.batch_normalization(X, training=True, name="bn", center=False)
    used = tf.layers.batch_normalization(X, training=False, name="bn", center=False, reuse=True)
    assert len(tf.get_collection(tf.GraphKeys.UPDATE_OPS)) == 2  # None for the one in use.
    assert _names() == ["bn/gamma", "bn/moving_mean", "bn/moving_variance"]
    sess.run(tf.global_variables_initializer())
    np.testing.assert_allclose(sess.run(used), X / np.sqrt(1.001), rtol=1e-4)
    assert abs(sess.run(trained).mean()) < 1e-6
    assert tf.layers.batch_normalization(tf.constant(X, tf.float16), name="half").dtype == tf.float16


def test_batch_normalization_along_another_axis(sess: tf.Session) -> None:
    y = tf.layers.batch_normalization(IMAGES, axis=1, training=True, beta_initializer=tf.constant_initializer(2.0))
    assert tf.global_variables()[0].shape.as_list() == [6]
    sess.run(tf.global_variables_initializer())
    np.testing.assert_allclose(sess.run(y).mean((0, 2, 3)), np.full(6, 2.0), rtol=1e-4)
    plain = tf.layers.batch_normalization(IMAGES, fused=False, training=True, momentum=0.0, name="plain")
    assert plain.shape.as_list() == list(IMAGES.shape)
    sess.run(tf.global_variables_initializer())
    sess.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS))
    np.testing.assert_allclose(sess.run("plain/moving_variance:0"), IMAGES.var((0, 1, 2)), rtol=1e-4)


def test_batch_normalization_refuses() -> None:
    with pytest.raises(ValueError, match="undefined rank"):
        tf.layers.batch_normalization(tf.placeholder(tf.float32))
    with pytest.raises(ValueError, match="undefined `axis` dimension"):
        tf.layers.batch_normalization(tf.placeholder(tf.float32, [2, None]))
    for argument in ({"renorm": True}, {"virtual_batch_size": 2}, {"adjustment": abs}):
        with pytest.raises(ValueError, match="is not supported"):
            tf.layers.batch_normalization(X, **argument)


def test_its_gradient_is_that_of_the_formula(run: Run) -> None:
    x = tf.placeholder(tf.float64, [5, 2])
    y = tf.layers.batch_normalization(x, training=True)
    weights = np.cos(np.arange(10.0)).reshape(5, 2)
    loss = tf.reduce_sum(y * weights)
    (gradient,) = tf.gradients(loss, x)
    value = rng.standard_normal((5, 2))
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        got = sess.run(gradient, {x: value})
        for index in np.ndindex(5, 2):
            step = np.zeros((5, 2))
            step[index] = 1e-5
            above, below = (sess.run(loss, {x: value + sign * step}) for sign in (1, -1))
            assert got[index] == pytest.approx((above - below) / 2e-5, rel=1e-4, abs=1e-6)


def test_layer_norm(sess: tf.Session) -> None:
    y = tf.contrib.layers.layer_norm(IMAGES, begin_norm_axis=2, activation_fn=tf.nn.relu, outputs_collections="outs")
    assert _names() == ["LayerNorm/beta", "LayerNorm/gamma"]
    assert [v.shape.as_list() for v in tf.global_variables()] == [[3], [3]]
    assert tf.get_collection("outs") == [y]
    wide = tf.contrib.layers.layer_norm(X, center=False, begin_params_axis=1, scope="wide")
    sess.run(tf.global_variables_initializer())
    wanted = (IMAGES - IMAGES.mean((2, 3), keepdims=True)) / IMAGES.std((2, 3), keepdims=True)
    np.testing.assert_allclose(sess.run(y), np.maximum(wanted, 0), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(
        sess.run(wide), (X - X.mean(1, keepdims=True)) / X.std(1, keepdims=True), rtol=1e-3, atol=1e-5
    )
    with pytest.raises(ValueError, match="undefined rank"):
        tf.contrib.layers.layer_norm(tf.placeholder(tf.float32))
    with pytest.raises(ValueError, match="must be < rank"):
        tf.contrib.layers.layer_norm(X, begin_norm_axis=2)
    with pytest.raises(ValueError, match="is not fully defined"):
        tf.contrib.layers.layer_norm(tf.placeholder(tf.float32, [2, None]))


def test_layers_as_objects(sess: tf.Session) -> None:
    dense = tf.layers.Dense(3, activation=tf.nn.relu)
    assert (dense.variables, dense.name) == ([], None)
    with tf.variable_scope("net"):
        first = dense(X)
    again = dense(X[:2])
    other = tf.layers.Dense(units=2, use_bias=False, name="out")
    last = other(first)
    assert _names() == ["net/dense/kernel", "net/dense/bias", "out/kernel"]
    assert [v.op.name for v in dense.trainable_variables] == ["net/dense/kernel", "net/dense/bias"]
    assert (dense.name, other.variables[0].shape.as_list()) == ("net/dense", [3, 2])
    sess.run(tf.global_variables_initializer())
    values = sess.run([first, again, last])
    np.testing.assert_allclose(values[0][:2], values[1], rtol=1e-5)
    assert values[2].shape == (6, 2)
    with pytest.raises(TypeError, match="missing a required argument: 'units'"):
        tf.layers.Dense(unit=3)


def test_convolution_and_normalization_as_objects(sess: tf.Session) -> None:
    conv, norm = tf.layers.Conv2D(2, 3, padding="same"), tf.layers.BatchNormalization(momentum=0.5)
    trained, used = norm(conv(IMAGES), training=True), norm(conv(IMAGES))
    assert len(tf.get_collection(tf.GraphKeys.UPDATE_OPS)) == 2
    assert [len(each.variables) for each in (conv, norm)] == [2, 4]
    assert len(norm.trainable_variables) == 2
    assert len(tf.global_variables()) == 6
    sess.run(tf.global_variables_initializer())
    one, two = sess.run([trained, used])
    assert abs(one.mean()) < 1e-5
    assert not np.allclose(one, two)
