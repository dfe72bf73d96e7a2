"""Clipping, as optimizers use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]


def test_by_value(run: Run) -> None:
    x = tf.constant([-2.0, -1.0, 0.5, 1.0, 3.0])
    clipped = tf.clip_by_value(x, -1.0, 1.0)
    assert run(clipped).tolist() == [-1.0, -1.0, 0.5, 1.0, 1.0]
    assert run(tf.gradients(clipped, x)[0]).tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]
    assert run(tf.clip_by_value([[1, 5], [7, 2]], [[2], [3]], 6)).tolist() == [[2, 5], [6, 3]]
    with pytest.raises(ValueError, match="incompatible"):
        tf.clip_by_value(tf.ones([3]), tf.ones([2, 3]), 5.0)


def test_rows_stay_rows(run: Run) -> None:
    rows = tf.IndexedSlices(tf.constant([[3.0, 4.0]]), tf.constant([1]), tf.constant([5, 2]))
    by_value, by_norm = tf.clip_by_value(rows, 0.0, 3.5), tf.clip_by_norm(rows, 1.0)
    (by_global,), length = tf.clip_by_global_norm([rows], 1.0)
    values, norms, together, size = run([by_value.values, by_norm.values, by_global.values, length])
    np.testing.assert_allclose(values, [[3.0, 3.5]])
    np.testing.assert_allclose(norms, [[0.6, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(together, [[0.6, 0.8]], rtol=1e-6)
    assert size == 5.0
    assert by_value.indices is by_norm.indices is by_global.indices is rows.indices


def test_by_norm(run: Run) -> None:
    x = np.array([[3.0, 4.0], [0.3, 0.4]])
    np.testing.assert_allclose(run(tf.clip_by_norm(x, 1.0, axes=1)), [[0.6, 0.8], [0.3, 0.4]])
    np.testing.assert_allclose(run(tf.clip_by_norm(x, 100.0)), x)
    np.testing.assert_allclose(run(tf.clip_by_norm(x, 2.0)), x * 2 / np.sqrt((x**2).sum()))
    zeros = tf.zeros([2])
    assert run(tf.gradients(tf.clip_by_norm(zeros, 1.0), zeros)[0]).tolist() == [1.0, 1.0]


def test_by_average_norm(run: Run) -> None:
    x = np.array([3.0, 4.0])
    np.testing.assert_allclose(run(tf.clip_by_average_norm(x, 1.0)), x / 2.5)
    np.testing.assert_allclose(run(tf.clip_by_average_norm(x, 3.0)), x)


def test_global_norm_of_nothing(run: Run) -> None:
    for wrong in (tf.constant([1.0]), "abc"):
        for function in (tf.global_norm, lambda t: tf.clip_by_global_norm(t, 1.0)):
            with pytest.raises(TypeError, match="t_list should be a sequence"):
                function(wrong)
    assert run(tf.global_norm([None])) == 0
    clipped, norm = tf.clip_by_global_norm([None], 1.0)
    assert (clipped, run(norm)) == ([None], 0)


def test_by_global_norm(run: Run) -> None:
    parts = [tf.constant([[1.0, 2.0]]), None, tf.constant([4.0]), tf.constant(2.0)]
    clipped, length = tf.clip_by_global_norm(parts, 2.5)
    assert clipped[1] is None
    assert run(length) == 5.0
    for got, part in zip(run([clipped[0], clipped[2], clipped[3]]), run([parts[0], parts[2], parts[3]]), strict=True):
        np.testing.assert_allclose(got, part / 2)
    kept, _ = tf.clip_by_global_norm(parts, 6.0)
    np.testing.assert_allclose(run(kept[0]), [[1.0, 2.0]])
    halved, given = tf.clip_by_global_norm(parts, 1.0, use_norm=tf.constant(2.0))
    np.testing.assert_allclose(run(halved[2]), [2.0])
    assert run(given) == 2.0
    assert [each.op.name for each in (clipped[0], clipped[2])] == [
        "clip_by_global_norm/clip_by_global_norm_0", "clip_by_global_norm/clip_by_global_norm_2"]  # fmt: skip


def test_a_norm_that_is_not_finite_poisons_all(run: Run) -> None:
    for bad in (np.inf, np.nan):
        clipped, _ = tf.clip_by_global_norm([tf.constant([1.0]), tf.constant([bad])], 1.0)
        assert np.isnan(run(clipped[0])).all()


def test_lookups_can_be_clipped(run: Run) -> None:
    table = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 2.0]])
    found = tf.nn.embedding_lookup(table, [[0, 1], [2, 2]], max_norm=1.0)
    np.testing.assert_allclose(run(found), [[[0.6, 0.8], [0.3, 0.4]], [[0.0, 1.0], [0.0, 1.0]]])
    parts = tf.nn.embedding_lookup([table[::2], table[1::2]], [0, 1, 2], max_norm=1.0, name="clipped")
    np.testing.assert_allclose(run(parts), [[0.6, 0.8], [0.3, 0.4], [0.0, 1.0]])
    assert parts.op.name == "clipped"
    with pytest.raises(ValueError, match="known ranks"):
        tf.nn.embedding_lookup(tf.placeholder(tf.float32), [0], max_norm=1.0)
