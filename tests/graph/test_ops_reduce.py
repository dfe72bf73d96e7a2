"""Reductions against numpy, with TensorFlow's old names of their arguments; where the extremes lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]
X = np.random.default_rng(3).integers(-3, 4, (2, 3, 4))


def _logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


REDUCTIONS = {
    tf.reduce_sum: (np.sum, np.float32), tf.reduce_mean: (np.mean, np.float32), tf.reduce_prod: (np.prod, np.float32),
    tf.reduce_max: (np.max, np.float32), tf.reduce_min: (np.min, np.float32), tf.reduce_any: (np.any, np.bool_),
    tf.reduce_all: (np.all, np.bool_), tf.reduce_logsumexp: (_logsumexp, np.float32),
}  # fmt: skip


@pytest.mark.parametrize("ours", REDUCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("axis", [None, 0, -1, [0, 2], [1], (0, 1, 2), []])
def test_over_axes(ours: Any, axis: Any, run: Run) -> None:
    theirs, dtype = REDUCTIONS[ours]
    x = X.astype(dtype)
    wanted_axis = tuple(axis) if isinstance(axis, list) else axis
    for keep in (False, True):
        wanted = theirs(x, axis=wanted_axis, keepdims=keep)
        tensors = [ours(x, axis, keepdims=keep), ours(x, reduction_indices=axis, keep_dims=keep)]
        for tensor, got in zip(tensors, run(tensors), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
            assert tensor.shape.as_list() == list(np.shape(wanted))
            assert got.dtype == dtype


@pytest.mark.parametrize("ours", REDUCTIONS, ids=lambda f: f.__name__)
def test_old_and_new_names_exclude_each_other(ours: Any) -> None:
    x = X.astype(REDUCTIONS[ours][1])
    with pytest.raises(ValueError, match="Can't specify both 'axis' and 'reduction_indices'"):
        ours(x, axis=0, reduction_indices=0)
    with pytest.raises(ValueError, match="Cannot specify both 'keep_dims' and 'keepdims'"):
        ours(x, keepdims=True, keep_dims=True)
    with pytest.raises(ValueError, match="Invalid reduction dimension 3 for input with 3 dimensions"):
        ours(x, axis=3)


def test_of_nothing(run: Run) -> None:
    empty = tf.zeros([0, 2])
    found = run([f(empty, 0) for f in (tf.reduce_sum, tf.reduce_prod, tf.reduce_max, tf.reduce_min)])
    assert [each.tolist() for each in found] == [[0, 0], [1, 1], [-np.inf] * 2, [np.inf] * 2]
    assert run(tf.reduce_min(tf.zeros([0], tf.int32))) == 2**31 - 1
    assert run([tf.reduce_all(tf.zeros([0], tf.bool)), tf.reduce_any(tf.zeros([0], tf.bool))]) == [True, False]


def test_bools_only() -> None:
    for function in (tf.reduce_any, tf.reduce_all):
        with pytest.raises(ValueError, match="conversion requested dtype bool for Tensor with dtype float32"):
            function(tf.zeros([2]))


def test_bools_have_no_sum() -> None:
    for function in (tf.reduce_sum, tf.reduce_mean, tf.reduce_prod, tf.reduce_max, tf.reduce_min):
        with pytest.raises(TypeError, match="'input' has DataType bool not in list of allowed values"):
            function([True])
    for function in (tf.cumsum, tf.cumprod):
        with pytest.raises(TypeError, match="'x' has DataType bool"):
            function([True])


def test_logsumexp_keeps_its_range(run: Run) -> None:
    assert run(tf.reduce_logsumexp([1000.0, 1000.0])) == pytest.approx(1000 + np.log(2))
    assert run(tf.reduce_logsumexp([-np.inf, -np.inf])) == -np.inf
    x = tf.constant([[1000.0, 0.0], [-1000.0, -1000.0]])
    assert run(tf.gradients(tf.reduce_logsumexp(x, 1), x)[0]).tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_min_shares_the_gradient_of_ties(run: Run) -> None:
    x = tf.constant([[2.0, 2.0, 3.0], [1.0, 4.0, 4.0]])
    assert run(tf.gradients(tf.reduce_min(x, 1), x)[0]).tolist() == [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]


def test_product_with_zeros(run: Run) -> None:
    for values, wanted in (([2.0, 0.0, 3.0], [0.0, 6.0, 0.0]), ([0.0, 0.0, 3.0], [0.0, 0.0, 0.0])):
        x = tf.constant(values)
        assert run(tf.gradients(tf.reduce_prod(x), x)[0]).tolist() == wanted


def test_arg_extremes(run: Run) -> None:
    assert run(tf.argmin(X, 1)).tolist() == X.argmin(1).tolist()
    assert run(tf.argmin(X)).tolist() == X.argmin(0).tolist()
    assert tf.argmin(X, dimension=2, output_type=tf.int32).dtype == tf.int32
    with pytest.raises(ValueError, match=r"must be in the range \[-3, 3\)"):
        tf.argmin(X, 3)
    with pytest.raises(ValueError, match="Cannot specify both 'axis' and 'dimension'"):
        tf.argmin(X, 0, dimension=1)


def test_count_and_norms(run: Run) -> None:
    assert run(tf.count_nonzero(X, 1)).tolist() == np.count_nonzero(X, 1).tolist()
    assert tf.count_nonzero(X, dtype=tf.int32).dtype == tf.int32
    x = X.astype(np.float64)
    for order, theirs in (("euclidean", 2), (1, 1), (3, 3), (np.inf, np.inf)):
        np.testing.assert_allclose(run(tf.norm(x, order, axis=1)), np.linalg.norm(x, theirs, axis=1))
    np.testing.assert_allclose(
        run(tf.norm(x, axis=[0, 1], keepdims=True)), np.linalg.norm(x, axis=(0, 1), keepdims=True)
    )
    np.testing.assert_allclose(run(tf.norm(x)), np.linalg.norm(x.ravel()))
    for order, axis in ((0, None), ("nuclear", None), (1, [0, 1]), ("fro", 0)):
        with pytest.raises(ValueError, match="'ord' must be a supported norm"):
            tf.norm(x, order, axis=axis)
