"""Elements and blocks by index vectors, of tensors and of variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]
X = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    ("indices", "wanted"),
    [
        ([[0, 1], [2, 3]], X[[0, 2], [1, 3]]),
        ([[1]], X[[1]]),
        ([[[2], [0]], [[0], [0]]], X[[[2, 0], [0, 0]]]),
        ([1, 2], X[1, 2]),
        (np.zeros([0], np.int32), X),
        (np.zeros([2, 0], np.int32), np.stack([X, X])),
        (np.zeros([0, 2], np.int32), X[[], []]),
    ],
)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_gather_nd(indices: Any, wanted: Any, dtype: str, run: Run) -> None:
    places = np.array(indices, dtype)
    found = tf.gather_nd(X, places)
    assert found.shape.known() == wanted.shape
    np.testing.assert_array_equal(run(found), wanted)
    loose = tf.placeholder(dtype)
    assert tf.gather_nd(X, loose).shape.ndims is None
    np.testing.assert_array_equal(run(tf.gather_nd(X, loose), {loose: places}), wanted)


def test_names_and_types() -> None:
    assert tf.gather_nd(X, [[0]]).name == "GatherNd:0"
    assert tf.scatter_nd([[0]], [1.0], [4]).name == "ScatterNd:0"
    assert tf.scatter_nd([[0]], [1.0], [4], name="mine").op.type == "ScatterNd"
    assert tf.scatter_nd([[0]], [True], [4]).dtype == tf.bool


def test_what_gather_nd_refuses(run: Run) -> None:
    for params, indices in ((X, [0, 1, 2]), (3.0, [[0]])):
        with pytest.raises(ValueError, match="The last dimension of indices must be <="):
            tf.gather_nd(params, indices)
    with pytest.raises(ValueError, match="at least rank 1"):
        tf.gather_nd(X, 1)
    with pytest.raises(TypeError, match="'indices' has DataType float32 not in list"):
        tf.gather_nd(X, [[1.0]])
    loose = tf.placeholder(tf.int32)
    for bad, message in (
        ([[0, 1], [0, 9]], r"indices\[1\] = \[0, 9\] does not index into shape \[3, 4\]"),
        ([[-1]], r"indices\[0\] = \[-1\] does not index"),
        ([[0, 0, 0]], "The last dimension of indices must be <= 2"),
        (1, "The last dimension of indices must be <= 2"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            run(tf.gather_nd(X, loose), {loose: bad})


def test_scatter_nd(run: Run) -> None:
    assert run(tf.scatter_nd([[0], [2], [0]], [1.0, 2.0, 3.0], [4])).tolist() == [4.0, 0.0, 2.0, 0.0]
    block = tf.scatter_nd([[0, 1]], [[1, 2]], [2, 2, 2])
    assert block.shape.known() == (2, 2, 2)
    assert run(block).tolist() == [[[0, 0], [1, 2]], [[0, 0], [0, 0]]]
    assert run(tf.scatter_nd(np.zeros([2, 0], np.int32), [[1, 2], [3, 4]], [2])).tolist() == [4, 6]
    assert run(tf.scatter_nd([[1]], ["a"], [2])).tolist() == [b"", b"a"]
    assert run(tf.scatter_nd(np.array([[1]]), [5], tf.TensorShape([2]))).tolist() == [0, 5]
    rows = tf.placeholder(tf.int32, [])
    loose = tf.scatter_nd([[1]], [5], [rows])
    assert loose.shape.as_list() == [None]
    assert run(loose, {rows: 3}).tolist() == [0, 5, 0]


def test_what_scatter_nd_refuses(run: Run) -> None:
    with pytest.raises(ValueError, match="The outer 1 dimensions of indices"):
        tf.scatter_nd([[0], [2]], [1.0, 2.0, 3.0], [4])
    with pytest.raises(ValueError, match="The inner 1 dimensions of input"):
        tf.scatter_nd([[0]], [[1.0, 2.0, 3.0]], [4, 2])
    with pytest.raises(ValueError, match="The last dimension of indices must be <= 1"):
        tf.scatter_nd([[0, 1]], [1.0], [4])
    with pytest.raises(TypeError, match="'shape' of 'ScatterNd' Op has type int64 that does not match type int32"):
        tf.scatter_nd([[0]], [1.0], tf.constant([4], tf.int64))
    places, blocks, shape = tf.placeholder(tf.int32), tf.placeholder(tf.float32), tf.placeholder(tf.int32, [1])
    for feeds, message in (
        (([[0], [4]], [1, 2], [4]), r"indices\[1\] = \[4\] does not index into shape \[4\]"),
        (([[0], [1]], [1], [4]), "Must have updates.shape"),
        (([[0]], [1], [-1]), "must be >= 0"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            run(tf.scatter_nd(places, blocks, shape), dict(zip((places, blocks, shape), feeds, strict=True)))


def test_the_gradient_of_whole_rows_is_sparse(sess: tf.Session) -> None:
    v = tf.Variable(X, name="v")
    sess.run(v.initializer)
    (rows,) = tf.gradients(tf.gather_nd(v, [[2], [0]]), v)
    assert isinstance(rows, tf.IndexedSlices)
    assert sess.run(rows.indices).tolist() == [2, 0]
    (whole,) = tf.gradients(v.gather_nd([[2, 1]]), v)
    assert isinstance(whole, tf.Tensor)
    assert np.argwhere(sess.run(whole)).tolist() == [[2, 1]]
    assert sess.run(v.gather_nd([[2, 1], [0, 0]])).tolist() == [9.0, 0.0]
    train = tf.train.GradientDescentOptimizer(1.0).minimize(tf.reduce_sum(v.gather_nd([[0], [0]])))
    sess.run(train)
    assert sess.run(v)[0].tolist() == [-2.0, -1.0, 0.0, 1.0]
