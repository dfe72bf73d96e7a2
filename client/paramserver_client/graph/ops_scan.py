"""Running sums and products, and the largest of a row: operations along one axis that keep or sort it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from paramserver_client.graph import dtypes
from paramserver_client.graph.convert import apply, convert_to_tensor, op_scope, static_axis
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_math import multiply, realdiv
from paramserver_client.graph.ops_state import NUMBERS, check_allowed
from paramserver_client.graph.registry import define
from paramserver_client.graph.shapes import TensorShape


def _scan_shape(op: Operation) -> TensorShape:
    whole, axis = op.inputs[0].shape, op.attrs["axis"]
    if whole.ndims is not None and not -whole.ndims <= axis < whole.ndims:
        raise ValueError(f"Expected scan axis in the range [{-whole.ndims}, {whole.ndims}), but got {axis}")
    return whole


def _scan(ufunc: np.ufunc, x: Array, axis: int, exclusive: bool, reverse: bool) -> Array:
    turned = np.flip(x, axis) if reverse else x
    out = ufunc.accumulate(turned, axis, dtype=x.dtype)
    if exclusive and x.shape[axis]:
        first, rest = [slice(None)] * x.ndim, [slice(None)] * x.ndim
        first[axis], rest[axis] = slice(0, 1), slice(0, -1)
        out = np.concatenate([np.full_like(out[tuple(first)], ufunc.identity), out[tuple(rest)]], axis)
    return np.flip(out, axis) if reverse else np.asarray(out)


def _cumsum_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [cumsum(grad, op.attrs["axis"], op.attrs["exclusive"], not op.attrs["reverse"])]


@define("Cumsum", shape=_scan_shape, gradient=_cumsum_gradient)
def _cumsum(x: Array, *, axis: int, exclusive: bool, reverse: bool) -> Array:
    return _scan(np.add, x, axis, exclusive, reverse)


def _cumprod_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    """TensorFlow's rule: it divides by `x`, so at a zero of `x` the gradient is NaN."""
    axis, exclusive, reverse = op.attrs["axis"], op.attrs["exclusive"], op.attrs["reverse"]
    total = cumsum(multiply(op.outputs[0], grad), axis, exclusive, not reverse)
    return [realdiv(total, op.inputs[0])]


@define("Cumprod", shape=_scan_shape, gradient=_cumprod_gradient)
def _cumprod(x: Array, *, axis: int, exclusive: bool, reverse: bool) -> Array:
    return _scan(np.multiply, x, axis, exclusive, reverse)


def _top_shape(op: Operation) -> Sequence[TensorShape]:
    rows, k = op.inputs[0].shape.with_rank_at_least(1), op.attrs["k"]
    if rows.sizes is None:
        return [rows, rows]
    last = rows.sizes[-1]
    if last is not None and last < k:
        raise ValueError(f"input must have last dimension >= k = {k} but is {last}")
    best = TensorShape([*rows.sizes[:-1], k])
    return [best, best]


def _top_gradient(op: Operation, grad: Tensor | None, _: Tensor | None) -> Sequence[Tensor | None]:
    if grad is None:
        return [None]
    return [apply("PutAlongLast", [grad, op.outputs[1], op.inputs[0]], "PutAlongLast")]


@define("TopKV2", shape=_top_shape, dtype=lambda op: [op.inputs[0].dtype.base_dtype, dtypes.int32],
        gradient=_top_gradient, hidden_attrs=("sorted",))  # fmt: skip
def _top_k(x: Array, *, k: int) -> tuple[Array, Array]:
    if k > x.shape[-1]:
        raise InvalidArgumentError(f"input must have at least k columns. Had {x.shape[-1]}, needed {k}")
    # A stable sort from the smallest of the turned row: of equal ones the lower index comes first.
    back = np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    chosen = x.shape[-1] - 1 - back[..., :k]
    return np.take_along_axis(x, chosen, -1), chosen.astype(np.int32)


def _put_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [apply("TakeAlongLast", [grad, op.inputs[1]], "TakeAlongLast"), None, None]


@define("PutAlongLast", shape=lambda op: op.inputs[2].shape, gradient=_put_gradient)
def _put(values: Array, places: Array, like: Array) -> Array:
    """The inverse of taking: what belongs to one place adds up."""
    out = np.zeros(like.shape, dtype=values.dtype)
    rows = np.indices(places.shape, sparse=True)[:-1]
    np.add.at(out, (*rows, places), values)
    return out


def _take_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [apply("PutAlongLast", [grad, op.inputs[1], op.inputs[0]], "PutAlongLast"), None]


@define("TakeAlongLast", shape=lambda op: op.inputs[1].shape, gradient=_take_gradient)
def _take(values: Array, places: Array) -> Array:
    return np.take_along_axis(values, places.astype(np.int64), -1)


def _in_top_shape(op: Operation) -> TensorShape:
    predictions, targets = op.inputs[0].shape.with_rank(2), op.inputs[1].shape.with_rank(1)
    return TensorShape([predictions[0].merge_with(targets[0])])


@define("InTopKV2", shape=_in_top_shape, dtype=lambda op: dtypes.bool_)
def _in_top_k(predictions: Array, targets: Array, *, k: int) -> Array:
    if len(predictions) != len(targets):
        raise InvalidArgumentError(
            f"First dimension of predictions {len(predictions)} must match length of targets {len(targets)}"
        )
    inside = (targets >= 0) & (targets < predictions.shape[1])
    own = predictions[np.arange(len(targets)), np.where(inside, targets, 0)][:, None]
    better = (predictions > own).sum(axis=1)
    known = np.isfinite(predictions).all(axis=1)
    return np.asarray(inside & known & (better < k))


# What users call


def _scanned(op_type: str, x: Any, axis: Any, exclusive: bool, reverse: bool, name: str | None) -> Tensor:
    with op_scope(name, op_type, [x]) as scope:
        tensor = convert_to_tensor(x, name="x")
        check_allowed("x", tensor.dtype, NUMBERS)
        along = static_axis(axis, f"The axis of {op_type}")
        return apply(op_type, [tensor], scope, axis=along, exclusive=bool(exclusive), reverse=bool(reverse))


def cumsum(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Tensor:
    """Running sums along `axis`: `[a, a + b, ...]`; `exclusive` ones begin with 0, `reverse` ones come from the end.

    Raises ValueError for an axis that `x` does not have.
    """
    return _scanned("Cumsum", x, axis, exclusive, reverse, name)


def cumprod(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Tensor:
    """Running products along `axis`: `[a, a * b, ...]`; `exclusive` ones begin with 1, `reverse` ones come from the end.

    Raises ValueError for an axis that `x` does not have.
    """
    return _scanned("Cumprod", x, axis, exclusive, reverse, name)


class TopKV2(NamedTuple):
    """The largest elements of each row, and where they stand in it."""

    values: Tensor
    indices: Tensor


def top_k(input: Any, k: Any = 1, sorted: bool = True, name: str | None = None) -> TopKV2:
    """The `k` largest elements of each row `[..., n]`, largest first, and their indices (int32), both `[..., k]`.

    Of equal elements the one with the lower index comes first. Raises ValueError for rows known to be shorter.

    >>> import paramserver_client.graph as tf
    >>> with tf.Session() as sess:
    ...     best = sess.run(tf.nn.top_k([1.0, 4.0, 3.0], k=2))
    >>> best.values.tolist(), best.indices.tolist()
    ([4.0, 3.0], [1, 2])
    """
    with op_scope(name, "TopKV2", [input]) as scope:
        count = static_axis(k, "k")
        if count < 0:
            raise ValueError(f"Need k >= 0, got {count}")
        tensor = convert_to_tensor(input, name="input")
        return TopKV2(*apply("TopKV2", [tensor], scope, k=count, sorted=bool(sorted)).op.outputs)


def in_top_k(predictions: Any, targets: Any, k: Any, name: str | None = None) -> Tensor:
    """For each row of `predictions` `[batch, classes]` whether class `targets` `[batch]` is among its `k` best.

    All that are equal to the k-th best count as among them; a row that is not finite, or a target outside, is not.
    """
    with op_scope(name, "in_top_k", [predictions, targets]) as scope:
        scores = convert_to_tensor(predictions, dtypes.float32, name="predictions")
        classes = convert_to_tensor(targets, name="targets")
        check_allowed("targets", classes.dtype, "int32, int64")
        return apply("InTopKV2", [scores, classes], scope, k=static_axis(k, "k"))
