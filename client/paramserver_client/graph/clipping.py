"""Clipping: values, and gradients before they are applied, kept within bounds or within a length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paramserver_client.graph.convert import convert_to_tensor, op_scope
from paramserver_client.graph.indexed_slices import IndexedSlices
from paramserver_client.graph.node import Tensor
from paramserver_client.graph.ops_array import identity
from paramserver_client.graph.ops_math import add_n, cast, maximum, minimum, ones_like, sqrt, square, where
from paramserver_client.graph.ops_reduce import reduce_mean, reduce_sum


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    """`t` with everything below `clip_value_min` and above `clip_value_max` put there. An `IndexedSlices` stays one.

    The gradient passes where nothing was changed, the bounds included. Raises ValueError for bounds of another shape.
    """
    with op_scope(name, "clip_by_value", [_values(t)]) as scope:
        values = _values(t)
        below = minimum(values, clip_value_max)
        values.shape.merge_with(below.shape)
        clipped = maximum(below, clip_value_min, name=scope)
        values.shape.merge_with(clipped.shape)
        return _as_given(t, clipped)


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Any:
    """`t * clip_norm / max(norm(t), clip_norm)`: not longer than `clip_norm`, by its L2 norm along `axes` (all unless given)."""
    with op_scope(name, "clip_by_norm", [_values(t)]) as scope:
        values = _values(t)
        length = _length(reduce_sum(square(values), axes, keepdims=True))
        clipped = values * clip_norm / maximum(length, clip_norm)
        return _as_given(t, identity(clipped, name=scope))


def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Tensor:
    """`t`, when its L2 norm divided by its number of elements is above `clip_norm`, shortened to that."""
    with op_scope(name, "clip_by_average_norm", [t]) as scope:
        values = convert_to_tensor(t, name="t")
        share = reduce_mean(ones_like(values)) / reduce_sum(ones_like(values))
        length = _length(reduce_sum(square(values))) * share
        clipped = values * clip_norm / maximum(length, clip_norm)
        return identity(clipped, name=scope)


def global_norm(t_list: Sequence[Any], name: str | None = None) -> Tensor | None:
    """The L2 norm of all tensors of a list taken together; None for those that are None only. The rows of an
    `IndexedSlices` count as they stand, repeated ones apart."""
    _check_list(t_list)
    with op_scope(name, "global_norm", [_values(each) for each in t_list if each is not None]) as scope:
        squares = [reduce_sum(square(_values(each))) for each in t_list if each is not None]
        if not squares:
            return None
        return identity(_length(add_n(squares)), name=scope)


def clip_by_global_norm(
    t_list: Sequence[Any], clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Any], Tensor | None]:
    """All tensors of a list times `clip_norm / max(global_norm, clip_norm)`, and the global norm. None passes through.

    When the norm is not finite, all become NaN. Raises TypeError unless it is a list.

    >>> import paramserver_client.graph as tf
    >>> with tf.Graph().as_default(), tf.Session() as sess:
    ...     clipped, norm = tf.clip_by_global_norm([tf.constant([3.0, 4.0]), None], 1.0)
    ...     [round(float(each), 3) for each in sess.run(clipped[0])], float(sess.run(norm))
    ([0.6, 0.8], 5.0)
    """
    _check_list(t_list)
    norm = global_norm(t_list, name) if use_norm is None else convert_to_tensor(use_norm)
    if norm is None:
        return list(t_list), None
    with op_scope(name, "clip_by_global_norm", [norm]):
        wanted = cast(convert_to_tensor(clip_norm), norm.dtype.base_dtype)
        # Times what is NaN for a norm that is infinite or NaN, and 1 for all others.
        scale = wanted * minimum(1.0 / norm, 1.0 / wanted) + (norm - norm)
        return [None if each is None else _scaled(each, scale) for each in t_list], norm


def _scaled(value: Any, scale: Tensor) -> Any:
    values = _values(value)
    return _as_given(value, values * cast(scale, values.dtype.base_dtype))


def _length(sum_of_squares: Tensor) -> Tensor:
    """The root, with the gradient 0 at 0, where that of a root is infinite."""
    found = sum_of_squares > 0.0
    safe = where(found, sum_of_squares, ones_like(sum_of_squares))
    return where(found, sqrt(safe), sum_of_squares)


def _values(value: Any) -> Tensor:
    return value.values if isinstance(value, IndexedSlices) else convert_to_tensor(value, name="t")


def _as_given(value: Any, clipped: Tensor) -> Any:
    if isinstance(value, IndexedSlices):
        return IndexedSlices(clipped, value.indices, value.dense_shape)
    return clipped


def _check_list(t_list: Any) -> None:
    if not isinstance(t_list, list | tuple):
        raise TypeError("t_list should be a sequence")
