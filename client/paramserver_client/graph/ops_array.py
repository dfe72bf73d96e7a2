"""Making and rearranging tensors: placeholders, shapes, ranges, fills."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paramserver_client.graph import dtypes, shapes
from paramserver_client.graph.convert import (
    apply,
    constant,
    constant_of,
    constant_shape,
    constant_value,
    convert_to_tensor,
    op_scope,
    plain,
    shape_tensor,
    static_axis,
    typed_input,
)
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.graph import get_default_graph
from paramserver_client.graph.indexed_slices import IndexedSlices
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_math import cast
from paramserver_client.graph.registry import attr_dtype, define
from paramserver_client.graph.shapes import TensorShape


@define("Placeholder", shape=lambda op: op.attrs["shape"], dtype=attr_dtype)
def _placeholder(*, shape: TensorShape, dtype: DType) -> Array:
    raise InvalidArgumentError("You must feed a value for this placeholder")


@define("PlaceholderWithDefault", shape=lambda op: op.attrs["shape"], gradient=lambda op, grad: [grad],
        hidden_attrs=("shape",))  # fmt: skip
def _placeholder_with_default(x: Array) -> Array:
    return x


@define("Identity", gradient=lambda op, grad: [grad])
def _identity(x: Array) -> Array:
    return x


@define("StopGradient")
def _stop_gradient(x: Array) -> Array:
    return x


@define("NoOp", shape=lambda op: [], dtype=lambda op: [])
def _no_op() -> tuple[()]:
    return ()


def _shape_dtype(op: Operation) -> DType:
    dtype: DType = op.attrs["out_type"]
    return dtype


@define("Shape", shape=lambda op: TensorShape([op.inputs[0].shape.ndims]), dtype=_shape_dtype)
def _shape(x: Array, *, out_type: DType) -> Array:
    return np.array(np.shape(x), dtype=out_type.numpy_dtype)


@define("Size", shape=lambda op: shapes.scalar(), dtype=_shape_dtype)
def _size(x: Array, *, out_type: DType) -> Array:
    return np.array(np.size(x), dtype=out_type.numpy_dtype)


@define("Rank", shape=lambda op: shapes.scalar(), dtype=lambda op: dtypes.int32)
def _rank(x: Array) -> Array:
    return np.array(np.ndim(x), dtype=np.int32)


def _reshape_shape(op: Operation) -> TensorShape:
    before, wanted = op.inputs[0].shape, constant_shape(op.inputs[1])
    total, sizes = before.num_elements(), wanted.sizes
    if total is None or sizes is None:
        return wanted
    known = int(np.prod([size for size in sizes if size is not None], dtype=np.int64))
    unknown = sizes.count(None)
    if (unknown == 0 and known != total) or (unknown and (known == 0 or total % known)):
        raise ValueError(f"Cannot reshape a tensor with {total} elements to shape {shapes.brackets(wanted)}")
    if unknown != 1 or constant_value(op.inputs[1]) is None:
        return wanted
    return TensorShape([total // known if size is None else size for size in sizes])


@define("Reshape", shape=_reshape_shape, gradient=lambda op, grad: [reshape(grad, shape(op.inputs[0])), None])
def _reshape(x: Array, to: Array) -> Array:
    try:
        return np.reshape(x, tuple(int(size) for size in to))
    except ValueError:
        raise InvalidArgumentError(
            f"Input to reshape is a tensor with {np.size(x)} values, but the requested shape has "
            f"{int(np.prod(to, dtype=np.int64))}: {to.tolist()}"
        ) from None


def _transpose_shape(op: Operation) -> TensorShape:
    sizes, perm = op.inputs[0].shape.sizes, op.attrs["perm"]
    if sizes is None:
        return shapes.unknown_shape(None if perm is None else len(perm))
    order = list(reversed(range(len(sizes)))) if perm is None else perm
    if sorted(order) != list(range(len(sizes))):
        raise ValueError(f"perm {order} must be a permutation of {list(range(len(sizes)))}")
    return TensorShape([sizes[axis] for axis in order])


def _transpose_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    perm = op.attrs["perm"]
    return [transpose(grad, None if perm is None else [int(axis) for axis in np.argsort(perm)])]


@define("Transpose", shape=_transpose_shape, gradient=_transpose_gradient)
def _transpose(x: Array, *, perm: list[int] | None) -> Array:
    return np.transpose(x, perm)


def _expand_shape(op: Operation) -> TensorShape:
    sizes, axis = op.inputs[0].shape.sizes, op.attrs["axis"]
    if sizes is None:
        return TensorShape(None)
    if not -len(sizes) - 1 <= axis <= len(sizes):
        raise ValueError(f"dim {axis} not in the interval [{-len(sizes) - 1}, {len(sizes)}].")
    place = axis % (len(sizes) + 1)
    return TensorShape([*sizes[:place], 1, *sizes[place:]])


@define("ExpandDims", shape=_expand_shape, gradient=lambda op, grad: [reshape(grad, shape(op.inputs[0]))])
def _expand_dims(x: Array, *, axis: int) -> Array:
    return np.expand_dims(x, axis)


def _squeeze_shape(op: Operation) -> TensorShape:
    sizes, axes = op.inputs[0].shape.sizes, op.attrs["axis"]
    if sizes is None or (not axes and None in sizes):
        return TensorShape(None)
    gone = {i for i, size in enumerate(sizes) if size == 1} if not axes else {axis % len(sizes) for axis in axes}
    for axis in gone:
        if sizes[axis] not in (1, None):
            raise ValueError(f"Can not squeeze dim[{axis}], expected a dimension of 1, got {sizes[axis]}")
    return TensorShape([size for i, size in enumerate(sizes) if i not in gone])


@define("Squeeze", shape=_squeeze_shape, gradient=lambda op, grad: [reshape(grad, shape(op.inputs[0]))])
def _squeeze(x: Array, *, axis: list[int] | None) -> Array:
    return np.squeeze(x, tuple(axis) if axis else None)


def _pack_shape(op: Operation) -> TensorShape:
    merged = TensorShape(None)
    for tensor in op.inputs:
        merged = shapes.merge_for_assign(merged, tensor.shape)
    if merged.sizes is None:
        return merged
    place = op.attrs["axis"] % (len(merged.sizes) + 1)
    return TensorShape([*merged.sizes[:place], len(op.inputs), *merged.sizes[place:]])


def _pack_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    rank = grad.shape.ndims
    place = op.attrs["axis"] % rank if rank else op.attrs["axis"]
    return [grad[(slice(None),) * place + (i,)] for i in range(len(op.inputs))]


@define("Pack", shape=_pack_shape, gradient=_pack_gradient)
def _pack(*parts: Array, axis: int) -> Array:
    return np.stack(parts, axis)


def _fill_shape(op: Operation) -> TensorShape:
    dims = constant_value(op.inputs[0])
    if dims is not None and (dims < 0).any():
        raise ValueError(f"Fill dimensions must be >= 0, got {dims.tolist()}")
    return constant_shape(op.inputs[0])


@define("Fill", shape=_fill_shape, dtype=lambda op: op.inputs[1].dtype.base_dtype,
        gradient=lambda op, grad: [None, apply("Sum", [grad], "Sum", axis=None, keepdims=False)])  # fmt: skip
def _fill(dims: Array, value: Array) -> Array:
    if (dims < 0).any():
        raise InvalidArgumentError(f"Dimensions of a fill must be >= 0, got {dims.tolist()}")
    return np.full(tuple(int(size) for size in dims), value, dtype=value.dtype)


def _range_shape(op: Operation) -> TensorShape:
    values = [constant_value(tensor) for tensor in op.inputs]
    if any(value is None for value in values):
        return TensorShape([None])
    start, limit, delta = (plain(np.asarray(value)[()]) for value in values)
    if delta == 0:
        raise ValueError("Requires delta != 0")
    if delta > 0 and start > limit:
        raise ValueError(f"Requires start <= limit when delta > 0: {start}/{limit}")
    if delta < 0 and start < limit:
        raise ValueError(f"Requires start >= limit when delta < 0: {start}/{limit}")
    return TensorShape([int(np.ceil((limit - start) / delta))])


@define("Range", shape=_range_shape)
def _range(start: Array, limit: Array, delta: Array) -> Array:
    if delta == 0 or (limit - start) * np.sign(delta) < 0:
        raise InvalidArgumentError(f"Requires a delta that leads from start to limit: {start}, {limit}, {delta}")
    count = int(np.ceil((limit - start) / delta))
    return np.asarray(start + np.arange(count, dtype=start.dtype) * delta).astype(start.dtype)


def _linspace_shape(op: Operation) -> TensorShape:
    num = constant_value(op.inputs[2])
    if num is None:
        return TensorShape([None])
    if num <= 0:
        raise ValueError(f"Requires num > 0: {int(num)}")
    return TensorShape([int(num)])


@define("LinSpace", shape=_linspace_shape)
def _linspace(start: Array, stop: Array, num: Array) -> Array:
    if num <= 0:
        raise InvalidArgumentError(f"Requires num > 0: {int(num)}")
    return np.linspace(start, stop, int(num)).astype(start.dtype)


# What users call


def placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> Tensor:
    """A tensor that every run which needs it must feed: `sess.run(..., feed_dict={p: value})`."""
    attrs = {"dtype": dtypes.as_dtype(dtype).base_dtype, "shape": shapes.as_shape(shape)}
    return get_default_graph().create_op("Placeholder", [], attrs, name or "Placeholder").outputs[0]


def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """A tensor that a run may feed; otherwise it has the value of `input`."""
    with op_scope(name, "PlaceholderWithDefault", [input]) as scope:
        tensor = convert_to_tensor(input, name="input")
        return apply("PlaceholderWithDefault", [tensor], scope, shape=shapes.as_shape(shape))


def identity(input: Any, name: str | None = None) -> Tensor:
    """The same value, as a tensor of its own."""
    with op_scope(name, "Identity", [input]) as scope:
        return apply("Identity", [convert_to_tensor(input, name="input")], scope)


def stop_gradient(input: Any, name: str | None = None) -> Tensor:
    """The same value, through which no gradient flows."""
    with op_scope(name, "StopGradient", [input]) as scope:
        return apply("StopGradient", [convert_to_tensor(input, name="input")], scope)


def no_op(name: str | None = None) -> Operation:
    """An operation that does nothing; useful with control dependencies."""
    return get_default_graph().create_op("NoOp", [], {}, name or "NoOp")


def group(*inputs: Any, **kwargs: Any) -> Operation:
    """An operation that is done when all `inputs` (operations, tensors, variables, or lists of them) are done."""
    name = kwargs.pop("name", None)
    if kwargs:
        raise ValueError(f"Unknown keyword arguments: {', '.join(kwargs)}")
    flat = list(_flatten(inputs))
    with op_scope(name, "group_deps", flat) as scope, get_default_graph().control_dependencies(flat):
        return no_op(name=scope)


def tuple_(tensors: Any, name: str | None = None, control_inputs: Any = None) -> list[Any]:
    """The tensors (or `IndexedSlices`, or None), each given only when all of them, and `control_inputs`, are done.

    Raises ValueError when there is nothing to wait for.
    """
    given = [each for each in tensors if each is not None]
    with op_scope(name, "tuple", given):
        waits = [*given, *(control_inputs or ())]
        if not waits:
            raise ValueError(f"Must have at least one Tensor: {tensors}")
        with get_default_graph().control_dependencies([group(*waits)]):
            return [None if each is None else _passed_on(each) for each in tensors]


def _passed_on(value: Any) -> Any:
    if not isinstance(value, IndexedSlices):
        return identity(value, name="control_dependency")
    return IndexedSlices(_passed_on(value.values), value.indices, value.dense_shape)


def _flatten(items: Any) -> Any:
    for item in items:
        if isinstance(item, list | tuple):
            yield from _flatten(item)
        elif item is None:
            raise TypeError("Expected tf.group() expected Tensor objects not None with type '<class 'NoneType'>'")
        else:
            yield item


def shape(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Tensor:
    """The shape of `input` as an integer vector, known when the tensor is computed."""
    with op_scope(name, "Shape", [input]) as scope:
        tensor, wanted = convert_to_tensor(input, name="input"), dtypes.as_dtype(out_type)
        if tensor.shape.is_fully_defined():
            return constant_of(np.array(tensor.shape.known(), dtype=wanted.numpy_dtype), scope)
        return apply("Shape", [tensor], scope, out_type=wanted)


def size(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Tensor:
    """How many elements `input` has."""
    with op_scope(name, "Size", [input]) as scope:
        return apply("Size", [convert_to_tensor(input)], scope, out_type=dtypes.as_dtype(out_type))


def rank(input: Any, name: str | None = None) -> Tensor:
    """How many dimensions `input` has."""
    with op_scope(name, "Rank", [input]) as scope:
        return apply("Rank", [convert_to_tensor(input)], scope)


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Tensor:
    """The same elements in row-major order in another shape; one size may be -1. Raises ValueError if they don't fit."""
    with op_scope(name, "Reshape", [tensor]) as scope:
        return apply("Reshape", [convert_to_tensor(tensor, name="tensor"), shape_tensor(shape)], scope)


def transpose(a: Any, perm: Any = None, name: str = "transpose", conjugate: bool = False) -> Tensor:
    """The axes of `a` in the order `perm`, reversed unless given."""
    if conjugate:
        raise ValueError("transpose: conjugate=True is not supported; only conjugate=False is.")
    with op_scope(name, "transpose", [a]) as scope:
        order = static_axis(perm, "perm")
        return apply("Transpose", [convert_to_tensor(a, name="a")], scope, perm=order)


def expand_dims(input: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """`input` with a dimension of size 1 put in at `axis`."""
    place = static_axis(dim if axis is None else axis, "axis")
    if place is None:
        raise ValueError("Must specify an axis argument to tf.expand_dims()")
    with op_scope(name, "ExpandDims", [input]) as scope:
        return apply("ExpandDims", [convert_to_tensor(input)], scope, axis=place)


def squeeze(input: Any, axis: Any = None, name: str | None = None, squeeze_dims: Any = None) -> Tensor:
    """`input` without its dimensions of size 1, or without those of `axis`."""
    axes = static_axis(squeeze_dims if axis is None else axis, "axis")
    with op_scope(name, "Squeeze", [input]) as scope:
        return apply("Squeeze", [convert_to_tensor(input)], scope, axis=[axes] if isinstance(axes, int) else axes)


def stack(values: Any, axis: int = 0, name: str = "stack") -> Tensor:
    """Tensors of one shape side by side along a new `axis`. Raises ValueError for none, or for other shapes."""
    if isinstance(values, list | tuple) and not values:
        raise ValueError("stack wants at least one tensor, got an empty list.")
    with op_scope(name, "stack", values) as scope:
        first = convert_to_tensor(values[0])
        others = [typed_input("Pack", f"values_{i}", each, first.dtype.base_dtype, "values")
                  for i, each in enumerate(values[1:], 1)]  # fmt: skip
        return apply("Pack", [first, *others], scope, axis=axis)


def _filled(value: Any, shape: Any, dtype: Any, name: str | None, default: str) -> Tensor:
    wanted = dtypes.as_dtype(dtype).base_dtype
    with op_scope(name, default) as scope:
        fill_value = b"" if wanted == dtypes.string else wanted.numpy_dtype.type(value)
        dims = shape if isinstance(shape, Tensor) else shape_tensor(shape)
        known = constant_shape(dims)
        if known.is_fully_defined() and (known.num_elements() or 0) < 1000:
            result = constant_of(np.full(known.known(), fill_value, dtype=wanted.numpy_dtype), scope)
        else:
            result = apply("Fill", [dims, constant(fill_value, wanted, name="Const")], scope)
        if known.is_fully_defined():
            result.op.recipe = {"type": default}
        return result


def zeros(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """Zeros. A lone number is the length of a vector: `tf.zeros(4)`."""
    return _filled(0, shape, dtype, name, "zeros")


def ones(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """Ones. A lone number is the length of a vector."""
    return _filled(1, shape, dtype, name, "ones")


def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    """A tensor of shape `dims` in which every element is the scalar `value`."""
    with op_scope(name, "Fill", [value]) as scope:
        scalar = convert_to_tensor(value, name="value")
        if scalar.shape.ndims not in (0, None):
            raise ValueError(f"Shape must be rank 0 but is rank {scalar.shape.ndims} for the value of a fill.")
        result = apply("Fill", [shape_tensor(dims, "dims"), scalar], scope)
        known = constant_value(scalar)
        if known is not None and scalar.op.recipe is not None and result.shape.is_fully_defined():
            result.op.recipe = {"type": "fill", "value": plain(known[()])}
        return result


_RANGE_TYPES = (dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64)


def range_(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Tensor:
    """`start, start + delta, ...` up to but without `limit`; with one argument from 0.

    int32 unless an argument is a float. A step that never arrives raises ValueError.
    """
    if limit is None:
        start, limit = 0, start
    with op_scope(name, "range", [start, limit, delta]) as scope:
        wanted = None if dtype is None else dtypes.as_dtype(dtype)
        ends = [convert_to_tensor(each, wanted, name=label)
                for each, label in ((start, "start"), (limit, "limit"), (delta, "delta"))]  # fmt: skip
        if wanted is None:
            wanted = max((end.dtype.base_dtype for end in ends), key=_RANGE_TYPES.index)
        return _with_recipe(apply("Range", [cast(end, wanted) for end in ends], scope), "range", "start limit delta")


def linspace(start: Any, stop: Any, num: Any, name: str | None = None) -> Tensor:
    """`num` evenly spaced floats from `start` to `stop`, both included. Integer ends raise TypeError."""
    with op_scope(name, "LinSpace", [start, stop, num]) as scope:
        first = convert_to_tensor(start, name="start")
        if not first.dtype.is_floating:
            raise TypeError(
                f"Value passed to parameter 'start' has DataType {first.dtype.base_dtype.name} not in list of allowed "
                "values: bfloat16, float32, float64"
            )
        last = typed_input("LinSpace", "stop", stop, first.dtype.base_dtype, "start")
        result = apply("LinSpace", [first, last, convert_to_tensor(num, name="num")], scope)
        return _with_recipe(result, "linspace", "start stop num")


def _with_recipe(result: Tensor, kind: str, parameters: str) -> Tensor:
    values = [constant_value(tensor) for tensor in result.op.inputs]
    if all(value is not None for value in values):
        numbers = [plain(np.asarray(value)[()]) for value in values]
        result.op.recipe = {"type": kind, **dict(zip(parameters.split(), numbers, strict=True))}
    return result
