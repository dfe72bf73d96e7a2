"""The numbers inside a spec, read into one plain form: a number, nested lists of numbers, or a numpy array.

Nothing here is trusted: ragged lists, strings, NaN and numbers that do not fit a dtype are refused with a `Fault`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import ml_dtypes
import numpy as np

DType = np.dtype[Any]
Array = np.ndarray[Any, DType]
Number = bool | int | float

FLOATS: Final = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32), np.dtype(np.float64))
INTEGERS: Final = tuple(np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64))
COMPLEX: Final = (np.dtype(np.complex64), np.dtype(np.complex128))
BOOL: Final = np.dtype(np.bool_)
NUMBERS: Final = (*FLOATS, *INTEGERS, *COMPLEX)
ALL: Final = (BOOL, *NUMBERS)

MAX_ELEMENTS: Final = 1 << 18
"""A spec is a recipe and is kept, listed and saved as JSON: larger contents are given as a variable's value."""

MAX_DEPTH: Final = 9
"""Eight axes, as variables have, and the [re, im] pairs of complex numbers."""


class Fault(ValueError):
    """One or more things wrong in a spec, each a message of its own in `args`."""


@dataclass(frozen=True, slots=True)
class Values:
    """Numbers in row-major order with their `shape`; `dtype` is that of the numpy array they came in, if any.

    Complex numbers are held as pairs [re, im] along a last axis of 2, whichever way they came.
    """

    numbers: tuple[Number, ...]
    shape: tuple[int, ...]
    dtype: DType | None = None

    def natural_dtype(self) -> DType:
        """The dtype when none is asked for: the array's own, else bool, int32 or float32 by what the numbers are."""
        if self.dtype is not None:
            return self.dtype
        kinds = {type(number) for number in self.numbers}
        if bool in kinds and len(kinds) > 1:
            raise Fault("wanted numbers or booleans, got both; give one kind")
        if kinds == {bool}:
            return BOOL
        return np.dtype(np.int32) if kinds == {int} else np.dtype(np.float32)

    def shape_in(self, dtype: DType) -> tuple[int, ...]:
        """The shape once read as `dtype`: complex dtypes take the last axis of 2 as pairs."""
        return self.shape[:-1] if dtype in COMPLEX and self.shape else self.shape

    def typed(self, dtype: DType) -> Array:
        """A new array of `dtype` in `shape_in(dtype)`, floats rounded to nearest. Raises Fault for a misfit."""
        kinds = {type(number) for number in self.numbers}
        if dtype == BOOL:
            if kinds - {bool}:
                raise Fault("wanted true or false for dtype bool, got numbers")
            return np.array(self.numbers, dtype=np.bool_).reshape(self.shape)
        if bool in kinds:
            raise Fault(f"wanted numbers for dtype {dtype.name}, got booleans")
        if dtype in INTEGERS:
            return _integers(self.numbers, dtype).reshape(self.shape)
        if dtype in COMPLEX:
            return self._complex(dtype)
        return _floats(self.numbers, dtype).reshape(self.shape)

    def _complex(self, dtype: DType) -> Array:
        if not self.shape:
            return _floats(self.numbers, dtype).reshape(())
        if self.shape[-1] != 2:
            raise Fault(f"wanted [re, im] pairs for dtype {dtype.name}, got shape {list(self.shape)}")
        real = np.dtype(np.float32 if dtype == np.complex64 else np.float64)
        return _floats(self.numbers, real).view(dtype).reshape(self.shape[:-1])

    def as_json(self) -> Any:
        """Plain nested lists (or one number), exactly as `read_values` takes them back."""
        flat = np.empty(len(self.numbers), dtype=object)
        flat[:] = self.numbers
        return flat.reshape(self.shape).tolist()


def read_values(value: object) -> Values:
    """Read a number, nested lists or a numpy array. Raises Fault for anything else, ragged lists, NaN or infinity."""
    if isinstance(value, (np.ndarray, np.generic)):
        return _from_numpy(np.asarray(value))
    shape, numbers = _flatten(value, 0)
    if len(numbers) > MAX_ELEMENTS:
        raise Fault(_too_large(len(numbers)))
    return Values(tuple(numbers), shape)


def read_number(value: object) -> int | float:
    """One finite real number as a python int or float."""
    values = read_values(value)
    if values.shape or isinstance(values.numbers[0], bool):
        raise Fault(f"wanted a number, got {shorten(value)}")
    number = values.numbers[0]
    if abs(number) > sys.float_info.max:
        raise Fault("wanted a number below 1.8e308, got a larger one")
    return number


def read_integer(value: object) -> int:
    """One whole number; 3.0 counts, as JSON writers do not tell it from 3."""
    number = read_number(value)
    if number != int(number):
        raise Fault(f"wanted a whole number, got {number!r}")
    return int(number)


def read_mapping(value: object) -> Mapping[str, Any]:
    """A mapping with text keys."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise Fault(f'wanted an object like {{"type": "zeros"}}, got {shorten(value)}')
    return MappingProxyType(dict(value))


def fits(number: float, dtype: DType) -> bool:
    """Whether a finite number stays finite in a float dtype."""
    if abs(number) > sys.float_info.max:
        return False
    with np.errstate(over="ignore"):
        return bool(np.isfinite(np.asarray(number, dtype=np.float64).astype(dtype)))


def shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _from_numpy(array: Array) -> Values:
    if array.dtype.newbyteorder("=") not in ALL:
        raise Fault(f"wanted an array of numbers, got dtype {array.dtype}")
    if array.size > MAX_ELEMENTS:
        raise Fault(_too_large(array.size))
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).reshape(array.shape)
    dtype = native.dtype
    if dtype in COMPLEX:
        real = native.reshape((*native.shape, 1)).view(np.float32 if dtype == np.complex64 else np.float64)
        native = real
    if not np.isfinite(native).all():
        raise Fault("wanted finite numbers, got NaN or infinity")
    return Values(tuple(native.ravel().tolist()), native.shape, dtype)


def _flatten(value: object, depth: int) -> tuple[tuple[int, ...], list[Number]]:
    if not isinstance(value, (list, tuple)):
        return (), [_number(value)]
    if depth == MAX_DEPTH:
        raise Fault(f"wanted at most {MAX_DEPTH - 1} axes, got more")
    parts = [_flatten(item, depth + 1) for item in value]
    shapes = {shape for shape, _ in parts}
    if len(shapes) > 1:
        raise Fault(f"wanted lists of equal length, got ragged ones: shapes {sorted(map(list, shapes))[:3]}")
    inner = shapes.pop() if shapes else ()
    return (len(value), *inner), [number for _, numbers in parts for number in numbers]


def _number(value: object) -> Number:
    plain = value.item() if isinstance(value, (np.ndarray, np.generic)) and value.ndim == 0 else value
    if not isinstance(plain, (bool, int, float)):
        raise Fault(f"wanted numbers, got {shorten(value)}")
    if isinstance(plain, float) and not math.isfinite(plain):
        raise Fault(f"wanted finite numbers, got {plain!r}")
    return plain


def _integers(numbers: Iterable[Number], dtype: DType) -> Array:
    whole = [int(number) for number in numbers]
    broken = [number for number, integer in zip(numbers, whole, strict=True) if number != integer]
    if broken:
        raise Fault(f"wanted whole numbers for dtype {dtype.name}, got {broken[0]!r}")
    limits = np.iinfo(dtype)
    outside = [number for number in whole if not limits.min <= number <= limits.max]
    if outside:
        raise Fault(f"wanted numbers in {limits.min}..{limits.max} for dtype {dtype.name}, got {outside[0]}")
    return np.array(whole, dtype=dtype)


def _floats(numbers: Iterable[Number], dtype: DType) -> Array:
    try:
        with np.errstate(over="ignore"):
            array = np.array(numbers, dtype=np.float64).astype(dtype)
    except OverflowError:
        raise Fault(f"wanted numbers that dtype {dtype.name} can hold, got larger ones") from None
    if not np.isfinite(array).all():
        raise Fault(f"wanted numbers that stay finite in dtype {dtype.name}, got larger ones")
    return array


def _too_large(count: int) -> str:
    return f"wanted at most {MAX_ELEMENTS} numbers in a spec, got {count}; create the variable with a value instead"
