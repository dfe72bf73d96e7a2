"""Updates of parts of a variable: rows, elements, slices, and counting.

Putting, adding and subtracting rows is the server's own work, and only the rows travel. All others compute the variable's
next value from its present one, and are refused and repeated when somebody else writes in between; so all are atomic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from paramserver_client.graph import shapes
from paramserver_client.graph.convert import apply, convert_to_tensor, op_scope, typed_input
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.errors import InvalidArgumentError, OutOfRangeError
from paramserver_client.graph.graph import get_default_graph
from paramserver_client.graph.indexed_slices import IndexedSlices
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_elements import check_blocks
from paramserver_client.graph.ops_slice import settled_key
from paramserver_client.graph.ops_state import NUMBERS, check_allowed, reference_of
from paramserver_client.graph.registry import define
from paramserver_client.graph.rows import SCATTERS, Scatter, change_blocks, check_rows
from paramserver_client.graph.shapes import TensorShape

_INDEX_TYPES: Final = "int32, int64"


def _reference(op: Operation) -> DType:
    return op.inputs[0].dtype


def _whole_shape(op: Operation) -> TensorShape:
    return op.inputs[0].shape


def _rows_shape(op: Operation) -> TensorShape:
    ref, indices, updates = (tensor.shape for tensor in op.inputs)
    if updates.ndims != 0 and ref.ndims is not None:
        if ref.ndims == 0:
            raise ValueError("Shape must be at least rank 1 but is rank 0")
        shapes.merge_for_assign(indices.concatenate(ref[1:]), updates)
    return ref


def _rows_kernel(scatter: Scatter) -> Callable[..., Array]:
    def kernel(value: Array, indices: Array, updates: Array) -> Array:
        check_rows(indices, updates, value.shape)
        new = np.array(value)
        scatter(new, indices, updates)
        return new

    return kernel


def _rows(indices: Array, updates: Array) -> tuple[Array, Array]:
    return indices, updates


for _name in ("Update", "Add", "Sub"):
    define(f"Scatter{_name}", shape=_rows_shape, dtype=_reference, effect="write", update=f"scatter_{_name.lower()}",
           hidden_attrs=("use_locking",))(_rows)  # fmt: skip
for _name in ("Mul", "Div", "Min", "Max"):
    define(f"Scatter{_name}", shape=_rows_shape, dtype=_reference, effect="write", update="replace",
           hidden_attrs=("use_locking",))(_rows_kernel(SCATTERS[f"scatter_{_name.lower()}"]))  # fmt: skip


def _elements_shape(op: Operation) -> TensorShape:
    ref, indices, updates = (tensor.shape for tensor in op.inputs)
    check_blocks(ref, indices, updates)
    return ref


def _elements_kernel(scatter: Scatter) -> Callable[..., Array]:
    def kernel(value: Array, indices: Array, updates: Array) -> Array:
        new = np.array(value, order="C")
        change_blocks(new, indices, updates, scatter)
        return new

    return kernel


for _name in ("Update", "Add", "Sub"):
    define(f"ScatterNd{_name}", shape=_elements_shape, dtype=_reference, effect="write", update="replace",
           hidden_attrs=("use_locking",))(_elements_kernel(SCATTERS[f"scatter_{_name.lower()}"]))  # fmt: skip


def _batch_shape(op: Operation) -> TensorShape:
    indices = op.inputs[0].shape
    return indices.concatenate([max(len(indices), 1)])


@define("BatchIndices", shape=_batch_shape)
def _batch_indices(indices: Array) -> Array:
    """Each index behind its own place in all axes but the last."""
    before = np.indices(indices.shape, dtype=indices.dtype)[:-1]
    return np.stack([*before, indices], axis=-1)


@define("StridedSliceAssign", shape=_whole_shape, dtype=_reference, effect="write", update="replace")
def _slice_assign(value: Array, part: Array, *given: Array, key: tuple[Any, ...]) -> Array:
    new, place = np.array(value), settled_key(key, given)
    try:
        new[place] = part
    except (ValueError, IndexError) as error:
        raise InvalidArgumentError(
            f"Cannot assign to the slice {place} of shape {list(value.shape)}: {error}"
        ) from None
    return new


@define("CountUpTo", shape=lambda op: op.inputs[0].shape, dtype=lambda op: op.inputs[0].dtype.base_dtype,
        effect="write", update="replace_and_return")  # fmt: skip
def _count_up_to(value: Array, *, limit: int) -> tuple[Array, Array]:
    if value >= limit:
        raise OutOfRangeError(f"Reached limit of {limit}")
    return value, value + value.dtype.type(1)


# What users call


def _indices(value: Any) -> Tensor:
    indices = convert_to_tensor(value, name="indices")
    check_allowed("indices", indices.dtype, _INDEX_TYPES)
    return indices


def _scattered(op_type: str, ref: Any, indices: Any, updates: Any, use_locking: bool, name: str | None) -> Tensor:
    target = reference_of(ref)
    if target is None:
        raise AttributeError(f"{op_type} wants a variable, got {type(ref).__name__!r} {ref}.")
    if not op_type.endswith("Update"):
        check_allowed("ref", target.dtype, NUMBERS)
    with op_scope(name, op_type, [target]) as scope:
        rows = _indices(indices)
        values = typed_input(op_type, "updates", updates, target.dtype.base_dtype, "ref")
        return apply(op_type, [target, rows, values], scope, use_locking=bool(use_locking))


def scatter_update(ref: Any, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None) -> Tensor:
    """Puts `updates` `indices.shape + ref.shape[1:]` (or one number) into the rows `indices` of a variable; of
    repeated rows the last one wins. The result is the variable.

    An index outside fails the run (InvalidArgumentError), as does an uninitialized variable (FailedPreconditionError).
    Raises ValueError for shapes that do not fit, TypeError for indices that are not int32 or int64.
    """
    return _scattered("ScatterUpdate", ref, indices, updates, use_locking, name)


def scatter_add(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
    """Adds `updates` to the rows `indices`; repeated rows add up. Everything else as for `scatter_update`."""
    return _scattered("ScatterAdd", ref, indices, updates, use_locking, name)


def scatter_sub(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
    """Subtracts `updates` from the rows `indices`; everything else as for `scatter_add`."""
    return _scattered("ScatterSub", ref, indices, updates, use_locking, name)


def scatter_mul(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
    """Multiplies the rows `indices` by `updates`; everything else as for `scatter_add`."""
    return _scattered("ScatterMul", ref, indices, updates, use_locking, name)


def scatter_div(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
    """Divides the rows `indices` by `updates`, integers towards zero; everything else as for `scatter_add`."""
    return _scattered("ScatterDiv", ref, indices, updates, use_locking, name)


def scatter_min(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
    """Leaves in the rows `indices` the smaller of what is there and `updates`; else as `scatter_add`."""
    return _scattered("ScatterMin", ref, indices, updates, use_locking, name)


def scatter_max(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
    """Leaves in the rows `indices` the larger of what is there and `updates`; else as `scatter_add`."""
    return _scattered("ScatterMax", ref, indices, updates, use_locking, name)


def scatter_nd_update(
    ref: Any, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None
) -> Tensor:
    """Puts `updates` at the places `indices` `[..., k]`, each the beginning of an index into the variable."""
    return _scattered("ScatterNdUpdate", ref, indices, updates, use_locking, name)


def scatter_nd_add(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
    """Adds `updates` at the places `indices`; repeated ones add up. Else as `scatter_nd_update`."""
    return _scattered("ScatterNdAdd", ref, indices, updates, use_locking, name)


def scatter_nd_sub(ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
    """Subtracts `updates` at the places `indices`. Else as `scatter_nd_add`."""
    return _scattered("ScatterNdSub", ref, indices, updates, use_locking, name)


def batch_scatter_update(
    ref: Any, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None
) -> Tensor:
    """Puts `updates` into rows of each part of a variable: with `indices` `[a, b]`, `updates[i, j]` becomes
    `ref[i, indices[i, j]]`. The result is the variable. Raises ValueError for indices of unknown rank."""
    with get_default_graph().name_scope(name):
        rows = _indices(indices)
        if rows.shape.ndims is None:
            raise ValueError("batch_gather does not allow indices with unknown shape.")
        places = apply("BatchIndices", [rows], "BatchIndices")
        return scatter_nd_update(ref, places, updates, use_locking=use_locking)


def scatter_slices(scatter: Callable[..., Tensor], variable: Any, sparse_delta: Any, **arguments: Any) -> Tensor:
    """`scatter` of the rows of an `IndexedSlices`. Raises TypeError for anything else."""
    if not isinstance(sparse_delta, IndexedSlices):
        raise TypeError(f"sparse_delta is not IndexedSlices: {sparse_delta}")
    return scatter(variable, sparse_delta.indices, sparse_delta.values, **arguments)


def count_up_to(ref: Any, limit: int, name: str | None = None) -> Tensor:
    """Adds 1 to an integer scalar variable and gives what it was before. At `limit` the run fails with
    OutOfRangeError "Reached limit of 3" and nothing changes. Raises TypeError for other dtypes."""
    target = reference_of(ref)
    if target is None:
        raise AttributeError(f"count_up_to wants a variable, got {type(ref).__name__!r} {ref}.")
    check_allowed("ref", target.dtype, _INDEX_TYPES)
    if target.shape.ndims not in (None, 0):
        raise ValueError(f"Shape must be rank 0 but is rank {target.shape.ndims}")
    with op_scope(name, "CountUpTo", [target]) as scope:
        return apply("CountUpTo", [target], scope, limit=int(limit))


def assign_slice(target: Tensor, part: Operation, value: Any, name: str | None) -> Tensor:
    """`variable[...].assign(value)`: `part`, a slice of the variable, becomes `value`; the result is the variable."""
    with target.graph.as_default(), target.graph.name_scope(f"{part.name}/"), op_scope(name, "_assign") as scope:
        given = typed_input("StridedSliceAssign", "value", value, target.dtype.base_dtype, "ref")
        return apply("StridedSliceAssign", [target, given, *part.inputs[1:]], scope, key=part.attrs["key"])
