"""Products of matrices and of batches of them, against numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]
rng = np.random.default_rng(7)


@pytest.mark.parametrize(("a", "b"), [((2, 3, 4), (2, 4, 5)), ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (6, 4, 1))])
def test_batches_broadcast(a: Any, b: Any, run: Run) -> None:
    x, y = rng.standard_normal(a), rng.standard_normal(b)
    for flip_a in (False, True):
        for flip_b in (False, True):
            left, right = np.swapaxes(x, -1, -2) if flip_a else x, np.swapaxes(y, -1, -2) if flip_b else y
            tensor = tf.matmul(left, right, transpose_a=flip_a, transpose_b=flip_b)
            np.testing.assert_allclose(run(tensor), x @ y)
            assert tensor.shape.as_list() == list((x @ y).shape)
            assert tensor.op.type == "BatchMatMulV2"
    np.testing.assert_allclose(run(tf.constant(x) @ y), x @ y)


def test_unknown_ranks_are_settled_by_the_run(run: Run) -> None:
    a, b = tf.placeholder(tf.float64), tf.placeholder(tf.float64)
    product = tf.matmul(a, b)
    assert product.shape.ndims is None
    to_a, to_b = tf.gradients(product, [a, b])
    for x, y in ((rng.standard_normal((2, 3)), rng.standard_normal((3, 4))),
                 (rng.standard_normal((5, 2, 3)), rng.standard_normal((3, 4)))):  # fmt: skip
        value, left, right = run([product, to_a, to_b], {a: x, b: y})
        np.testing.assert_allclose(value, x @ y)
        assert (left.shape, right.shape) == (x.shape, y.shape)


def test_what_does_not_fit(run: Run) -> None:
    with pytest.raises(ValueError, match="Dimensions must be equal, but are 3 and 2"):
        tf.matmul(tf.ones([4, 2, 3]), tf.ones([4, 2, 3]))
    with pytest.raises(ValueError, match="Dimensions must be equal, but are 4 and 5"):
        tf.matmul(tf.ones([4, 2, 3]), tf.ones([5, 3, 2]))
    with pytest.raises(ValueError, match="must have rank at least 2"):
        tf.matmul(tf.ones([4, 2, 3]), tf.ones([3]))
    a = tf.placeholder(tf.float32)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"size-incompatible: In\[0\]: \[2, 3\], In\[1\]: \[2, 3\]"
    ):
        run(tf.matmul(a, a), {a: np.ones([2, 3])})
    with pytest.raises(tf.errors.InvalidArgumentError, match="ndims must be >= 2"):
        run(tf.matmul(a, a), {a: np.ones([2])})


@pytest.mark.parametrize("axes", [0, 1, 2, [[0], [2]], [[1, 2], [0, 1]], [0, 2], [[-1], [-2]]])
def test_tensordot(axes: Any, run: Run) -> None:
    x, y = rng.standard_normal((4, 3, 2)), rng.standard_normal((3, 2, 4))
    if axes == 1:
        y = y.transpose(1, 0, 2)
    tensor = tf.tensordot(x, y, axes)
    np.testing.assert_allclose(run(tensor), np.tensordot(x, y, axes))
    assert tensor.shape.as_list() == list(np.tensordot(x, y, axes).shape)


def test_tensordot_wants_pairs() -> None:
    with pytest.raises(ValueError, match="'axes' must be an integer or have two parts of one length"):
        tf.tensordot(tf.ones([2, 2]), tf.ones([2, 2]), [[0, 1], [0]])
    with pytest.raises(ValueError, match="unknown TensorShape"):
        tf.tensordot(tf.placeholder(tf.float32), tf.ones([2, 2]), 1)
