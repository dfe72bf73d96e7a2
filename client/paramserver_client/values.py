"""What callers hand in, as messages carry it: arrays stay typed, Python's numbers wait for the variable's dtype."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

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


def filled(out: Mapping[str, Array], tensors: Mapping[str, Array]) -> dict[str, Array]:
    """The tensors, those of `out` in its arrays: checked first, and copied where they were not received there."""
    checked_out(out, tensors)
    values = dict(tensors)
    for name in tensors.keys() & out.keys():
        if values[name] is not out[name]:
            np.copyto(out[name], values[name])
            values[name] = out[name]
    return values


def checked_out(out: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
    """Check that each array of `out` can take the tensor of its name, before any is written to. The name of a single one is ""."""
    errors: list[dict[str, str]] = []
    fitting: list[str] = []
    for name, tensor in tensors.items():
        if name not in out:
            continue
        target = out[name]
        if not isinstance(target, np.ndarray) or not target.flags.writeable:
            errors.append(_misfit(name, "a writable array", _kind_of(target)))
        elif target.shape != tensor.shape:
            errors.append(_misfit(name, f"shape {list(tensor.shape)} as of the value", f"shape {list(target.shape)}"))
        elif target.dtype != tensor.dtype:
            errors.append(_misfit(name, f"dtype {tensor.dtype} as of the value", f"dtype {_dtype_text(target.dtype)}"))
        else:
            fitting.append(name)
    errors += _sharing({name: out[name] for name in fitting})
    if errors:
        raise InvalidRequestError(f"{errors[0]['detail']} No array was written to.", errors=errors)


def _sharing(arrays: Mapping[str, Array]) -> list[dict[str, str]]:
    """Arrays that share memory with one before them: what would stand there is anybody's guess."""
    bounds = sorted((*byte_bounds(array), name) for name, array in arrays.items() if array.nbytes)
    return [
        _misfit(name, "memory of its own", f"memory that out[{before!r}] has, too")
        for (_, end, before), (begin, _, name) in pairwise(bounds)
        if begin < end and np.shares_memory(arrays[before], arrays[name])
    ]


def _misfit(name: str, wanted: str, got: str) -> dict[str, str]:
    return {
        "name": name,
        "code": InvalidRequestError.code,
        "detail": f"{f'out[{name!r}]' if name else 'out'}: wanted {wanted}, got {got}.",
    }


def _kind_of(target: Any) -> str:
    return "one that is read-only" if isinstance(target, np.ndarray) else type(target).__name__


def _dtype_text(dtype: np.dtype[Any]) -> str:
    return str(dtype) if dtype.isnative else f"{dtype.newbyteorder('=')} of another byte order"


def _index_text(part: Any) -> str:
    if part is Ellipsis:
        return "..."
    if isinstance(part, builtins.slice):
        bounds: Sequence[Any] = (part.start, part.stop) if part.step is None else (part.start, part.stop, part.step)
        return ":".join("" if bound is None else str(operator.index(bound)) for bound in bounds)
    return str(operator.index(part))
