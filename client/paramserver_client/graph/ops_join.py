"""Putting tensors together and taking them apart: concat, split, slice, gather."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paramserver_client.graph import shapes
from paramserver_client.graph.convert import (
    apply,
    constant_shape,
    constant_value,
    convert_to_tensor,
    op_scope,
    shape_tensor,
    static_axis,
    typed_input,
)
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.indexed_slices import IndexedSlices
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_array import identity, reshape, shape
from paramserver_client.graph.ops_math import zeros_like
from paramserver_client.graph.ops_state import check_allowed
from paramserver_client.graph.registry import define
from paramserver_client.graph.shapes import TensorShape


def checked_axis(axis: int, rank: int, what: str) -> int:
    """`axis` counted from the front. Raises ValueError, with `what` in its words, for one outside."""
    if not -rank <= axis < rank:
        raise ValueError(f"{what}: expected an axis in the range [{-rank}, {rank}), but got {axis}")
    return axis % rank


def _concat_shape(op: Operation) -> TensorShape:
    known = [tensor.shape for tensor in op.inputs if tensor.shape.sizes is not None]
    if not known:
        return TensorShape(None)
    rank = len(known[0])
    axis = checked_axis(op.attrs["axis"], rank, "concat") if rank else 0
    merged = shapes.unknown_shape(rank)
    total: int | None = 0
    for each in known:
        sizes = each.as_list()
        if len(sizes) != rank:
            raise ValueError(f"Shapes must be equal rank, but are {rank} and {len(sizes)}")
        length = sizes[axis]
        total = None if total is None or length is None else total + length
        sizes[axis] = None
        merged = shapes.merge_for_assign(merged, TensorShape(sizes))
    result = merged.as_list()
    result[axis] = total if len(known) == len(op.inputs) else None
    return TensorShape(result)


def _concat_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return list(apply_many("ConcatGrad", [grad, *op.inputs], "ConcatGrad", axis=op.attrs["axis"]))


@define("ConcatV2", shape=_concat_shape, gradient=_concat_gradient)
def _concat(*parts: Array, axis: int) -> Array:
    return np.concatenate(parts, axis)


def _parts_gradient(op: Operation, *grads: Tensor | None) -> Sequence[Tensor | None]:
    filled = [zeros_like(output) if grad is None else grad for output, grad in zip(op.outputs, grads, strict=True)]
    joined = apply("ConcatV2", filled, "concat", axis=op.attrs["axis"])
    return [joined, *[None] * (len(op.inputs) - 1)]


@define("ConcatGrad", shape=lambda op: [tensor.shape for tensor in op.inputs[1:]], gradient=_parts_gradient)
def _concat_grad(grad: Array, *parts: Array, axis: int) -> Any:
    edges = np.cumsum([part.shape[axis] for part in parts])[:-1]
    return _for_outputs(np.split(grad, edges, axis), len(parts))


def _for_outputs(parts: Sequence[Array], count: int) -> Any:
    """What a kernel of `count` outputs returns: for a single one not a tuple."""
    return parts[0] if count == 1 else tuple(parts)


def _split_shape(op: Operation) -> Sequence[TensorShape]:
    whole, sizes, axis = op.inputs[0].shape, op.attrs["sizes"], op.attrs["axis"]
    if whole.sizes is None:
        return [TensorShape(None) for _ in sizes]
    place = checked_axis(axis, len(whole.sizes), "split")
    length = whole.sizes[place]
    if length is not None and None not in sizes and sum(sizes) != length:
        raise ValueError(f"can't split axis of size {length} into pieces of size {list(sizes)}")
    return [TensorShape([*whole.sizes[:place], size, *whole.sizes[place + 1 :]]) for size in sizes]


@define("SplitV", shape=_split_shape, gradient=_parts_gradient)
def _split(value: Array, *, sizes: Sequence[int | None], axis: int) -> Any:
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        known = [value.shape[axis] // len(sizes)] * len(sizes)
    if sum(known) != value.shape[axis]:
        raise InvalidArgumentError(f"can't split axis of size {value.shape[axis]} into pieces of size {known}")
    return _for_outputs(np.split(value, np.cumsum(known)[:-1], axis), len(sizes))


def _slice_shape(op: Operation) -> TensorShape:
    whole, begin, size = op.inputs[0].shape, constant_value(op.inputs[1]), constant_value(op.inputs[2])
    if begin is None or size is None or whole.sizes is None:
        return (
            constant_shape(op.inputs[2])
            if size is not None and (size >= 0).all()
            else shapes.unknown_shape(whole.ndims)
        )
    result: list[int | None] = []
    for first, count, length in zip(begin.tolist(), size.tolist(), whole.sizes, strict=True):
        if length is not None and (first < 0 or first > length or (count != -1 and first + count > length)):
            raise ValueError(f"Expected begin and size arguments to lie in [0, {length}], but got {first} and {count}")
        result.append(count if count != -1 else None if length is None else length - first)
    return TensorShape(result)


def _slice_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [apply("SliceGrad", [grad, *op.inputs[:2]], "SliceGrad"), None, None]


@define("Slice", shape=_slice_shape, gradient=_slice_gradient)
def _slice(value: Array, begin: Array, size: Array) -> Array:
    ends = np.where(size == -1, np.array(value.shape), begin + size)
    if (begin < 0).any() or (ends > np.array(value.shape)).any():
        raise InvalidArgumentError(
            f"Expected begin and size to lie in shape {list(value.shape)}, but got {begin.tolist()} and {size.tolist()}"
        )
    return value[tuple(slice(int(first), int(end)) for first, end in zip(begin, ends, strict=True))]


def _slice_grad_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [apply("Slice", [grad, op.inputs[2], shape(op.inputs[0])], "Slice"), None, None]


@define("SliceGrad", shape=lambda op: op.inputs[1].shape, gradient=_slice_grad_gradient)
def _slice_grad(grad: Array, value: Array, begin: Array) -> Array:
    out = np.zeros(value.shape, dtype=grad.dtype)
    out[tuple(slice(int(first), int(first) + size) for first, size in zip(begin, grad.shape, strict=True))] = grad
    return out


def _gather_shape(op: Operation) -> TensorShape:
    params, indices = op.inputs[0].shape, op.inputs[1].shape
    return indices.concatenate(params.with_rank_at_least(1)[1:])


def _gather_gradient(op: Operation, grad: Tensor) -> Sequence[Any]:
    params, indices = op.inputs
    rows = reshape(indices, [-1])
    tail = params.shape[1:]
    width = tail.as_list() if tail.is_fully_defined() else shape(params)[1:]
    if isinstance(width, Tensor):
        values = reshape(grad, apply("ConcatV2", [convert_to_tensor([-1]), width], "concat", axis=0))
    else:
        values = reshape(grad, [-1, *width])
    return [IndexedSlices(values, rows, shape(params)), None]


@define("Gather", shape=_gather_shape, gradient=_gather_gradient)
def _gather(params: Array, indices: Array) -> Array:
    _check_places(indices, len(params))
    return np.asarray(params[indices])


def _check_places(indices: Array, length: int) -> None:
    if indices.size and (indices.min() < 0 or indices.max() >= length):
        place = tuple(int(each) for each in np.argwhere((indices < 0) | (indices >= length))[0])
        where = ",".join(map(str, place)) if place else ""
        raise InvalidArgumentError(f"indices[{where}] = {indices[place]} is not in [0, {length})")


def _along_shape(op: Operation) -> TensorShape:
    params, indices = op.inputs[0].shape, op.inputs[1].shape
    if params.sizes is None:
        return params
    axis = checked_axis(op.attrs["axis"], len(params.sizes), "gather")
    return params[:axis].concatenate(indices).concatenate(params[axis + 1 :])  # type: ignore[no-any-return]


def _along_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    params, indices = op.inputs
    return [apply("ScatterAlong", [grad, indices, params], "ScatterAlong", axis=op.attrs["axis"]), None]


@define("GatherAlong", shape=_along_shape, gradient=_along_gradient)
def _gather_along(params: Array, indices: Array, *, axis: int) -> Array:
    _check_places(indices, params.shape[axis])
    return np.take(params, indices, axis)


def _scatter_along_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [apply("GatherAlong", [grad, op.inputs[1]], "GatherV2", axis=op.attrs["axis"]), None, None]


@define("ScatterAlong", shape=lambda op: op.inputs[2].shape, gradient=_scatter_along_gradient)
def _scatter_along(grad: Array, indices: Array, like: Array, *, axis: int) -> Array:
    """The inverse of a gather: what was taken from one place several times adds up there."""
    place = axis % like.ndim
    out = np.zeros((like.shape[place], *like.shape[:place], *like.shape[place + 1 :]), dtype=grad.dtype)
    taken = range(place, place + indices.ndim)
    np.add.at(out, indices, np.moveaxis(grad, taken, range(indices.ndim)))
    return np.moveaxis(out, 0, place)


@define("UnsortedSegmentRows", shape=lambda op: constant_shape(op.inputs[2]),
        gradient=lambda op, grad: [gather(grad, op.inputs[1]), None, None])  # fmt: skip
def _segment_rows(values: Array, rows: Array, dense_shape: Array) -> Array:
    out = np.zeros(tuple(int(size) for size in dense_shape), dtype=values.dtype)
    np.add.at(out, rows, values)
    return out


# What users call


def apply_many(op_type: str, inputs: Sequence[Tensor], name: str, **attrs: Any) -> list[Tensor]:
    """Add an operation of several outputs to the default graph; gives them all."""
    return apply(op_type, inputs, name, **attrs).op.outputs


def concat(values: Any, axis: Any, name: str = "concat") -> Tensor:
    """The tensors of a list, one behind the other along `axis`. Raises ValueError when their other sizes differ."""
    parts = list(values) if isinstance(values, list | tuple) or not isinstance(values, Tensor) else [values]
    if not parts:
        raise ValueError("concat wants at least one tensor, got an empty list.")
    with op_scope(name, "concat", parts) as scope:
        along = static_axis(axis, "The axis of concat")
        first = convert_to_tensor(parts[0])
        if len(parts) == 1:
            return identity(first, name=scope)
        others = [typed_input("ConcatV2", f"values_{i}", each, first.dtype.base_dtype, "values")
                  for i, each in enumerate(parts[1:], 1)]  # fmt: skip
        return apply("ConcatV2", [first, *others], scope, axis=along)


def split(
    value: Any, num_or_size_splits: Any, axis: Any = 0, num: int | None = None, name: str = "split"
) -> list[Tensor]:
    """`value` cut along `axis` into so many equal parts, or into parts of the sizes listed.

    Raises ValueError when they do not add up.
    """
    with op_scope(name, "split", [value]) as scope:
        whole = convert_to_tensor(value, name="value")
        along = static_axis(axis, "The axis of split")
        given = static_axis(num_or_size_splits, "num_or_size_splits")
        length = None if whole.shape.sizes is None else whole.shape.sizes[along]
        sizes: list[int | None]
        if isinstance(given, list):
            sizes = [length - sum(each for each in given if each >= 0) if each == -1 and length is not None else each
                     for each in given]  # fmt: skip
        elif length is None:
            sizes = [None] * given
        elif length % given:
            raise ValueError(
                f"Dimension size must be evenly divisible by {given} but is {length} for 'split' (op: 'Split') with "
                f"input shapes: {shapes.brackets(whole.shape)}."
            )
        else:
            sizes = [length // given] * given
        return list(apply_many("SplitV", [whole], scope, sizes=sizes, axis=along))


def slice_(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """The block of `input_` that begins at `begin` and has the sizes `size`, -1 for all that is left."""
    with op_scope(name, "Slice", [input_]) as scope:
        first, extent = shape_tensor(begin, "begin"), shape_tensor(size, "size")
        return apply("Slice", [convert_to_tensor(input_, name="input"), first, extent], scope)


def gather(params: Any, indices: Any, validate_indices: Any = None, name: str | None = None, axis: Any = 0) -> Tensor:
    """The rows `indices` (of any shape) of `params`, or its parts along another `axis`.

    An index outside fails the run: InvalidArgumentError. The gradient of rows with respect to `params` is an
    `IndexedSlices`, a row for each index.
    """
    along = static_axis(axis, "axis") or 0
    with op_scope(name, "GatherV2", [params, indices]) as scope:
        rows = convert_to_tensor(indices, name="indices")
        check_allowed("indices", rows.dtype, "int32, int64")
        whole = convert_to_tensor(params, name="params")
        if along == 0 or along + (whole.shape.ndims or 0) == 0:
            return apply("Gather", [whole, rows], scope)
        return apply("GatherAlong", [whole, rows], scope, axis=along)


def dense(slices: IndexedSlices, name: str | None = None) -> Tensor:
    """An `IndexedSlices` as a plain tensor, repeated rows added. Raises ValueError without a dense shape."""
    if slices.dense_shape is None:
        raise ValueError(f"Tensor conversion requested for IndexedSlices without dense_shape: {slices}")
    with op_scope(name, "UnsortedSegmentSum", [slices.values]) as scope:
        return apply("UnsortedSegmentRows", [slices.values, slices.indices, slices.dense_shape], scope)
