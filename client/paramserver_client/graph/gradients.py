"""`tf.gradients`: the sums of derivatives, built as new operations of the graph, so that they can be derived again."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Any

from paramserver_client.graph.control_flow import leave_branches
from paramserver_client.graph.convert import convert_to_tensor, op_scope
from paramserver_client.graph.graph import get_default_graph
from paramserver_client.graph.indexed_slices import IndexedSlices
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.offered import refuse
from paramserver_client.graph.ops_join import concat, dense
from paramserver_client.graph.ops_math import add, zeros_like
from paramserver_client.graph.ops_math import ones_like as _ones_like


class UnconnectedGradients(enum.Enum):
    """What `gradients` gives for an x that no y depends on: None, or zeros of its shape."""

    NONE = "none"
    ZERO = "zero"


def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str = "gradients",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: bool = False,
    aggregation_method: Any = None,
    stop_gradients: Any = None,
    unconnected_gradients: Any = UnconnectedGradients.NONE,
) -> list[Any]:
    """For each of `xs` the derivative of the sum of all `ys`, weighted by `grad_ys` (ones unless given).

    The gradient of a lookup in a variable is an `IndexedSlices`. None stands for an x that no y depends on, or only
    through operations without a gradient (argmax, casts to int); with `UnconnectedGradients.ZERO` zeros do.
    `stop_gradients` are taken as constants.

    Raises ValueError when `grad_ys` and `ys` differ in number or shape, and for a way through a `while_loop`; TypeError
    for complex ys without `grad_ys`.
    """
    refuse("tf.gradients", aggregation_method=(aggregation_method, None))
    try:
        unconnected = UnconnectedGradients(unconnected_gradients)
    except ValueError:
        raise ValueError(
            f"Unknown value for unconnected_gradients: {unconnected_gradients!r}; give 'none' or 'zero'."
        ) from None
    tensors, sources = [convert_to_tensor(y) for y in _as_list(ys)], _sources(xs)
    weights = [None] * len(tensors) if grad_ys is None else _as_list(grad_ys)
    if len(weights) != len(tensors):
        raise ValueError(f"Passed {len(weights)} grad_ys for {len(tensors)} ys")
    with op_scope(name, "gradients", [*tensors, *sources]):
        seeds = [_seed(tensor, weight, i) for i, (tensor, weight) in enumerate(zip(tensors, weights, strict=True))]
        found = _Backward(sources, _sources([] if stop_gradients is None else stop_gradients)).run(tensors, seeds)
        if unconnected is UnconnectedGradients.NONE:
            return found
        return [zeros_like(x) if gradient is None else gradient for x, gradient in zip(sources, found, strict=True)]


def _as_list(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else [values]


def _sources(values: Any) -> list[Tensor]:
    """A variable stands for its own tensor, so that every way of reading it counts."""
    return [each._as_graph_element() if hasattr(each, "_as_graph_element") else convert_to_tensor(each)
            for each in _as_list(values)]  # fmt: skip


def _seed(tensor: Tensor, weight: Any, index: int) -> Tensor:
    if weight is None:
        if tensor.dtype.is_complex:
            raise TypeError(
                f"Gradients of complex tensors ({tensor}) must set grad_ys (y.dtype = {tensor.dtype.base_dtype.name})"
            )
        return _ones_like(tensor, name=f"grad_ys_{index}")
    given = convert_to_tensor(weight, dtype=tensor.dtype.base_dtype, name=f"grad_ys_{index}")
    if not given.shape.is_compatible_with(tensor.shape):
        raise ValueError(f"grad_ys[{index}] has shape {given.shape}, but ys[{index}] has shape {tensor.shape}")
    return given


class _Backward:
    """One walk from the ys back to the xs, in reverse order of creation."""

    def __init__(self, sources: Sequence[Tensor], stops: Sequence[Tensor]) -> None:
        self._sources = sources
        self._stops = set(stops)
        self._sums: dict[Tensor, list[Any]] = {}

    def run(self, tensors: Sequence[Tensor], seeds: Sequence[Tensor]) -> list[Any]:
        for tensor, seed in zip(tensors, seeds, strict=True):
            self._add(tensor, seed)
        between = self._between(tensors)
        for op in sorted(between, key=lambda op: op.index, reverse=True):
            self._through(op, between)
        return [self._total(source) for source in self._sources]

    def _between(self, tensors: Sequence[Tensor]) -> set[Operation]:
        """The operations on a way from a source to one of the ys."""
        ancestors = _ancestors(tensors, self._stops)
        wanted = set(self._sources)
        reached: set[Operation] = set()
        for op in sorted(ancestors, key=lambda op: op.index):
            if any(tensor in wanted or self._flows(tensor, reached) for tensor in op.inputs):
                reached.add(op)
        return reached

    def _flows(self, tensor: Tensor, reached: set[Operation]) -> bool:
        """Whether a gradient that arrives at the tensor goes on through the operation that makes it."""
        return tensor not in self._stops and tensor.op in reached

    def _add(self, tensor: Tensor, gradient: Any) -> None:
        if len(gradient.op.branches) > len(tensor.op.branches):
            with self._beside(gradient.op):
                gradient = convert_to_tensor(gradient)
            with self._beside(tensor.op):
                gradient = leave_branches(gradient, tensor)
        self._sums.setdefault(tensor, []).append(gradient)

    @staticmethod
    def _beside(op: Operation) -> Any:
        """The gradient of what is in a branch, or in a loop, is there as well."""
        return get_default_graph().inside(op.branches, op.loop)

    def _total(self, tensor: Tensor) -> Any:
        terms = self._sums.get(tensor)
        if not terms:
            return None
        with self._beside(tensor.op):
            total = _sum(terms)
        self._sums[tensor] = [total]
        return total

    def _through(self, op: Operation, between: set[Operation]) -> None:
        totals = [None if output in self._stops else self._total(output) for output in op.outputs]
        if not any(total is not None for total in totals):
            return
        rule = op.definition.gradient
        if rule is None:
            return
        wanted = set(self._sources)
        with self._beside(op):
            if op.type != "Identity":
                totals = [dense(total) if isinstance(total, IndexedSlices) else total for total in totals]
            with get_default_graph().name_scope(f"{op.name}_grad"):
                results = rule(op, *totals)
        for tensor, gradient in zip(op.inputs, results, strict=True):
            if gradient is not None and (tensor in wanted or self._flows(tensor, between)):
                if isinstance(gradient, Tensor):
                    gradient.set_shape(tensor.shape)
                self._add(tensor, gradient)


def _sum(terms: Sequence[Any]) -> Any:
    """The sum of gradients. Of rows only it is all rows, one behind the other; repeated ones count as their sum."""
    if len(terms) == 1:
        return terms[0]
    if all(isinstance(term, IndexedSlices) for term in terms):
        values = concat([term.values for term in terms], 0)
        return IndexedSlices(values, concat([term.indices for term in terms], 0), terms[0].dense_shape)
    total, *others = (dense(term) if isinstance(term, IndexedSlices) else term for term in terms)
    for term in others:
        total = add(total, term, name="AddN")
    return total


def _ancestors(tensors: Iterable[Tensor], stops: set[Tensor]) -> set[Operation]:
    seen: set[Operation] = set()
    waiting = [tensor.op for tensor in tensors]
    while waiting:
        op = waiting.pop()
        if op in seen:
            continue
        seen.add(op)
        waiting.extend(tensor.op for tensor in op.inputs if tensor not in stops)
    return seen
