"""Arithmetic, comparison, reductions: kernels against plain numpy written another way; types and errors as TensorFlow's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import paramserver_client.graph as tf
from paramserver_client.graph import ops_math

Run = Callable[..., Any]
xs = np.array([-2.5, -1.0, -0.25, 0.5, 1.0, 3.0], np.float32)
ys = np.array([2.0, -3.0, 0.5, 4.0, -1.0, 0.25], np.float32)

ELEMENTWISE: list[tuple[Callable[..., Any], Callable[..., float]]] = [
    (tf.add, lambda x, y: x + y),
    (tf.subtract, lambda x, y: x - y),
    (tf.multiply, lambda x, y: x * y),
    (tf.truediv, lambda x, y: x / y),
    (tf.floordiv, lambda x, y: math.floor(x / y)),
    (ops_math.floormod, lambda x, y: x - math.floor(x / y) * y),
    (tf.maximum, max),
    (tf.minimum, min),
    (tf.equal, lambda x, y: x == y),
    (tf.not_equal, lambda x, y: x != y),
    (tf.less, lambda x, y: x < y),
    (tf.less_equal, lambda x, y: x <= y),
    (tf.greater, lambda x, y: x > y),
    (tf.greater_equal, lambda x, y: x >= y),
]


@pytest.mark.parametrize(("function", "formula"), ELEMENTWISE, ids=lambda value: getattr(value, "__name__", ""))
def test_two_arguments(function: Callable[..., Any], formula: Callable[..., float], run: Run) -> None:
    wanted = [formula(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]
    np.testing.assert_allclose(run(function(xs, ys)), wanted, rtol=1e-6)


UNARY: list[tuple[Callable[..., Any], Callable[[float], float]]] = [
    (tf.negative, lambda x: -x),
    (tf.abs, abs),
    (tf.sign, lambda x: (x > 0) - (x < 0)),
    (tf.square, lambda x: x * x),
    (tf.exp, math.exp),
    (tf.tanh, math.tanh),
    (tf.sigmoid, lambda x: 1 / (1 + math.exp(-x))),
    (tf.log1p, lambda x: math.log(1 + abs(x))),
    (tf.log, lambda x: math.log(abs(x))),
    (tf.sqrt, lambda x: math.sqrt(abs(x))),
]


@pytest.mark.parametrize(("function", "formula"), UNARY, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_one_argument(function: Callable[..., Any], formula: Callable[[float], float], dtype: str, run: Run) -> None:
    given = np.abs(xs) if function in (tf.log, tf.log1p, tf.sqrt) else xs
    tensor = function(tf.cast(given, dtype))
    found = run(tensor)
    assert tensor.dtype == found.dtype == dtype
    tolerance = {"float32": 1e-6, "float64": 1e-7, "float16": 2e-3, "bfloat16": 2e-2}[dtype]
    np.testing.assert_allclose(np.asarray(found, np.float64), [formula(float(x)) for x in given], rtol=tolerance)


def test_sigmoid_does_not_overflow(run: Run) -> None:
    np.testing.assert_array_equal(run(tf.sigmoid([-1e4, 1e4])), [0.0, 1.0])


def test_integers(run: Run) -> None:
    seven, minus = tf.constant([7, -7]), tf.constant([2, 2])
    assert run(tf.div(seven, minus)).tolist() == [3, -4]
    assert run(seven // minus).tolist() == [3, -4]
    assert run(seven % minus).tolist() == [1, 1]
    halves = run(seven / minus)
    assert (halves.tolist(), halves.dtype) == ([3.5, -3.5], np.float64)
    assert run(tf.truediv(tf.constant([1], tf.int8), tf.constant([2], tf.int8))).dtype == np.float32
    with pytest.raises(tf.errors.InvalidArgumentError, match="Integer division by zero"):
        run(seven // tf.constant([0, 1]))


def test_python_operators(run: Run) -> None:
    t = tf.constant([1.0, 2.0])
    found = run([t + 1, 1 + t, t - 1, 1 - t, t * 2, 2 * t, t / 2, 2 / t, t**2, 2**t, -t, abs(-t), t // 2, 3 // t])
    wanted = [[2, 3], [2, 3], [0, 1], [0, -1], [2, 4], [2, 4], [0.5, 1], [2, 1], [1, 4], [2, 4], [-1, -2], [1, 2],
              [0, 1], [3, 1]]  # fmt: skip
    assert [each.tolist() for each in found] == wanted
    assert run([t > 1, t >= 2, t < 2, t <= 1])[0].tolist() == [False, True]
    flags = tf.constant([True, False])
    assert run([flags & True, flags | True, flags ^ True, ~flags])[2].tolist() == [False, True]
    m = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(run(m @ [[1.0], [1.0]]), [[3.0], [7.0]])
    np.testing.assert_array_equal(run([[1.0, 1.0]] @ m), [[4.0, 6.0]])
    np.testing.assert_array_equal(run(np.float32([1, 2]) + t), [2.0, 4.0])


def test_nothing_is_promoted() -> None:
    floats, ints = tf.constant([1.0]), tf.constant([1])
    with pytest.raises(TypeError, match="Input 'y' of 'Add' Op has type int32 that does not match type float32 of"):
        floats + ints
    with pytest.raises(TypeError, match="Input 'y' of 'Mul' Op has type float32 that does not match type int32"):
        ints * 1.5
    with pytest.raises(TypeError, match=r"Expected int32 passed to parameter 'y' of op 'Add', got 1\.5"):
        tf.add(ints, 1.5)
    with pytest.raises(TypeError, match="x and y must have the same dtype"):
        floats / ints
    assert (floats + 1).dtype == tf.float32


def test_shapes_that_do_not_broadcast() -> None:
    with pytest.raises(ValueError, match=r"Dimensions must be equal, but are 2 and 3 for 'Add' \(op: 'Add'\)"):
        tf.add([1.0, 2.0], [1.0, 2.0, 3.0])
    p = tf.placeholder(tf.float32)
    with tf.Session() as sess, pytest.raises(tf.errors.InvalidArgumentError, match=r"\[\[node Add_1 \(Add\)\]\]"):
        sess.run(tf.add(p, [1.0, 2.0], name="Add"), {p: [1.0, 2.0, 3.0]})


def test_cast(run: Run) -> None:
    assert run(tf.cast([1.9, -1.9], tf.int32)).tolist() == [1, -1]
    assert run(tf.cast([0, 2], tf.bool)).tolist() == [False, True]
    assert run(tf.cast([1 + 2j], tf.float32)).tolist() == [1.0]
    t = tf.constant(1.0)
    assert tf.cast(t, tf.float32) is t


def test_where(run: Run) -> None:
    assert run(tf.where([True, False], [1, 2], [3, 4])).tolist() == [1, 4]
    assert run(tf.where([True, False], [[1, 2], [3, 4]], [[5, 6], [7, 8]])).tolist() == [[1, 2], [7, 8]]


matrix = st.integers(1, 4)


@given(matrix, matrix, matrix, st.booleans(), st.booleans())
def test_matmul(n: int, k: int, m: int, flip_a: bool, flip_b: bool) -> None:
    a = np.arange(n * k, dtype=np.float64).reshape(n, k) - 3
    b = np.arange(k * m, dtype=np.float64).reshape(k, m) / 2
    wanted = [[sum(a[i, p] * b[p, j] for p in range(k)) for j in range(m)] for i in range(n)]
    with tf.Graph().as_default(), tf.Session() as sess:
        product = tf.matmul(a.T if flip_a else a, b.T if flip_b else b, transpose_a=flip_a, transpose_b=flip_b)
        assert product.shape.known() == (n, m)
        np.testing.assert_allclose(sess.run(product), wanted)


def test_matmul_of_unknown_shapes_is_checked_when_run() -> None:
    p = tf.placeholder(tf.float32, [None, None])
    with tf.Session() as sess, pytest.raises(tf.errors.InvalidArgumentError, match="Matrix size-incompatible"):
        sess.run(tf.matmul(p, p), {p: [[1.0, 2.0]]})


@pytest.mark.parametrize("axis", [None, 0, -1, [0, 2], [], [1, 0, 2]])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("kind", ["sum", "mean", "max"])
def test_reductions(kind: str, axis: Any, keepdims: bool, run: Run) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 4))
    axes = [0, 1, 2] if axis is None else [axis % 3] if isinstance(axis, int) else [each % 3 for each in axis]
    function = {"sum": tf.reduce_sum, "mean": tf.reduce_mean, "max": tf.reduce_max}[kind]
    wanted: dict[tuple[int, ...], list[float]] = {}
    for index in np.ndindex(x.shape):
        key = tuple(0 if i in axes else at for i, at in enumerate(index))
        wanted.setdefault(key, []).append(float(x[index]))
    tensor = function(x, axis, keepdims=keepdims)
    found = np.asarray(run(tensor))
    assert tensor.shape.known() == found.shape
    full = tuple(1 if i in axes else size for i, size in enumerate(x.shape))
    combine = {"sum": sum, "mean": lambda v: sum(v) / len(v), "max": max}[kind]
    for key, values in wanted.items():
        assert found.reshape(full)[key] == pytest.approx(combine(values))


def test_reductions_of_integers_keep_their_type(run: Run) -> None:
    small = tf.constant([100, 100], tf.int8)
    assert run(tf.reduce_sum(small)).dtype == np.int8
    assert run(tf.reduce_mean(tf.constant([1, 2]))) == 1
    assert run(tf.reduce_mean(tf.constant([1, 2]))).dtype == np.int32


def test_old_names_of_arguments(run: Run) -> None:
    assert run(tf.reduce_sum([[1, 2]], reduction_indices=[1], keep_dims=True)).tolist() == [[3]]
    with pytest.raises(ValueError, match="both 'axis' and 'reduction_indices'"):
        tf.reduce_sum([1], axis=0, reduction_indices=0)
    with pytest.raises(ValueError, match="Invalid reduction dimension 3"):
        tf.reduce_sum([1], 3)


def test_argmax(run: Run) -> None:
    found = run(tf.argmax([[1, 5, 5], [7, 2, 0]], 1))
    assert (found.tolist(), found.dtype) == ([1, 0], np.int64)
    assert run(tf.argmax([[1, 5], [7, 2]])).tolist() == [1, 0]
    assert run(tf.argmax([1, 2], output_type=tf.int32)).dtype == np.int32
    with pytest.raises(ValueError, match="must be in the range"):
        tf.argmax([1, 2], 4)
