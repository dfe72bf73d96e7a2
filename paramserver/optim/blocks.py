"""Running a rule over whole arrays: in blocks that stay in the processor's cache, and over the rows of sparse gradients.

A numpy expression over a large array writes every intermediate result to main memory and reads it back; over 64K elements
at a time they stay close by. float16 and bfloat16 are computed in float32 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from .rules import SPARES, Array, Step

DType = np.dtype[Any]
Real = type[np.float32] | type[np.float64]

BLOCK: Final = 64 * 1024
"""Elements computed at a time."""


def real_of(dtype: DType) -> Real:
    """The type that arrays of `dtype` are computed in."""
    return np.float64 if dtype == np.float64 else np.float32


def run_dense(step: Step, old: Sequence[Array], gradient: Array, out: Sequence[Array]) -> None:
    """One step of every element. `old` and `out` are the value and its slots, all of the gradient's shape."""
    working = np.dtype(real_of(out[0].dtype))
    size = out[0].size
    scratch = np.empty((SPARES + 1 + len(old) + len(out), min(size, BLOCK)), working)
    spare, gradient_room, rooms = scratch[:SPARES], scratch[SPARES], scratch[SPARES + 1 :]
    old_rooms, out_rooms = rooms[: len(old)], rooms[len(old) :]
    flat_old, flat_gradient, flat_out = _flat(old), gradient.reshape(-1), _flat(out)
    for start in range(0, size, BLOCK):
        block = slice(start, min(start + BLOCK, size))
        count = block.stop - start
        value, *slots = (_loaded(each[block], room[:count]) for each, room in zip(flat_old, old_rooms, strict=True))
        g = _loaded(flat_gradient[block], gradient_room[:count])
        targets = [each[block] for each in flat_out]
        written = [
            each if each.dtype == working else room[:count] for each, room in zip(targets, out_rooms, strict=True)
        ]
        step(value, slots, g, written[0], written[1:], spare[:, :count])
        for target, result in zip(targets, written, strict=True):
            if target.dtype != working:
                target[...] = result


def run_rows(step: Step, old: Sequence[Array], rows: Array, gradient: Array, out: Sequence[Array]) -> None:
    """One step of the given `rows`, each standing there once; the others are copied."""
    for target, source in zip(out, old, strict=True):
        np.copyto(target, source)
    at_once = _rows_at_once(out[0])
    for start in range(0, rows.size, at_once):
        part = slice(start, start + at_once)
        touched = [each[rows[part]] for each in old]
        results = [np.empty(each.shape, each.dtype) for each in touched]
        run_dense(step, touched, gradient[part], results)
        for target, result in zip(out, results, strict=True):
            target[rows[part]] = result


def run_spread(step: Step, old: Sequence[Array], rows: Array, gradient: Array, out: Sequence[Array]) -> None:
    """One step of every row, with a gradient of 0 where `rows`, in ascending order, have none."""
    at_once = _rows_at_once(out[0])
    for start in range(0, out[0].shape[0], at_once):
        part = slice(start, start + at_once)
        spread = np.zeros(out[0][part].shape, gradient.dtype)
        first, last = np.searchsorted(rows, (start, start + at_once))
        spread[rows[first:last] - start] = gradient[first:last]
        run_dense(step, [each[part] for each in old], spread, [each[part] for each in out])


def summed_rows(indices: Array, values: Array, dtype: DType) -> tuple[Array, Array]:
    """The rows that `indices` name, ascending and each once, and the sum of the `values` of each.

    Repeats are added in the order they came, in the type that `dtype` is computed in, so a result depends on nothing
    but its arguments.
    """
    order = np.argsort(indices, kind="stable")
    rows = indices[order].astype(np.intp)
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    ordered = values[order]
    if first.size == rows.size:
        return rows, ordered
    return rows[first], np.add.reduceat(ordered.astype(real_of(dtype), copy=False), first, axis=0)


def _rows_at_once(array: Array) -> int:
    row_size: int = math.prod(array.shape[1:])
    return max(1, BLOCK // max(1, row_size))


def _flat(arrays: Sequence[Array]) -> list[Array]:
    """Each in one dimension: views of the C-contiguous ones, which all results are."""
    return [each.reshape(-1) for each in arrays]


def _loaded(source: Array, room: Array) -> Array:
    """`source` itself when it can be computed with, else its values in `room`."""
    if source.dtype == room.dtype:
        return source
    np.copyto(room, source)
    return room
