"""Operations on variables. Where the values live is the executor's matter; here is what each update means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from paramserver_client.graph import dtypes, shapes
from paramserver_client.graph.convert import apply, op_scope, typed_input
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.errors import FailedPreconditionError
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.registry import define
from paramserver_client.graph.shapes import TensorShape


def _read_in_place(*inputs: Array, **attrs: Any) -> Array:
    raise AssertionError("Variables are read by the executor.")


define("VariableV2", shape=lambda op: op.attrs["shape"], dtype=lambda op: op.attrs["dtype"]._as_ref,
       effect="variable")(_read_in_place)  # fmt: skip
define("InitializedValue", effect="guard")(_read_in_place)


def _update_shape(op: Operation) -> TensorShape:
    if not op.attrs.get("validate_shape", True):
        return op.inputs[1].shape
    return shapes.merge_for_assign(op.inputs[0].shape, op.inputs[1].shape)


def _reference(op: Operation) -> DType:
    return op.inputs[0].dtype


def _operand(value: Array) -> Array:
    return value


for _type, _update in {"Assign": "assign", "AssignAdd": "assign_add", "AssignSub": "assign_sub"}.items():
    define(_type, shape=_update_shape, dtype=_reference, effect="write", update=_update,
           hidden_attrs=("initializer", "validate_shape", "use_locking"))(_operand)  # fmt: skip


@define("IsVariableInitialized", shape=lambda op: shapes.scalar(), dtype=lambda op: dtypes.bool_, effect="query")
def _is_initialized(initialized: bool) -> Array:
    return np.asarray(initialized)


@define("ReportUninitialized", shape=lambda op: TensorShape([None]), dtype=lambda op: dtypes.string, effect="query")
def _report(*initialized: bool, names: Sequence[str]) -> Array:
    missing = [name.encode() for name, known in zip(names, initialized, strict=True) if not known]
    return np.array(missing, dtype=object)


def _ranks_shape(op: Operation) -> TensorShape:
    return TensorShape([len(op.inputs)] if len(op.inputs) > 1 else [])


@define("AssertInitialized", shape=_ranks_shape, dtype=lambda op: dtypes.int32, effect="query")
def _assert_initialized(*initialized: bool, names: Sequence[str], ranks: Sequence[int]) -> Array:
    for name, known in zip(names, initialized, strict=True):
        if not known:
            raise FailedPreconditionError(f"Attempting to use uninitialized value {name}")
    return np.array(ranks if len(ranks) > 1 else ranks[0], dtype=np.int32)


def reference_of(ref: Any) -> Tensor | None:
    """The assignable tensor that `ref` (a variable, or the result of an assignment) stands for; None for others."""
    tensor = ref._as_graph_element() if hasattr(ref, "_as_graph_element") else ref
    return tensor if isinstance(tensor, Tensor) and tensor.dtype._is_ref_dtype else None


NUMBERS: Final = (
    "float32, float64, int32, uint8, int16, int8, complex64, int64, qint8, quint8, qint32, bfloat16, qint16, quint16, "
    "uint16, complex128, float16, uint32, uint64"
)


def check_allowed(parameter: str, dtype: DType, allowed: str) -> None:
    """Raises TypeError in TensorFlow's words unless `dtype` is one of the names in `allowed`."""
    if dtype.base_dtype.name not in allowed.split(", "):
        raise TypeError(
            f"Value passed to parameter '{parameter}' has DataType {dtype.base_dtype.name} not in list of allowed "
            f"values: {allowed}"
        )


def _updated(op_type: str, ref: Any, value: Any, name: str | None, **attrs: Any) -> Tensor:
    target = reference_of(ref)
    if target is None:
        # TensorFlow asks the tensor for the method, so a plain one fails with AttributeError.
        method = {"Assign": "assign", "AssignAdd": "assign_add", "AssignSub": "assign_sub"}[op_type]
        found: Tensor = getattr(ref, method)(value, name=name)
        return found
    dtype = target.dtype.base_dtype
    if op_type != "Assign":
        check_allowed("ref", dtype, NUMBERS)
    with op_scope(name, op_type, [target, value]) as scope:
        return apply(op_type, [target, typed_input(op_type, "value", value, dtype, "ref")], scope, **attrs)


def assign(
    ref: Any, value: Any, validate_shape: Any = None, use_locking: Any = None, name: str | None = None
) -> Tensor:
    """Gives a variable a new value, initialized or not; the result is the variable, so a fetch gives the new value.

    Nothing is broadcast. Raises TypeError for another dtype, ValueError for another static shape; a shape that is
    seen to differ only at run time fails the run (InvalidArgumentError) and leaves the variable unchanged. With
    `validate_shape=False` the variable takes the value's shape; on a server it is then made anew. Updates of the
    server are always locked, `use_locking` or not; it is noted on the operation.
    """
    attrs = {} if validate_shape in (None, True) else {"validate_shape": False}
    return _updated("Assign", ref, value, name, use_locking=use_locking in (None, True), **attrs)


def assign_add(ref: Any, value: Any, use_locking: Any = None, name: str | None = None) -> Tensor:
    """Adds to a variable, exactly once; the result is the variable. An uninitialized one fails the run:
    FailedPreconditionError. Types and shapes as for `assign`."""
    return _updated("AssignAdd", ref, value, name, use_locking=bool(use_locking))


def assign_sub(ref: Any, value: Any, use_locking: Any = None, name: str | None = None) -> Tensor:
    """Subtracts from a variable, exactly once; everything else as for `assign_add`."""
    return _updated("AssignSub", ref, value, name, use_locking=bool(use_locking))


def is_variable_initialized(ref: Any, name: str | None = None) -> Tensor:
    """A bool scalar: whether the variable has a value when this runs."""
    target = reference_of(ref)
    if target is None:
        raise TypeError(f"is_variable_initialized wants a variable, got {ref!r}.")
    with op_scope(name, "IsVariableInitialized", [target]) as scope:
        return apply("IsVariableInitialized", [target], scope)
