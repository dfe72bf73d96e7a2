"""Variables beside variables: an optimizer's slots and moving averages, named as TensorFlow 1 names them.

A slot called `Adam` of `conv1/weight` is the variable `conv1/weight/Adam`, the next one `conv1/weight/Adam_1`. It opens a
variable scope of that name, so a scope around the call is put in front once more.
"""

from __future__ import annotations

from typing import Any

from paramserver_client.graph.graph import init_scope
from paramserver_client.graph.initializers import Initializer, Zeros
from paramserver_client.graph.node import Tensor
from paramserver_client.graph.ops_math import zeros_like
from paramserver_client.graph.variable_scope import get_variable, get_variable_scope, variable_scope
from paramserver_client.graph.variables import SaveSliceInfo, Variable


def create_slot(primary: Any, value: Any, name: str) -> Variable:
    """A slot of a variable or tensor that starts with `value`, a tensor or a number."""
    return _created(primary, value, name, None, None)


def create_slot_with_initializer(primary: Any, initializer: Initializer, shape: Any, dtype: Any, name: str) -> Variable:
    """A slot of a variable or tensor that starts as the initializer says."""
    return _created(primary, initializer, name, shape, dtype)


def create_zeros_slot(primary: Any, name: str, dtype: Any = None) -> Variable:
    """A slot of the shape and dtype of a variable or tensor that starts at 0."""
    wanted = (primary.dtype if dtype is None else dtype).base_dtype
    if primary.shape.is_fully_defined():
        return _created(primary, Zeros(), name, primary.shape, wanted)
    first = primary.initialized_value() if isinstance(primary, Variable) else primary
    return _created(primary, zeros_like(first, dtype=wanted), name, None, None)


def _created(primary: Any, initializer: Any, name: str, shape: Any, dtype: Any) -> Variable:
    known = not isinstance(initializer, Tensor) or initializer.shape.is_fully_defined()
    kind = {} if dtype is None else {"dtype": dtype}
    with init_scope(), variable_scope(None, f"{primary.op.name}/{name}"):
        get_variable_scope().set_partitioner(None)
        slot: Variable = get_variable(
            "", shape=shape, initializer=initializer, trainable=False, validate_shape=known, **kind
        )
    info = primary._get_save_slice_info() if isinstance(primary, Variable) else None
    if info is not None and len(slot.shape) > 0:
        own = slot.op.name.removeprefix(f"{primary.op.name}/")
        slot._set_save_slice_info(
            SaveSliceInfo(f"{info.full_name}/{own}", info.full_shape, info.var_offset, info.var_shape)
        )
    return slot
