"""Functions of one number, element by element, and those of two that are rarer than arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from paramserver_client.graph import dtypes, shapes
from paramserver_client.graph.convert import apply, convert_to_tensor, op_scope, same_type
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_math import (
    FLOATING,
    check_divisor,
    exp,
    negative,
    realdiv,
    square,
    subtract,
    sum_to,
)
from paramserver_client.graph.ops_state import check_allowed
from paramserver_client.graph.registry import define
from paramserver_client.graph.shapes import TensorShape

_REAL: Final = "bfloat16, float16, float32, float64"
_erf: Final = np.frompyfunc(math.erf, 1, 1)


def _define_function(
    op_type: str, kernel: Callable[[Array], Any], derivative: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """Enter `y = kernel(x)` with its derivative as a function of `x` and `y`."""
    define(op_type, gradient=lambda op, grad: [grad * derivative(op.inputs[0], op.outputs[0])])(kernel)


def _erf_of(x: Array) -> Array:
    return np.asarray(_erf(x)).astype(x.dtype)


def _root(x: Tensor) -> Tensor:
    return apply("Rsqrt", [x], "Rsqrt")


_define_function("Reciprocal", lambda x: np.divide(x.dtype.type(1), x), lambda x, y: negative(square(y)))
_define_function("Rsqrt", lambda x: np.divide(x.dtype.type(1), np.sqrt(x)), lambda x, y: -0.5 * y * y * y)
_define_function("Expm1", np.expm1, lambda x, y: y + 1.0)
_define_function("Sin", np.sin, lambda x, y: cos(x))
_define_function("Cos", np.cos, lambda x, y: negative(sin(x)))
_define_function("Tan", np.tan, lambda x, y: 1.0 + square(y))
_define_function("Asin", np.arcsin, lambda x, y: _root(1.0 - square(x)))
_define_function("Acos", np.arccos, lambda x, y: negative(_root(1.0 - square(x))))
_define_function("Atan", np.arctan, lambda x, y: reciprocal(1.0 + square(x)))
_define_function("Sinh", np.sinh, lambda x, y: cosh(x))
_define_function("Cosh", np.cosh, lambda x, y: sinh(x))
_define_function("Asinh", np.arcsinh, lambda x, y: _root(1.0 + square(x)))
_define_function("Acosh", np.arccosh, lambda x, y: _root(square(x) - 1.0))
_define_function("Atanh", np.arctanh, lambda x, y: reciprocal(1.0 - square(x)))
_define_function("Erf", _erf_of, lambda x, y: (2 / math.sqrt(math.pi)) * exp(negative(square(x))))


def _boolean(op: Operation) -> DType:
    return dtypes.bool_


define("Floor")(np.floor)
define("Ceil")(np.ceil)
define("Round")(np.rint)  # To the even one when halfway, as TensorFlow does.
define("IsNan", dtype=_boolean)(np.isnan)
define("IsInf", dtype=_boolean)(np.isinf)
define("IsFinite", dtype=_boolean)(np.isfinite)


def _broadcast_shape(op: Operation) -> TensorShape:
    return shapes.broadcast(op.inputs[0].shape, op.inputs[1].shape)


def _both(op: Operation, left: Tensor, right: Tensor) -> list[Tensor | None]:
    return [sum_to(left, op.inputs[0]), sum_to(right, op.inputs[1])]


def _difference_gradient(op: Operation, grad: Tensor) -> list[Tensor | None]:
    to_x = 2.0 * grad * subtract(op.inputs[0], op.inputs[1])
    return _both(op, to_x, negative(to_x))


@define("SquaredDifference", shape=_broadcast_shape, gradient=_difference_gradient)
def _squared_difference(x: Array, y: Array) -> Array:
    return np.square(np.subtract(x, y))


def _atan2_gradient(op: Operation, grad: Tensor) -> list[Tensor | None]:
    y, x = op.inputs
    over = realdiv(grad, square(x) + square(y))
    return _both(op, x * over, negative(y) * over)


@define("Atan2", shape=_broadcast_shape, gradient=_atan2_gradient)
def _atan2(y: Array, x: Array) -> Array:
    return np.arctan2(y, x)


def _no_nan_gradient(op: Operation, grad: Tensor) -> list[Tensor | None]:
    x, y = op.inputs
    to_y = grad * div_no_nan(div_no_nan(negative(x), y), y)
    return _both(op, div_no_nan(grad, y), to_y)


@define("DivNoNan", shape=_broadcast_shape, gradient=_no_nan_gradient)
def _div_no_nan(x: Array, y: Array) -> Array:
    wide = np.broadcast_shapes(x.shape, y.shape)
    return np.divide(x, y, out=np.zeros(wide, dtype=x.dtype), where=np.broadcast_to(y != 0, wide))


@define("TruncateDiv", shape=_broadcast_shape)
def _truncate_div(x: Array, y: Array) -> Array:
    check_divisor(y)
    if x.dtype.kind not in "iu":
        return np.asarray(np.trunc(np.divide(x, y)))
    quotient = np.floor_divide(x, y)
    behind = (np.remainder(x, y) != 0) & ((x < 0) != (y < 0))
    return np.asarray(quotient + behind).astype(x.dtype)


@define("TruncateMod", shape=_broadcast_shape)
def _truncate_mod(x: Array, y: Array) -> Array:
    check_divisor(y)
    return np.fmod(x, y)


# What users call


def _function(op_type: str, x: Any, name: str | None, allowed: str = FLOATING) -> Tensor:
    with op_scope(name, op_type, [x]) as scope:
        tensor = convert_to_tensor(x, name="x")
        check_allowed("x", tensor.dtype, allowed)
        return apply(op_type, [tensor], scope)


def _binary(op_type: str, default: str, name: str | None, **arguments: Any) -> Tensor:
    with op_scope(name, default, list(arguments.values())) as scope:
        return apply(op_type, same_type(op_type, **arguments), scope)


def reciprocal(x: Any, name: str | None = None) -> Tensor:
    """`1 / x`, element-wise. Raises TypeError for integers, as all of these do."""
    return _function("Reciprocal", x, name)


def rsqrt(x: Any, name: str | None = None) -> Tensor:
    """`1 / sqrt(x)`, element-wise."""
    return _function("Rsqrt", x, name)


def expm1(x: Any, name: str | None = None) -> Tensor:
    """`exp(x) - 1`, exact for small `x`."""
    return _function("Expm1", x, name)


def sin(x: Any, name: str | None = None) -> Tensor:
    """The sine of `x` in radians, element-wise."""
    return _function("Sin", x, name)


def cos(x: Any, name: str | None = None) -> Tensor:
    """The cosine of `x` in radians, element-wise."""
    return _function("Cos", x, name)


def tan(x: Any, name: str | None = None) -> Tensor:
    """The tangent of `x` in radians, element-wise."""
    return _function("Tan", x, name)


def asin(x: Any, name: str | None = None) -> Tensor:
    """The angle in radians whose sine is `x`; NaN outside `[-1, 1]`."""
    return _function("Asin", x, name)


def acos(x: Any, name: str | None = None) -> Tensor:
    """The angle in radians whose cosine is `x`; NaN outside `[-1, 1]`."""
    return _function("Acos", x, name)


def atan(x: Any, name: str | None = None) -> Tensor:
    """The angle in radians whose tangent is `x`, between -pi/2 and pi/2."""
    return _function("Atan", x, name)


def sinh(x: Any, name: str | None = None) -> Tensor:
    """The hyperbolic sine of `x`, element-wise."""
    return _function("Sinh", x, name)


def cosh(x: Any, name: str | None = None) -> Tensor:
    """The hyperbolic cosine of `x`, element-wise."""
    return _function("Cosh", x, name)


def asinh(x: Any, name: str | None = None) -> Tensor:
    """The inverse of `sinh`, element-wise."""
    return _function("Asinh", x, name)


def acosh(x: Any, name: str | None = None) -> Tensor:
    """The inverse of `cosh`, element-wise; NaN below 1."""
    return _function("Acosh", x, name)


def atanh(x: Any, name: str | None = None) -> Tensor:
    """The inverse of `tanh`, element-wise; NaN outside `[-1, 1]`."""
    return _function("Atanh", x, name)


def erf(x: Any, name: str | None = None) -> Tensor:
    """The Gauss error function, `2 / sqrt(pi)` times the integral of `exp(-t * t)` from 0 to `x`."""
    return _function("Erf", x, name, _REAL)


def floor(x: Any, name: str | None = None) -> Tensor:
    """The largest integer not above `x`, as a float. It has no gradient."""
    return _function("Floor", x, name, _REAL)


def ceil(x: Any, name: str | None = None) -> Tensor:
    """The smallest integer not below `x`, as a float. It has no gradient."""
    return _function("Ceil", x, name, _REAL)


def round(x: Any, name: str | None = None) -> Tensor:
    """The nearest integer, the even one when halfway; integers stay what they are. It has no gradient."""
    tensor = convert_to_tensor(x, name="x")
    return tensor if tensor.dtype.is_integer else _function("Round", tensor, name)


def is_nan(x: Any, name: str | None = None) -> Tensor:
    """Whether each element is NaN."""
    return _function("IsNan", x, name, _REAL)


def is_inf(x: Any, name: str | None = None) -> Tensor:
    """Whether each element is infinite, of either sign."""
    return _function("IsInf", x, name, _REAL)


def is_finite(x: Any, name: str | None = None) -> Tensor:
    """Whether each element is neither infinite nor NaN."""
    return _function("IsFinite", x, name, _REAL)


def squared_difference(x: Any, y: Any, name: str | None = None) -> Tensor:
    """`(x - y) ** 2`, element-wise with broadcasting."""
    return _binary("SquaredDifference", "SquaredDifference", name, x=x, y=y)


def atan2(y: Any, x: Any, name: str | None = None) -> Tensor:
    """The angle of the point `(x, y)` in radians, between -pi and pi."""
    return _binary("Atan2", "Atan2", name, y=y, x=x)


def div_no_nan(x: Any, y: Any, name: str | None = None) -> Tensor:
    """`x / y`, but 0 wherever `y` is 0."""
    return _binary("DivNoNan", "div_no_nan", name, x=x, y=y)


def truncatediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """`x / y` cut towards zero, as C divides integers."""
    return _binary("TruncateDiv", "TruncateDiv", name, x=x, y=y)


def truncatemod(x: Any, y: Any, name: str | None = None) -> Tensor:
    """What `truncatediv` leaves, with the sign of `x`."""
    return _binary("TruncateMod", "TruncateMod", name, x=x, y=y)
