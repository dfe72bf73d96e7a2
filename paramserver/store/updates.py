"""The arithmetic of an update: from a variable's value and an update's value to a new array. Pure.

Nothing is broadcast and no cast loses precision. The old array is read, never written: readers may hold it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from paramserver.store.buffers import BufferPool
from paramserver.store.errors import Difference
from paramserver_wire.dtypes import DTYPES, can_cast, name_of

Array = np.ndarray[Any, Any]
Typed = Callable[[np.dtype[Any] | None, tuple[int, ...] | None], Array]
"""Makes an array once the dtype and shape it is for are known (None: not settled yet); may raise a `StoreError`."""

DENSE: Final = ("assign", "assign_add", "assign_sub")
SCATTER: Final = ("scatter_update", "scatter_add", "scatter_sub")
EMA: Final = "ema"
OPS: Final = (*DENSE, *SCATTER, EMA)
_BFLOAT16: Final = DTYPES["bfloat16"]
_BLOCK: Final = 64 * 1024
_SMALL_NBYTES: Final = 16 * 1024
# Those of which numpy has fast dot products: float32 and float64.
_BLAS: Final = "fd"


@dataclass(slots=True)
class Update:
    """One write of one variable.

    `value` is an array, or a function that makes it once the variable's dtype and shape are known. `if_version`, when
    given, must match the variable's version or tag. With `donated` the store may keep the array's memory or compute in
    it: the caller must not touch it again. The scatter ops write the rows that `indices` name along the first axis; `ema`
    has no value: it moves the variable towards that of `source`, of which it keeps `decay` out.
    """

    name: str
    op: str
    value: Array | Typed | None = None
    if_version: str | None = None
    donated: bool = False
    indices: Array | Typed | None = None
    source: str | None = None
    decay: Any = None

    @property
    def names(self) -> tuple[str, ...]:
        """The variables it reads or writes."""
        return (self.name,) if self.source is None else (self.name, self.source)


def check_value(
    name: str, op: str, value: Array, shape: tuple[int, ...], dtype: np.dtype[Any], *, rows: bool = False
) -> list[Difference]:
    """What keeps `value` from being written to a variable of `shape` and `dtype` by `op`; nothing when it fits.

    With `rows` it is rows of the variable, and `shape` is that of the indices and then of a row.
    """
    found: list[Difference] = []
    if value.shape != shape:
        found.append(
            Difference(
                name,
                "shape_mismatch",
                f"variable {name!r}: {op} wants shape {list(shape)}, got {list(value.shape)}; "
                f"send {'one row for each index' if rows else 'the whole variable in its own shape'} (there is no broadcasting)",
            )
        )
    if value.dtype != dtype and not can_cast(value.dtype, dtype):
        found.append(
            Difference(
                name,
                "dtype_mismatch",
                f"variable {name!r}: {op} wants {name_of(dtype)}, got {name_of(value.dtype)}, which does not cast to it "
                f"without loss; convert the value to {name_of(dtype)} first",
            )
        )
    elif op not in ("assign", "scatter_update") and dtype.kind == "b":
        found.append(
            Difference(name, "dtype_mismatch", f"variable {name!r}: {op} wants numbers, but it holds bool; use assign")
        )
    return found


def check_rows(name: str, indices: Array, shape: tuple[int, ...]) -> list[Difference]:
    """What keeps `indices` from naming rows along the first axis of a variable of `shape`; nothing when they do."""
    if not shape:
        return [Difference(name, "shape_mismatch", f"variable {name!r} has shape [] and so no rows; send no indices")]
    if indices.dtype.kind not in "iu":
        detail = f"variable {name!r}: indices are integers, got {name_of(indices.dtype)}; convert them to int64"
        return [Difference(name, "dtype_mismatch", detail)]
    if indices.size and not (int(indices.min()) >= 0 and int(indices.max()) < shape[0]):
        outside = indices[(indices < 0) | (indices >= shape[0])].reshape(-1)
        detail = (
            f"variable {name!r} has the rows 0 to {shape[0] - 1}, got index {int(outside[0])} "
            f"({outside.size} of {indices.size} indices are out of range); correct them"
        )
        return [Difference(name, "index_out_of_range", detail)]
    return []


def is_finite(value: Array) -> bool:
    """Whether no element is NaN or infinite."""
    if value.dtype.kind in "biu":
        return True
    if value.size and not any(value.strides):
        # One number that fills a shape: it is looked at once, and never laid out.
        value = value[(slice(0, 1),) * value.ndim]
    if value.dtype == _BFLOAT16:
        # Sign aside, an exponent of all ones is exactly what NaN and infinity share.
        return not bool(np.any((np.ascontiguousarray(value).view(np.uint16) & 0x7F80) == 0x7F80))
    flat = value.reshape(-1)
    # `in` on small ones: a third of the time of `np.all`, which is made for more.
    if value.nbytes <= _SMALL_NBYTES:
        return b"\0" not in np.isfinite(flat).tobytes()
    if value.dtype.char in _BLAS and value.flags.c_contiguous:
        # No square makes up for another's infinity or NaN: a finite sum of squares says all, in half the time.
        with np.errstate(all="ignore"):
            if math.isfinite(np.dot(flat, flat)):
                return True
    return all(bool(np.isfinite(flat[at : at + _BLOCK]).all()) for at in range(0, flat.size, _BLOCK))


def apply(op: str, old: Array | None, value: Array, dtype: np.dtype[Any], *, donated: bool, pool: BufferPool) -> Array:
    """The new value: a fresh C-contiguous array of `dtype`, or `value`'s own memory when it was `donated` and fits.

    Integers wrap around as numpy's do; bfloat16 is added in float32 and rounded once.
    """
    # CARRAY is row-major, aligned and writable: a value that lies across its items would be slow for ever after.
    reusable = donated and value.dtype == dtype and value.flags.carray
    if op == "assign" and reusable:
        return value
    out = value if reusable else pool.empty(value.shape, dtype)
    if op == "assign":
        np.copyto(out, value, casting="unsafe")
        return out
    assert old is not None, "an uninitialized variable is refused before any arithmetic"
    if dtype == _BFLOAT16:
        _add_bfloat16(op, old, value, out)
    else:
        with np.errstate(all="ignore"):
            (np.add if op == "assign_add" else np.subtract)(old, value, out=out, casting="same_kind")
    return out


def scatter(op: str, base: Array, indices: Array, value: Array) -> None:
    """Write rows of `base`, which is the caller's own: `value` has the shape of `indices`, then that of a row.

    Of repeated rows the last one is written by an update; an add or sub sums them first, in the order they came,
    float16 and bfloat16 in float32.
    """
    rows = indices.reshape(-1).astype(np.intp)
    values = value.reshape((rows.size, *base.shape[1:]))
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    if op == "scatter_update":
        last = order[np.flatnonzero(np.diff(ordered, append=-1))]
        base[rows[last]] = values[last]
        return
    working = np.dtype(np.float32) if base.dtype.itemsize == 2 and base.dtype.kind not in "iu" else base.dtype
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    with np.errstate(all="ignore"):
        summed = values[order].astype(working, copy=False)
        if first.size < rows.size:
            summed = np.add.reduceat(summed, first, axis=0)
        touched = ordered[first]
        ufunc = np.add if op == "scatter_add" else np.subtract
        base[touched] = ufunc(base[touched].astype(working, copy=False), summed)


def _add_bfloat16(op: str, old: Array, value: Array, out: Array) -> None:
    ufunc = np.add if op == "assign_add" else np.subtract
    flat_old, flat_value, flat_out = old.reshape(-1), value.reshape(-1), out.reshape(-1)
    for at in range(0, flat_out.size, _BLOCK):
        block = slice(at, at + _BLOCK)
        with np.errstate(all="ignore"):
            total = ufunc(flat_old[block].astype(np.float32), flat_value[block].astype(np.float32))
            flat_out[block] = total.astype(out.dtype)
