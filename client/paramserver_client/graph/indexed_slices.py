"""`tf.IndexedSlices`: some rows of a tensor, as gradients of a lookup and sparse updates have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from paramserver_client.graph.dtypes import DType

if TYPE_CHECKING:
    from paramserver_client.graph.graph import Graph
    from paramserver_client.graph.node import Operation, Tensor


class IndexedSlicesValue(NamedTuple):
    """What a run gives for an `IndexedSlices`: arrays in place of its tensors."""

    values: Any
    indices: Any
    dense_shape: Any


class IndexedSlices:
    """The rows `values` `[n, ...]` at `indices` `[n]` of a tensor of shape `dense_shape`; an index may repeat, and
    its rows then add."""

    _values: Tensor
    _indices: Tensor
    _dense_shape: Tensor | None

    def __init__(self, values: Any, indices: Any, dense_shape: Any = None) -> None:
        # Arrays are taken too, as they are; they belong to no graph.
        self._values, self._indices, self._dense_shape = values, indices, dense_shape
        first, *others = [each for each in (values, indices, dense_shape) if hasattr(each, "graph")] or [None]
        for tensor in others:
            if tensor.graph is not first.graph:
                raise ValueError(f"{tensor} must be from the same graph as {first}.")

    @property
    def values(self) -> Tensor:
        return self._values

    @property
    def indices(self) -> Tensor:
        return self._indices

    @property
    def dense_shape(self) -> Tensor | None:
        return self._dense_shape

    @property
    def name(self) -> str:
        return self._values.name

    @property
    def device(self) -> str:
        return self._values.device

    @property
    def op(self) -> Operation:
        return self._values.op

    @property
    def dtype(self) -> DType:
        return self._values.dtype

    @property
    def graph(self) -> Graph:
        return self._values.graph

    def _as_tensor(self) -> Tensor:
        from paramserver_client.graph.ops_join import dense  # The operations build on this module.

        return dense(self)

    def __neg__(self) -> IndexedSlices:
        return IndexedSlices(-self._values, self._indices, self._dense_shape)

    def __str__(self) -> str:
        shape = "" if self._dense_shape is None else f", dense_shape={self._dense_shape}"
        return f"IndexedSlices(indices={self._indices}, values={self._values}{shape})"
