"""Functions of one number and the rarer ones of two: values that gradients do not show, types and errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]


def test_error_function(run: Run) -> None:
    xs = [-2.0, -0.5, 0.0, 0.3, 4.0]
    np.testing.assert_allclose(run(tf.erf(xs)), [math.erf(x) for x in xs], rtol=1e-6)


def test_rounding_goes_to_even_and_leaves_integers(run: Run) -> None:
    halves = tf.constant([0.5, 1.5, 2.5, -1.5, -0.5])
    assert run([tf.round(halves), tf.floor(halves), tf.ceil(halves)])[0].tolist() == [0.0, 2.0, 2.0, -2.0, -0.0]
    assert run(tf.floor(halves)).tolist() == [0.0, 1.0, 2.0, -2.0, -1.0]
    assert run(tf.ceil(halves)).tolist() == [1.0, 2.0, 3.0, -1.0, 0.0]
    whole = tf.constant([1, 2])
    assert tf.round(whole) is whole
    for flat in (tf.round, tf.floor, tf.ceil):
        assert tf.gradients(flat(halves), halves) == [None]


def test_what_is_no_number(run: Run) -> None:
    odd = tf.constant([1.0, np.nan, np.inf, -np.inf])
    nan, inf, finite = run([tf.is_nan(odd), tf.is_inf(odd), tf.is_finite(odd)])
    assert nan.tolist() == [False, True, False, False]
    assert inf.tolist() == [False, False, True, True]
    assert finite.tolist() == [True, False, False, False]


def test_division_towards_zero_and_towards_the_floor(run: Run) -> None:
    x, y = np.array([7, -7, 7, -7, -6]), np.array([2, 2, -2, -2, 3])
    cut, rest, floor, mod = run([tf.truncatediv(x, y), tf.truncatemod(x, y), tf.floordiv(x, y), tf.mod(x, y)])
    assert cut.tolist() == [3, -3, -3, 3, -2]
    assert rest.tolist() == [1, -1, 1, -1, 0]
    assert floor.tolist() == [3, -4, -4, 3, -2]
    assert mod.tolist() == [1, 1, -1, -1, 0]
    assert run(tf.truncatediv([7.0, -7.0], 2.0)).tolist() == [3.0, -3.0]
    for divide in (tf.truncatediv, tf.truncatemod, tf.floordiv, tf.mod):
        with pytest.raises(tf.errors.InvalidArgumentError, match="Integer division by zero"):
            run(divide(tf.constant(1), tf.constant(0)))


def test_division_by_zero_that_gives_zero(run: Run) -> None:
    x, y = tf.constant([1.0, 2.0]), tf.constant([0.0, 4.0])
    assert run(tf.div_no_nan(x, y)).tolist() == [0.0, 0.5]
    to_x, to_y = run(tf.gradients(tf.div_no_nan(x, y), [x, y]))
    assert (to_x.tolist(), to_y.tolist()) == ([0.0, 0.25], [0.0, -0.125])
    assert tf.div_no_nan(tf.ones([2, 1]), tf.ones([3])).shape.as_list() == [2, 3]


@pytest.mark.parametrize(
    "function",
    [tf.reciprocal, tf.rsqrt, tf.expm1, tf.sin, tf.cos, tf.tan, tf.asin, tf.acos, tf.atan, tf.sinh, tf.cosh, tf.asinh,
     tf.acosh, tf.atanh, tf.erf, tf.floor, tf.ceil, tf.is_nan, tf.sqrt, tf.exp, tf.log, tf.log1p, tf.tanh, tf.sigmoid],
)  # fmt: skip
def test_integers_are_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="Value passed to parameter 'x' has DataType int32 not in list of allowed"):
        function(tf.constant([1]))


def test_shapes_that_do_not_broadcast() -> None:
    for function in (tf.squared_difference, tf.atan2, tf.div_no_nan, tf.truncatediv):
        with pytest.raises(ValueError, match="Dimensions must be equal, but are 2 and 3"):
            function(tf.ones([2]), tf.ones([3]))
        with pytest.raises(TypeError, match="does not match type float32"):
            function(tf.ones([2]), tf.ones([2], tf.float64))


def test_names_are_tensorflows() -> None:
    assert [tf.sin(1.0).op.name, tf.squared_difference(1.0, 2.0).op.name] == ["Sin", "SquaredDifference"]
    assert tf.round(1.5, name="near").op.name == "near"


def test_casts_of_old_programs(run: Run) -> None:
    x = tf.constant([1.9, -1.9])
    assert [each.dtype.name for each in (tf.to_double(x), tf.to_int32(x), tf.to_int64(x))] == [
        "float64",
        "int32",
        "int64",
    ]
    assert run(tf.to_int32(x)).tolist() == [1, -1]
    assert tf.to_float(tf.constant(1)).op.name == "ToFloat"
