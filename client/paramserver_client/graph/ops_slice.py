"""Parts of tensors by index: `t[1:, ::2]`, `t[..., None]`, and `t[:p]` with a tensor `p` that only a run settles.

An operation keeps its key as an attr. Where the key has a tensor that the graph does not settle, it has a `Given`, and
the tensor is one more input of the operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np

from paramserver_client.graph import dtypes, shapes
from paramserver_client.graph.convert import apply, constant_value, convert_to_tensor, op_scope, static_axis
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.node import Operation, Tensor, operator
from paramserver_client.graph.offered import refuse
from paramserver_client.graph.registry import define
from paramserver_client.graph.shapes import TensorShape

Key = tuple[Any, ...]
_WHOLE: Final = slice(None)


@dataclass(frozen=True, slots=True)
class Given:
    """The place in a key of an index that is the operation's input number `place`, not counting what is sliced."""

    place: int


def settled_key(key: Key, given: Sequence[Array]) -> Key:
    """The key with the run's values put in. Raises InvalidArgumentError for one that is no scalar."""
    for each in given:
        if np.ndim(each):
            raise InvalidArgumentError(f"An index of a slice must be a scalar, got shape {list(np.shape(each))}.")
    return _mapped(key, lambda index: int(given[index.place]) if isinstance(index, Given) else index)


def _mapped(key: Key, to: Callable[[Any], Any]) -> Key:
    """The key with `to` put on its indices and on the bounds and steps of its slices."""

    def mapped(part: Any) -> Any:
        if part is None or part is Ellipsis:
            return part
        if isinstance(part, slice):
            return slice(*(None if each is None else to(each) for each in (part.start, part.stop, part.step)))
        return to(part)

    return tuple(map(mapped, key))


def _slice_shape(op: Operation) -> TensorShape:
    sizes, key = op.inputs[0].shape.sizes, op.attrs["key"]
    if sizes is None or any(isinstance(part, slice) and isinstance(part.step, Given) for part in key):
        return TensorShape(None)
    settled = len(op.inputs) == 1
    result: list[int | None] = []
    axis = 0
    for part in _full_key(key, len(sizes)):
        if part is None:
            result.append(1)
            continue
        if isinstance(part, slice):
            result.append(_slice_size(part, sizes[axis], settled))
        elif settled:
            _check_index(part, axis, sizes[axis])
        axis += 1
    return TensorShape(result)


def _slice_size(part: slice, size: int | None, settled: bool) -> int | None:
    """As in TensorFlow: one index that is not settled leaves all bounds of the key unknown."""
    if size is None or not (settled or (part.start is None and part.stop is None)):
        return None
    return len(range(*part.indices(size)))


def _check_index(index: int, axis: int, size: int | None) -> None:
    if size is not None and not -size <= index < size:
        raise ValueError(f"slice index {index} of dimension {axis} out of bounds.")


def _full_key(key: Key, rank: int) -> list[Any]:
    """The key with its ellipsis spelled out and every axis named. Raises ValueError for too many indices."""
    named = sum(part is not None and part is not Ellipsis for part in key)
    if named > rank:
        raise ValueError(f"Index out of range using input dim {rank}; input has only {rank} dims")
    rest = [_WHOLE] * (rank - named)
    if Ellipsis not in key:
        return [*key, *rest]
    place = key.index(Ellipsis)
    return [*key[:place], *rest, *key[place + 1 :]]


def _slice_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    given = op.inputs[1:]
    back = apply("StridedSliceGrad", [grad, op.inputs[0], *given], "StridedSliceGrad", key=op.attrs["key"])
    return [back, *[None] * len(given)]


@define("StridedSlice", shape=_slice_shape, gradient=_slice_gradient)
def _strided_slice(x: Array, *given: Array, key: Key) -> Array:
    place = settled_key(key, given)
    try:
        return np.asarray(x[place])
    except IndexError as error:
        raise InvalidArgumentError(f"slice index out of bounds: {error}") from None
    except ValueError as error:
        raise InvalidArgumentError(f"The slice {place} is none: {error}") from None


def _slice_grad_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    given = op.inputs[2:]
    return [apply("StridedSlice", [grad, *given], "strided_slice", key=op.attrs["key"]), None, *[None] * len(given)]


@define("StridedSliceGrad", shape=lambda op: op.inputs[1].shape, gradient=_slice_grad_gradient)
def _strided_slice_grad(grad: Array, x: Array, *given: Array, key: Key) -> Array:
    out = np.zeros(x.shape, dtype=grad.dtype)
    out[settled_key(key, given)] = grad
    return out


# What users call


def _getitem(tensor: Any, key: Any) -> Tensor:
    parts = key if isinstance(key, tuple) else (key,)
    given: list[Tensor] = []

    def index(value: Any) -> int | Given:
        found = _index(value)
        if isinstance(found, int):
            return found
        given.append(found)
        return Given(len(given) - 1)

    with op_scope(None, "strided_slice", [tensor]) as scope:
        plain_key = _mapped(parts, index)
        part = apply("StridedSlice", [convert_to_tensor(tensor), *given], scope, key=plain_key)
    part.assign = _refuse_assign  # Slices of variables have another.
    return part


def strided_slice(
    input_: Any, begin: Any, end: Any, strides: Any = None, begin_mask: int = 0, end_mask: int = 0,
    ellipsis_mask: int = 0, new_axis_mask: int = 0, shrink_axis_mask: int = 0, var: Any = None,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """What `input_[begin:end:strides, ...]` is, axis by axis; bit `i` of a mask changes what part `i` means.

    `begin_mask` and `end_mask` leave that side open, `ellipsis_mask` stands for all axes between, `new_axis_mask`
    puts in an axis of size 1, `shrink_axis_mask` takes the one index `begin`. The lists must be settled by the graph:
    ValueError. Slice a variable itself for something to assign to: `var` raises ValueError.
    """
    refuse("tf.strided_slice", var=(var, None))
    firsts, lasts = static_axis(begin, "begin"), static_axis(end, "end")
    steps = [1] * len(firsts) if strides is None else static_axis(strides, "strides")

    def part(place: int) -> Any:
        bit = 1 << place
        if ellipsis_mask & bit:
            return Ellipsis
        if new_axis_mask & bit:
            return None
        if shrink_axis_mask & bit:
            return firsts[place]
        first = None if begin_mask & bit else firsts[place]
        return slice(first, None if end_mask & bit else lasts[place], steps[place])

    with op_scope(name, "StridedSlice", [input_]) as scope:
        key = tuple(part(place) for place in range(len(firsts)))
        return apply("StridedSlice", [convert_to_tensor(input_, name="input")], scope, key=key)


def _refuse_assign(value: Any, name: str | None = None) -> NoReturn:
    raise ValueError("Sliced assignment is only supported for variables")


def _index(value: Any) -> int | Tensor:
    """A python integer, or a tensor that only a run settles. Raises TypeError for what is no index."""
    if isinstance(value, shapes.Dimension):
        return int(value)
    if isinstance(value, Tensor) or hasattr(value, "_as_tensor"):
        tensor = convert_to_tensor(value)
        if tensor.dtype.base_dtype not in (dtypes.int32, dtypes.int64) or tensor.shape.ndims not in (None, 0):
            raise _no_index(value)
        known = constant_value(tensor)
        return tensor if known is None else int(known)
    if isinstance(value, bool | np.bool_) or np.ndim(value) or not np.issubdtype(np.asarray(value).dtype, np.integer):
        raise _no_index(value)
    return int(value)


def _no_index(value: Any) -> TypeError:
    return TypeError(
        "Only integers, slices (`:`), ellipsis (`...`), tf.newaxis (`None`) and scalar tf.int32/tf.int64 tensors are "
        f"valid indices, got {value!r}"
    )


operator("getitem", _getitem)
