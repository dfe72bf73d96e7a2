"""Tensors as messages hold them, and the rules by which JSON's numbers become arrays and arrays become JSON.

A `Tensor` is an array with the fields that travel beside it. An `Untyped` is a number or nested list that still waits
for a dtype: usually that of the variable it is meant for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from paramserver_wire.dtypes import DTYPES, MAX_NDIM, DType, can_cast, dtype_named, name_of, nbytes_of
from paramserver_wire.errors import DtypeMismatch, InvalidRequest, MalformedBody, NonFinite, ShapeMismatch

Array = np.ndarray[Any, DType]

_BFLOAT16: Final = DTYPES["bfloat16"]
_NON_FINITE: Final = MappingProxyType({"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")})


@dataclass(frozen=True, slots=True)
class Untyped:
    """A number, bool or nested list of them as it came, with the dtype and shape that were given beside it, if any."""

    value: Any
    dtype: str | None = None
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """An array and the fields beside it in its message (`name`, `version`, `incarnation`, ...)."""

    array: Array
    meta: Mapping[str, Any] = field(default_factory=dict)


def typed(untyped: Untyped, dtype: DType, *, allow_non_finite: bool = False, name: str = "") -> Array:
    """Return the value as a new array of `dtype`, row-major.

    The value is read as `untyped.dtype` if that is given, which must then cast safely to `dtype`, else as `dtype`.
    Floats round to nearest, ties to even, and must stay finite; integers must be integral and in range; a bool is only
    true or false; complex numbers are `[re, im]` pairs where their dtype was given, real numbers where it was not.
    With `allow_non_finite` the strings "NaN", "Infinity" and "-Infinity" stand for floats. `untyped.shape` settles
    what a flat or empty list cannot say.

    Raises `DtypeMismatch`, `ShapeMismatch`, `NonFinite` or `InvalidRequest`, each naming `name`.

    >>> typed(Untyped([[1, 2.5]]), np.dtype("float32"))
    array([[1. , 2.5]], dtype=float32)
    """
    label = f"{name}: " if name else ""
    source = dtype if untyped.dtype is None else dtype_named(untyped.dtype)
    if not can_cast(source, dtype):
        raise DtypeMismatch(
            f"{label}wanted {name_of(dtype)}, got a value of dtype {untyped.dtype}, which does not cast to it safely; "
            "send the value in the variable's dtype"
        )
    flat, shape = _flattened(untyped.value, label)
    paired = source.kind == "c" and untyped.dtype is not None
    if paired:
        shape = _without_pairs(shape, untyped, label)
    shape = _settled(shape, untyped.shape, source, label)
    parts = _parts(flat, source, allow_non_finite, label)
    values = parts.view(source) if paired else parts.astype(source, copy=False)
    return values.astype(dtype, copy=False).reshape(shape)


def inferred(untyped: Untyped) -> DType:
    """Return the dtype of a variable that is created from this value: the one given, else int32, float32 or bool.

    A list with any float in it is float32, so is an empty one. Raises `DtypeMismatch` or `InvalidRequest`.
    """
    if untyped.dtype is not None:
        return dtype_named(untyped.dtype)
    flat, _ = _flattened(untyped.value, "")
    kinds = set(map(type, flat))
    if kinds == {bool}:
        return DTYPES["bool"]
    if kinds == {int}:
        return DTYPES["int32"]
    if kinds <= {int, float, str}:
        return DTYPES["float32"]
    raise DtypeMismatch(
        f"wanted numbers or bools of one kind, got {_listed(kinds)}; give a dtype and values that fit it"
    )


def to_json(array: Array) -> Any:
    """Return the array as nested lists, or a bare scalar if it has no axes, ready for JSON.

    Floats are given with the fewest digits that `typed` reads back as the same value of the same dtype; NaN and the
    infinities are the strings "NaN", "Infinity" and "-Infinity"; complex numbers are `[re, im]` pairs.

    >>> to_json(np.array([0.1, np.inf], np.float32))
    [0.1, 'Infinity']
    """
    values = wire_array(array)
    if values.dtype.kind == "c":
        real = np.dtype(f"float{values.dtype.itemsize * 4}")
        values = values.reshape((*values.shape, 1)).view(real)
    if values.dtype.kind in "biu":
        return values.tolist()
    doubles = _shortest(values.reshape(-1)).reshape(values.shape)
    finite = np.isfinite(doubles)
    if finite.all():
        return doubles.tolist()
    spelled = doubles.astype(object)
    spelled[np.isnan(doubles)] = "NaN"
    spelled[doubles == np.inf] = "Infinity"
    spelled[doubles == -np.inf] = "-Infinity"
    return spelled.tolist()


def wire_array(array: Array) -> Array:
    """Return the array as it travels: one of the fifteen dtypes, little-endian, row-major; itself if it is so already.

    Raises `DtypeMismatch` for any other dtype (object, text, dates, records).
    """
    return array.astype(DTYPES[name_of(array.dtype)], order="C", copy=False, subok=False)


def array_over(buffer: Any, offset: int, shape: Sequence[int], dtype: DType) -> Array:
    """Return an array of `shape` and `dtype` over the bytes of `buffer` from `offset` on, without a copy.

    It is writable if the buffer is, and keeps the buffer alive. The caller has checked that the bytes are there. The
    bytes of a bool are checked, because numpy computes nonsense with any but 0 and 1: raises `MalformedBody`.
    """
    array: Array = np.ndarray(shape, dtype, buffer, offset)
    check_received(array)
    return array


def check_received(array: Array) -> None:
    """Raise `MalformedBody` where bytes that came from elsewhere make no value: a bool of another byte than 0 and 1."""
    if array.dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
        raise MalformedBody(f"wanted bytes 0 and 1 for a bool, got {array.view(np.uint8).max()}; send one byte a value")


def untyped_fields(untyped: Untyped) -> Any:
    """Return the value as it travels: bare, or as `{value, dtype?, shape?}` where more than the value is given."""
    if untyped.dtype is None and untyped.shape is None:
        return untyped.value
    fields = {"value": untyped.value, "dtype": untyped.dtype, "shape": untyped.shape}
    return {key: given for key, given in fields.items() if given is not None}


def _flattened(value: Any, label: str) -> tuple[list[Any], tuple[int, ...]]:
    """Return the leaves of nested lists in row-major order, and the shape. Each step runs over a whole level in C."""
    shape: list[int] = []
    level = [value]
    while (kinds := set(map(type, level))) & {list, tuple}:
        lengths = set(map(len, level)) if kinds <= {list, tuple} else ()
        if len(lengths) != 1:
            raise ShapeMismatch(f"{label}the lists are ragged at depth {len(shape)}; give each row the same length")
        if len(shape) > MAX_NDIM:  # one more than an array has, for the pairs of complex numbers
            raise ShapeMismatch(f"{label}the lists are nested over {MAX_NDIM} deep; reshape the value")
        shape.append(lengths.pop())
        level = list(chain.from_iterable(level))
    if any(issubclass(kind, np.generic) for kind in kinds):
        level = [leaf.item() if isinstance(leaf, np.generic) else leaf for leaf in level]
        kinds = set(map(type, level))
    if not kinds <= {bool, int, float, str}:
        raise InvalidRequest(f"{label}wanted numbers, bools or lists of them, got {_listed(kinds)}; correct the value")
    return level, tuple(shape)


def _without_pairs(shape: tuple[int, ...], untyped: Untyped, label: str) -> tuple[int, ...]:
    if shape[-1:] == (2,):
        return shape[:-1]
    if 0 in shape:
        return shape
    raise ShapeMismatch(f"{label}wanted [re, im] pairs for {untyped.dtype}, got shape {list(shape)}; give both parts")


def _settled(shape: tuple[int, ...], wanted: tuple[int, ...] | None, dtype: DType, label: str) -> tuple[int, ...]:
    """Return the shape of the value: its own, or the one beside it, in which a flat or empty list may be laid out."""
    nbytes = nbytes_of(shape, dtype)
    if wanted is None:
        return shape
    if nbytes_of(wanted, dtype) != nbytes or (len(shape) > 1 and nbytes and tuple(wanted) != shape):
        raise ShapeMismatch(
            f"{label}wanted the shape {list(wanted)} that stands beside the value, got a value of shape "
            f"{list(shape)}; correct one of them"
        )
    return tuple(wanted)


def _parts(flat: list[Any], dtype: DType, allow_non_finite: bool, label: str) -> Array:
    """Return the flat leaves as a 1-d array of `dtype`; of its real parts' dtype if it is complex."""
    kinds = set(map(type, flat))
    if dtype.kind == "b":
        if not kinds <= {bool}:
            raise DtypeMismatch(
                f"{label}wanted true or false for bool, got {_listed(kinds - {bool})}; correct the value"
            )
        return np.array(flat, dtype)
    if bool in kinds or (str in kinds and dtype.kind in "iu"):
        got = _listed(kinds & {bool, str})
        raise DtypeMismatch(f"{label}wanted numbers for {name_of(dtype)}, got {got}; correct the value")
    if dtype.kind in "iu":
        return _integers(flat, dtype, float in kinds, label)
    if str in kinds:
        flat = [_spelled(leaf, allow_non_finite, label) if type(leaf) is str else leaf for leaf in flat]
    real = np.dtype(f"float{dtype.itemsize * 4}") if dtype.kind == "c" else dtype
    return _floats(flat, real, allow_non_finite, label)


def _integers(flat: list[Any], dtype: DType, has_floats: bool, label: str) -> Array:
    if has_floats:
        odd = next((leaf for leaf in flat if type(leaf) is float and not leaf.is_integer()), None)
        if odd is not None:
            raise DtypeMismatch(f"{label}wanted integers for {dtype}, got {odd}; round the value or use a float dtype")
        flat = list(map(int, flat))
    limits = np.iinfo(dtype)
    if flat and (min(flat) < limits.min or max(flat) > limits.max):
        raise DtypeMismatch(f"{label}wanted integers from {limits.min} to {limits.max} for {dtype}, got one outside")
    return np.array(flat, dtype)


def _floats(flat: list[Any], dtype: DType, allow_non_finite: bool, label: str) -> Array:
    try:
        doubles = np.array(flat, np.float64)
    except OverflowError:
        raise NonFinite(f"{label}an integer is beyond the range of {dtype}; send a smaller one") from None
    if not allow_non_finite and not np.isfinite(doubles).all():
        raise NonFinite(f"{label}the value holds NaN or infinity; correct it or ask for allow_non_finite=true")
    rounded = _rounded(doubles, dtype)
    overflown = np.isinf(rounded) & np.isfinite(doubles)
    if overflown.any():
        raise NonFinite(f"{label}{doubles[overflown][0]} is beyond the range of {dtype}; send a smaller number")
    return rounded


def _spelled(leaf: str, allow_non_finite: bool, label: str) -> float:
    number = _NON_FINITE.get(leaf)
    if number is None:
        raise DtypeMismatch(f"{label}wanted a number, got text {leaf!r:.40}; send JSON numbers")
    if not allow_non_finite:
        raise NonFinite(f"{label}the value holds {leaf!r}; correct it or ask for allow_non_finite=true")
    return number


def _rounded(doubles: Array, dtype: DType) -> Array:
    """Round float64 to `dtype`, to nearest, ties to even; too large ones become infinite."""
    with np.errstate(all="ignore"):
        if dtype != _BFLOAT16:
            return doubles.astype(dtype)
        # ml_dtypes goes to bfloat16 by way of float32 and rounds twice: 1 + 2**-8 + 2**-40 became 1. Where float32 is
        # not exact, its neighbour with an odd last bit says "something in between", and the second rounding is right.
        singles = doubles.astype(np.float32)
        bits = singles.view(np.int32)
        inexact = np.isfinite(singles) & (singles != doubles)
        too_far = inexact & (np.abs(singles.astype(np.float64)) > np.abs(doubles))
        bits[too_far] -= 1
        bits[inexact] |= 1
        return singles.astype(dtype)


def _shortest(values: Array) -> Array:
    """Return floats as float64 whose shortest decimal form is that of their own narrower dtype."""
    with np.errstate(all="ignore"):
        exact = values.astype(np.float64)
        if values.dtype.itemsize == 8:
            return exact
        if values.dtype == _BFLOAT16:
            distinct, places = np.unique(exact, return_inverse=True)
            short = np.array(list(map(_shortest_bfloat16, distinct.tolist())), np.float64)[places]
        else:
            short = values.astype("U32").astype(np.float64)
        # A decimal right beside the middle of two floats can round the wrong way on its way through float64.
        same = (_rounded(short, values.dtype) == values) & (np.signbit(short) == np.signbit(exact))
        return np.where(same, short, exact)


def _shortest_bfloat16(number: float) -> float:
    candidates = (float(f"{number:.{digits}g}") for digits in range(1, 5))
    return next((short for short in candidates if _BFLOAT16.type(short) == number), number)


def _listed(kinds: set[type]) -> str:
    return ", ".join(sorted(kind.__name__ for kind in kinds))
