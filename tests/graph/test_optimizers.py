"""Gradient descent: the reference page's figures, the operations it makes, and its errors."""

from __future__ import annotations

import multiprocessing
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from support.graph_target import Target
from support.server import Server

K, C = np.array([1.0, 2.0, 0.5]), np.array([0.5, -1.0, 1.5])
SGD_TRACE = [
    [0.899999999, 0.799999982, -0.299999997],
    [0.819999998, 0.0799999785, -0.119999995],
    [0.755999997, -0.352000019, 0.0420000072],
]


def test_the_trace_of_the_reference_page(sess: tf.Session) -> None:
    v = tf.Variable(np.array([1.0, 2.0, -0.5]), name="v")
    train = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(K * tf.square(v - C)))
    sess.run(tf.global_variables_initializer())
    for wanted in SGD_TRACE:
        assert sess.run(train) is None
        np.testing.assert_allclose(sess.run(v), wanted, rtol=3e-8)


def test_names_and_the_global_step(sess: tf.Session) -> None:
    v, step = tf.Variable([1.0]), tf.train.get_or_create_global_step()
    optimizer = tf.train.GradientDescentOptimizer(tf.placeholder_with_default(0.5, []))
    pairs = optimizer.compute_gradients(tf.reduce_sum(v * 3.0))
    assert [variable for _, variable in pairs] == [v]
    plain, counting = optimizer.apply_gradients(pairs), optimizer.apply_gradients(pairs, step, "named")
    assert (plain.name, plain.type, counting.name, counting.type) == ("GradientDescent", "NoOp", "named", "AssignAdd")
    assert tf.get_collection(tf.GraphKeys.TRAIN_OP) == [plain, counting]
    sess.run(tf.global_variables_initializer())
    sess.run([plain, counting])
    assert [value.tolist() for value in sess.run([v, step])] == [[-2.0], 1]
    assert optimizer.get_name() == "GradientDescent"
    assert (optimizer.get_slot_names(), optimizer.variables()) == ([], [])


def test_gradients_that_are_missing_are_skipped(sess: tf.Session) -> None:
    v, other = tf.Variable([1.0]), tf.Variable([1.0])
    optimizer = tf.train.GradientDescentOptimizer(1.0)
    pairs = optimizer.compute_gradients(tf.reduce_sum(v))
    assert pairs[1] == (None, other)
    sess.run(tf.global_variables_initializer())
    sess.run(optimizer.apply_gradients(pairs))
    assert [value.tolist() for value in sess.run([v, other])] == [[0.0], [1.0]]


def test_gradients_can_be_changed_before_they_are_applied(sess: tf.Session) -> None:
    v = tf.Variable([4.0])
    optimizer = tf.train.GradientDescentOptimizer(1.0)
    pairs = [(gradient * 0.5, variable) for gradient, variable in optimizer.compute_gradients(tf.reduce_sum(v * v))]
    sess.run(v.initializer)
    sess.run(optimizer.apply_gradients(pairs))
    assert sess.run(v).tolist() == [0.0]


def test_constraints_hold_after_the_update(sess: tf.Session) -> None:
    v = tf.Variable([3.0], constraint=lambda value: tf.minimum(value, [1.0]))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(v))
    sess.run(v.initializer)
    sess.run(train)
    assert sess.run(v).tolist() == [1.0]


def test_errors() -> None:
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    with pytest.raises(ValueError, match=r"No variables provided\."):
        optimizer.apply_gradients([])
    with pytest.raises(ValueError, match=r"No variables to optimize\."):
        optimizer.minimize(tf.constant(1.0))
    v = tf.Variable([1.0])
    with pytest.raises(ValueError, match=r"No gradients provided for any variable: \["):
        optimizer.apply_gradients([(None, v)])
    with pytest.raises(ValueError, match="No gradients provided for any variable, check your graph"):
        optimizer.minimize(tf.constant(1.0))
    with pytest.raises(ValueError, match="Invalid type"):
        optimizer.minimize(tf.constant(1))
    with pytest.raises(NotImplementedError, match="Trying to update a Tensor"):
        optimizer.apply_gradients([(tf.constant([1.0]), tf.constant([1.0]))])
    with pytest.raises(TypeError, match=r"not a tf\.Variable"):
        optimizer.compute_gradients(tf.constant(1.0), [3])
    with pytest.raises(ValueError, match="Dimension 0 in both shapes must be equal"):
        optimizer.apply_gradients([(tf.constant([1.0, 2.0]), v)])
    with pytest.raises(ValueError, match="gate_gradients must be one of"):
        optimizer.compute_gradients(v, gate_gradients=7)
    with pytest.raises(ValueError, match="aggregation_method=.* is not supported"):  # noqa: RUF043
        optimizer.compute_gradients(v, aggregation_method=2)
    with pytest.raises(ValueError, match="Must specify the optimizer name"):
        tf.train.GradientDescentOptimizer(0.1, name="")


def test_a_step_computed_from_old_values_is_added_to_the_newest(target: Target) -> None:
    """Two workers step from the same values; the server subtracts both."""
    v = tf.Variable([0.0], name="v")
    g = tf.placeholder(tf.float32, [1])
    train = tf.train.GradientDescentOptimizer(1.0).apply_gradients([(g, v)])
    with target.session() as one, target.session() as two:
        one.run(v.initializer)
        for _ in range(10):
            one.run(train, {g: [1.0]})
            two.run(train, {g: [2.0]})
        assert one.run(v).tolist() == [-30.0]


def _classifier() -> dict[str, Any]:
    x, y = tf.placeholder(tf.float32, [None, 8, 8, 1]), tf.placeholder(tf.int32, [None])
    kernel = tf.get_variable("kernel", [3, 3, 1, 4], initializer=tf.truncated_normal_initializer(stddev=0.3, seed=2))
    bias = tf.get_variable("bias", [4], initializer=tf.zeros_initializer())
    layer = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, [1, 1, 1, 1], "SAME"), bias))
    layer = tf.nn.max_pool(layer, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
    weight = tf.get_variable("weight", [64, 3], initializer=tf.glorot_uniform_initializer(seed=2))
    logits = tf.matmul(tf.reshape(layer, [-1, 64]), weight)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    step = tf.train.get_or_create_global_step()
    train = tf.train.GradientDescentOptimizer(0.2).minimize(loss, global_step=step)
    right = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1, output_type=tf.int32), y), tf.float32))
    return {"x": x, "y": y, "loss": loss, "train": train, "right": right, "step": step}


def _bars(count: int, seed: int) -> tuple[Any, Any]:
    """Images with a bar: across, down, or slanting."""
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((count, 8, 8, 1)).astype(np.float32) * 0.3
    classes = rng.integers(0, 3, count)
    at = np.arange(8)
    for image, kind in zip(images, classes, strict=True):
        place = rng.integers(1, 7)
        image[(place, at) if kind == 0 else (at, place) if kind == 1 else (at, (at + place) % 8)] += 2.0
    return images, classes


def _work(url: str, container: str, seed: int) -> None:
    model = _classifier()
    manager = tf.train.SessionManager(recovery_wait_secs=0.01, container=container)
    with manager.wait_for_session(url, max_wait_secs=60) as sess:
        for i in range(40):
            images, classes = _bars(30, 1000 * seed + i)
            sess.run(model["train"], {model["x"]: images, model["y"]: classes})


def test_three_workers_train_a_classifier_through_the_server(graph_server: Server) -> None:
    model = _classifier()
    container = "three-workers"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work, args=(graph_server.url, container, seed)) for seed in (1, 2, 3)]
    for worker in workers:
        worker.start()
    manager = tf.train.SessionManager(container=container)
    with manager.prepare_session(graph_server.url, init_op=tf.global_variables_initializer()) as sess:
        for worker in workers:
            worker.join(90)
            assert worker.exitcode == 0
        images, classes = _bars(200, 7)
        right, steps = sess.run([model["right"], model["step"]], {model["x"]: images, model["y"]: classes})
    assert steps == 120
    assert right > 0.9
