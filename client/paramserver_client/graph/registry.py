"""The table of operations: what each type's outputs look like, what it computes, and its gradient.

An operation is added by putting `@define` on its numpy kernel:

    @define("Neg", gradient=lambda op, grad: [negative(grad)])
    def _neg(x): return np.negative(x)

Kernels take the inputs in order and the operation's attrs as keywords, return one array (or a tuple, one an output),
and never write into their inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from paramserver_client.graph.dtypes import DType
from paramserver_client.graph.shapes import TensorShape

if TYPE_CHECKING:
    from paramserver_client.graph.node import Operation, Tensor

Effect = Literal["none", "random", "variable", "guard", "query", "write", "session", "loop"]
ShapeFunction = Callable[["Operation"], TensorShape | Sequence[TensorShape]]
DtypeFunction = Callable[["Operation"], DType | Sequence[DType]]
GradientFunction = Callable[..., "Sequence[Tensor | None]"]


def same_shape(op: Operation) -> TensorShape:
    return op.inputs[0].shape


def same_dtype(op: Operation) -> DType:
    return op.inputs[0].dtype.base_dtype


def attr_dtype(op: Operation) -> DType:
    dtype: DType = op.attrs["dtype"]
    return dtype


@dataclass(frozen=True)
class OpDef:
    """One entry. `gradient(op, *output gradients)` gives one tensor or None an input; None: not differentiable.

    `effect` says what the executor must do beside computing: `random` kernels get a generator as `rng`, `variable`
    is a variable's own tensor, `guard` takes the variable or else its initial value, `query` kernels get for each
    variable whether it is initialized, `session` kernels get the session as `session` and do with it what they like, after
    all writes that they depend on, `loop` kernels get what runs their inside, and `write` kernels give the operand of the
    update `update`: `assign`, `assign_add`, `assign_sub`, a `scatter_...`, whose kernel gives indices and values,
    `gradient`, whose kernel gives a `Gradient` for the optimizer of the attr `step`, or `ema`, whose kernel gives the
    decay. The kernel of the update `replace` gets the variable's value too and gives its next one; `replace_and_return`
    gives first what the operation itself is worth, then the next value.
    """

    type: str
    kernel: Callable[..., Any]
    shape: ShapeFunction = same_shape
    dtype: DtypeFunction = same_dtype
    gradient: GradientFunction | None = None
    effect: Effect = "none"
    update: str | None = None
    hidden_attrs: frozenset[str] = field(default_factory=frozenset)


_TABLE: Final[dict[str, OpDef]] = {}
TABLE: Final[Mapping[str, OpDef]] = MappingProxyType(_TABLE)


def define(
    op_type: str,
    *,
    shape: ShapeFunction = same_shape,
    dtype: DtypeFunction = same_dtype,
    gradient: GradientFunction | None = None,
    effect: Effect = "none",
    update: str | None = None,
    hidden_attrs: Sequence[str] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter the decorated kernel under `op_type`. `hidden_attrs` are attrs the kernel does not want to see."""

    def enter(kernel: Callable[..., Any]) -> Callable[..., Any]:
        if op_type in _TABLE:
            raise ValueError(f"The table of operations has {op_type!r} already; give the new one another type.")
        _TABLE[op_type] = OpDef(op_type, kernel, shape, dtype, gradient, effect, update, frozenset(hidden_attrs))
        return kernel

    return enter


def lookup(op_type: str) -> OpDef:
    """The entry of `op_type`. Raises KeyError naming it when there is none."""
    if op_type not in _TABLE:
        raise KeyError(f"There is no operation of type {op_type!r} in the table.")
    return _TABLE[op_type]
