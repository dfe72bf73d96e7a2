"""The updates that optimizers and moving averages make. The arithmetic is the server's; here is what travels to it.

An update carries a gradient, or its rows, and the hyper-parameters of this step. All updates of one `apply_gradients`
share a `GradientStep`, by which the planner puts them into one stage and the session into one request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from paramserver_client.graph import shapes
from paramserver_client.graph.convert import apply
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.graph import get_default_graph
from paramserver_client.graph.indexed_slices import IndexedSlices
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.registry import define
from paramserver_client.graph.rows import sum_repeated
from paramserver_client.graph.shapes import TensorShape
from paramserver_client.graph.steps import GradientStep

KINDS: Final = (
    "Momentum", "Adagrad", "Adadelta", "Adam", "RMSProp", "CenteredRMSProp", "Ftrl",
    "ProximalGradientDescent", "ProximalAdagrad",
)  # fmt: skip
"""What stands behind `Apply` and `SparseApply` in the types of operations."""


class Gradient(NamedTuple):
    """The operand of an update: a gradient, or those of some rows, and the hyper-parameters of the step."""

    value: Array
    indices: Array | None
    hyper: Mapping[str, float]


def _reference(op: Operation) -> DType:
    return op.inputs[0].dtype


def _dense_shape(op: Operation) -> TensorShape:
    return shapes.merge_for_assign(op.inputs[0].shape, op.inputs[-1].shape)


def _rows_shape(op: Operation) -> TensorShape:
    ref, values, indices = (op.inputs[place].shape for place in (0, -2, -1))
    if ref.ndims is not None:
        shapes.merge_for_assign(indices.concatenate(ref[1:]), values)
    return ref


def _dense(*inputs: Array, hyper: Sequence[str]) -> Gradient:
    *numbers, gradient = inputs
    return Gradient(gradient, None, _numbers(hyper, numbers))


def _rows(*inputs: Array, hyper: Sequence[str]) -> Gradient:
    *numbers, values, indices = inputs
    return Gradient(values, indices, _numbers(hyper, numbers))


def _numbers(names: Sequence[str], values: Sequence[Array]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True)}


for _kind in KINDS:
    define(f"Apply{_kind}", shape=_dense_shape, dtype=_reference, effect="write", update="gradient",
           hidden_attrs=("step", "use_locking"))(_dense)  # fmt: skip
    define(f"SparseApply{_kind}", shape=_rows_shape, dtype=_reference, effect="write", update="gradient",
           hidden_attrs=("step", "use_locking"))(_rows)  # fmt: skip


@define("ApplyGradientDescent", shape=_dense_shape, dtype=_reference, effect="write", update="assign_sub")
def _descent(rate: Array, gradient: Array) -> Array:
    return np.asarray(gradient * rate)


@define("AssignMovingAverage", shape=lambda op: op.inputs[0].shape, dtype=_reference, effect="write", update="ema",
        hidden_attrs=("source",))  # fmt: skip
def _moving_average(decay: Array) -> Array:
    return decay


def _summed_shape(op: Operation) -> Sequence[TensorShape]:
    return [TensorShape([None]).concatenate(op.inputs[0].shape[1:]), TensorShape([None])]


define("SumRepeatedRows", shape=_summed_shape, dtype=lambda op: [each.dtype.base_dtype for each in op.inputs])(
    sum_repeated
)


# What optimizers call


def apply_gradient(
    kind: str, step: GradientStep, variable: Any, gradient: Tensor | IndexedSlices, hyper: Mapping[str, Tensor],
    use_locking: bool,
) -> Operation:  # fmt: skip
    """The update of one variable by one gradient. Raises ValueError for shapes that do not fit."""
    given = [gradient.values, gradient.indices] if isinstance(gradient, IndexedSlices) else [gradient]
    op_type = f"SparseApply{kind}" if isinstance(gradient, IndexedSlices) else f"Apply{kind}"
    inputs = [variable._as_graph_element(), *hyper.values(), *given]
    return apply(op_type, inputs, op_type, step=step, hyper=tuple(hyper), use_locking=use_locking).op


def move_average(average: Any, source: Any, decay: Tensor, name: str) -> Tensor:
    """`average -= (1 - decay) * (average - source)` of two variables, done by the server; the result is the average."""
    return apply("AssignMovingAverage", [average._as_graph_element(), decay], name, source=source)


def summed_rows(gradient: IndexedSlices) -> IndexedSlices:
    """The rows with repeated ones summed, in the order of their indices."""
    op = get_default_graph().create_op("SumRepeatedRows", [gradient.values, gradient.indices], {}, "SumRepeatedRows")
    return IndexedSlices(op.outputs[0], op.outputs[1], gradient.dense_shape)
