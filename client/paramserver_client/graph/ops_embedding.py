"""`tf.nn.embedding_lookup`: rows out of a table that may be in several parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paramserver_client.graph import dtypes
from paramserver_client.graph.convert import apply, convert_to_tensor, op_scope
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.indexed_slices import IndexedSlices
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_array import shape
from paramserver_client.graph.ops_clip import clip_by_norm
from paramserver_client.graph.ops_join import apply_many, gather
from paramserver_client.graph.ops_state import check_allowed
from paramserver_client.graph.partitions import PartitionedVariable
from paramserver_client.graph.registry import define
from paramserver_client.graph.shapes import TensorShape


def _places(ids: Array, rows: Sequence[int], strategy: str) -> tuple[Array, Array]:
    """For each id the part it lies in and its row there. `mod` deals rows out in turn, `div` in blocks."""
    count, total = len(rows), sum(rows)
    if ids.size and (ids.min() < 0 or ids.max() >= total):
        place = tuple(int(each) for each in np.argwhere((ids < 0) | (ids >= total))[0])
        where = ",".join(map(str, place)) if place else ""
        raise InvalidArgumentError(f"indices[{where}] = {ids[place]} is not in [0, {total})")
    if strategy == "mod":
        return ids % count, ids // count
    least, excess = divmod(total, count)
    edges = np.cumsum([0, *(least + (part < excess) for part in range(count))])
    parts = np.searchsorted(edges, ids, side="right") - 1
    return parts, ids - edges[parts]


def _lookup_shape(op: Operation) -> TensorShape:
    return op.inputs[0].shape.concatenate(op.inputs[1].shape[1:])


def _lookup_gradient(op: Operation, grad: Tensor) -> Sequence[Any]:
    ids, *params = op.inputs
    result: list[Any] = [None]
    for part, table in enumerate(params):
        values, rows = apply_many("LookupGrad", [grad, ids], "LookupGrad", part=part, **op.attrs)
        result.append(IndexedSlices(values, rows, shape(table)))
    return result


@define("Lookup", shape=_lookup_shape, dtype=lambda op: op.inputs[1].dtype.base_dtype, gradient=_lookup_gradient)
def _lookup(ids: Array, *params: Array, sizes: Sequence[int], strategy: str) -> Array:
    parts, rows = _places(ids, sizes, strategy)
    out = np.empty(ids.shape + params[0].shape[1:], dtype=params[0].dtype)
    for part, table in enumerate(params):
        chosen = parts == part
        out[chosen] = table[rows[chosen]]
    return out


def _part_shapes(op: Operation) -> Sequence[TensorShape]:
    grad, ids = (tensor.shape for tensor in op.inputs)
    row = TensorShape(None) if ids.ndims is None else grad[ids.ndims :]
    return [TensorShape([None]).concatenate(row), TensorShape([None])]


def _lookup_grad_gradient(op: Operation, grad: Tensor | None, _: Tensor | None) -> Sequence[Tensor | None]:
    if grad is None:
        return [None, None]
    return [apply("LookupSpread", [grad, op.inputs[1], op.inputs[0]], "LookupSpread", **op.attrs), None]


@define("LookupGrad", shape=_part_shapes, dtype=lambda op: [op.inputs[0].dtype.base_dtype, dtypes.int64],
        gradient=_lookup_grad_gradient)  # fmt: skip
def _lookup_grad(grad: Array, ids: Array, *, part: int, sizes: Sequence[int], strategy: str) -> tuple[Array, Array]:
    parts, rows = _places(ids, sizes, strategy)
    chosen = parts == part
    return grad[chosen], rows[chosen].astype(np.int64)


def _spread_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [apply_many("LookupGrad", [grad, op.inputs[1]], "LookupGrad", **op.attrs)[0], None, None]


@define("LookupSpread", shape=lambda op: op.inputs[2].shape, gradient=_spread_gradient)
def _lookup_spread(values: Array, ids: Array, like: Array, *, part: int, sizes: Sequence[int], strategy: str) -> Array:
    """The rows of one part, each where it was looked up; zeros where another part was asked."""
    out = np.zeros(like.shape, dtype=values.dtype)
    out[_places(ids, sizes, strategy)[0] == part] = values
    return out


def embedding_lookup(
    params: Any, ids: Any, partition_strategy: str = "mod", name: str | None = None, validate_indices: bool = True,
    max_norm: float | None = None,
) -> Tensor:  # fmt: skip
    """The rows `ids` (of any shape) of a table: `ids.shape + params.shape[1:]`.

    A table in parts (a list, or a `PartitionedVariable`) is taken as dealt out row by row (`mod`) or, as partitioners
    cut, in blocks (`div`). The gradient of each part has only the rows that were looked up. With `max_norm` each row is
    scaled down to that Euclidean norm.

    Raises ValueError for an empty list or another strategy. An id outside fails the run: InvalidArgumentError.
    """
    tables = list(params) if isinstance(params, list | tuple | PartitionedVariable) else [params]
    if not tables:
        raise ValueError("Need at least one param")
    if partition_strategy not in ("mod", "div"):
        raise ValueError(f"Unrecognized partition strategy: {partition_strategy}")
    with op_scope(name, "embedding_lookup", [*tables, ids]) as scope:
        rows = convert_to_tensor(ids, name="ids")
        check_allowed("indices", rows.dtype, "int32, int64")
        found = _looked_up(tables, rows, partition_strategy, scope if max_norm is None else "rows")
        if max_norm is None:
            return found
        if rows.shape.ndims is None or found.shape.ndims is None:
            raise ValueError("embedding_lookup with max_norm wants ids and params of known ranks.")
        clipped: Tensor = clip_by_norm(found, max_norm, list(range(rows.shape.ndims, found.shape.ndims)), name=scope)
        return clipped


def _looked_up(tables: Sequence[Any], rows: Tensor, strategy: str, name: str) -> Tensor:
    if len(tables) == 1:
        return gather(tables[0], rows, name=name)
    parts = [convert_to_tensor(table) for table in tables]
    sizes = [(part.shape.sizes or (None,))[0] for part in parts]
    if None in sizes:
        raise ValueError("embedding_lookup wants parts of a known number of rows.")
    return apply("Lookup", [rows, *parts], name, sizes=sizes, strategy=strategy)
