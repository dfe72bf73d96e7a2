"""Reductions, and where the extremes lie: the entries of the table, then the functions users call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paramserver_client.graph import dtypes, shapes
from paramserver_client.graph.convert import apply, convert_to_tensor, op_scope, static_axis
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_array import reshape, shape
from paramserver_client.graph.ops_math import (
    add,
    cast,
    check_divisor,
    equal,
    exp,
    log,
    multiply,
    not_equal,
    realdiv,
    sqrt,
    subtract,
    where,
    zeros_like,
)
from paramserver_client.graph.ops_math import pow as power
from paramserver_client.graph.ops_scan import cumprod
from paramserver_client.graph.ops_state import NUMBERS, check_allowed
from paramserver_client.graph.registry import define
from paramserver_client.graph.shapes import TensorShape


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


def _extreme_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    x = op.inputs[0]
    chosen = cast(equal(_spread(op, op.outputs[0]), x), grad.dtype)
    ties = reduce_sum(chosen, op.attrs["axis"], op.attrs["keepdims"])
    return [realdiv(chosen, _spread(op, ties)) * _spread(op, grad)]


def _ends(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """What the largest and the smallest of no elements are."""
    if dtype.kind in "iu":
        return np.iinfo(dtype).min, np.iinfo(dtype).max
    return (False, True) if dtype.kind == "b" else (-np.inf, np.inf)


@define("Max", shape=_reduced_shape, gradient=_extreme_gradient)
def _max(x: Array, *, axis: Any, keepdims: bool) -> Array:
    if not x.size:
        return np.asarray(np.max(x, axis=_axes(axis), keepdims=keepdims, initial=_ends(x.dtype)[0]))
    return np.asarray(np.max(x, axis=_axes(axis), keepdims=keepdims))


@define("Min", shape=_reduced_shape, gradient=_extreme_gradient)
def _min(x: Array, *, axis: Any, keepdims: bool) -> Array:
    if not x.size:
        return np.asarray(np.min(x, axis=_axes(axis), keepdims=keepdims, initial=_ends(x.dtype)[1]))
    return np.asarray(np.min(x, axis=_axes(axis), keepdims=keepdims))


def _prod_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    """What all the others multiply to, without a division, so that zeros are no exception; axis after axis."""
    rest, axes = op.inputs[0], op.attrs["axis"]
    if axes is None:
        rest, axes = reshape(rest, [-1]), [0]
    others: Tensor | None = None
    for axis in axes:
        along = multiply(cumprod(rest, axis, exclusive=True), cumprod(rest, axis, exclusive=True, reverse=True))
        others = along if others is None else multiply(others, along)
        rest = reduce_prod(rest, [axis], keepdims=True)
    if others is None:
        return [grad]
    if op.attrs["axis"] is None:
        others = reshape(others, shape(op.inputs[0]))
    return [multiply(_spread(op, grad), others)]


@define("Prod", shape=_reduced_shape, gradient=_prod_gradient)
def _prod(x: Array, *, axis: Any, keepdims: bool) -> Array:
    return np.asarray(x.prod(axis=_axes(axis), keepdims=keepdims, dtype=x.dtype))


@define("All", shape=_reduced_shape)
def _all(x: Array, *, axis: Any, keepdims: bool) -> Array:
    return np.asarray(np.all(x, axis=_axes(axis), keepdims=keepdims))


@define("Any", shape=_reduced_shape)
def _any(x: Array, *, axis: Any, keepdims: bool) -> Array:
    return np.asarray(np.any(x, axis=_axes(axis), keepdims=keepdims))


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


@define("ArgMin", shape=_arg_shape, dtype=_output_type)
def _arg_min(x: Array, *, axis: int, output_type: DType) -> Array:
    return np.asarray(np.argmin(x, axis=axis)).astype(output_type.numpy_dtype)


# What users call


def _settled(axis: Any, keepdims: Any, reduction_indices: Any, keep_dims: Any) -> tuple[list[int] | None, bool]:
    """The arguments of a reduction, of which two have an old name too. Raises ValueError when both are given."""
    if axis is not None and reduction_indices is not None:
        raise ValueError("Can't specify both 'axis' and 'reduction_indices'.")
    if keepdims is not None and keep_dims is not None:
        raise ValueError("Cannot specify both 'keep_dims' and 'keepdims'.")
    axes = static_axis(reduction_indices if axis is None else axis, "The axis of a reduction")
    return [axes] if isinstance(axes, int) else axes, bool(keepdims or keep_dims)


def _reduce(
    op_type: str, x: Any, axis: Any, keepdims: Any, name: str | None, reduction_indices: Any, keep_dims: Any,
    dtype: DType | None = None,
) -> Tensor:  # fmt: skip
    axes, keep = _settled(axis, keepdims, reduction_indices, keep_dims)
    with op_scope(name, op_type, [x]) as scope:
        tensor = convert_to_tensor(x, dtype, name="input_tensor")
        if dtype is None:
            check_allowed("input", tensor.dtype, NUMBERS)
        return apply(op_type, [tensor], scope, axis=axes, keepdims=keep)


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


def reduce_min(
    input_tensor: Any, axis: Any = None, keepdims: Any = None, name: str | None = None,
    reduction_indices: Any = None, keep_dims: Any = None,
) -> Tensor:  # fmt: skip
    """The smallest element over `axis` (an int, a list of ints, or None for all); ties share the gradient."""
    return _reduce("Min", input_tensor, axis, keepdims, name, reduction_indices, keep_dims)


def reduce_prod(
    input_tensor: Any, axis: Any = None, keepdims: Any = None, name: str | None = None,
    reduction_indices: Any = None, keep_dims: Any = None,
) -> Tensor:  # fmt: skip
    """The product over `axis` (an int, a list of ints, or None for all)."""
    return _reduce("Prod", input_tensor, axis, keepdims, name, reduction_indices, keep_dims)


def reduce_all(
    input_tensor: Any, axis: Any = None, keepdims: Any = None, name: str | None = None,
    reduction_indices: Any = None, keep_dims: Any = None,
) -> Tensor:  # fmt: skip
    """Whether all elements over `axis` are true. Raises ValueError for tensors that are not bool."""
    return _reduce("All", input_tensor, axis, keepdims, name, reduction_indices, keep_dims, dtypes.bool_)


def reduce_any(
    input_tensor: Any, axis: Any = None, keepdims: Any = None, name: str | None = None,
    reduction_indices: Any = None, keep_dims: Any = None,
) -> Tensor:  # fmt: skip
    """Whether any element over `axis` is true. Raises ValueError for tensors that are not bool."""
    return _reduce("Any", input_tensor, axis, keepdims, name, reduction_indices, keep_dims, dtypes.bool_)


def reduce_logsumexp(
    input_tensor: Any, axis: Any = None, keepdims: Any = None, name: str | None = None,
    reduction_indices: Any = None, keep_dims: Any = None,
) -> Tensor:  # fmt: skip
    """`log(sum(exp(input_tensor)))` over `axis`, without overflow where the sum alone has one."""
    axes, keep = _settled(axis, keepdims, reduction_indices, keep_dims)
    with op_scope(name, "ReduceLogSumExp", [input_tensor]) as scope:
        x = convert_to_tensor(input_tensor, name="input_tensor")
        largest = reduce_max(x, axes, keepdims=True)
        finite = apply("IsFinite", [largest], "IsFinite")
        most = apply("StopGradient", [where(finite, largest, zeros_like(largest))], "StopGradient")
        logs = log(reduce_sum(exp(subtract(x, most)), axes, keepdims=keep))
        if keep:
            return add(logs, most, name=scope)
        return add(logs, apply("Sum", [most], "Sum", axis=axes, keepdims=False), name=scope)


def count_nonzero(
    input_tensor: Any, axis: Any = None, keepdims: Any = None, dtype: Any = dtypes.int64, name: str | None = None,
    reduction_indices: Any = None, keep_dims: Any = None,
) -> Tensor:  # fmt: skip
    """How many elements over `axis` are not 0, as int64."""
    with op_scope(name, "count_nonzero", [input_tensor]):
        x = convert_to_tensor(input_tensor, name="input_tensor")
        hits = cast(not_equal(x, zeros_like(x)), dtypes.int64)
        return cast(reduce_sum(hits, axis, keepdims, None, reduction_indices, keep_dims), dtype)


def norm(
    tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: Any = None, name: str | None = None,
    keep_dims: Any = None,
) -> Tensor:  # fmt: skip
    """The norm of the vectors along `axis`, or of all elements: `ord` is `euclidean` (2), 1, another positive number
    p (the p-th root of the sum of the p-th powers), or `np.inf` for the largest. Matrices (two axes) have the
    Euclidean norm, also called `fro`.

    Raises ValueError for another `ord`.
    """
    axes, keep = _settled(axis, keepdims, None, keep_dims)
    matrix = axes is not None and len(axes) == 2
    with op_scope(name, "norm", [tensor]):
        size = apply("Abs", [convert_to_tensor(tensor)], "Abs")
        if ord == "euclidean" or (ord == "fro" and matrix) or (ord == 2 and not matrix):
            return sqrt(reduce_sum(multiply(size, size), axes, keep))
        if matrix or isinstance(ord, str) or ord <= 0:
            raise ValueError(f"'ord' must be a supported norm, got {ord!r}; give 'euclidean', 1, 2, np.inf or p > 0.")
        if ord == np.inf:
            return reduce_max(size, axes, keep)
        if ord == 1:
            return reduce_sum(size, axes, keep)
        return power(reduce_sum(power(size, ord), axes, keep), 1.0 / ord)


def _arg(op_type: str, input: Any, axis: Any, dimension: Any, output_type: Any, name: str | None) -> Tensor:
    if axis is not None and dimension is not None:
        raise ValueError("Cannot specify both 'axis' and 'dimension'.")
    with op_scope(name, op_type, [input]) as scope:
        along = static_axis(dimension if axis is None else axis, f"The axis of {op_type}")
        wanted = dtypes.as_dtype(output_type)
        return apply(op_type, [convert_to_tensor(input)], scope, axis=along or 0, output_type=wanted)


def argmax(
    input: Any, axis: Any = None, name: str | None = None, dimension: Any = None, output_type: Any = dtypes.int64
) -> Tensor:
    """The index of the first largest element along `axis` (0 unless given), as int64."""
    return _arg("ArgMax", input, axis, dimension, output_type, name)


def argmin(
    input: Any, axis: Any = None, name: str | None = None, dimension: Any = None, output_type: Any = dtypes.int64
) -> Tensor:
    """The index of the first smallest element along `axis` (0 unless given), as int64."""
    return _arg("ArgMin", input, axis, dimension, output_type, name)
