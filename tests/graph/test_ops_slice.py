"""Parts of tensors and of variables by index, settled when the graph is built or only by a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]


KEYS: list[Any] = [0, -1, slice(1, None), slice(None, None, -1), (0, 1), (slice(0, 1), None, 2), (..., 1), (None, ...)]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_slices_are_numpys(key: Any, run: Run) -> None:
    x = np.arange(12).reshape(3, 4)
    t = tf.constant(x)[key]
    np.testing.assert_array_equal(run(t), x[key])
    assert t.shape.known() == x[key].shape


def test_slices_that_are_none() -> None:
    t = tf.constant([1, 2])
    with pytest.raises(ValueError, match="slice index 5 of dimension 0 out of bounds"):
        t[5]
    with pytest.raises(ValueError, match="input has only 1 dims"):
        t[0, 0]
    with pytest.raises(TypeError, match="valid indices"):
        t[1.5]
    p = tf.placeholder(tf.int32, [None])
    with tf.Session() as sess, pytest.raises(tf.errors.InvalidArgumentError, match="out of bounds"):
        sess.run(p[5], {p: [1]})


def _ends() -> tuple[tf.Tensor, tf.Tensor]:
    return tf.placeholder(tf.int32, []), tf.placeholder(tf.int64, [])


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        (lambda p, q: p, [4]),
        (lambda p, q: slice(p), [None, 4]),
        (lambda p, q: slice(p, q), [None, 4]),
        (lambda p, q: (slice(p, q), 0), [None]),
        (lambda p, q: (slice(1, None), p), [None]),
        (lambda p, q: (slice(None, None, 2), p), [2]),
        (lambda p, q: (..., p), [3]),
        (lambda p, q: (p, None, q), [1]),
        (lambda p, q: slice(None, None, p), None),
    ],
)
@pytest.mark.parametrize("values", [(1, 2), (-2, -1), (2, 0), (-1, 3)], ids=str)
def test_indices_that_a_run_settles(
    key: Callable[[Any, Any], Any], shape: list[int | None] | None, values: tuple[int, int], run: Run
) -> None:
    x = np.arange(12).reshape(3, 4)
    p, q = _ends()
    part = tf.constant(x)[key(p, q)]
    assert (None if part.shape.ndims is None else part.shape.as_list()) == shape
    np.testing.assert_array_equal(run(part, dict(zip((p, q), values, strict=True))), x[key(*values)])


def test_indices_that_the_graph_settles_keep_the_shape_known(run: Run) -> None:
    t = tf.zeros([3, 4])
    assert t[tf.constant(1) :].shape.known() == (2, 4)
    assert t[: tf.shape(t)[0] - 1].shape.as_list() == [None, 4]
    assert t[: t.shape[1]].shape.known() == (3, 4)
    assert t[np.int64(2)].shape.known() == (4,)


def test_a_variable_is_an_index(sess: tf.Session) -> None:
    v, rows = tf.Variable([1.0, 2.0, 3.0], name="v"), tf.Variable(1, name="rows")
    sess.run(tf.global_variables_initializer())
    assert sess.run([v[rows], v[rows:]])[1].tolist() == [2.0, 3.0]
    assert sess.run(v[rows]) == 2.0


def test_slices_that_a_run_refuses(run: Run) -> None:
    t, loose = tf.constant([[1, 2], [3, 4]]), tf.placeholder(tf.int32)
    assert t[loose].shape.known() == (2,)
    for part, value, message in (
        (t[loose], 2, "out of bounds"),
        (t[loose], [0], "must be a scalar, got shape"),
        (t[::loose], 0, "step cannot be zero"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            run(part, {loose: value})


@pytest.mark.parametrize("dtype", [tf.float32, tf.bool, tf.uint8])
def test_tensors_that_are_no_index(dtype: Any) -> None:
    t = tf.constant([1, 2])
    for bad in (tf.placeholder(dtype, []), tf.placeholder(tf.int32, [2]), [0, 1], np.array([0]), "0", True, 1.0):
        with pytest.raises(TypeError, match=r"scalar tf.int32/tf.int64 tensors are valid indices, got"):
            t[bad]
        with pytest.raises(TypeError, match="valid indices"):
            t[:bad]


def test_parts_of_variables_that_a_run_settles(sess: tf.Session) -> None:
    p, q = _ends()
    v = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], name="v")
    sess.run(v.initializer)
    assert sess.run(v[p], {p: -1}).tolist() == [5.0, 6.0]
    assert sess.run(v[p:q, 0], {p: 1, q: 9}).tolist() == [3.0, 5.0]
    assert sess.run(v[:p].assign(v[:p] * 10.0), {p: 1}).tolist() == [[10.0, 20.0], [3.0, 4.0], [5.0, 6.0]]
    assert sess.run(v[p, 1].assign(0.0), {p: 2}).tolist() == [[10.0, 20.0], [3.0, 4.0], [5.0, 0.0]]
    assert sess.run(v[p:q].assign([[7.0, 8.0]]), {p: 1, q: 2})[1].tolist() == [7.0, 8.0]
    assert v[p].assign([1.0, 2.0]).shape.known() == (3, 2)
    before = sess.run(v).tolist()
    for update, feeds in ((v[p].assign([0.0, 0.0]), {p: 3}), (v[:p].assign([[0.0, 0.0]] * 3), {p: 2})):
        with pytest.raises(tf.errors.InvalidArgumentError, match="Cannot assign to the slice"):
            sess.run(update, feeds)
    assert sess.run(v).tolist() == before


def test_gradients_go_back_to_where_a_run_looked(sess: tf.Session) -> None:
    p, _ = _ends()
    v = tf.Variable([1.0, 2.0, 3.0], name="v")
    sess.run(v.initializer)
    found = tf.gradients(tf.reduce_sum(tf.square(v[p:])), [v, p])
    assert found[1] is None
    assert sess.run(found[0], {p: 1}).tolist() == [0.0, 4.0, 6.0]
    train = tf.train.GradientDescentOptimizer(0.5).minimize(tf.square(v[p]))
    sess.run(train, {p: 2})
    assert sess.run(v).tolist() == [1.0, 2.0, 0.0]
