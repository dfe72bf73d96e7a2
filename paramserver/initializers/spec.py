"""Checking a spec and making an array from it; both pure, deterministic and safe from several threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

import numpy as np

from .kinds import KINDS, LIKES, Kind, Shape, parameters_of
from .parameters import Arguments, as_json, read_arguments
from .values import Array, DType, Fault, read_mapping, shorten


class InvalidInitializer(ValueError):
    """A spec cannot be used. `faults` lists everything that is wrong with it, each as `parameter: wanted, got`."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Settled:
    """A checked spec: plain JSON values with every default filled in, and the `shape` and `dtype` it makes."""

    spec: Mapping[str, Any]
    shape: Shape
    dtype: DType


def check_parameters(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The spec as plain JSON with defaults filled in, checked as far as that goes without a shape and dtype.

    For a scope's default, which meets its shapes later. Raises InvalidInitializer with all faults.
    """
    try:
        type_name, arguments = _read(spec)
    except Fault as fault:
        raise InvalidInitializer(*fault.args) from None
    return _normalised(type_name, arguments)


def check_spec(
    spec: Mapping[str, Any],
    shape: tuple[int, ...] | None = None,
    dtype: DType | None = None,
    *,
    like: tuple[tuple[int, ...], DType] | None = None,
) -> Settled:
    """Check a spec against the shape and dtype wanted, and settle them where it does so itself.

    No array is made and no memory taken in proportion to the shape: the caller checks the size of what comes back.
    `shape` may be None for constant, linspace, range, multinomial, random_gamma, random_shuffle, random_crop and, with
    `like`, for zeros_like and ones_like; `dtype` may always be None. `like` is the shape and dtype of the variable that
    `liked_name` tells. Checking a settled spec again, with its shape and dtype, gives the same.

    Raises InvalidInitializer, which lists every unknown, missing or wrong parameter, else every misfit of shape and
    dtype.

    >>> check_spec({"type": "linspace", "start": 10, "stop": 12, "num": 3}).shape
    (3,)
    """
    try:
        type_name, arguments = _read(spec)
        settled_shape, settled_dtype = _settle(KINDS[type_name], type_name, arguments, shape, dtype, like)
    except Fault as fault:
        raise InvalidInitializer(*fault.args) from None
    return Settled(_normalised(type_name, arguments), settled_shape, settled_dtype)


def needs_seed(spec: Mapping[str, Any]) -> bool:
    """Whether the spec draws random numbers, and so needs a seed to be made."""
    kind = KINDS.get(str(spec.get("type")))
    return kind is not None and kind.random


def liked_name(spec: Mapping[str, Any]) -> str | None:
    """The variable whose shape and dtype a zeros_like or ones_like takes, else None."""
    kind, name = spec.get("type"), spec.get("like")
    return name if isinstance(kind, str) and kind in LIKES and isinstance(name, str) else None


def make(
    spec: Mapping[str, Any], shape: tuple[int, ...] | None, dtype: DType | None, seed: int | None, name: str
) -> Array:
    """A new, writable, C-contiguous array of first values for the variable `name`.

    The same spec, shape, dtype, seed and name give the same values, in whatever order variables are made: each has a
    generator of its own (Philox keyed by blake2b over seed and name). `seed` goes before the spec's own; a spec that
    draws needs one of the two. Raises InvalidInitializer before any memory is taken.
    """
    try:
        type_name, arguments = _read(spec)
        kind = KINDS[type_name]
        final_shape, final_dtype = _settle(kind, type_name, arguments, shape, dtype, None)
    except Fault as fault:
        raise InvalidInitializer(*fault.args) from None
    used_seed = arguments.get("seed") if seed is None else seed
    if kind.random and used_seed is None:
        raise InvalidInitializer(f"seed: wanted for {type_name}, but missing; draw one and report it")
    with np.errstate(all="ignore"):
        return kind.draw(_generator(used_seed or 0, name), arguments, final_shape, final_dtype)


def _generator(seed: int, name: str) -> np.random.Generator:
    digest = blake2b(f"{seed}\0{name}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def _read(spec: object) -> tuple[str, Arguments]:
    given = dict(read_mapping(spec))
    type_name = given.pop("type", None)
    if type_name is None:
        raise Fault(f"type: wanted one of {', '.join(KINDS)}, but missing")
    if not isinstance(type_name, str) or type_name not in KINDS:
        raise Fault(f"type: wanted one of {', '.join(KINDS)}, got {shorten(type_name)}")
    return type_name, read_arguments(parameters_of(KINDS[type_name]), given)


def _normalised(type_name: str, arguments: Arguments) -> Mapping[str, Any]:
    return MappingProxyType({"type": type_name, **as_json(arguments)})


def _settle(
    kind: Kind,
    type_name: str,
    arguments: Arguments,
    shape: tuple[int, ...] | None,
    dtype: DType | None,
    like: tuple[tuple[int, ...], DType] | None,
) -> tuple[Shape, DType]:
    if dtype is None:
        dtype = like[1] if like is not None else kind.own_dtype(arguments)
    faults = []
    if dtype not in kind.dtypes:
        wanted = ", ".join(each.name for each in kind.dtypes)
        faults.append(f"dtype: wanted one of {wanted} for {type_name}, got {dtype.name}")
    own_shape = like[0] if like is not None else kind.own_shape(arguments, dtype)
    if shape is None and own_shape is None:
        faults.append(f"shape: wanted for {type_name}, but missing")
    elif shape is not None and own_shape is not None and not kind.reshapes and _checked(shape) != own_shape:
        faults.append(f"shape: wanted {list(own_shape)}, which {type_name} settles, got {list(shape)}")
    if faults:
        raise Fault(*faults)
    final = _checked(shape if shape is not None else own_shape or ())
    kind.check(arguments, final, dtype)
    return final, dtype


def _checked(shape: tuple[int, ...]) -> Shape:
    if any(isinstance(size, bool) or not isinstance(size, int) or size < 0 for size in shape):
        raise Fault(f"shape: wanted sizes of at least 0, got {list(shape)}")
    return tuple(shape)
