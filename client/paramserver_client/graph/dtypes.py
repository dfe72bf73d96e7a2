"""Element types, as TensorFlow 1 names them: `tf.float32`, `tf.int32`, `tf.string`, and `float32_ref` for variables.

A `DType` never changes and there is one object of each, so `==` and `is` agree. A *ref* dtype is the type of a
variable's own tensor, which can be assigned to; `base_dtype` takes the reference off.
"""

from __future__ import annotations

from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_DEFAULT_INTEGERS_FLOATS: Final = {"half": "float16", "float": "float32", "double": "float64", "complex": "complex64"}


class DType:
    """One element type: use `tf.float32` and its kin, or `tf.as_dtype`. `DType(1)` is `tf.float32` too."""

    __slots__ = ("_is_ref", "_name", "_numpy")

    def __new__(cls, name: str | int, numpy_dtype: np.dtype[Any] | None = None, is_ref: bool = False) -> DType:
        return super().__new__(cls) if numpy_dtype is not None else as_dtype(name)

    def __init__(self, name: str | int, numpy_dtype: np.dtype[Any] | None = None, is_ref: bool = False) -> None:
        if numpy_dtype is None:
            return
        self._name = str(name)
        self._numpy = numpy_dtype
        self._is_ref = is_ref

    @property
    def name(self) -> str:
        """`float32`, or `float32_ref` for the type of a variable's own tensor."""
        return f"{self._name}_ref" if self._is_ref else self._name

    @property
    def as_numpy_dtype(self) -> Any:
        """The numpy scalar type; strings are `object`, and quantized types a `numpy.dtype` with a field of their name."""
        return np.object_ if self._numpy.kind == "O" else self._numpy if self.is_quantized else self._numpy.type

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The `numpy.dtype` of arrays of this type; strings are `object`."""
        return self._numpy

    @property
    def base_dtype(self) -> DType:
        """This type without its reference."""
        return _BASE[self._name]

    @property
    def _as_ref(self) -> DType:
        return _REF[self._name]

    @property
    def _is_ref_dtype(self) -> bool:
        return self._is_ref

    @property
    def as_datatype_enum(self) -> int:
        """TensorFlow's number of this type: 1 for float32, 101 for float32_ref."""
        return _ENUMS[self._name] + 100 * self._is_ref

    @property
    def real_dtype(self) -> DType:
        """The type of the real part: `float32` of `complex64`, otherwise this type."""
        return {"complex64": float32, "complex128": float64}.get(self._name, self)

    @property
    def is_floating(self) -> bool:
        return self._numpy.kind == "f" or self._name == "bfloat16"

    @property
    def is_integer(self) -> bool:
        return self._numpy.kind in "iu"

    @property
    def is_unsigned(self) -> bool:
        return self._numpy.kind == "u"

    @property
    def is_complex(self) -> bool:
        return self._numpy.kind == "c"

    @property
    def is_bool(self) -> bool:
        return self._numpy.kind == "b"

    @property
    def is_quantized(self) -> bool:
        return self._name in _QUANTIZED

    @property
    def is_numpy_compatible(self) -> bool:
        return self._name not in ("resource", "variant")

    @property
    def size(self) -> int:
        """Bytes an element takes; 1 for strings, as TensorFlow says."""
        return 1 if self._name == "string" else self._numpy.itemsize

    @property
    def min(self) -> Any:
        """The smallest finite value. Raises TypeError for types without one."""
        return self._limits().min

    @property
    def max(self) -> Any:
        """The largest finite value. Raises TypeError for types without one."""
        return self._limits().max

    def limits(self, clip_negative: bool = True) -> tuple[Any, Any]:
        """The range of an image of this type: `(0, 255)` for uint8, `(0, 1)` for floats and bools; with
        `clip_negative` the smallest is 0. Raises KeyError for types no image has."""
        if self.is_bool:
            return False, True
        low, high = (-1, 1) if self.is_floating else (self.min, self.max) if self.is_integer else (None, None)
        if low is None:
            raise KeyError(self.as_numpy_dtype)
        return (0 if clip_negative else low), high

    def _limits(self) -> Any:
        if self.is_integer:
            return np.iinfo(self._numpy)
        if self.is_floating:
            return np.finfo(self._numpy) if self._name != "bfloat16" else _BFLOAT16_LIMITS
        raise TypeError(f"Cannot find minimum value of {self!r}.")

    def is_compatible_with(self, other: Any) -> bool:
        """Whether a tensor of `other` may stand where this type is wanted."""
        other = as_dtype(other)
        return self == other or (not self._is_ref and self == other.base_dtype)

    def __eq__(self, other: object) -> bool:
        if other is None:
            return False
        try:
            return self is as_dtype(other)
        except TypeError:
            return False

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (self.name,)

    def __int__(self) -> int:
        return self.as_datatype_enum

    def __str__(self) -> str:
        return f"<dtype: '{self.name}'>"

    def __repr__(self) -> str:
        return f"tf.{self.name}"


class _Limits:
    """numpy knows no finfo of bfloat16."""

    max = float(np.uint32(0x7F7F0000).view(np.float32))
    min = -max


_BFLOAT16_LIMITS: Final = _Limits()


def _numpy_dtype(name: str) -> np.dtype[Any]:
    if name in ("string", "resource", "variant"):
        return np.dtype(object)
    if name in _QUANTIZED:  # A field of its own keeps `qint8` apart from `int8`.
        return np.dtype([(name, name.replace("q", ""))])
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


_QUANTIZED: Final = ("qint8", "quint8", "qint16", "quint16", "qint32")
_ENUMS: Final = {
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "string": 7, "complex64": 8,
    "int64": 9, "bool": 10, "qint8": 11, "quint8": 12, "qint32": 13, "bfloat16": 14, "qint16": 15, "quint16": 16,
    "uint16": 17, "complex128": 18, "float16": 19, "resource": 20, "variant": 21, "uint32": 22, "uint64": 23,
}  # fmt: skip
_BASE: Final = {name: DType(name, _numpy_dtype(name), False) for name in _ENUMS}
_REF: Final = {name: DType(name, _numpy_dtype(name), True) for name in _ENUMS}
_BY_NUMPY: Final = {dtype.numpy_dtype: dtype for dtype in _BASE.values() if dtype.is_numpy_compatible}
_BY_ENUM: Final = {dtype.as_datatype_enum: dtype for dtype in (*_BASE.values(), *_REF.values())}

float32: Final = _BASE["float32"]
float64: Final = _BASE["float64"]
double: Final = float64
int32: Final = _BASE["int32"]
uint8: Final = _BASE["uint8"]
int16: Final = _BASE["int16"]
int8: Final = _BASE["int8"]
string: Final = _BASE["string"]
complex64: Final = _BASE["complex64"]
int64: Final = _BASE["int64"]
bool_: Final = _BASE["bool"]
bfloat16: Final = _BASE["bfloat16"]
uint16: Final = _BASE["uint16"]
complex128: Final = _BASE["complex128"]
float16: Final = _BASE["float16"]
half: Final = float16
uint32: Final = _BASE["uint32"]
uint64: Final = _BASE["uint64"]
qint8: Final = _BASE["qint8"]
quint8: Final = _BASE["quint8"]
qint16: Final = _BASE["qint16"]
quint16: Final = _BASE["quint16"]
qint32: Final = _BASE["qint32"]
resource: Final = _BASE["resource"]
variant: Final = _BASE["variant"]


def as_dtype(type_value: Any) -> DType:
    """The `DType` of a name, a numpy dtype, a python type, TensorFlow's number of a type, or a `DType`.

    Raises TypeError naming what came when it is none of these.
    """
    if isinstance(type_value, DType):
        return type_value
    found = _named(type_value) if isinstance(type_value, str) else _of_python(type_value)
    if found is None:
        raise TypeError(f"Cannot convert value {type_value!r} to a TensorFlow DType.")
    return found


def _named(name: str) -> DType | None:
    name = _DEFAULT_INTEGERS_FLOATS.get(name, name)
    if name.endswith("_ref"):
        return _REF.get(name.removesuffix("_ref"))
    return _BASE.get(name)


def _of_python(type_value: Any) -> DType | None:
    if type(type_value) is int:
        return _BY_ENUM.get(type_value)
    if type_value is float:
        return float32
    if type_value in (str, bytes, object):
        return string
    if type_value is int or not isinstance(type_value, type | np.dtype):
        return None
    try:
        dtype = np.dtype(type_value)
    except TypeError:
        return None
    return string if dtype.kind in "SU" else _BY_NUMPY.get(dtype)


def of_array(array: Array) -> DType:
    """The `DType` of an array's elements. Raises TypeError for arrays no tensor can hold."""
    return as_dtype(array.dtype)
