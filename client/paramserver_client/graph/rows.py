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
