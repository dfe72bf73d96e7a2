"""The fifteen dtypes of variables: their names on the wire, which casts lose nothing, and how many bytes a shape takes.

Memory and wire are both little-endian on every machine this runs on, so one table serves both; arrays of another byte
order are turned when they are encoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import ml_dtypes
import numpy as np

from paramserver_wire.errors import DtypeMismatch, ShapeMismatch

DType = np.dtype[Any]

DTYPES: Final[Mapping[str, DType]] = MappingProxyType(
    {
        "bool": np.dtype(np.bool_),
        "int8": np.dtype(np.int8),
        "int16": np.dtype(np.int16),
        "int32": np.dtype(np.int32),
        "int64": np.dtype(np.int64),
        "uint8": np.dtype(np.uint8),
        "uint16": np.dtype(np.uint16),
        "uint32": np.dtype(np.uint32),
        "uint64": np.dtype(np.uint64),
        "float16": np.dtype(np.float16),
        "bfloat16": np.dtype(ml_dtypes.bfloat16),
        "float32": np.dtype(np.float32),
        "float64": np.dtype(np.float64),
        "complex64": np.dtype(np.complex64),
        "complex128": np.dtype(np.complex128),
    }
)
"""Every dtype a variable can have, by its name (numpy's, plus bfloat16)."""

MAX_NDIM: Final = 8
"""Most axes a variable can have."""

MAX_NBYTES: Final = 2**63 - 1

_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}


def dtype_named(name: object) -> DType:
    """Return the dtype called `name`, or raise `DtypeMismatch`.

    >>> dtype_named("float32")
    dtype('float32')
    """
    dtype = DTYPES.get(name) if isinstance(name, str) else None
    if dtype is None:
        shown = repr(name) if isinstance(name, str) else type(name).__name__
        raise DtypeMismatch(f"wanted the name of a dtype, got {shown:.60}; use one of {', '.join(DTYPES)}")
    return dtype


def name_of(dtype: DType) -> str:
    """Return the name of `dtype`, whatever its byte order, or raise `DtypeMismatch` if variables cannot have it.

    >>> name_of(np.dtype(">f4"))
    'float32'
    """
    name = _NAMES.get(dtype if dtype.isnative else dtype.newbyteorder("="))
    if name is None:
        raise DtypeMismatch(f"dtype {str(dtype)[:60]} cannot be held by a variable; use one of {', '.join(DTYPES)}")
    return name


def can_cast(source: DType, target: DType) -> bool:
    """Tell whether a value of `source` may be written to a variable of `target`: numpy's "safe" rule, by dtype alone.

    bfloat16 goes to float32, float64 and the complex dtypes; bool, int8 and uint8 go to bfloat16.
    """
    return np.can_cast(source, target, "safe")


def nbytes_of(shape: object, dtype: DType) -> int:
    """Return how many bytes an array of `shape` and `dtype` takes.

    Call it before taking memory for a shape from outside: raises `ShapeMismatch` unless `shape` is a list or tuple of
    at most 8 ints, none negative (a bool is no int), whose product with empty axes counted as 1 stays below 2**63
    bytes. numpy's own product would wrap around: `np.prod([2**32, 2**32])` is 0.
    """
    if not isinstance(shape, (list, tuple)):
        raise ShapeMismatch(f"a shape is a list of ints, got {type(shape).__name__}; give for example [2, 3]")
    if len(shape) > MAX_NDIM:
        raise ShapeMismatch(f"a shape has at most {MAX_NDIM} axes, got {len(shape)}; reshape the value")
    nbytes = extent = dtype.itemsize
    for length in shape:
        if type(length) is not int or length < 0:
            got = "a negative one" if type(length) is int else f"a {type(length).__name__}"
            raise ShapeMismatch(f"the axes of a shape are ints of 0 or more, got {got}; correct the shape")
        nbytes *= length
        extent *= length or 1
    if extent > MAX_NBYTES:
        raise ShapeMismatch("the shape takes 2**63 bytes or more, with empty axes counted as 1; make it smaller")
    return nbytes
