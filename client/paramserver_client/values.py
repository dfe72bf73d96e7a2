"""What callers hand in, as messages carry it: arrays stay typed, Python's numbers wait for the variable's dtype."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from paramserver_client.errors import InvalidRequestError, translated
from paramserver_wire.dtypes import name_of
from paramserver_wire.errors import WireError
from paramserver_wire.tensors import Array, Untyped

Index = str | int | builtins.slice | tuple[int | builtins.slice | Any, ...]


def value_of(value: Any) -> Array | Untyped:
    """Arrays (and what turns into one by `__array__`) are typed as they are; numbers, bools and lists are `Untyped`."""
    if isinstance(value, np.ma.MaskedArray):
        raise InvalidRequestError("Wanted an array whose elements all count, got a masked one. Fill it first.")
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    if isinstance(value, (bool, int, float, list, tuple)):
        return Untyped(value)
    if isinstance(value, Untyped):
        return value
    if hasattr(value, "__array__"):
        return np.asarray(value)
    raise InvalidRequestError(
        f"Wanted an array, a number or a list of numbers, got {type(value).__name__}. Convert it with np.asarray "
        "(a complex number: with np.complex64)."
    )


def gradient_of(given: Any) -> Any:
    """A gradient as a message carries it: a tensor, or the values and indices of some rows."""
    if isinstance(given, tuple) and len(given) == 2:
        values, indices = given
    elif hasattr(given, "indices") and hasattr(given, "values") and not callable(given.values):
        values, indices = given.values, given.indices
    else:
        return value_of(given)
    return {"value": value_of(values), "indices": value_of(indices)}


def dtype_of(dtype: Any) -> str | None:
    """A dtype's name. Names stay as they are: the server judges them."""
    if dtype is None or isinstance(dtype, str):
        return dtype
    try:
        return name_of(np.dtype(dtype))
    except WireError as error:
        raise translated(error) from error


def shape_of(shape: Any) -> list[Any] | None:
    """A shape as a list; one number is one axis. Numpy's integers become Python's, the rest is the server's to judge."""
    if shape is None:
        return None
    if hasattr(shape, "__index__"):
        return [operator.index(shape)]
    return [operator.index(extent) if isinstance(extent, np.integer) else extent for extent in shape]


def initializer_of(initializer: str | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An initializer's spec; a bare name is a spec without parameters."""
    if initializer is None:
        return None
    if isinstance(initializer, str):
        return {"type": initializer}
    if isinstance(initializer, Mapping):
        return dict(initializer)
    raise InvalidRequestError(
        f"Wanted an initializer as a name or a mapping such as {{'type': 'zeros'}}, got {type(initializer).__name__}."
    )


def index_of(index: Index | None) -> str | None:
    """Numpy's index as text: `np.s_[0:10, :, 3]` is "0:10,:,3". Text stays as it is."""
    if index is None or isinstance(index, str):
        return index
    parts = index if isinstance(index, tuple) else (index,)
    return ",".join(map(_index_text, parts))


def names_of(names: str | Iterable[str] | None) -> list[str] | None:
    """Names as a list; a single one may stand bare."""
    return [names] if isinstance(names, str) else None if names is None else list(names)


def tags_of(versions: Mapping[str, str | int] | None) -> dict[str, str] | None:
    """Versions or version tags as text, by name."""
    return None if versions is None else {name: str(version) for name, version in versions.items()}


def text_of(version: str | int | None) -> str | None:
    """A version or version tag as text."""
    return None if version is None else str(version)


def _index_text(part: Any) -> str:
    if part is Ellipsis:
        return "..."
    if isinstance(part, builtins.slice):
        bounds: Sequence[Any] = (part.start, part.stop) if part.step is None else (part.start, part.stop, part.step)
        return ":".join("" if bound is None else str(operator.index(bound)) for bound in bounds)
    return str(operator.index(part))
