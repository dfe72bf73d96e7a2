"""What happens to the rows of a variable's value, in plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import InvalidArgumentError

Scatter = Callable[[Array, Any, Array], None]


def check_rows(indices: Array, updates: Array, shape: tuple[int, ...]) -> None:
    """Raises InvalidArgumentError unless these rows are in a variable of this shape, and the updates fit them."""
    if not shape:
        raise InvalidArgumentError("Shape must be at least rank 1 but is rank 0")
    length = shape[0]
    outside = np.argwhere((indices < 0) | (indices >= length))
    if len(outside):
        place = tuple(int(each) for each in outside[0])
        where = ",".join(map(str, place)) if place else "0"
        raise InvalidArgumentError(f"indices[{where}] = {indices[place]} is not in [0, {length})")
    if updates.ndim and updates.shape != indices.shape + shape[1:]:
        raise InvalidArgumentError(
            f"Must have updates.shape = indices.shape + params.shape[1:] or updates.shape = [], got updates.shape "
            f"{list(updates.shape)}, indices.shape {list(indices.shape)}, params.shape {list(shape)}"
        )


def take_blocks(value: Array, indices: Array) -> Array:
    """The blocks of the value at the places `indices` `[..., k]`. Raises InvalidArgumentError for one outside."""
    rows, blocks = _blocks(value, indices)
    return np.asarray(blocks[rows])


def change_blocks(value: Array, indices: Array, updates: Array, scatter: Scatter) -> None:
    """Change the value in place at the places `indices` `[..., k]`, of which repeated ones count one after the other.

    Raises InvalidArgumentError, and changes nothing, for places outside and updates that do not fit them.
    """
    if not value.ndim:
        raise InvalidArgumentError("Output must be at least 1-D, got shape: []")
    rows, blocks = _blocks(value, indices)
    if updates.shape != rows.shape + blocks.shape[1:]:
        raise InvalidArgumentError(
            f"Must have updates.shape = indices.shape[:-1] + shape[indices.shape[-1]:], got updates.shape "
            f"{list(updates.shape)}, indices.shape {list(indices.shape)}, shape {list(value.shape)}"
        )
    scatter(blocks, rows, updates)


def _blocks(value: Array, indices: Array) -> tuple[Array, Array]:
    """The places as row numbers `[...]`, and the view of the value that has these rows."""
    depth = indices.shape[-1] if indices.ndim else -1
    if not 0 <= depth <= value.ndim:
        raise InvalidArgumentError(
            f"The last dimension of indices must be <= {value.ndim}, the rank of what they index, got indices.shape "
            f"{list(indices.shape)}"
        )
    limits = np.array(value.shape[:depth], dtype=np.int64)
    outside = np.argwhere(((indices < 0) | (indices >= limits)).any(axis=-1))
    if len(outside):
        found = ", ".join(map(str, indices[tuple(outside[0])].tolist()))
        where = ",".join(map(str, outside[0].tolist()))
        raise InvalidArgumentError(f"indices[{where}] = [{found}] does not index into shape {list(value.shape)}")
    steps = [int(np.prod(limits[axis + 1 :])) for axis in range(depth)]
    rows = (indices * np.array(steps, dtype=np.int64)).sum(axis=-1, dtype=np.int64)
    return np.asarray(rows), value.reshape(int(np.prod(limits)), *value.shape[depth:])


def _put(value: Array, rows: Any, updates: Array) -> None:
    value[rows] = updates


def _divide_at(value: Array, rows: Any, updates: Array) -> None:
    if value.dtype.kind not in "iu":
        np.divide.at(value, rows, updates)
        return
    if not np.all(updates):
        raise InvalidArgumentError("Integer division by zero")
    flat = np.broadcast_to(updates, value[rows].shape)
    for place in np.ndindex(np.shape(rows)):  # Repeated rows are divided by one after the other, towards zero.
        row = int(rows[place])
        quotient = np.abs(value[row]) // np.abs(flat[place])
        value[row] = quotient * np.sign(value[row]) * np.sign(flat[place])


SCATTERS: Final[dict[str, Scatter]] = {
    "scatter_update": _put, "scatter_add": np.add.at, "scatter_sub": np.subtract.at, "scatter_mul": np.multiply.at,
    "scatter_div": _divide_at, "scatter_min": np.minimum.at, "scatter_max": np.maximum.at,
}  # fmt: skip
"""Each changes `value` in place at the rows given; repeated rows count one after the other."""


def sum_repeated(values: Array, indices: Array) -> tuple[Array, Array]:
    """Rows with those of the same index summed, and their indices, each once, in order."""
    unique, places = np.unique(indices, return_inverse=True)
    sums = np.zeros((unique.size, *values.shape[1:]), values.dtype)
    np.add.at(sums, places.reshape(-1), values)
    return sums, unique
