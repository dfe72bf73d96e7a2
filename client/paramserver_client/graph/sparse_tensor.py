"""`tf.SparseTensor`: a tensor told by its elements that are not zero; it can be fetched and fed, and no more."""

from __future__ import annotations

from typing import Any, NamedTuple

from paramserver_client.graph import dtypes
from paramserver_client.graph.convert import constant_value, convert_to_tensor
from paramserver_client.graph.dtypes import DType
from paramserver_client.graph.graph import Graph, name_scope
from paramserver_client.graph.node import Tensor
from paramserver_client.graph.ops_array import placeholder
from paramserver_client.graph.shapes import TensorShape, as_shape


class SparseTensorValue(NamedTuple):
    """What a run gives for a `SparseTensor`: arrays in place of its tensors."""

    indices: Any
    values: Any
    dense_shape: Any


class SparseTensor:
    """The elements `values` `[n]` at the places `indices` `[n, rank]` of a tensor of shape `dense_shape` `[rank]`."""

    def __init__(self, indices: Any, values: Any, dense_shape: Any) -> None:
        with name_scope(None, "SparseTensor", [indices, values, dense_shape]):
            self.indices: Tensor = convert_to_tensor(indices, dtypes.int64, name="indices")
            self.values: Tensor = convert_to_tensor(values, name="values")
            self.dense_shape: Tensor = convert_to_tensor(dense_shape, dtypes.int64, name="dense_shape")
        self.indices.shape.with_rank(2)
        self.values.shape.with_rank(1)
        self.dense_shape.shape.with_rank(1)

    @property
    def dtype(self) -> DType:
        return self.values.dtype

    @property
    def graph(self) -> Graph:
        return self.indices.graph

    @property
    def shape(self) -> TensorShape:
        return self.get_shape()

    def get_shape(self) -> TensorShape:
        """The static shape, as far as the graph settles it."""
        known = constant_value(self.dense_shape)
        if known is None:
            rank = self.dense_shape.shape.sizes
            return TensorShape(None if not rank or rank[0] is None else [None] * rank[0])
        return TensorShape([None if size < 0 else int(size) for size in known])

    def __str__(self) -> str:
        return f"SparseTensor(indices={self.indices}, values={self.values}, dense_shape={self.dense_shape})"


def sparse_placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> SparseTensor:
    """A sparse tensor that a run must feed, with `SparseTensorValue` or `(indices, values, dense_shape)`; without the
    last when `shape` is known."""
    prefix = "" if name is None else f"{name}/"
    known = as_shape(shape)
    rank = known.ndims
    dense_shape: Any
    if known.is_fully_defined():
        dense_shape = convert_to_tensor(list(known.known()), dtypes.int64, name=f"{prefix}shape")
    else:
        dense_shape = placeholder(dtypes.int64, [rank], name=f"{prefix}shape")
    values = placeholder(dtype, [None], name=f"{prefix}values")
    return SparseTensor(placeholder(dtypes.int64, [None, rank], name=f"{prefix}indices"), values, dense_shape)
