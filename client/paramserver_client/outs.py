"""Arrays of the caller's that a call is to fill: what they must be, judged before anything is sent, and by the answer's header.

Every check tells all differences it finds, and looks only: nothing is written to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from paramserver_client.errors import InvalidRequestError
from paramserver_wire.dtypes import DTYPES, name_of
from paramserver_wire.errors import WireError
from paramserver_wire.tensors import Array


def check_given(out: Any, names: Collection[str] | None, dtype: str | None) -> None:
    """Check what can be known before the values are: that each is an array which can be written to, of a dtype that travels (of
    `dtype`, if that is asked for), with memory of its own and, if `names` are asked for, one of these.

    The name of a single one is "". Raises `InvalidRequestError`.
    """
    if not isinstance(out, Mapping):
        raise InvalidRequestError(
            f"Wanted out= to map names to arrays, got {type(out).__name__}. Give {{name: array}}. Nothing was sent."
        )
    asked = None if names is None else frozenset(names)
    errors: list[dict[str, str]] = []
    arrays: dict[str, Array] = {}
    for name, target in out.items():
        if asked is not None and name not in asked:
            errors.append(_misfit(name, "a name that is asked for", "another", "Ask for it too, or leave it out"))
        if not isinstance(target, np.ndarray) or isinstance(target, np.ma.MaskedArray):
            got = type(target).__name__
            errors.append(_misfit(name, "a writable array", got, "Give a numpy array, such as np.empty(shape, dtype)"))
            continue
        arrays[name] = target
        if not target.flags.writeable:
            errors.append(_misfit(name, "a writable array", "one that is read-only", "Give a copy of it"))
        if (difference := _dtype_difference(target.dtype, dtype)) is not None:
            errors.append(_misfit(name, *difference))
    errors += _sharing(arrays)
    if errors:
        raise InvalidRequestError(f"{errors[0]['detail']} Nothing was sent.", errors=errors)


def check_fitting(out: Mapping[str, Array], tensors: Mapping[str, Array]) -> None:
    """Check that each array of `out` has the shape and dtype of the tensor of its name. Raises `InvalidRequestError`."""
    errors: list[dict[str, str]] = []
    for name, tensor in tensors.items():
        if name not in out:
            continue
        target = out[name]
        fresh = f"Give np.empty({tensor.shape}, {name_of(tensor.dtype)!r})"
        if target.shape != tensor.shape:
            wanted, got = f"shape {list(tensor.shape)} as of the value", f"shape {list(target.shape)}"
            errors.append(_misfit(name, wanted, got, fresh))
        if target.dtype != tensor.dtype:
            wanted, got = f"dtype {tensor.dtype} as of the value", f"dtype {target.dtype}"
            errors.append(_misfit(name, wanted, got, f"{fresh}, or ask for dtype={name_of(target.dtype)!r}"))
    if errors:
        raise InvalidRequestError(errors[0]["detail"], errors=errors)


def _dtype_difference(got: np.dtype[Any], asked: str | None) -> tuple[str, str, str] | None:
    """What is wrong with a dtype, whatever the variable's: wanted, got, what to do."""
    try:
        name = name_of(got)
    except WireError:
        return "a dtype that variables can have", f"dtype {got}", f"Give one of {', '.join(DTYPES)}"
    if got != DTYPES[name]:
        return f"dtype {name} in little-endian byte order", f"dtype {got.str}", f"Give an array of dtype {name!r}"
    # What is no name of a dtype the server refuses, in its own words.
    if asked in DTYPES and name != asked:
        return f"dtype {asked} as asked for", f"dtype {name}", f"Ask for dtype={name!r}, or give an array of {asked}"
    return None


def _sharing(arrays: Mapping[str, Array]) -> list[dict[str, str]]:
    """Arrays that share memory with one before them: what would stand there is anybody's guess."""
    errors: list[dict[str, str]] = []
    # Of those that begin before it, only they that end behind its begin can share with an array: mostly none.
    reaching: list[tuple[int, str]] = []
    for begin, end, name in sorted((*byte_bounds(array), name) for name, array in arrays.items() if array.nbytes):
        reaching = [each for each in reaching if each[0] > begin]
        for _, before in reaching:
            if np.shares_memory(arrays[before], arrays[name]):
                got = f"memory that out[{before!r}] has, too"
                errors.append(_misfit(name, "memory of its own", got, "Give each an array of its own"))
                break
        reaching.append((end, name))
    return errors


def _misfit(name: str, wanted: str, got: str, remedy: str) -> dict[str, str]:
    return {
        "name": name,
        "code": InvalidRequestError.code,
        "detail": f"{f'out[{name!r}]' if name else 'out'}: wanted {wanted}, got {got}. {remedy}.",
    }
