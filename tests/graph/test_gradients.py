"""Every gradient of the table against finite differences in float64, and against HIPS autograd where that has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

import paramserver_client.graph as tf
from paramserver_client.graph import ops_math
from paramserver_client.graph.convert import apply
from paramserver_client.graph.registry import TABLE

Array = np.ndarray[Any, np.dtype[Any]]
rng = np.random.default_rng(20261124)


@dataclass(frozen=True)
class Case:
    """`build` makes the tensor from its float64 inputs; `oracle` is the same with HIPS autograd, where it has it."""

    covers: str
    build: Callable[..., Any]
    inputs: tuple[Array, ...]
    oracle: Callable[..., Any] | None = None
    checked: tuple[int, ...] | None = None


def n(*shape: int) -> Array:
    return rng.standard_normal(shape)


def positive(*shape: int) -> Array:
    return rng.uniform(0.5, 2.0, shape)


def apart(*shape: int) -> Array:
    """No two elements near each other or near 0, so that a small step changes no order."""
    count = int(np.prod(shape))
    values = (np.arange(count) + 1) * 0.3 * np.where(np.arange(count) % 2, 1, -1)
    return rng.permutation(values).reshape(shape)


LABELS = np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]])
CLASSES = np.array([2, 0])


def _a_softmax(x: Any) -> Any:
    e = anp.exp(x - anp.max(x, axis=-1, keepdims=True))
    return e / anp.sum(e, axis=-1, keepdims=True)


def _a_padding(length: int, size: int, stride: int, padding: str) -> tuple[int, int, int]:
    """TensorFlow's rule, from its documentation: windows, zeros before, zeros after."""
    if padding == "VALID":
        return -(-(length - size + 1) // stride), 0, 0
    count = -(-length // stride)
    total = max((count - 1) * stride + size - length, 0)
    return count, total // 2, total - total // 2


def a_conv(stride: list[int], padding: str) -> Callable[..., Any]:
    """The slow way: one product for each place in the kernel."""

    def build(x: Any, k: Any) -> Any:
        rows, top, bottom = _a_padding(x.shape[1], k.shape[0], stride[0], padding)
        columns, left, right = _a_padding(x.shape[2], k.shape[1], stride[1], padding)
        wide = anp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), "constant")
        total = 0.0
        for i in range(k.shape[0]):
            for j in range(k.shape[1]):
                part = wide[:, i : i + rows * stride[0] : stride[0], j : j + columns * stride[1] : stride[1]]
                total = total + anp.einsum("nhwc,co->nhwo", part[:, :rows, :columns], k[i, j])
        return total

    return build


def conv(stride: list[int], padding: str) -> Callable[..., Any]:
    return lambda x, k: tf.nn.conv2d(x, k, [1, *stride, 1], padding)


def pool(size: int, stride: int, padding: str) -> Callable[..., Any]:
    return lambda x: tf.nn.max_pool(x, [1, size, size, 1], [1, stride, stride, 1], padding)


def settled_by_run(value: int) -> Any:
    """An index whose value the graph does not know."""
    return tf.placeholder_with_default(value, [])


def first_gradient(function: Callable[..., Any], which: int) -> Callable[..., Any]:
    """The gradient of a weighted sum of the function's output, itself to be derived: second order."""

    def build(*inputs: Any) -> Any:
        y = function(*inputs)
        weights = np.cos(np.arange(y.shape.num_elements())).reshape(y.shape.known())
        return tf.gradients(tf.reduce_sum(tf.square(y) * weights), inputs[which])[0]

    return build


CASES = [
    Case("Add", tf.add, (n(2, 3), n(3)), anp.add),
    Case("Add", tf.add, (n(2, 1), n(1, 3)), anp.add),
    Case("AddN", lambda x, y: tf.add_n([x, y, x]), (n(2, 3), n(2, 3)), lambda x, y: x + y + x),
    Case("ConcatV2", lambda x, y: tf.concat([x, y], 1), (n(2, 3), n(2, 1)), lambda x, y: anp.concatenate([x, y], 1)),
    Case("ConcatV2", lambda x, y: tf.concat([x, y], 0), (n(2, 3), n(1, 3)), lambda x, y: anp.concatenate([x, y])),
    Case("ConcatGrad", first_gradient(lambda x, y: tf.concat([x, y], 1), 0), (n(2, 3), n(2, 1))),
    Case("SplitV", lambda x: tf.split(x, 2, axis=1)[1] * 2.0, (n(2, 4),), lambda x: x[:, 2:] * 2.0),
    Case("SplitV", lambda x: tf.split(x, [1, 3])[0], (n(4, 2),), lambda x: x[:1]),
    Case("Slice", lambda x: tf.slice(x, [1, 0], [2, -1]), (n(3, 2),), lambda x: x[1:3]),
    Case("SliceGrad", first_gradient(lambda x: tf.slice(x, [1, 0], [2, -1]), 0), (n(3, 2),)),
    Case("Gather", lambda x: tf.gather(x * 1.0, [2, 0, 2]), (n(3, 2),), lambda x: x[np.array([2, 0, 2])]),
    Case("GatherNd", lambda x: tf.gather_nd(x, [[2, 0], [0, 1], [2, 0]]), (n(3, 2),),
         lambda x: x[np.array([2, 0, 2]), np.array([0, 1, 0])]),
    Case("GatherNd", lambda x: tf.gather_nd(x * 1.0, [[2], [2]]), (n(3, 2),), lambda x: x[np.array([2, 2])]),
    Case("GatherNd", lambda x: tf.gather_nd(x, np.zeros([2, 0], np.int64)), (n(3, 2),), lambda x: anp.stack([x, x])),
    Case("ScatterNd", lambda x: tf.scatter_nd([[1], [3], [1]], x, [4, 2]), (n(3, 2),),
         lambda x: anp.stack([0 * x[0], x[0] + x[2], 0 * x[0], x[1]])),
    Case("ScatterNd", first_gradient(lambda x: tf.gather_nd(x, [[0, 1], [2, 0]]), 0), (n(3, 2),)),
    Case("Lookup", lambda x, y: tf.nn.embedding_lookup([x * 1.0, y * 1.0], [4, 1, 1, 0]), (n(3, 2), n(2, 2))),
    Case("Sub", tf.subtract, (n(2, 3), n(2, 1)), anp.subtract),
    Case("Sub", tf.subtract, (n(), n(2, 3)), anp.subtract),
    Case("Mul", tf.multiply, (n(2, 3), n(2, 3)), anp.multiply),
    Case("Mul", tf.multiply, (n(4, 1, 3), n(2, 1)), anp.multiply),
    Case("RealDiv", tf.truediv, (n(2, 3), positive(3)), anp.divide),
    Case("FloorMod", ops_math.floormod, (np.array([5.3, -4.1]), np.array([2.2, 3.1])), anp.mod),
    Case("Pow", tf.pow, (positive(2, 3), n(3)), anp.power),
    Case("Pow", lambda x: tf.pow(x, 3.0), (n(4),), lambda x: x**3),
    Case("Maximum", tf.maximum, (apart(6), apart(6)[::-1].copy() + 0.1), anp.maximum),
    Case("Minimum", tf.minimum, (apart(6), apart(6)[::-1].copy() + 0.1), anp.minimum),
    Case("Neg", tf.negative, (n(3),), anp.negative),
    Case("Abs", tf.abs, (apart(5),), anp.abs),
    Case("Sign", tf.sign, (apart(5),)),
    Case("Square", tf.square, (n(3),), anp.square),
    Case("Sqrt", tf.sqrt, (positive(3),), anp.sqrt),
    Case("Exp", tf.exp, (n(2, 2),), anp.exp),
    Case("Log", tf.log, (positive(3),), anp.log),
    Case("Log1p", tf.log1p, (positive(3),), anp.log1p),
    Case("Tanh", tf.tanh, (n(3),), anp.tanh),
    Case("Sigmoid", tf.sigmoid, (n(3),), lambda x: 1 / (1 + anp.exp(-x))),
    Case("Cast", lambda x: tf.cast(tf.cast(x, tf.complex128), x.dtype), (n(3),), lambda x: 1.0 * x),
    Case("Select", lambda x, y: tf.where([True, False], x, y), (n(2, 3), n(2, 3)),
         lambda x, y: anp.where(np.array([[True], [False]]), x, y)),
    Case("MatMul", tf.matmul, (n(2, 3), n(3, 4)), anp.matmul),
    Case("MatMul", lambda a, b: tf.matmul(a, b, transpose_a=True), (n(3, 2), n(3, 4)), lambda a, b: a.T @ b),
    Case("MatMul", lambda a, b: tf.matmul(a, b, transpose_b=True), (n(2, 3), n(4, 3)), lambda a, b: a @ b.T),
    Case("MatMul", lambda a, b: tf.matmul(a, b, True, True), (n(3, 2), n(4, 3)), lambda a, b: a.T @ b.T),
    Case("Sum", tf.reduce_sum, (n(2, 3),), anp.sum),
    Case("Sum", lambda x: tf.reduce_sum(x, 1), (n(2, 3),), lambda x: anp.sum(x, 1)),
    Case("Sum", lambda x: tf.reduce_sum(x, [0, -1], keepdims=True), (n(2, 3, 2),),
         lambda x: anp.sum(x, (0, 2), keepdims=True)),
    Case("Mean", tf.reduce_mean, (n(2, 3),), anp.mean),
    Case("Mean", lambda x: tf.reduce_mean(x, 0), (n(2, 3),), lambda x: anp.mean(x, 0)),
    Case("Max", lambda x: tf.reduce_max(x, 1), (apart(2, 3),), lambda x: anp.max(x, 1)),
    Case("Max", lambda x: tf.reduce_max(x, keepdims=True), (apart(2, 3),), lambda x: anp.max(x, keepdims=True)),
    Case("SumToShapeOf", lambda x, y: apply("SumToShapeOf", [x, y], "s"), (n(2, 3), n(1, 3)),
         lambda x, y: anp.sum(x, 0, keepdims=True) + 0 * y),
    Case("BroadcastToShapeOf", lambda x, y: apply("BroadcastToShapeOf", [x, y], "b"), (n(3), n(2, 3)),
         lambda x, y: x + 0 * y),
    Case("SpreadOverAxes", lambda x, y: apply("SpreadOverAxes", [x, y], "s", axis=[1], keepdims=False, mean=True),
         (n(2), n(2, 3)), lambda x, y: x[:, None] / 3 + 0 * y),
    Case("SpreadOverAxes", lambda x, y: apply("SpreadOverAxes", [x, y], "s", axis=None, keepdims=True, mean=False),
         (n(1, 1), n(2, 3)), lambda x, y: x + 0 * y),
    Case("PlaceholderWithDefault", lambda x: tf.placeholder_with_default(x, [3]), (n(3),), lambda x: 1.0 * x),
    Case("Identity", tf.identity, (n(3),), lambda x: 1.0 * x),
    Case("Reshape", lambda x: tf.reshape(x, [3, -1]), (n(2, 3),), lambda x: anp.reshape(x, (3, -1))),
    Case("Transpose", lambda x: tf.transpose(x, [1, 2, 0]), (n(2, 3, 2),), lambda x: anp.transpose(x, (1, 2, 0))),
    Case("Transpose", tf.transpose, (n(2, 3),), anp.transpose),
    Case("ExpandDims", lambda x: tf.expand_dims(x, -1), (n(2, 3),), lambda x: anp.expand_dims(x, -1)),
    Case("Squeeze", lambda x: tf.squeeze(x, [1]), (n(2, 1, 1),), lambda x: anp.squeeze(x, 1)),
    Case("Pack", lambda x, y: tf.stack([x, y], axis=1), (n(2, 3), n(2, 3)), lambda x, y: anp.stack([x, y], axis=1)),
    Case("StridedSlice", lambda x: x[1:, ::2, None], (n(3, 4),), lambda x: x[1:, ::2, None]),
    Case("StridedSlice", lambda x: x[..., -1], (n(3, 4),), lambda x: x[..., -1]),
    Case("StridedSlice", lambda x: tf.reshape(x[settled_by_run(1):, settled_by_run(2)], [2]), (n(3, 4),),
         lambda x: x[1:, 2]),
    Case("StridedSliceGrad", first_gradient(lambda x: tf.reshape(x[:settled_by_run(2)], [2, 4]), 0), (n(3, 4),)),
    Case("StridedSliceGrad", first_gradient(lambda x: x[1:, ::2], 0), (n(3, 4),)),
    Case("Fill", lambda x: tf.fill([2, 3], x), (n(),), lambda x: anp.full((2, 3), 1.0) * x),
    Case("Relu", tf.nn.relu, (apart(5),), lambda x: anp.maximum(x, 0)),
    Case("ReluGrad", first_gradient(tf.nn.relu, 0), (apart(5),)),
    Case("Softmax", tf.nn.softmax, (n(2, 3),), _a_softmax),
    Case("Softmax", lambda x: tf.nn.softmax(x, axis=0), (n(2, 3),), lambda x: _a_softmax(x.T).T),
    Case("LogSoftmax", tf.nn.log_softmax, (n(2, 3),), lambda x: anp.log(_a_softmax(x))),
    Case("L2Loss", tf.nn.l2_loss, (n(2, 3),), lambda x: anp.sum(x * x) / 2),
    Case("SoftmaxCrossEntropyWithLogits", lambda x: tf.nn.softmax_cross_entropy_with_logits(labels=LABELS, logits=x),
         (n(2, 3),), lambda x: -anp.sum(LABELS * anp.log(_a_softmax(x)), -1)),
    Case("SoftmaxCrossEntropyWithLogits", lambda x, y: tf.nn.softmax_cross_entropy_with_logits_v2(y, x),
         (n(2, 3), positive(2, 3)), None, (1,)),
    Case("SoftmaxCrossEntropyWithLogits", first_gradient(
        lambda x: tf.nn.softmax_cross_entropy_with_logits(labels=LABELS, logits=x), 0), (n(2, 3),)),
    Case("SparseSoftmaxCrossEntropyWithLogits",
         lambda x: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=CLASSES, logits=x), (n(2, 3),),
         lambda x: -anp.log(_a_softmax(x))[np.arange(2), CLASSES]),
    Case("SparseSoftmaxCrossEntropyWithLogits", first_gradient(
        lambda x: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=CLASSES, logits=x), 0), (n(2, 3),)),
    Case("Log1p", lambda x: tf.nn.sigmoid_cross_entropy_with_logits(labels=[0.0, 1.0, 0.3], logits=x), (apart(3),),
         lambda x: anp.log(1 + anp.exp(x)) - x * np.array([0.0, 1.0, 0.3])),
    Case("Conv2D", conv([1, 1], "VALID"), (n(2, 5, 4, 3), n(2, 3, 3, 2)), a_conv([1, 1], "VALID")),
    Case("Conv2D", conv([1, 1], "SAME"), (n(2, 4, 5, 1), n(3, 2, 1, 2)), a_conv([1, 1], "SAME")),
    Case("Conv2D", conv([2, 3], "SAME"), (n(1, 5, 7, 4), n(3, 3, 4, 2)), a_conv([2, 3], "SAME")),
    Case("Conv2D", conv([2, 1], "VALID"), (n(2, 6, 4, 2), n(3, 2, 2, 3)), a_conv([2, 1], "VALID")),
    Case("Conv2D", conv([3, 3], "VALID"), (n(1, 7, 8, 1), n(2, 2, 1, 2)), a_conv([3, 3], "VALID")),
    Case("Conv2DBackpropInput", first_gradient(conv([2, 1], "SAME"), 0), (n(1, 4, 3, 2), n(3, 2, 2, 2))),
    Case("Conv2DBackpropFilter", first_gradient(conv([1, 2], "VALID"), 1), (n(1, 4, 5, 2), n(2, 3, 2, 2))),
    Case("MaxPool", pool(2, 2, "VALID"), (apart(2, 4, 4, 2),)),
    Case("MaxPool", pool(3, 2, "SAME"), (apart(1, 5, 4, 2),)),
    Case("MaxPool", pool(2, 1, "VALID"), (apart(1, 3, 4, 1),)),
    Case("MaxPoolGrad", first_gradient(pool(2, 1, "SAME"), 0), (apart(1, 3, 4, 1),)),
    Case("MaxPoolGradGrad", lambda x, v: apply(
        "MaxPoolGradGrad", [x, pool(2, 2, "VALID")(x), v], "g", ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1],
        padding="VALID"), (apart(1, 4, 4, 1), n(1, 4, 4, 1)), None, (1,)),
    Case("BiasAdd", tf.nn.bias_add, (n(2, 3, 4), n(4)), anp.add),
    Case("BiasAddGrad", first_gradient(tf.nn.bias_add, 1), (n(2, 3), n(3))),
]  # fmt: skip
NAMES = [f"{case.covers}-{index}" for index, case in enumerate(CASES)]


def _weights(shape: tuple[int, ...]) -> Array:
    return np.asarray(np.sin(1.0 + np.arange(int(np.prod(shape, dtype=int)))).reshape(shape))


def _numeric(function: Callable[[list[Array]], float], inputs: tuple[Array, ...], which: int) -> Array:
    step = 1e-6
    out = np.zeros_like(inputs[which])
    for index in np.ndindex(out.shape):
        moved = [np.array(each) for each in inputs]
        moved[which][index] += step
        above = function(moved)
        moved[which][index] -= 2 * step
        out[index] = (above - function(moved)) / (2 * step)
    return out


def _built(case: Case) -> tuple[list[tf.Tensor], tf.Tensor, list[Any]]:
    inputs = [tf.placeholder(tf.float64, array.shape) for array in case.inputs]
    y = case.build(*inputs)
    loss = tf.reduce_sum(y * _weights(y.shape.known()))
    return inputs, loss, tf.gradients(loss, inputs)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_agrees_with_finite_differences(case: Case) -> None:
    inputs, loss, gradients = _built(case)
    with tf.Session() as sess:
        for which in range(len(inputs)) if case.checked is None else case.checked:
            numeric = _numeric(lambda xs: float(sess.run(loss, dict(zip(inputs, xs, strict=True)))), case.inputs, which)
            if gradients[which] is None:
                got = np.zeros_like(numeric)
            else:
                got = sess.run(gradients[which], dict(zip(inputs, case.inputs, strict=True)))
            np.testing.assert_allclose(got, numeric, rtol=1e-5, atol=1e-7)


WITH_ORACLE = [(name, case) for name, case in zip(NAMES, CASES, strict=True) if case.oracle is not None]


@pytest.mark.parametrize("case", [case for _, case in WITH_ORACLE], ids=[name for name, _ in WITH_ORACLE])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_agrees_with_autograd(case: Case, dtype: str) -> None:
    assert case.oracle is not None
    oracle = case.oracle
    arrays = [np.asarray(array, dtype) for array in case.inputs]
    inputs = [tf.placeholder(dtype, array.shape) for array in arrays]
    y = case.build(*inputs)
    weights = _weights(y.shape.known())
    found = tf.gradients(tf.reduce_sum(y * weights), inputs)
    for which, gradient in enumerate(found):
        wanted = autograd.grad(lambda *xs: anp.sum(oracle(*xs) * weights), which)(*case.inputs)
        got = 0.0 * wanted
        if gradient is not None:
            with tf.Session() as sess:
                got = sess.run(gradient, dict(zip(inputs, arrays, strict=True)))
            assert got.dtype == dtype
        tolerance = {"rtol": 2e-4, "atol": 2e-5} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-12}
        np.testing.assert_allclose(got, wanted, **tolerance)


def test_every_gradient_of_the_table_has_a_case() -> None:
    differentiable = {name for name, definition in TABLE.items() if definition.gradient is not None}
    assert differentiable == {case.covers for case in CASES}


def test_cases_cover_what_they_say() -> None:
    for case in CASES:
        with tf.Graph().as_default() as graph:
            inputs = [tf.placeholder(tf.float64, array.shape) for array in case.inputs]
            case.build(*inputs)
            assert case.covers in {op.type for op in graph.get_operations()}, case.covers


def test_unconnected_and_integer_paths_give_none() -> None:
    x, y = tf.placeholder(tf.float32, [3]), tf.placeholder(tf.float32, [3])
    assert tf.gradients(x * 2.0, [y]) == [None]
    assert tf.gradients(tf.cast(tf.cast(x, tf.int32), tf.float32), [x]) == [None]
    assert tf.gradients(tf.cast(tf.argmax(x), tf.float32), x) == [None]
    assert tf.gradients(tf.stop_gradient(x) * y, [x, y])[0] is None


def test_grad_ys_weight_the_ys_and_must_match_in_number(run: Callable[..., Any]) -> None:
    x = tf.constant([1.0, 2.0])
    (gradient,) = tf.gradients([x * 3.0, x * 5.0], x, grad_ys=[[1.0, 1.0], [0.0, 10.0]])
    np.testing.assert_array_equal(run(gradient), [3.0, 53.0])
    with pytest.raises(ValueError, match="Passed 2 grad_ys for 1 ys"):
        tf.gradients(x, x, grad_ys=[None, None])


def test_ys_are_summed_and_stops_are_constants(run: Callable[..., Any]) -> None:
    a = tf.constant(0.0)
    b = 2 * a
    assert run(tf.gradients(a + b, [a, b], stop_gradients=[a, b])) == [1.0, 1.0]
    assert run(tf.gradients(a + b, [a, b])) == [3.0, 1.0]
    assert run(tf.gradients([a, b], a)) == [3.0]


def test_second_order(run: Callable[..., Any]) -> None:
    x = tf.constant(3.0)
    (first,) = tf.gradients(x * x * x, x)
    assert run(tf.gradients(first, x)) == [18.0]


def test_ties_and_edges(run: Callable[..., Any]) -> None:
    x = tf.constant([2.0, 2.0, 1.0])
    np.testing.assert_array_equal(run(tf.gradients(tf.reduce_max(x), x)[0]), [0.5, 0.5, 0.0])
    zero = tf.constant([0.0])
    for function in (tf.nn.relu, tf.abs, tf.sign):
        np.testing.assert_array_equal(run(tf.gradients(function(zero), zero)[0]), [0.0])
    assert np.isinf(run(tf.gradients(tf.sqrt(zero), zero)[0])).all()
    same = tf.constant([1.0])
    other = tf.constant([1.0])
    left, right = run(tf.gradients(tf.maximum(same, other), [same, other]))
    assert (left, right) == ([1.0], [0.0])


def test_unknown_shapes_are_settled_when_run() -> None:
    x, w = tf.placeholder(tf.float64, [None, 3]), tf.placeholder(tf.float64)
    loss = tf.reduce_mean(tf.square(x * w), axis=0)
    gradients = tf.gradients(tf.reduce_sum(loss), [x, w])
    xs, ws = n(5, 3), n(3)
    with tf.Session() as sess:
        to_x, to_w = sess.run(gradients, {x: xs, w: ws})
    np.testing.assert_allclose(to_x, 2 * xs * ws**2 / 5)
    np.testing.assert_allclose(to_w, (2 * xs**2 * ws / 5).sum(0))


def test_a_variable_counts_however_it_is_read() -> None:
    v = tf.Variable([1.0, 2.0], name="v")
    assert tf.gradients(v, v)[0] is not None
    loss = tf.reduce_sum(v * v.read_value() * 3.0)
    with tf.Session() as sess:
        sess.run(v.initializer)
        np.testing.assert_array_equal(sess.run(tf.gradients(loss, v)[0]), [6.0, 12.0])


def test_integers_have_no_gradient() -> None:
    x = tf.constant(2.0)
    for y in (tf.constant(1), tf.cast(x, tf.int32), tf.argmax([x, x]), tf.equal(x, 1.0)):
        assert tf.gradients(y, x) == [None]
    with pytest.raises(TypeError, match="Gradients of complex tensors"):
        tf.gradients(tf.constant(1j), x)
