"""From python and numpy values to arrays and constants, by TensorFlow 1's rules.

Without a dtype python floats become float32 and ints int32 (int64 when too large); numpy values keep theirs. With one,
python values must fit it (`1.5` is no int32), numpy values are cast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paramserver_client.graph import dtypes, shapes
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.graph import OpScope, get_default_graph, graph_of
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.registry import define
from paramserver_client.graph.shapes import TensorShape

if TYPE_CHECKING:
    pass

SPEC_ELEMENTS: Final = 1024
"""Constants of more elements are sent to the server as bytes, not as numbers in an initializer spec."""


def make_array(value: Any, dtype: DType | None = None) -> Array:
    """`value` as an array of `dtype`, or of the dtype TensorFlow would choose.

    Raises TypeError when a python value does not fit the dtype, ValueError for None and for ragged lists.
    """
    if value is None:
        raise ValueError("None values not supported.")
    if isinstance(value, np.ndarray | np.generic):
        return _of_numpy(np.asarray(value), dtype)
    if isinstance(value, TensorShape):
        return _of_shape(value, dtype)
    if isinstance(value, range):
        value = list(value)
    if isinstance(value, shapes.Dimension):
        if value.value is None:
            raise ValueError("Cannot convert an unknown Dimension to a Tensor: ?")
        if dtype not in (None, dtypes.int32, dtypes.int64):
            raise TypeError(f"Cannot convert a Dimension to dtype {dtype.name}: give int32 or int64.")
        value = int(value)
    if dtype is not None:
        _check_fits(value, dtype)
    array = _dense(value)
    if dtype is None:
        return _natural(array)
    if dtype.is_integer and array.dtype.kind in "iu" and array.size:
        limits = np.iinfo(dtype.numpy_dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise TypeError(f"Expected {dtype.name}, got {value!r}, which is out of its range.")
    return _cast(array, dtype)


def _of_shape(shape: TensorShape, dtype: DType | None) -> Array:
    if not shape.is_fully_defined():
        raise ValueError(f"Cannot convert a partially known TensorShape to a Tensor: {shape}")
    wide = any(size > np.iinfo(np.int32).max for size in shape.known())
    wanted = dtype or (dtypes.int64 if wide else dtypes.int32)
    if wanted not in (dtypes.int32, dtypes.int64):
        raise TypeError(f"Cannot convert a TensorShape to dtype {wanted.name}: give int32 or int64.")
    if wide and wanted == dtypes.int32:
        raise ValueError(f"Cannot convert a TensorShape to dtype int32; a dimension is too large ({shape}); use int64.")
    return np.array(shape.known(), dtype=wanted.numpy_dtype)


def _of_numpy(array: Array, dtype: DType | None) -> Array:
    wanted = dtypes.of_array(array) if dtype is None else dtype
    return _cast(array, wanted)


def _cast(array: Array, dtype: DType) -> Array:
    if dtype == dtypes.string:
        return np.vectorize(_as_bytes, otypes=[object])(array) if array.size else array.astype(object)
    if array.dtype == object:
        raise TypeError(f"Expected {dtype.name}, got values of type {type(array.flat[0]).__name__!r}.")
    with np.errstate(all="ignore"):
        return np.array(array, dtype=dtype.numpy_dtype, order="C")


def _as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _dense(value: Any) -> Array:
    try:
        array = np.array(value)
    except ValueError:
        raise ValueError(f"Argument must be a dense tensor: {value!r} is ragged; give rows of one length.") from None
    if array.dtype.kind in "SU":
        array = np.array(value, dtype=object)  # numpy's own strings lose zero bytes at their end.
    if array.dtype == object and _depth(value) > 0 and array.size and isinstance(array.flat[0], list | tuple):
        raise ValueError(f"Argument must be a dense tensor: {value!r} is ragged; give rows of one length.")
    return array


def _depth(value: Any) -> int:
    return 1 + (_depth(value[0]) if len(value) else 0) if isinstance(value, list | tuple) else 0


def _natural(array: Array) -> Array:
    if array.dtype == np.float64:
        return array.astype(np.float32)
    if array.dtype == np.int64:
        limits = np.iinfo(np.int32)
        fits = not array.size or (array.min() >= limits.min and array.max() <= limits.max)
        return array.astype(np.int32) if fits else array
    if array.dtype.kind in "SUO":
        leaves = array.ravel().tolist()
        odd = next((leaf for leaf in leaves if not isinstance(leaf, str | bytes)), None)
        if odd is None and any(leaf is None for leaf in leaves):
            raise ValueError("None values not supported.")
        if odd is not None:
            raise TypeError(f"Failed to convert object of type {type(odd)} to Tensor. Contents: {odd!r}.")
        return _cast(array, dtypes.string)
    return array


def _check_fits(value: Any, dtype: DType) -> None:
    odd = _first_misfit(value, dtype)
    if odd is not None:
        got = odd[0]
        if got is None:
            raise ValueError("None values not supported.")
        raise TypeError(f"Expected {dtype.name}, got {got!r} of type '{type(got).__name__}' instead.")


def _first_misfit(value: Any, dtype: DType) -> tuple[Any] | None:
    if isinstance(value, list | tuple):
        return next((odd for item in value if (odd := _first_misfit(item, dtype)) is not None), None)
    if isinstance(value, np.ndarray):
        return None
    if dtype == dtypes.string:
        return None if isinstance(value, str | bytes) else (value,)
    if dtype.is_bool:
        return None if isinstance(value, bool | np.bool_) else (value,)
    if isinstance(value, shapes.Dimension):
        return None if value.value is not None else (value,)
    if isinstance(value, bool | np.bool_):
        return (value,)
    if dtype.is_integer:
        return None if isinstance(value, int | np.integer) else (value,)
    allowed = (int, float, np.integer, np.floating)
    if dtype.is_complex:
        return None if isinstance(value, (*allowed, complex, np.complexfloating)) else (value,)
    return None if isinstance(value, allowed) or hasattr(value, "__array__") else (value,)


def shaped(array: Array, shape: Any, verify_shape: bool = False) -> Array:
    """`array` brought to `shape`: fewer elements are padded with the last one, as `tf.constant` does.

    Raises ValueError when there are too many elements or none, TypeError when `verify_shape` and the shapes differ.
    """
    wanted = shapes.as_shape(shape).known()
    if array.shape == wanted:
        return array
    if verify_shape:
        raise TypeError(f"Expected Tensor's shape: {wanted}, got {array.shape}.")
    size = int(np.prod(wanted, dtype=np.int64))
    if array.size > size:
        raise ValueError(f"Too many elements provided. Needed at most {size}, but received {array.size}")
    flat = array.ravel()
    if flat.size < size:
        if not flat.size:
            raise ValueError(f"Cannot fill the shape {wanted} from no elements; give at least one.")
        flat = np.concatenate([flat, np.full(size - flat.size, flat[-1], dtype=flat.dtype)])
    return flat.reshape(wanted)


@define("Const", shape=lambda op: TensorShape(op.attrs["value"].shape), dtype=lambda op: op.attrs["dtype"],
        hidden_attrs=("dtype",))  # fmt: skip
def _const(*, value: Array) -> Array:
    return value


def constant(
    value: Any, dtype: Any = None, shape: Any = None, name: str | None = "Const", verify_shape: bool = False
) -> Tensor:
    """A tensor that always has `value`.

    Fewer elements than `shape` are padded with the last one; more raise ValueError. A python value that does not fit
    `dtype` raises TypeError.
    """
    array = make_array(value, None if dtype is None else dtypes.as_dtype(dtype).base_dtype)
    if shape is not None:
        array = shaped(array, shape, verify_shape)
    return constant_of(array, name or "Const")


def constant_of(array: Array, name: str) -> Tensor:
    """A constant of an array that nobody writes into any more."""
    op = get_default_graph().create_op("Const", [], {"value": array, "dtype": dtypes.of_array(array)}, name)
    op.recipe = _constant_recipe(array)
    return op.outputs[0]


def _constant_recipe(array: Array) -> dict[str, Any] | None:
    """The spec of a small array, or of a large one of a single number; others travel as bytes."""
    if not array.size or array.dtype == object:
        return None
    if array.size > SPEC_ELEMENTS and (array == array.flat[0]).all():
        array = array.reshape(-1)[0]
    value = nested(np.asarray(array))
    return None if value is None else {"type": "constant", "value": value}


def nested(array: Array | None) -> Any:
    """A small finite array as the nested lists that a spec holds (complex numbers as `[re, im]`); None for others."""
    if array is None or array.size > SPEC_ELEMENTS or array.dtype == object or not np.isfinite(array).all():
        return None
    if np.iscomplexobj(array):
        array = np.stack([array.real, array.imag], axis=-1)
    wide = array.astype(np.float64) if array.dtype.kind not in "biuf" else array
    return wide.tolist()


def plain(value: Any) -> Any:
    """A numpy scalar as the python number (or `[re, im]` pair) that a spec holds."""
    if np.iscomplexobj(value):
        return [float(value.real), float(value.imag)]
    if value.dtype.kind in "biu":
        return value.item()
    return float(value)


def convert_to_tensor(
    value: Any, dtype: Any = None, name: str | None = None, preferred_dtype: Any = None, dtype_hint: Any = None
) -> Tensor:
    """`value` (a tensor, a variable, a number, an array, a list of these) as a tensor of the default graph.

    `preferred_dtype` is taken when it fits. Raises ValueError for a tensor of another dtype, TypeError for values
    that no tensor can hold.
    """
    if type(value) is Tensor and dtype is None:
        return value
    wanted = None if dtype is None else dtypes.as_dtype(dtype).base_dtype
    if hasattr(value, "_as_tensor"):
        value = value._as_tensor()
    if isinstance(value, Operation):
        raise TypeError(f"Can't convert Operation '{value.name}' to Tensor")
    if isinstance(value, Tensor):
        if wanted is not None and value.dtype.base_dtype != wanted:
            raise ValueError(
                f"Tensor conversion requested dtype {wanted.name} for Tensor with dtype {value.dtype.base_dtype.name}: "
                f"{str(value)!r}"
            )
        return value
    if isinstance(value, list | tuple) and any(map(_holds_tensor, value)):
        return _packed(value, wanted, name)
    hint = preferred_dtype if preferred_dtype is not None else dtype_hint
    if wanted is None and hint is not None:
        try:
            return constant(value, dtypes.as_dtype(hint).base_dtype, name=name or "Const")
        except (TypeError, ValueError):
            return constant(value, name=name or "Const")
    return constant(value, wanted, name=name or "Const")


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_tensor, value))
    return isinstance(value, Tensor) or hasattr(value, "_as_tensor")


def _packed(values: Sequence[Any], dtype: DType | None, name: str | None) -> Tensor:
    from paramserver_client.graph.ops_array import stack  # The array operations build on this module.

    first = next((item for item in values if isinstance(item, Tensor) or hasattr(item, "_as_tensor")), None)
    wanted = dtype or (first.dtype.base_dtype if first is not None else None)
    return stack([convert_to_tensor(item, wanted) for item in values], name=name or "packed")


def op_scope(name: str | None, default: str, values: Sequence[Any] = ()) -> OpScope:
    """The scope of one operation, in the graph of its tensors: its converted inputs are named below it, and the
    operation itself takes the scope's name (`add/y`, then `add`)."""
    return OpScope(graph_of(values), name or default)


def apply(op_type: str, inputs: Sequence[Tensor], name: str, **attrs: Any) -> Tensor:
    """Add an operation of one output to the default graph; gives that output."""
    return get_default_graph().create_op(op_type, inputs, attrs, name).outputs[0]


def same_type(op_type: str, **arguments: Any) -> list[Tensor]:
    """The arguments as tensors of the first one's dtype.

    Raises TypeError in TensorFlow's words, naming the argument, when another does not fit: nothing is promoted.
    """
    names = list(arguments)
    tensors = [convert_to_tensor(arguments[names[0]], name=names[0])]
    wanted = tensors[0].dtype.base_dtype
    for name in names[1:]:
        tensors.append(typed_input(op_type, name, arguments[name], wanted, names[0]))
    return tensors


def typed_input(op_type: str, name: str, value: Any, wanted: DType, reference: str) -> Tensor:
    """`value` as a tensor of dtype `wanted`, which argument `reference` settled. Raises TypeError when it has another."""
    if isinstance(value, Tensor) or hasattr(value, "_as_tensor"):
        tensor = convert_to_tensor(value)
        got = tensor.dtype.base_dtype
        if got != wanted:
            raise TypeError(
                f"Input '{name}' of '{op_type}' Op has type {got.name} that does not match type {wanted.name} "
                f"of argument '{reference}'."
            )
        return tensor
    try:
        return convert_to_tensor(value, wanted, name=name)
    except TypeError as error:
        raise TypeError(
            f"Expected {wanted.name} passed to parameter '{name}' of op '{op_type}', got {value!r} of type "
            f"'{type(value).__name__}' instead. Error: {error}"
        ) from None


def constant_value(tensor: Tensor) -> Array | None:
    """The tensor's value when the graph alone settles it, else None. Used for shapes and axes."""
    op = tensor.op
    if op.type == "Const":
        value: Array = op.attrs["value"]
        return value
    if op.type == "Shape" and op.inputs[0].shape.is_fully_defined():
        return np.array(op.inputs[0].shape.known(), dtype=tensor.dtype.numpy_dtype)
    if (
        op.type in ("Pack", "Cast", "Identity", "StridedSlice", "ConcatV2", "Range", "Fill")
        and not tensor.dtype._is_ref_dtype
    ):
        values = [constant_value(each) for each in op.inputs]
        if all(value is not None for value in values):
            return np.asarray(op.definition.kernel(*values, **kernel_attrs(op)))
    return None


def kernel_attrs(op: Operation) -> dict[str, Any]:
    hidden = op.definition.hidden_attrs
    return {name: value for name, value in op.attrs.items() if name not in hidden}


def constant_shape(tensor: Tensor) -> TensorShape:
    """The shape that a tensor of sizes stands for, as far as the graph settles it; -1 is unknown."""
    value = constant_value(tensor)
    if value is not None:
        return TensorShape([None if size < 0 else int(size) for size in np.atleast_1d(value)])
    if tensor.op.type == "Pack":
        parts = [constant_value(each) for each in tensor.op.inputs]
        return TensorShape([None if part is None or part < 0 else int(part) for part in parts])
    if tensor.op.type == "Shape":
        return tensor.op.inputs[0].shape
    sizes = tensor.shape.sizes
    return shapes.unknown_shape(None if sizes is None or not sizes else sizes[0])


def shape_tensor(shape: Any, name: str = "shape") -> Tensor:
    """A vector of sizes as an int tensor: `shape` is a tensor, a TensorShape, a size or a sequence of sizes."""
    if isinstance(shape, Tensor) or hasattr(shape, "_as_tensor") or _holds_tensor(shape):
        return convert_to_tensor(shape, name=name)
    if isinstance(shape, np.ndarray):
        if shape.dtype.kind not in "iu" and shape.size:
            raise TypeError(f"A shape wants integers, got dtype {shape.dtype}.")
        return constant(shape.astype(np.int32), name=name)
    if isinstance(shape, TensorShape):
        shape = shape.known()
    sizes = [int(size) if isinstance(size, shapes.Dimension) else size for size in _as_list(shape)]
    return constant(np.array(make_array(sizes, dtypes.int32 if not sizes else None)), name=name)


def _as_list(shape: Any) -> list[Any]:
    try:
        return list(shape)
    except TypeError:
        return [shape]


def static_axis(axis: Any, what: str) -> Any:
    """An axis argument as python ints (or None); a tensor must be one the graph settles. Raises ValueError."""
    if isinstance(axis, Tensor):
        value = constant_value(axis)
        if value is None:
            raise ValueError(f"{what} must be known when the graph is built, got {axis}; give python integers.")
        axis = value
    if isinstance(axis, np.ndarray | np.generic):
        axis = axis.tolist()
    if isinstance(axis, list | tuple):
        return [int(each) for each in axis]
    return None if axis is None else int(axis)
