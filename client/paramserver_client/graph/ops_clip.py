"""Clipping values and gradients: `clip_by_value`, `clip_by_norm`, `clip_by_global_norm`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paramserver_client.graph.convert import constant, convert_to_tensor, op_scope
from paramserver_client.graph.indexed_slices import IndexedSlices
from paramserver_client.graph.node import Tensor
from paramserver_client.graph.ops_array import identity, size, stack
from paramserver_client.graph.ops_math import (
    cast,
    greater,
    maximum,
    minimum,
    multiply,
    ones_like,
    realdiv,
    sqrt,
    where,
)
from paramserver_client.graph.ops_nn import l2_loss
from paramserver_client.graph.ops_reduce import reduce_sum
from paramserver_client.graph.ops_unary import reciprocal, rsqrt


def _values(t: Any) -> Tensor:
    return t.values if isinstance(t, IndexedSlices) else convert_to_tensor(t, name="t")


def _with_values(t: Any, values: Tensor) -> Any:
    return IndexedSlices(values, t.indices, t.dense_shape) if isinstance(t, IndexedSlices) else values


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    """`t` with its elements cut to `[clip_value_min, clip_value_max]`, numbers or tensors that broadcast to `t`.

    The gradient passes where an element lies inside or just at an edge. `IndexedSlices` stay such. Raises ValueError
    when the bounds would change the shape.
    """
    with op_scope(name, "clip_by_value", [t]) as scope:
        values = _values(t)
        below = minimum(values, clip_value_max)
        values.shape.assert_is_compatible_with(below.shape)
        clipped = maximum(below, clip_value_min, name=scope)
        values.shape.assert_is_compatible_with(clipped.shape)
        return _with_values(t, clipped)


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Any:
    """`t` scaled down so that its Euclidean norm (over `axes`, or all) is at most `clip_norm`."""
    with op_scope(name, "clip_by_norm", [t]) as scope:
        values = _values(t)
        squares = reduce_sum(multiply(values, values), axes, keepdims=True)
        some = greater(squares, 0.0)
        # The root is taken where it has a derivative: at 0 the gradient would be 0 / 0.
        length = where(some, sqrt(where(some, squares, ones_like(squares))), squares)
        scaled = multiply(values, clip_norm)
        values.shape.assert_is_compatible_with(scaled.shape)
        return _with_values(t, identity(realdiv(scaled, maximum(length, clip_norm)), name=scope))


def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Tensor:
    """`t` scaled down so that its Euclidean norm for each element is at most `clip_norm`."""
    with op_scope(name, "clip_by_average_norm", [t]) as scope:
        values = convert_to_tensor(t, name="t")
        count = cast(size(values), values.dtype)
        per_norm = multiply(rsqrt(reduce_sum(multiply(values, values))), count)
        limit = convert_to_tensor(clip_norm, values.dtype.base_dtype)
        return identity(multiply(multiply(values, limit), minimum(per_norm, reciprocal(limit))), name=scope)


def _checked_list(t_list: Any) -> list[Any]:
    if not isinstance(t_list, Sequence) or isinstance(t_list, str | bytes):
        raise TypeError("t_list should be a sequence")
    return list(t_list)


def global_norm(t_list: Any, name: str | None = None) -> Tensor:
    """`sqrt(sum of the squares of all elements of all tensors)`; None among them is passed over, and of nothing it is 0.

    Raises TypeError for what is no sequence.
    """
    with op_scope(name, "global_norm", [each for each in _checked_list(t_list) if each is not None]) as scope:
        halves = [l2_loss(_values(each)) for each in t_list if each is not None]
        total = reduce_sum(stack(halves)) if halves else constant(0.0)
        return sqrt(multiply(total, 2.0), name=scope)


def clip_by_global_norm(
    t_list: Any, clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Any], Tensor]:
    """All tensors scaled down together so that their `global_norm` is at most `clip_norm`; the list and the norm.

    None stays None, `IndexedSlices` stay such. `use_norm` is taken when the norm is known already. A norm that is not
    finite makes all of them NaN. Raises as `global_norm` does.

    >>> import paramserver_client.graph as tf
    >>> clipped, norm = tf.clip_by_global_norm([tf.constant([3.0]), None, tf.constant([4.0])], 1.0)
    >>> with tf.Session() as sess:
    ...     print(sess.run(norm), sess.run(clipped[0]), clipped[1])
    5.0 [0.6] None
    """
    given = _checked_list(t_list)
    length = global_norm(given) if use_norm is None else convert_to_tensor(use_norm)
    with op_scope(name, "clip_by_global_norm", [each for each in given if each is not None]):
        limit = convert_to_tensor(clip_norm, length.dtype.base_dtype)
        finite = multiply(limit, minimum(reciprocal(length), reciprocal(limit)))
        scale = finite + (length - length)  # inf - inf is NaN: an overflow must not look like a small step.
        return [None if each is None else _scaled(each, scale, i) for i, each in enumerate(given)], length


def _scaled(t: Any, scale: Tensor, place: int) -> Any:
    return _with_values(t, identity(multiply(_values(t), scale), name=f"clip_by_global_norm_{place}"))
