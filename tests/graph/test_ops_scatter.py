"""Rows of each part of a variable, and updates that do not fit only when run. The other scatters: test_page_variables."""

from __future__ import annotations

import numpy as np
import pytest

import paramserver_client.graph as tf


def test_rows_of_each_part(sess: tf.Session) -> None:
    v = tf.Variable(np.zeros([2, 3, 2], np.float32), name="v")
    sess.run(v.initializer)
    ones = np.ones([2, 2, 2], np.float32)
    update = tf.batch_scatter_update(v, [[0, 1], [2, 0]], ones)
    assert (update.op.name, update.shape.known()) == ("ScatterNdUpdate", (2, 3, 2))
    assert sess.run(update)[:, :, 0].tolist() == [[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    rows = tf.placeholder(tf.int64, [2, None])
    assert sess.run(tf.batch_scatter_update(v, rows, ones[:, :1] * 5), {rows: [[2], [1]]})[:, :, 1].tolist() == [
        [1.0, 1.0, 5.0], [1.0, 5.0, 1.0],
    ]  # fmt: skip
    changed = v.batch_scatter_update(tf.IndexedSlices(tf.constant(ones[:, :1] * 7), tf.constant([[0], [0]])))
    assert sess.run(changed)[:, 0, 0].tolist() == [7.0, 7.0]


@pytest.mark.parametrize("index", [1, [1]])
def test_rows_of_the_only_part(index: int | list[int], sess: tf.Session) -> None:
    v = tf.Variable([1.0, 2.0], name="v")
    sess.run(v.initializer)
    assert sess.run(tf.batch_scatter_update(v, index, np.full(np.shape(index), 9.0, np.float32))).tolist() == [1.0, 9.0]


def test_batches_that_are_refused(sess: tf.Session) -> None:
    v = tf.Variable(np.zeros([2, 3, 2], np.float32), name="v")
    sess.run(v.initializer)
    with pytest.raises(ValueError, match="batch_gather does not allow indices with unknown shape"):
        tf.batch_scatter_update(v, tf.placeholder(tf.int32), np.ones([2, 1, 2], np.float32))
    with pytest.raises(ValueError, match="The inner 1 dimensions of input"):
        tf.batch_scatter_update(v, [[0], [1]], np.ones([2, 1, 3], np.float32))
    with pytest.raises(TypeError, match="sparse_delta is not IndexedSlices: 1"):
        v.batch_scatter_update(1)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"indices\[1,0\] = \[1, 3\] does not index into shape"):
        sess.run(tf.batch_scatter_update(v, [[0], [3]], np.ones([2, 1, 2], np.float32)))
    assert not sess.run(v).any()


def test_elements_that_do_not_fit_when_run(sess: tf.Session) -> None:
    v, updates = tf.Variable([1.0, 2.0], name="v"), tf.placeholder(tf.float32)
    sess.run(v.initializer)
    for bad in ([1.0], 1.0, [[1.0, 2.0]]):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"Must have updates.shape"):
            sess.run(tf.scatter_nd_add(v, [[0], [1]], updates), {updates: bad})
    assert sess.run(v).tolist() == [1.0, 2.0]
