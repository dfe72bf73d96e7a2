"""Elements and blocks of a tensor by index vectors: `gather_nd`, `scatter_nd`.

The last axis of `indices` is the beginning of an index into a tensor; what it does not name is taken or put whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paramserver_client.graph.convert import apply, constant_shape, convert_to_tensor, op_scope, typed_input
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.indexed_slices import IndexedSlices
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_array import shape as shape_of
from paramserver_client.graph.ops_array import squeeze
from paramserver_client.graph.ops_state import check_allowed
from paramserver_client.graph.registry import define
from paramserver_client.graph.rows import SCATTERS, change_blocks, take_blocks
from paramserver_client.graph.shapes import TensorShape


def depth_of(indices: TensorShape, whole: TensorShape) -> int | None:
    """How many axes of `whole` the indices name, if known. Raises ValueError when it has fewer."""
    if indices.ndims == 0:
        raise ValueError("Shape must be at least rank 1 but is rank 0 for indices.")
    depth = None if indices.sizes is None else indices.sizes[-1]
    if depth is not None and whole.ndims is not None and depth > whole.ndims:
        raise ValueError(
            f"The last dimension of indices must be <= {whole.ndims}, the rank of what they index; is {depth}"
        )
    return depth


def check_blocks(whole: TensorShape, indices: TensorShape, updates: TensorShape) -> None:
    """Raises ValueError when `updates` can not be the blocks of `whole` at `indices`, as far as the graph knows."""
    if not whole.ndims:
        return  # Unknown, or a scalar, which the run refuses.
    depth = depth_of(indices, whole)
    if depth is None or indices.sizes is None:
        return
    outer = len(indices.sizes) - 1
    _same("outer", outer, "indices", indices, indices[:-1], updates, updates[:outer])
    _same("inner", whole.ndims - depth, "input", whole, whole[depth:], updates, updates[outer:])


def _same(
    side: str, count: int, name: str, one: TensorShape, part: TensorShape, updates: TensorShape, other: TensorShape
) -> None:
    try:
        part.merge_with(other)
    except ValueError as error:
        raise ValueError(
            f"The {side} {count} dimensions of {name}.shape={one} must match the {side} {count} dimensions of "
            f"updates.shape={updates}: {error}"
        ) from None


def _gather_shape(op: Operation) -> TensorShape:
    params, indices = op.inputs[0].shape, op.inputs[1].shape
    depth = depth_of(indices, params)
    if depth is None or params.sizes is None:
        return TensorShape(None)
    outer: TensorShape = indices[:-1]
    return outer.concatenate(params[depth:])


def _gather_gradient(op: Operation, grad: Tensor) -> Sequence[Any]:
    params, indices = op.inputs
    like = shape_of(params, out_type=indices.dtype.base_dtype)
    if indices.shape.ndims == 2 and indices.shape.as_list()[1] == 1:
        return [IndexedSlices(grad, squeeze(indices, [-1]), like), None]
    return [scatter_nd(indices, grad, like), None]


@define("GatherNd", shape=_gather_shape, gradient=_gather_gradient)
def _gather_nd(params: Array, indices: Array) -> Array:
    return take_blocks(params, indices)


def _scatter_shape(op: Operation) -> TensorShape:
    indices, updates, wanted = op.inputs
    whole = constant_shape(wanted)
    check_blocks(whole, indices.shape, updates.shape)
    return whole


@define("ScatterNd", shape=_scatter_shape, dtype=lambda op: op.inputs[1].dtype.base_dtype,
        gradient=lambda op, grad: [None, gather_nd(grad, op.inputs[0]), None])  # fmt: skip
def _scatter_nd(indices: Array, updates: Array, shape: Array) -> Array:
    if (shape < 0).any():
        raise InvalidArgumentError(f"Dimensions of scatter_nd must be >= 0, got {shape.tolist()}")
    empty = b"" if updates.dtype == object else 0
    out = np.full(tuple(int(size) for size in shape), empty, dtype=updates.dtype)
    change_blocks(out, indices, updates, SCATTERS["scatter_add"])
    return out


# What users call


def _indices(value: Any) -> Tensor:
    indices = convert_to_tensor(value, name="indices")
    check_allowed("indices", indices.dtype, "int32, int64")
    return indices


def gather_nd(params: Any, indices: Any, name: str | None = None) -> Tensor:
    """The elements or blocks of `params` at `indices` `[..., k]`; the result is `[..., *params.shape[k:]]`.

    An index outside fails the run: InvalidArgumentError. Raises ValueError for indices longer than the rank of
    `params`, TypeError for indices that are not int32 or int64.
    """
    with op_scope(name, "GatherNd", [params, indices]) as scope:
        return apply("GatherNd", [convert_to_tensor(params, name="params"), _indices(indices)], scope)


def scatter_nd(indices: Any, updates: Any, shape: Any, name: str | None = None) -> Tensor:
    """A tensor of `shape`, zero but for `updates` at the places `indices` `[..., k]`; repeated ones add up.

    `updates` is `[..., *shape[k:]]`. Raises ValueError when it is not, TypeError for a `shape` of another dtype than
    `indices`; an index outside fails the run (InvalidArgumentError).
    """
    with op_scope(name, "ScatterNd", [indices, updates, shape]) as scope:
        places = _indices(indices)
        blocks = convert_to_tensor(updates, name="updates")
        wanted = typed_input("ScatterNd", "shape", shape, places.dtype.base_dtype, "indices")
        return apply("ScatterNd", [places, blocks, wanted], scope)
