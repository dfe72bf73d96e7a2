"""Tensors turned around, repeated, padded, and taken apart: tile, pad, reverse, unstack, one_hot, masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paramserver_client.graph import dtypes, shapes
from paramserver_client.graph.convert import (
    apply,
    constant_of,
    constant_shape,
    constant_value,
    convert_to_tensor,
    op_scope,
    shape_tensor,
    static_axis,
)
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_array import range_, reshape, shape, squeeze, stack, transpose
from paramserver_client.graph.ops_join import checked_axis, gather, slice_
from paramserver_client.graph.ops_math import cast, less, sum_to, where, zeros_like
from paramserver_client.graph.ops_reduce import reduce_max
from paramserver_client.graph.ops_state import check_allowed
from paramserver_client.graph.registry import define
from paramserver_client.graph.shapes import TensorShape


def _times(op: Operation, turned_back: bool) -> TensorShape:
    whole, multiples = op.inputs[0].shape, constant_value(op.inputs[1])
    if multiples is None or whole.sizes is None:
        return shapes.unknown_shape(whole.ndims)
    if len(multiples) != len(whole.sizes):
        raise ValueError(f"Shape must be rank {len(multiples)} but is rank {len(whole.sizes)}")
    pairs = zip(whole.sizes, multiples.tolist(), strict=True)
    if turned_back:
        return TensorShape([None if size is None or not times else size // times for size, times in pairs])
    return TensorShape([None if size is None else size * times for size, times in pairs])


def _tile_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [apply("TileGrad", [grad, op.inputs[1]], "TileGrad"), None]


@define("Tile", shape=lambda op: _times(op, False), gradient=_tile_gradient)
def _tile(x: Array, multiples: Array) -> Array:
    if x.ndim != len(multiples) or (multiples < 0).any():
        raise InvalidArgumentError(
            f"Expected multiples of at least 0, one for each of {x.ndim} axes, but got {multiples.tolist()}"
        )
    return np.tile(x, multiples)


def _tile_grad_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [apply("Tile", [grad, op.inputs[1]], "Tile"), None]


@define("TileGrad", shape=lambda op: _times(op, True), gradient=_tile_grad_gradient)
def _tile_grad(grad: Array, multiples: Array) -> Array:
    sizes = [each for size, times in zip(grad.shape, multiples, strict=True) for each in (int(times), size // times)]
    return np.asarray(grad.reshape(sizes).sum(axis=tuple(range(0, 2 * grad.ndim, 2)), dtype=grad.dtype))


def _padded_shape(op: Operation) -> TensorShape:
    whole, paddings = op.inputs[0].shape, constant_value(op.inputs[1])
    if paddings is None or whole.sizes is None:
        return shapes.unknown_shape(whole.ndims)
    if paddings.shape != (len(whole.sizes), 2):
        raise ValueError(
            f"Shape must be rank {len(paddings)} but is rank {len(whole.sizes)}: paddings want the shape "
            f"[{len(whole.sizes)}, 2], got {list(paddings.shape)}"
        )
    if (paddings < 0).any():
        raise ValueError(f"Paddings must be non-negative: {paddings.tolist()}")
    return TensorShape([None if size is None else size + int(pair.sum())
                        for size, pair in zip(whole.sizes, paddings, strict=True)])  # fmt: skip


def _check_paddings(x: Array, paddings: Array) -> None:
    if paddings.shape != (x.ndim, 2) or (paddings < 0).any():
        raise InvalidArgumentError(f"paddings must be non-negative and of shape [{x.ndim}, 2], got {paddings.tolist()}")


def _pad_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    before = op.inputs[1][:, 0]
    return [slice_(grad, before, shape(op.inputs[0], out_type=before.dtype)), *[None] * (len(op.inputs) - 1)]


@define("PadV2", shape=_padded_shape, gradient=_pad_gradient)
def _pad(x: Array, paddings: Array, fill: Array) -> Array:
    _check_paddings(x, paddings)
    return np.pad(x, paddings, constant_values=fill)


def _mirrored(lengths: Sequence[int], paddings: Array, mode: str) -> list[Array]:
    """For each axis the places that the padded one takes its elements from."""
    reach = 1 if mode == "reflect" else 0
    places = []
    for length, pair in zip(lengths, paddings, strict=True):
        if pair.max() > length - reach:
            raise InvalidArgumentError(
                f"paddings must be no greater than the dimension size less {reach}: {pair.tolist()} of {length}"
            )
        places.append(np.pad(np.arange(length), pair, mode=mode))  # type: ignore[call-overload]
    return places


def _mirror_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [apply("MirrorPadGrad", [grad, *op.inputs], "MirrorPadGrad", mode=op.attrs["mode"]), None]


@define("MirrorPad", shape=_padded_shape, gradient=_mirror_gradient)
def _mirror_pad(x: Array, paddings: Array, *, mode: str) -> Array:
    _check_paddings(x, paddings)
    for axis, places in enumerate(_mirrored(x.shape, paddings, mode)):
        x = np.take(x, places, axis)
    return x


def _mirror_grad_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [apply("MirrorPad", [grad, op.inputs[2]], "MirrorPad", mode=op.attrs["mode"]), None, None]


@define("MirrorPadGrad", shape=lambda op: op.inputs[1].shape, gradient=_mirror_grad_gradient)
def _mirror_pad_grad(grad: Array, x: Array, paddings: Array, *, mode: str) -> Array:
    for axis, places in enumerate(_mirrored(x.shape, paddings, mode)):
        turned = np.moveaxis(grad, axis, 0)
        out = np.zeros((x.shape[axis], *turned.shape[1:]), dtype=grad.dtype)
        np.add.at(out, places, turned)
        grad = np.moveaxis(out, 0, axis)
    return grad


def _reverse_shape(op: Operation) -> TensorShape:
    whole = op.inputs[0].shape
    if whole.ndims is not None:
        places = [checked_axis(axis, whole.ndims, "reverse") for axis in op.attrs["axis"]]
        if len(set(places)) < len(places):
            raise ValueError(f"axis {places[0]} specified more than once in {op.attrs['axis']}.")
    return whole


def _reverse_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [apply("ReverseV2", [grad], "ReverseV2", axis=op.attrs["axis"])]


@define("ReverseV2", shape=_reverse_shape, gradient=_reverse_gradient)
def _reverse(x: Array, *, axis: list[int]) -> Array:
    return np.flip(x, tuple(axis))


def _unpacked_shape(op: Operation) -> Sequence[TensorShape]:
    whole, axis, num = op.inputs[0].shape, op.attrs["axis"], op.attrs["num"]
    if whole.sizes is None:
        return [TensorShape(None)] * num
    place = checked_axis(axis, len(whole.sizes), "unstack")
    size = whole.sizes[place]
    if size is not None and size != num:
        raise ValueError(f"Dimension must be {num} but is {size}")
    return [TensorShape([*whole.sizes[:place], *whole.sizes[place + 1 :]])] * num


def _unpack_gradient(op: Operation, *grads: Tensor | None) -> Sequence[Tensor | None]:
    parts = [zeros_like(output) if grad is None else grad for output, grad in zip(op.outputs, grads, strict=True)]
    return [stack(parts, op.attrs["axis"])]


@define("Unpack", shape=_unpacked_shape, gradient=_unpack_gradient)
def _unpack(x: Array, *, num: int, axis: int) -> Any:
    if x.shape[axis] != num:
        raise InvalidArgumentError(f"Input shape axis {axis} must equal {num}, got shape {list(x.shape)}")
    parts = np.moveaxis(x, axis, 0)
    return parts[0] if num == 1 else tuple(parts)


def _hot_shape(op: Operation) -> TensorShape:
    indices, depth = op.inputs[0].shape, constant_value(op.inputs[1])
    if indices.sizes is None:
        return indices
    place = checked_axis(op.attrs["axis"], len(indices.sizes) + 1, "one_hot")
    return TensorShape([*indices.sizes[:place], None if depth is None else int(depth), *indices.sizes[place:]])


@define("OneHot", shape=_hot_shape, dtype=lambda op: op.inputs[2].dtype.base_dtype)
def _one_hot(indices: Array, depth: Array, on: Array, off: Array, *, axis: int) -> Array:
    if depth < 0:
        raise InvalidArgumentError(f"depth must be non-negative, got: {int(depth)}")
    place = axis % (indices.ndim + 1)
    classes = np.arange(int(depth)).reshape([-1] + [1] * (indices.ndim - place))
    return np.where(np.expand_dims(indices, place) == classes, on, off)


def _broadcast_shape(op: Operation) -> TensorShape:
    wanted = constant_shape(op.inputs[1])
    if wanted.is_fully_defined() and op.inputs[0].shape.sizes is not None:
        whole = shapes.broadcast(op.inputs[0].shape, wanted)
        if whole.as_list() != wanted.as_list():
            raise ValueError(f"Incompatible shapes: {op.inputs[0].shape} vs. {wanted}")
    return wanted


@define("BroadcastTo", shape=_broadcast_shape, gradient=lambda op, grad: [sum_to(grad, op.inputs[0]), None])
def _broadcast_to(x: Array, sizes: Array) -> Array:
    return np.broadcast_to(x, tuple(int(size) for size in sizes))


@define("Where", shape=lambda op: TensorShape([None, op.inputs[0].shape.ndims]), dtype=lambda op: dtypes.int64)
def _places(condition: Array) -> Array:
    return np.argwhere(condition).astype(np.int64, copy=False)


# What users call


def tile(input: Any, multiples: Any, name: str | None = None) -> Tensor:
    """`input` repeated `multiples[i]` times along each axis `i`. Raises ValueError for another number of multiples."""
    with op_scope(name, "Tile", [input]) as scope:
        return apply("Tile", [convert_to_tensor(input, name="input"), shape_tensor(multiples, "multiples")], scope)


def pad(
    tensor: Any, paddings: Any, mode: str = "CONSTANT", name: str | None = None, constant_values: Any = 0
) -> Tensor:
    """`tensor` with elements around it: `paddings` `[rank, 2]` says for each axis how many before and behind.

    They are `constant_values`, or mirror what lies inside: `REFLECT` without the edge, `SYMMETRIC` with it. Raises
    ValueError for another mode, or paddings that do not fit; mirrored ones too large fail the run.
    """
    kind = mode.upper()
    with op_scope(name, "Pad" if kind == "CONSTANT" else "MirrorPad", [tensor]) as scope:
        whole, around = convert_to_tensor(tensor, name="tensor"), convert_to_tensor(paddings, name="paddings")
        check_allowed("paddings", around.dtype, "int32, int64")
        if kind == "CONSTANT":
            fill = convert_to_tensor(constant_values, whole.dtype.base_dtype, name="constant_values")
            return apply("PadV2", [whole, around, fill], scope)
        if kind not in ("REFLECT", "SYMMETRIC"):
            raise ValueError(f"Unknown padding mode: {mode}; give CONSTANT, REFLECT or SYMMETRIC.")
        return apply("MirrorPad", [whole, around], scope, mode=kind.lower())


def reverse(tensor: Any, axis: Any, name: str | None = None) -> Tensor:
    """`tensor` turned around along the axes `axis`. Raises ValueError for an axis it does not have, or one twice."""
    with op_scope(name, "ReverseV2", [tensor]) as scope:
        if any(isinstance(each, bool) for each in (axis if isinstance(axis, list | tuple) else [axis])):
            raise TypeError(f"reverse wants the numbers of axes, got {axis!r}.")
        axes = static_axis(axis, "The axis of reverse")
        axes = [axes] if isinstance(axes, int) else axes
        return apply("ReverseV2", [convert_to_tensor(tensor, name="tensor")], scope, axis=axes)


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> list[Tensor]:
    """The parts of `value` along `axis`, without that axis. Raises ValueError when neither the shape nor `num` says
    how many they are."""
    with op_scope(name, "unstack", [value]) as scope:
        whole = convert_to_tensor(value, name="value")
        if num is None:
            sizes = whole.shape.sizes
            if sizes is not None:
                num = sizes[checked_axis(axis, len(sizes), "unstack")]
            if num is None:
                raise ValueError(f"Cannot infer num from shape {whole.shape}; give num.")
        return list(apply("Unpack", [whole], scope, num=num, axis=axis).op.outputs) if num else []


def one_hot(
    indices: Any, depth: Any, on_value: Any = None, off_value: Any = None, axis: int | None = None, dtype: Any = None,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """For each of `indices` a vector of `depth` elements: `on_value` (1) at the index, `off_value` (0) elsewhere.

    It lies along the new axis `axis`, the last one unless given; an index outside has no `on_value`. float32 unless
    `dtype` or a value says otherwise. Raises TypeError when these differ.
    """
    given = [each for each in (on_value, off_value) if each is not None]
    with op_scope(name, "one_hot", [indices]) as scope:
        wanted = None if dtype is None else dtypes.as_dtype(dtype).base_dtype
        found = [convert_to_tensor(each, dtype_hint=wanted).dtype.base_dtype for each in given]
        if len({*found, *([] if wanted is None else [wanted])}) > 1:
            raise TypeError(
                f"dtypes of on_value, off_value and dtype must be equal, got {[each.name for each in found]} and "
                f"dtype={None if wanted is None else wanted.name}"
            )
        wanted = wanted or (found[0] if found else dtypes.float32)
        on, off = (
            constant_of(np.asarray(fallback, dtype=wanted.numpy_dtype), label) if each is None
            else cast(convert_to_tensor(each, name=label, dtype_hint=wanted), wanted)
            for each, fallback, label in ((on_value, 1, "on_value"), (off_value, 0, "off_value"))
        )  # fmt: skip
        places = convert_to_tensor(indices, name="indices")
        check_allowed("indices", places.dtype, "uint8, int32, int64")
        inputs = [places, convert_to_tensor(depth, name="depth"), on, off]
        return apply("OneHot", inputs, scope, axis=-1 if axis is None else axis)


def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """`input` repeated to `shape` by the rule of broadcasting. Raises ValueError when that is not possible."""
    with op_scope(name, "BroadcastTo", [input]) as scope:
        return apply("BroadcastTo", [convert_to_tensor(input, name="input"), shape_tensor(shape)], scope)


def where_(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """`x` where `condition` holds, else `y`; all of one shape, or `condition` a vector that picks rows.

    Without `x` and `y` the places `[n, rank]` (int64) at which `condition` holds. Raises ValueError for one of them.
    """
    if (x is None) != (y is None):
        raise ValueError("x and y must both be non-None or both be None.")
    if x is not None:
        return where(condition, x, y, name)
    with op_scope(name, "Where", [condition]) as scope:
        return apply("Where", [convert_to_tensor(condition, name="condition")], scope)


def boolean_mask(tensor: Any, mask: Any, name: str = "boolean_mask", axis: Any = None) -> Tensor:
    """The parts of `tensor` at which `mask`, of the shape of some of its axes from `axis` (0) on, is true.

    Raises ValueError when the shapes do not fit or the rank of `mask` is unknown or 0.
    """
    with op_scope(name, "boolean_mask", [tensor, mask]):
        whole, chosen = convert_to_tensor(tensor, name="tensor"), convert_to_tensor(mask, name="mask")
        first = static_axis(axis, "axis") or 0
        depth = chosen.shape.ndims
        if not depth:
            raise ValueError("Number of mask dimensions must be specified, and mask cannot be a scalar.")
        whole.shape[first : first + depth].assert_is_compatible_with(chosen.shape)
        sizes = shape(whole)
        masked = sizes[first : first + depth]
        flat = [sizes[:first], reshape(apply("Prod", [masked], "Prod", axis=[0], keepdims=False), [1])]
        joined = apply("ConcatV2", [*flat, sizes[first + depth :]], "concat", axis=0)
        places = squeeze(where_(reshape(chosen, [-1])), [1])
        return gather(reshape(whole, joined), places, axis=first)


def sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = dtypes.bool_, name: str | None = None) -> Tensor:
    """For each of `lengths` a row of `maxlen` (the largest of them unless given) that is true before the length."""
    with op_scope(name, "SequenceMask", [lengths]):
        ends = convert_to_tensor(lengths, name="lengths")
        width = reduce_max(ends) if maxlen is None else convert_to_tensor(maxlen, ends.dtype.base_dtype)
        places = range_(cast(0, width.dtype), width, cast(1, width.dtype))
        result = less(places, apply("ExpandDims", [ends], "ExpandDims", axis=-1))
        return cast(result, dtype)


def eye(
    num_rows: int, num_columns: int | None = None, batch_shape: Any = None, dtype: DType = dtypes.float32,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """The matrix with ones on its diagonal, `[*batch_shape, num_rows, num_columns]` (square unless given)."""
    with op_scope(name, "eye") as scope:
        one = np.eye(num_rows, num_columns, dtype=dtypes.as_dtype(dtype).numpy_dtype)
        sizes = [] if batch_shape is None else [int(size) for size in batch_shape]
        return constant_of(np.broadcast_to(one, (*sizes, *one.shape)).copy(), scope)


def matrix_transpose(a: Any, name: str = "matrix_transpose") -> Tensor:
    """`a` with its last two axes exchanged. Raises ValueError when its rank is below 2 or unknown."""
    with op_scope(name, "matrix_transpose", [a]):
        whole = convert_to_tensor(a, name="a")
        rank = whole.shape.ndims
        if rank is None or rank < 2:
            raise ValueError(f"Argument 'a' should be a (batch) matrix, with rank >= 2. Found: {whole.shape}")
        return transpose(whole, [*range(rank - 2), rank - 1, rank - 2])
