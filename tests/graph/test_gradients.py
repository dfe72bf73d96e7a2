"""Every gradient of the table: against finite differences in float32 and float64, against HIPS autograd where that has the
function, and once more derived."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

import paramserver_client.graph as tf
from paramserver_client.graph.registry import TABLE
from support.gradient_case import Array, Case, apart, n
from support.gradient_cases_arrays import ARRAYS
from support.gradient_cases_elements import ELEMENTS
from support.gradient_cases_nn import NETWORKS

CASES = [*ELEMENTS, *ARRAYS, *NETWORKS]
NAMES = [f"{case.covers}-{index}" for index, case in enumerate(CASES)]


def _weights(shape: tuple[int, ...]) -> Array:
    return np.asarray(np.sin(1.0 + np.arange(int(np.prod(shape, dtype=int)))).reshape(shape))


def _numeric(function: Callable[[list[Array]], Any], inputs: tuple[Array, ...], which: int, step: float) -> Array:
    out = np.zeros_like(inputs[which])
    for index in np.ndindex(out.shape):
        above, below = ([np.array(each) for each in inputs] for _ in range(2))
        above[which][index] += step
        below[which][index] -= step
        between = above[which][index] - below[which][index]  # In float32 not quite twice the step.
        out[index] = (np.float64(function(above)) - np.float64(function(below))) / between
    return out


def _placeholders(arrays: tuple[Array, ...]) -> list[tf.Tensor]:
    return [tf.placeholder(array.dtype, array.shape) for array in arrays]


def _weighted(y: Any) -> tf.Tensor:
    return tf.reduce_sum(tf.convert_to_tensor(y) * _weights(y.shape.known()))


STEPS = {"float32": (2e-3, {"rtol": 1e-2, "atol": 1e-2}), "float64": (1e-6, {"rtol": 1e-5, "atol": 1e-7})}


@pytest.mark.parametrize("dtype", STEPS)
@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_agrees_with_finite_differences(case: Case, dtype: str) -> None:
    arrays = tuple(np.asarray(array, dtype) for array in case.inputs)
    inputs = _placeholders(arrays)
    loss = _weighted(case.build(*inputs))
    assert loss.dtype == dtype
    _agree(loss, tf.gradients(loss, inputs), inputs, arrays, case, dtype)


def _agree(
    loss: tf.Tensor, gradients: list[Any], inputs: list[tf.Tensor], arrays: tuple[Array, ...], case: Case, dtype: str
) -> None:
    step, tolerance = STEPS[dtype]
    with tf.Session() as sess:
        for which in range(len(inputs)) if case.checked is None else case.checked:
            numeric = _numeric(lambda xs: sess.run(loss, dict(zip(inputs, xs, strict=True))), arrays, which, step)
            if gradients[which] is None:
                got = np.zeros_like(numeric)
            else:
                dense = tf.convert_to_tensor(gradients[which])
                assert dense.shape.as_list() == list(arrays[which].shape)
                got = sess.run(dense, dict(zip(inputs, arrays, strict=True)))
            np.testing.assert_allclose(got, numeric, **tolerance)


TWICE = [(name, case) for name, case in zip(NAMES, CASES, strict=True) if not case.once]


@pytest.mark.parametrize("case", [case for _, case in TWICE], ids=[name for name, _ in TWICE])
def test_the_gradient_of_the_gradient_agrees_with_finite_differences(case: Case) -> None:
    inputs = _placeholders(case.inputs)
    first = tf.gradients(_weighted(tf.square(case.build(*inputs))), inputs)
    sums = [_weighted(tf.convert_to_tensor(first[which])) for which in case.checked or range(len(inputs))
            if first[which] is not None]  # fmt: skip
    if not sums:  # As of sign: nothing to derive.
        assert case.covers in ("Sign",)
        return
    loss = tf.add_n(sums)
    _agree(loss, tf.gradients(loss, inputs), inputs, case.inputs, case, "float64")


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
    with tf.Session() as sess:
        value = sess.run(y, dict(zip(inputs, arrays, strict=True)))
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-10, "atol": 1e-12}
    np.testing.assert_allclose(value, np.broadcast_to(oracle(*case.inputs), value.shape), **close)
    assert (value.dtype, value.shape) == (dtype, y.shape.known())
    for which, gradient in enumerate(found):
        wanted = autograd.grad(lambda *xs: anp.sum(oracle(*xs) * weights), which)(*case.inputs)
        got = 0.0 * wanted
        if gradient is not None:
            with tf.Session() as sess:
                got = sess.run(gradient, dict(zip(inputs, arrays, strict=True)))
            assert got.dtype == dtype
        tolerance = {"rtol": 2e-4, "atol": 2e-5} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-12}
        np.testing.assert_allclose(got, wanted, **tolerance)


WITHOUT_GRADIENT = {
    "of no number": ["Assert", "NoOp", "Placeholder", "Const", "VariableV2"],
    "draw": ["Multinomial", "RandomCrop", "RandomGamma", "RandomOrthogonal", "RandomShuffle", "RandomStandardNormal",
             "RandomUniform", "RandomUniformInt", "TruncatedNormal"],
    "give bools": ["All", "Any", "Equal", "Greater", "GreaterEqual", "InTopKV2", "IsFinite", "IsInf", "IsNan", "Less",
                   "LessEqual", "LogicalAnd", "LogicalNot", "LogicalOr", "NotEqual"],
    "give places or sizes": ["ArgMax", "ArgMin", "BatchIndices", "Rank", "Shape", "Size", "Where"],
    "are flat": ["Ceil", "Floor", "FloorDiv", "Round", "TruncateDiv", "TruncateMod"],
    "do not depend on values": ["LinSpace", "OneHot", "OnesLike", "Range", "ZerosLike"],
    "stop it": ["PyFunc", "StopGradient"],
    "stand for something": ["LoopVariable"],
    "ask or change variables": [
        "ApplyGradientDescent", "AssertInitialized", "Assign", "AssignAdd", "AssignSub", "CountUpTo", "InitializedValue",
        "IsVariableInitialized", "ReportUninitialized", "ScatterAdd", "ScatterDiv", "ScatterMax", "ScatterMin",
        "ScatterMul", "ScatterNdAdd", "ScatterNdSub", "ScatterNdUpdate", "ScatterSub", "ScatterUpdate",
        "StridedSliceAssign"],
    "train": [
        "ApplyAdadelta", "ApplyAdagrad", "ApplyAdam", "ApplyCenteredRMSProp", "ApplyFtrl", "ApplyMomentum",
        "ApplyProximalAdagrad", "ApplyProximalGradientDescent", "ApplyRMSProp", "AssignMovingAverage",
        "SparseApplyAdadelta", "SparseApplyAdagrad", "SparseApplyAdam", "SparseApplyCenteredRMSProp", "SparseApplyFtrl",
        "SparseApplyMomentum", "SparseApplyProximalAdagrad", "SparseApplyProximalGradientDescent", "SparseApplyRMSProp",
        "SumRepeatedRows"],
    "settle learning rates": ["HalfCosine"],
    "make steps together": ["MeanGradient", "MeanRows", "NextRound", "SyncReplicas"],
}  # fmt: skip
"""Operations through which, as in TensorFlow, no gradient flows, and why."""


@pytest.mark.parametrize("op_type", sorted(set(TABLE) - {"While"}))  # Which refuses: see the tests of loops.
def test_every_operation_has_a_checked_gradient_or_a_reason_for_none(op_type: str) -> None:
    excused = {name for names in WITHOUT_GRADIENT.values() for name in names}
    if TABLE[op_type].gradient is None:
        assert op_type in excused, f"give {op_type} a gradient, or list it in WITHOUT_GRADIENT"
    else:
        assert op_type not in excused
        assert op_type in {case.covers for case in CASES}, (
            f"add a case for {op_type} to tests/support/gradient_cases_*.py"
        )


def test_cases_cover_what_they_say() -> None:
    for case in CASES:
        with tf.Graph().as_default() as graph:
            inputs = [tf.placeholder(tf.float64, array.shape) for array in case.inputs]
            case.build(*inputs)
            assert case.covers in {op.type for op in graph.get_operations()}, case.covers


LATE = [(name, case) for name, case in zip(NAMES, CASES, strict=True) if case.covers not in ("Lookup", "LookupGrad")]
"""All but lookups in a table of several parts, whose numbers of rows must be known: a test of their own."""


@pytest.mark.parametrize("case", [case for _, case in LATE], ids=[name for name, _ in LATE])
def test_sizes_that_only_a_run_knows(case: Case) -> None:
    """With sizes unknown beforehand, values and gradients are the same, and what is said of their shapes is true."""
    found = []
    for unknown in (False, True):
        inputs = [tf.placeholder(tf.float64, [None] * array.ndim if unknown else array.shape) for array in case.inputs]
        y = tf.convert_to_tensor(case.build(*inputs))
        gradients = [tf.convert_to_tensor(each) for each in tf.gradients(y, inputs) if each is not None]
        with tf.Session() as sess:
            values = sess.run([y, *gradients], dict(zip(inputs, case.inputs, strict=True)))
        for tensor, value in zip([y, *gradients], values, strict=True):
            assert tensor.shape.is_compatible_with(value.shape)
            assert unknown or tensor.shape.is_fully_defined()
        found.append(values)
    for known, late in zip(*found, strict=True):
        np.testing.assert_allclose(late, known, rtol=1e-12, atol=1e-12)


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


def test_zeros_for_what_is_not_connected(run: Callable[..., Any]) -> None:
    x, y, i = tf.constant([1.0, 2.0]), tf.constant([[3.0]]), tf.constant([4])
    for zero in (tf.UnconnectedGradients.ZERO, "zero"):
        to_x, to_y, to_i = run(tf.gradients(x * 2.0, [x, y, i], unconnected_gradients=zero))
        assert (to_x.tolist(), to_y.tolist(), to_i.tolist()) == ([2.0, 2.0], [[0.0]], [0])
    assert tf.gradients(x * 2.0, [y], unconnected_gradients="none") == [None]
    with pytest.raises(ValueError, match="Unknown value for unconnected_gradients: 'nothing'"):
        tf.gradients(x, x, unconnected_gradients="nothing")


@pytest.mark.parametrize(
    "build",
    [lambda x: tf.sin(x) * x, lambda x: tf.reduce_logsumexp(x), lambda x: tf.nn.elu(x) / 2.0, lambda x: tf.cumsum(x, -1),
     lambda x: tf.reduce_prod(x, -1), lambda x: tf.nn.softmax(x), lambda x: tf.clip_by_value(x, -0.5, 0.5),
     lambda x: tf.nn.top_k(x, 2)[0], lambda x: tf.tile(x, [2, 1]), lambda x: tf.reverse(x, [0]), lambda x: tf.pad(x, [[1, 0], [0, 2]]),
     lambda x: tf.nn.bias_add(x, [1.0, 2.0, 3.0]), lambda x: tf.broadcast_to(x, [4, 2, 3]), lambda x: tf.gather(x, [1], axis=1),
     lambda x: tf.reduce_min(x, 0), lambda x: tf.matmul(x, x, transpose_b=True), lambda x: tf.nn.l2_normalize(x, 1)],
)  # fmt: skip
def test_ranks_that_only_a_run_knows(build: Callable[..., Any]) -> None:
    value = apart(2, 3)
    found = []
    for shape in (value.shape, None):
        x = tf.placeholder(tf.float64, shape)
        y = build(x)
        with tf.Session() as sess:
            found.append(sess.run([y, tf.gradients(y, x)[0]], {x: value}))
    for known, late in zip(*found, strict=True):
        np.testing.assert_allclose(late, known, rtol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_narrow_floats_stay_narrow(case: Case) -> None:
    """What a kernel gives is of the dtype that the graph says, for values and gradients."""
    for dtype in (tf.float16, tf.bfloat16):
        inputs = [tf.placeholder(dtype, array.shape) for array in case.inputs]
        y = tf.convert_to_tensor(case.build(*inputs))
        tensors = [y, *(tf.convert_to_tensor(each) for each in tf.gradients(y, inputs) if each is not None)]
        feeds = {x: array.astype(dtype.as_numpy_dtype) for x, array in zip(inputs, case.inputs, strict=True)}
        with tf.Session() as sess:
            for tensor, value in zip(tensors, sess.run(tensors, feeds), strict=True):
                assert tensor.dtype == dtype
                assert value.dtype == dtype.as_numpy_dtype, tensor.op.type
