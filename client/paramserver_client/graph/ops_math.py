"""Arithmetic and comparison, element by element: the entries of the table, then the functions users call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from paramserver_client.graph import dtypes, shapes
from paramserver_client.graph.convert import apply, convert_to_tensor, op_scope, same_type
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.indexed_slices import IndexedSlices
from paramserver_client.graph.node import Operation, Tensor, operator
from paramserver_client.graph.ops_state import check_allowed
from paramserver_client.graph.registry import define
from paramserver_client.graph.shapes import TensorShape


def _broadcast_shape(op: Operation) -> TensorShape:
    return shapes.broadcast(op.inputs[0].shape, op.inputs[1].shape)


def _boolean(op: Operation) -> DType:
    return dtypes.bool_


def _like(op_type: str, value: Tensor, like: Tensor, **attrs: Any) -> Tensor:
    same = value.shape.is_fully_defined() and value.shape == like.shape
    return value if same else apply(op_type, [value, like], op_type, **attrs)


def sum_to(value: Tensor, like: Tensor) -> Tensor:
    """The gradient of broadcasting: `value` summed over the axes along which `like` was repeated."""
    return _like("SumToShapeOf", value, like)


def broadcast_to(value: Tensor, like: Tensor) -> Tensor:
    return _like("BroadcastToShapeOf", value, like)


@define("SumToShapeOf", shape=lambda op: op.inputs[1].shape,
        gradient=lambda op, grad: [broadcast_to(grad, op.inputs[0]), None])  # fmt: skip
def _sum_to(value: Array, like: Array) -> Array:
    if value.shape == like.shape:
        return value
    extra = value.ndim - like.ndim
    repeated = [extra + i for i, size in enumerate(like.shape) if size == 1 and value.shape[extra + i] != 1]
    return np.asarray(value.sum(axis=(*range(extra), *repeated), dtype=value.dtype)).reshape(like.shape)


@define("BroadcastToShapeOf", shape=lambda op: op.inputs[1].shape,
        gradient=lambda op, grad: [sum_to(grad, op.inputs[0]), None])  # fmt: skip
def _broadcast_to(value: Array, like: Array) -> Array:
    return np.broadcast_to(value, like.shape)


def _both(op: Operation, left: Tensor, right: Tensor) -> list[Tensor | None]:
    return [sum_to(left, op.inputs[0]), sum_to(right, op.inputs[1])]


@define("Add", shape=_broadcast_shape, gradient=lambda op, grad: _both(op, grad, grad))
def _add(x: Array, y: Array) -> Array:
    return np.add(x, y)


def _sum_shape(op: Operation) -> TensorShape:
    merged = TensorShape(None)
    for tensor in op.inputs:
        merged = shapes.merge_for_assign(merged, tensor.shape)
    return merged


@define("AddN", shape=_sum_shape, gradient=lambda op, grad: [grad] * len(op.inputs))
def _add_n(*parts: Array) -> Array:
    total = np.asarray(np.add(parts[0], parts[1]))
    for part in parts[2:]:
        np.add(total, part, out=total)
    return total


@define("Sub", shape=_broadcast_shape, gradient=lambda op, grad: _both(op, grad, negative(grad)))
def _sub(x: Array, y: Array) -> Array:
    return np.subtract(x, y)


@define("Mul", shape=_broadcast_shape,
        gradient=lambda op, grad: _both(op, grad * op.inputs[1], grad * op.inputs[0]))  # fmt: skip
def _mul(x: Array, y: Array) -> Array:
    return np.multiply(x, y)


def _real_div_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    x, y = op.inputs
    return _both(op, realdiv(grad, y), grad * realdiv(realdiv(negative(x), y), y))


@define("RealDiv", shape=_broadcast_shape, gradient=_real_div_gradient)
def _real_div(x: Array, y: Array) -> Array:
    return np.divide(x, y)


def check_divisor(y: Array) -> None:
    """Raises InvalidArgumentError for integers with a zero among them."""
    if y.dtype.kind in "iu" and not y.all():
        raise InvalidArgumentError("Integer division by zero")


@define("FloorDiv", shape=_broadcast_shape)
def _floor_div(x: Array, y: Array) -> Array:
    check_divisor(y)
    return np.floor_divide(x, y)


def _floor_mod_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    x, y = op.inputs
    return _both(op, grad, grad * negative(floor_div(x, y)))


@define("FloorMod", shape=_broadcast_shape, gradient=_floor_mod_gradient)
def _floor_mod(x: Array, y: Array) -> Array:
    check_divisor(y)
    return np.mod(x, y)


def _pow_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    x, y = op.inputs
    positive = greater(x, 0)
    log_x = where(positive, log(where(positive, x, ones_like(x))), zeros_like(x))
    return _both(op, grad * y * pow(x, y - 1), grad * op.outputs[0] * log_x)


@define("Pow", shape=_broadcast_shape, gradient=_pow_gradient)
def _pow(x: Array, y: Array) -> Array:
    if y.dtype.kind == "i" and (y < 0).any():
        raise InvalidArgumentError("Integers to negative integer powers are not allowed")
    return np.power(x, y)


def _extreme_gradient(compare: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Sequence[Tensor | None]]:
    def gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
        x, y = op.inputs
        takes_x = cast(compare(x, y), grad.dtype)
        return _both(op, grad * takes_x, grad * (1 - takes_x))

    return gradient


@define("Maximum", shape=_broadcast_shape, gradient=_extreme_gradient(lambda x, y: greater_equal(x, y)))
def _maximum(x: Array, y: Array) -> Array:
    return np.maximum(x, y)


@define("Minimum", shape=_broadcast_shape, gradient=_extreme_gradient(lambda x, y: less_equal(x, y)))
def _minimum(x: Array, y: Array) -> Array:
    return np.minimum(x, y)


@define("Neg", gradient=lambda op, grad: [negative(grad)])
def _neg(x: Array) -> Array:
    return np.negative(x)


@define("Abs", dtype=lambda op: op.inputs[0].dtype.real_dtype, gradient=lambda op, grad: [grad * sign(op.inputs[0])])
def _abs(x: Array) -> Array:
    return np.abs(x)


@define("Sign", gradient=lambda op, grad: [zeros_like(op.inputs[0])])
def _sign(x: Array) -> Array:
    return np.sign(x)


@define("Square", gradient=lambda op, grad: [grad * (2.0 * op.inputs[0])])
def _square(x: Array) -> Array:
    return np.square(x)


@define("Sqrt", gradient=lambda op, grad: [realdiv(0.5 * grad, op.outputs[0])])
def _sqrt(x: Array) -> Array:
    return np.sqrt(x)


@define("Exp", gradient=lambda op, grad: [grad * op.outputs[0]])
def _exp(x: Array) -> Array:
    return np.exp(x)


@define("Log", gradient=lambda op, grad: [realdiv(grad, op.inputs[0])])
def _log(x: Array) -> Array:
    return np.log(x)


@define("Log1p", gradient=lambda op, grad: [realdiv(grad, 1.0 + op.inputs[0])])
def _log1p(x: Array) -> Array:
    return np.log1p(x)


@define("Tanh", gradient=lambda op, grad: [grad * (1.0 - square(op.outputs[0]))])
def _tanh(x: Array) -> Array:
    return np.tanh(x)


@define("Sigmoid", gradient=lambda op, grad: [grad * op.outputs[0] * (1.0 - op.outputs[0])])
def _sigmoid(x: Array) -> Array:
    half = x.dtype.type(0.5)  # By tanh: no overflow at either end.
    return np.asarray(half * np.tanh(half * x) + half)


@define("ZerosLike")
def _zeros_like(x: Array) -> Array:
    return np.zeros_like(x) if x.dtype != object else np.full_like(x, b"")


@define("OnesLike")
def _ones_like(x: Array) -> Array:
    return np.ones_like(x)


def _cast_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    source = op.inputs[0].dtype.base_dtype
    differentiable = all(dtype.is_floating or dtype.is_complex for dtype in (source, grad.dtype.base_dtype))
    return [cast(grad, source) if differentiable else None]


@define("Cast", dtype=lambda op: op.attrs["dtype"], gradient=_cast_gradient)
def _cast(x: Array, *, dtype: DType) -> Array:
    if x.dtype.kind == "c" and not dtype.is_complex:
        x = x.real
    return np.asarray(x).astype(dtype.numpy_dtype)


def _define_comparison(op_type: str, ufunc: Callable[[Array, Array], Any]) -> None:
    define(op_type, shape=_broadcast_shape, dtype=_boolean)(ufunc)


for _type, _ufunc in {
    "Equal": np.equal, "NotEqual": np.not_equal, "Less": np.less, "LessEqual": np.less_equal,
    "Greater": np.greater, "GreaterEqual": np.greater_equal, "LogicalAnd": np.logical_and,
    "LogicalOr": np.logical_or,
}.items():  # fmt: skip
    _define_comparison(_type, _ufunc)


@define("LogicalNot", dtype=_boolean)
def _logical_not(x: Array) -> Array:
    return np.logical_not(x)


def _select_shape(op: Operation) -> TensorShape:
    return op.inputs[1].shape.merge_with(op.inputs[2].shape)


def _select_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    condition, zeros = op.inputs[0], zeros_like(grad)
    return [None, where(condition, grad, zeros), where(condition, zeros, grad)]


@define("Select", shape=_select_shape, dtype=lambda op: op.inputs[1].dtype.base_dtype, gradient=_select_gradient)
def _select(condition: Array, x: Array, y: Array) -> Array:
    if condition.ndim < x.ndim:  # A vector condition picks whole rows.
        condition = condition.reshape(condition.shape + (1,) * (x.ndim - condition.ndim))
    return np.where(condition, x, y)


# What users call

FLOATING: Final = "bfloat16, float16, float32, float64, complex64, complex128"


def _binary(op_type: str, default: str, x: Any, y: Any, name: str | None) -> Tensor:
    with op_scope(name, default, [x, y]) as scope:
        return apply(op_type, same_type(op_type, x=x, y=y), scope)


def _unary(op_type: str, default: str, x: Any, name: str | None, allowed: str | None = None) -> Tensor:
    with op_scope(name, default, [x]) as scope:
        tensor = convert_to_tensor(x, name="x")
        if allowed is not None:
            check_allowed("x", tensor.dtype, allowed)
        return apply(op_type, [tensor], scope)


def add(x: Any, y: Any, name: str | None = None) -> Tensor:
    """`x + y`, element-wise with broadcasting. Raises TypeError when the dtypes differ, as all of these do."""
    return _binary("Add", "Add", x, y, name)


def add_n(inputs: Any, name: str | None = None) -> Tensor:
    """The sum of a list of tensors of one shape and dtype. Raises ValueError for an empty list or other shapes."""
    if not isinstance(inputs, list | tuple) or not inputs:
        raise ValueError("inputs must be a list of at least one Tensor with the same dtype and shape")
    with op_scope(name, "AddN", inputs) as scope:
        parts = [convert_to_tensor(each) for each in inputs]
        if any(part.dtype.base_dtype != parts[0].dtype.base_dtype for part in parts):
            raise ValueError("inputs must be a list of at least one Tensor with the same dtype and shape")
        if len(parts) == 1:
            return apply("Identity", parts, scope)
        return apply("AddN", parts, scope)


def subtract(x: Any, y: Any, name: str | None = None) -> Tensor:
    """`x - y`, element-wise with broadcasting."""
    return _binary("Sub", "Sub", x, y, name)


def multiply(x: Any, y: Any, name: str | None = None) -> Tensor:
    """`x * y`, element-wise with broadcasting."""
    return _binary("Mul", "Mul", x, y, name)


def realdiv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """`x / y` of floating-point tensors."""
    return _binary("RealDiv", "RealDiv", x, y, name)


def _hinted(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    left = convert_to_tensor(x, name="x")
    return left, convert_to_tensor(y, name="y", dtype_hint=left.dtype.base_dtype)


_TRUEDIV_TYPES: Final = {"int8": "float32", "uint8": "float32", "int16": "float32", "uint16": "float32",
                         "int32": "float64", "int64": "float64", "uint32": "float64", "uint64": "float64"}  # fmt: skip


def truediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """`x / y` by Python 3's rule: integers are divided as floats (8 and 16 bits in float32, others in float64)."""
    with op_scope(name, "truediv", [x, y]) as scope:
        left, right = _hinted(x, y)
        if left.dtype.base_dtype != right.dtype.base_dtype:
            raise TypeError(
                f"x and y must have the same dtype, got {left.dtype.base_dtype!r} != {right.dtype.base_dtype!r}"
            )
        wanted = _TRUEDIV_TYPES.get(left.dtype.base_dtype.name)
        if wanted is not None:
            left, right = cast(left, wanted), cast(right, wanted)
        return apply("RealDiv", [left, right], scope)


def divide(x: Any, y: Any, name: str | None = None) -> Tensor:
    """What `x / y` is in Python 3: `truediv`."""
    return truediv(x, y, name)


def div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """`x / y` by Python 2's rule: integers are divided to the floor. Prefer `tf.truediv` or `tf.floordiv`."""
    with op_scope(name, "div", [x, y]) as scope:
        left, right = _hinted(x, y)
        real = left.dtype.is_floating or left.dtype.is_complex
        op_type = "RealDiv" if real else "FloorDiv"
        return apply(op_type, same_type(op_type, x=left, y=right), scope)


def floor_div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """`x // y`, rounded towards minus infinity. Integer division by zero fails the run: InvalidArgumentError."""
    return _binary("FloorDiv", "floordiv", x, y, name)


def floormod(x: Any, y: Any, name: str | None = None) -> Tensor:
    """`x % y` with the sign of `y`."""
    return _binary("FloorMod", "FloorMod", x, y, name)


def pow(x: Any, y: Any, name: str | None = None) -> Tensor:
    """`x ** y`, element-wise with broadcasting."""
    return _binary("Pow", "Pow", x, y, name)


def maximum(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The larger of `x` and `y`, element-wise; at a tie the gradient goes to `x`."""
    return _binary("Maximum", "Maximum", x, y, name)


def minimum(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The smaller of `x` and `y`, element-wise; at a tie the gradient goes to `x`."""
    return _binary("Minimum", "Minimum", x, y, name)


def scalar_mul(scalar: Any, x: Any, name: str | None = None) -> Any:
    """`x`, a tensor or `IndexedSlices`, times a number. Raises ValueError when `scalar` has a rank."""
    factor = convert_to_tensor(scalar, x.dtype.base_dtype, name="scalar")
    if factor.shape.ndims != 0:
        raise ValueError(f"Only scalar multiply works, got shape {factor.shape}")
    if isinstance(x, IndexedSlices):
        return IndexedSlices(multiply(factor, x.values, name), x.indices, x.dense_shape)
    return multiply(factor, x, name)


def negative(x: Any, name: str | None = None) -> Tensor:
    return _unary("Neg", "Neg", x, name)


def abs(x: Any, name: str | None = None) -> Tensor:
    return _unary("Abs", "Abs", x, name)


def sign(x: Any, name: str | None = None) -> Tensor:
    return _unary("Sign", "Sign", x, name)


def square(x: Any, name: str | None = None) -> Tensor:
    return _unary("Square", "Square", x, name)


def sqrt(x: Any, name: str | None = None) -> Tensor:
    return _unary("Sqrt", "Sqrt", x, name, FLOATING)


def exp(x: Any, name: str | None = None) -> Tensor:
    return _unary("Exp", "Exp", x, name, FLOATING)


def log(x: Any, name: str | None = None) -> Tensor:
    """The natural logarithm."""
    return _unary("Log", "Log", x, name, FLOATING)


def log1p(x: Any, name: str | None = None) -> Tensor:
    """`log(1 + x)`, exact for small `x`."""
    return _unary("Log1p", "Log1p", x, name, FLOATING)


def tanh(x: Any, name: str | None = None) -> Tensor:
    return _unary("Tanh", "Tanh", x, name, FLOATING)


def sigmoid(x: Any, name: str | None = None) -> Tensor:
    """`1 / (1 + exp(-x))`, without overflow."""
    return _unary("Sigmoid", "Sigmoid", x, name, FLOATING)


def cast(x: Any, dtype: Any, name: str | None = None) -> Tensor:
    """`x` with its elements turned into `dtype`; floats are cut towards zero to become integers."""
    wanted = dtypes.as_dtype(dtype).base_dtype
    with op_scope(name, "Cast", [x]) as scope:
        tensor = convert_to_tensor(x, name="x")
        if tensor.dtype.base_dtype == wanted:
            return tensor
        if dtypes.string in (tensor.dtype.base_dtype, wanted):
            raise TypeError(f"Cast wants numbers or bools, got {tensor.dtype.base_dtype.name} to {wanted.name}.")
        return apply("Cast", [tensor], scope, dtype=wanted)


def to_float(x: Any, name: str = "ToFloat") -> Tensor:
    """`cast(x, tf.float32)`."""
    return cast(x, dtypes.float32, name)


def to_double(x: Any, name: str = "ToDouble") -> Tensor:
    """`cast(x, tf.float64)`."""
    return cast(x, dtypes.float64, name)


def to_int32(x: Any, name: str = "ToInt32") -> Tensor:
    """`cast(x, tf.int32)`."""
    return cast(x, dtypes.int32, name)


def to_int64(x: Any, name: str = "ToInt64") -> Tensor:
    """`cast(x, tf.int64)`."""
    return cast(x, dtypes.int64, name)


def equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    """Whether `x == y`, element by element."""
    return _binary("Equal", "Equal", x, y, name)


def not_equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    return _binary("NotEqual", "NotEqual", x, y, name)


def less(x: Any, y: Any, name: str | None = None) -> Tensor:
    return _binary("Less", "Less", x, y, name)


def less_equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    return _binary("LessEqual", "LessEqual", x, y, name)


def greater(x: Any, y: Any, name: str | None = None) -> Tensor:
    return _binary("Greater", "Greater", x, y, name)


def greater_equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    return _binary("GreaterEqual", "GreaterEqual", x, y, name)


def _logical(op_type: str, x: Any, y: Any, name: str | None, default: str) -> Tensor:
    with op_scope(name, default, [x, y]) as scope:
        return apply(op_type, [convert_to_tensor(each, dtypes.bool_) for each in (x, y)], scope)


def logical_and(x: Any, y: Any, name: str | None = None) -> Tensor:
    return _logical("LogicalAnd", x, y, name, "LogicalAnd")


def logical_or(x: Any, y: Any, name: str | None = None) -> Tensor:
    return _logical("LogicalOr", x, y, name, "LogicalOr")


def logical_not(x: Any, name: str | None = None) -> Tensor:
    with op_scope(name, "LogicalNot", [x]) as scope:
        return apply("LogicalNot", [convert_to_tensor(x, dtypes.bool_)], scope)


def logical_xor(x: Any, y: Any, name: str = "LogicalXor") -> Tensor:
    return logical_and(logical_or(x, y), logical_not(logical_and(x, y)), name=name)


def where(condition: Any, x: Any, y: Any, name: str | None = None) -> Tensor:
    """`x` where `condition` holds, else `y`; all of one shape, or `condition` a vector that picks rows."""
    with op_scope(name, "Select", [condition, x, y]) as scope:
        chosen = convert_to_tensor(condition, dtypes.bool_, name="condition")
        return apply("Select", [chosen, *same_type("Select", x=x, y=y)], scope)


def zeros_like(tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Tensor:
    """Zeros of the shape of `tensor`, and of its dtype unless another is given."""
    return _filled_like("ZerosLike", "zeros_like", tensor, dtype, name)


def ones_like(tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Tensor:
    """Ones of the shape of `tensor`, and of its dtype unless another is given."""
    return _filled_like("OnesLike", "ones_like", tensor, dtype, name)


def _filled_like(op_type: str, default: str, tensor: Any, dtype: Any, name: str | None) -> Tensor:
    with op_scope(name, default, [tensor]) as scope:
        like = convert_to_tensor(tensor, name="tensor")
        result = apply(op_type, [like if dtype is None else cast(like, dtype)], scope)
        result.op.recipe = {"type": "zeros" if op_type == "ZerosLike" else "ones"}
        return result


def binary_operator(name: str, function: Callable[..., Tensor]) -> Callable[[Any, Any], Tensor]:
    """`function` as a python operator: the side that is no tensor takes the other's dtype when it can."""

    def operate(x: Any, y: Any) -> Tensor:
        with op_scope(name, name, [x, y]) as scope:
            if isinstance(x, Tensor) or hasattr(x, "_as_tensor"):
                y = convert_to_tensor(y, name="y", dtype_hint=x.dtype.base_dtype)
            else:
                x = convert_to_tensor(x, dtype=y.dtype.base_dtype, name="x")
            return function(x, y, name=scope)

    return operate


_OPERATORS: Final[dict[str, Callable[..., Tensor]]] = {
    "add": add, "sub": subtract, "mul": multiply, "truediv": truediv, "floordiv": floor_div, "mod": floormod,
    "pow": pow, "and": logical_and, "or": logical_or, "xor": logical_xor,
}  # fmt: skip
for _name, _function in _OPERATORS.items():
    operator(_name, binary_operator("LogicalXor" if _name == "xor" else _name, _function))
operator("lt", less)
operator("le", less_equal)
operator("gt", greater)
operator("ge", greater_equal)
operator("neg", negative)
operator("abs", abs)
operator("invert", logical_not)
