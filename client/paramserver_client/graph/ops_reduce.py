"""Matrix products and reductions: the entries of the table, then the functions users call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paramserver_client.graph import dtypes, shapes
from paramserver_client.graph.convert import apply, convert_to_tensor, op_scope, same_type, static_axis
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.node import Operation, Tensor, operator
from paramserver_client.graph.ops_math import binary_operator, cast, check_divisor, equal, realdiv
from paramserver_client.graph.registry import define
from paramserver_client.graph.shapes import TensorShape


def _matmul_shape(op: Operation) -> TensorShape:
    a, b = (tensor.shape.with_rank(2).as_list() for tensor in op.inputs)
    rows, inner = reversed(a) if op.attrs["transpose_a"] else a
    other, columns = reversed(b) if op.attrs["transpose_b"] else b
    if inner is not None and other is not None and inner != other:
        raise ValueError(f"Dimensions must be equal, but are {inner} and {other}")
    return TensorShape([rows, columns])


def _matmul_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    a, b = op.inputs
    flip_a, flip_b = op.attrs["transpose_a"], op.attrs["transpose_b"]
    if not flip_a and not flip_b:
        return [matmul(grad, b, transpose_b=True), matmul(a, grad, transpose_a=True)]
    if not flip_a:
        return [matmul(grad, b), matmul(grad, a, transpose_a=True)]
    if not flip_b:
        return [matmul(b, grad, transpose_b=True), matmul(a, grad)]
    return [matmul(b, grad, True, True), matmul(grad, a, True, True)]


@define("MatMul", shape=_matmul_shape, gradient=_matmul_gradient)
def _matmul(a: Array, b: Array, *, transpose_a: bool, transpose_b: bool) -> Array:
    left, right = a.T if transpose_a else a, b.T if transpose_b else b
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        raise InvalidArgumentError(
            f"Matrix size-incompatible: In[0]: {list(a.shape)}, In[1]: {list(b.shape)}; wanted inner sizes to be equal"
        )
    return np.asarray(np.matmul(left, right))


def _reduced_shape(op: Operation) -> TensorShape:
    sizes, axes, keep = op.inputs[0].shape.sizes, op.attrs["axis"], op.attrs["keepdims"]
    if sizes is None:
        return shapes.scalar() if axes is None and not keep else TensorShape(None)
    rank = len(sizes)
    for axis in axes or ():
        if not -rank <= axis < rank:
            raise ValueError(f"Invalid reduction dimension {axis} for input with {rank} dimensions.")
    gone = set(range(rank)) if axes is None else {axis % rank for axis in axes}
    if keep:
        return TensorShape([1 if i in gone else size for i, size in enumerate(sizes)])
    return TensorShape([size for i, size in enumerate(sizes) if i not in gone])


def _spread(op: Operation, value: Tensor, mean: bool = False) -> Tensor:
    attrs = {"axis": op.attrs["axis"], "keepdims": op.attrs["keepdims"], "mean": mean}
    return apply("SpreadOverAxes", [value, op.inputs[0]], "spread", **attrs)


def _spread_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    reduce = reduce_mean if op.attrs["mean"] else reduce_sum
    return [reduce(grad, op.attrs["axis"], op.attrs["keepdims"]), None]


@define("SpreadOverAxes", shape=lambda op: op.inputs[1].shape, gradient=_spread_gradient)
def _spread_over(value: Array, like: Array, *, axis: Any, keepdims: bool, mean: bool) -> Array:
    """The inverse of a reduction: `value` repeated to the shape of `like`, divided by the repeats for a mean."""
    axes = tuple(range(like.ndim)) if axis is None else tuple(each % like.ndim for each in axis)
    if mean:
        count = int(np.prod([like.shape[each] for each in set(axes)], dtype=np.int64))
        value = np.divide(value, np.asarray(count).astype(value.dtype))
    if not keepdims:
        value = np.expand_dims(value, tuple(sorted(set(axes))))
    return np.broadcast_to(value, like.shape)


def _axes(axis: Any) -> Any:
    return None if axis is None else tuple(axis)


@define("Sum", shape=_reduced_shape, gradient=lambda op, grad: [_spread(op, grad)])
def _sum(x: Array, *, axis: Any, keepdims: bool) -> Array:
    return np.asarray(x.sum(axis=_axes(axis), keepdims=keepdims, dtype=x.dtype))


@define("Mean", shape=_reduced_shape, gradient=lambda op, grad: [_spread(op, grad, mean=True)])
def _mean(x: Array, *, axis: Any, keepdims: bool) -> Array:
    if x.dtype.kind in "iu":
        count = x.size // max(1, int(np.prod(np.sum(x, axis=_axes(axis)).shape, dtype=np.int64)))
        check_divisor(np.asarray(count))
        return np.asarray(x.sum(axis=_axes(axis), keepdims=keepdims, dtype=x.dtype) // count).astype(x.dtype)
    if not x.size:
        return np.asarray(x.sum(axis=_axes(axis), keepdims=keepdims) * np.nan).astype(x.dtype)
    return np.asarray(x.mean(axis=_axes(axis), keepdims=keepdims)).astype(x.dtype, copy=False)


def _max_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    x = op.inputs[0]
    chosen = cast(equal(_spread(op, op.outputs[0]), x), grad.dtype)
    ties = reduce_sum(chosen, op.attrs["axis"], op.attrs["keepdims"])
    return [realdiv(chosen, _spread(op, ties)) * _spread(op, grad)]


def _lowest(dtype: np.dtype[Any]) -> Any:
    if dtype.kind in "iu":
        return np.iinfo(dtype).min
    return False if dtype.kind == "b" else -np.inf


@define("Max", shape=_reduced_shape, gradient=_max_gradient)
def _max(x: Array, *, axis: Any, keepdims: bool) -> Array:
    if not x.size:
        return np.asarray(np.max(x, axis=_axes(axis), keepdims=keepdims, initial=_lowest(x.dtype)))
    return np.asarray(np.max(x, axis=_axes(axis), keepdims=keepdims))


def _arg_shape(op: Operation) -> TensorShape:
    sizes, axis = op.inputs[0].shape.sizes, op.attrs["axis"]
    if sizes is None:
        return TensorShape(None)
    if not -len(sizes) <= axis < max(len(sizes), 1):
        raise ValueError(f"Dimension ({axis}) must be in the range [{-len(sizes)}, {len(sizes)})")
    return TensorShape([size for i, size in enumerate(sizes) if i != axis % len(sizes)])


def _output_type(op: Operation) -> DType:
    dtype: DType = op.attrs["output_type"]
    return dtype


@define("ArgMax", shape=_arg_shape, dtype=_output_type)
def _arg_max(x: Array, *, axis: int, output_type: DType) -> Array:
    return np.asarray(np.argmax(x, axis=axis)).astype(output_type.numpy_dtype)


# What users call


def matmul(
    a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, adjoint_a: bool = False,
    adjoint_b: bool = False, a_is_sparse: bool = False, b_is_sparse: bool = False, name: str | None = None,
) -> Tensor:  # fmt: skip
    """The product of the matrices `a` `[n, k]` and `b` `[k, m]`, each transposed first when asked for.

    `adjoint_*` transpose as well and are for real matrices. Raises ValueError when the inner sizes differ.
    """
    for flip, adjoint, which in ((transpose_a, adjoint_a, "a"), (transpose_b, adjoint_b, "b")):
        if flip and adjoint:
            raise ValueError(f"Only one of transpose_{which} and adjoint_{which} can be True.")
    with op_scope(name, "MatMul", [a, b]) as scope:
        left, right = same_type("MatMul", a=a, b=b)
        if left.dtype.is_complex and (adjoint_a or adjoint_b):
            raise ValueError("adjoint_a and adjoint_b of a complex matrix are not supported; conjugate it first.")
        flips = {"transpose_a": bool(transpose_a or adjoint_a), "transpose_b": bool(transpose_b or adjoint_b)}
        return apply("MatMul", [left, right], scope, **flips)


def _reduce(
    op_type: str, x: Any, axis: Any, keepdims: Any, name: str | None, reduction_indices: Any, keep_dims: Any
) -> Tensor:
    if axis is not None and reduction_indices is not None:
        raise ValueError("Can't specify both 'axis' and 'reduction_indices'.")
    if keepdims is not None and keep_dims is not None:
        raise ValueError("Cannot specify both 'keep_dims' and 'keepdims'.")
    with op_scope(name, op_type, [x]) as scope:
        tensor = convert_to_tensor(x, name="input_tensor")
        axes = static_axis(reduction_indices if axis is None else axis, "The axis of a reduction")
        axes = [axes] if isinstance(axes, int) else axes
        return apply(op_type, [tensor], scope, axis=axes, keepdims=bool(keepdims or keep_dims))


def reduce_sum(
    input_tensor: Any, axis: Any = None, keepdims: Any = None, name: str | None = None,
    reduction_indices: Any = None, keep_dims: Any = None,
) -> Tensor:  # fmt: skip
    """The sum over `axis` (an int, a list of ints, or None for all)."""
    return _reduce("Sum", input_tensor, axis, keepdims, name, reduction_indices, keep_dims)


def reduce_mean(
    input_tensor: Any, axis: Any = None, keepdims: Any = None, name: str | None = None,
    reduction_indices: Any = None, keep_dims: Any = None,
) -> Tensor:  # fmt: skip
    """The mean over `axis` (an int, a list of ints, or None for all); integers are cut to integers."""
    return _reduce("Mean", input_tensor, axis, keepdims, name, reduction_indices, keep_dims)


def reduce_max(
    input_tensor: Any, axis: Any = None, keepdims: Any = None, name: str | None = None,
    reduction_indices: Any = None, keep_dims: Any = None,
) -> Tensor:  # fmt: skip
    """The largest element over `axis` (an int, a list of ints, or None for all); ties share the gradient."""
    return _reduce("Max", input_tensor, axis, keepdims, name, reduction_indices, keep_dims)


def argmax(
    input: Any, axis: Any = None, name: str | None = None, dimension: Any = None, output_type: Any = dtypes.int64
) -> Tensor:
    """The index of the first largest element along `axis` (0 unless given), as int64."""
    if axis is not None and dimension is not None:
        raise ValueError("Cannot specify both 'axis' and 'dimension'.")
    with op_scope(name, "ArgMax", [input]) as scope:
        along = static_axis(dimension if axis is None else axis, "The axis of argmax")
        wanted = dtypes.as_dtype(output_type)
        return apply("ArgMax", [convert_to_tensor(input)], scope, axis=along or 0, output_type=wanted)


operator("matmul", binary_operator("matmul", matmul))
