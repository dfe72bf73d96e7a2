"""Settling what a new variable is, from what its creator said and what its scopes say. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from paramserver.initializers import InvalidInitializer, Settled, check_parameters, check_spec, liked_name
from paramserver.store.errors import (
    DtypeMismatch,
    InvalidName,
    InvalidRequest,
    NonFinite,
    ShapeMismatch,
    StoreError,
    VariableNotFound,
    refusal,
)
from paramserver.store.snapshot import VariableSnapshot
from paramserver.store.updates import Array, Typed, is_finite
from paramserver.store.variables import collections_of
from paramserver_wire.dtypes import can_cast, dtype_named, name_of, nbytes_of
from paramserver_wire.errors import WireError
from paramserver_wire.names import check_name

Like = Callable[[str], VariableSnapshot | None]


@dataclass(frozen=True, slots=True)
class NewVariable:
    """What the creator of a variable says about it; None is "not said"."""

    name: str
    shape: Sequence[int] | None = None
    dtype: str | None = None
    initializer: Mapping[str, Any] | None = None
    value: Array | Typed | None = None
    trainable: bool | None = None
    collections: Sequence[str] | None = None
    allow_non_finite: bool = False


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a new variable is going to be. `value` is set when it starts with one: still its giver's, to be copied."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    initializer: Mapping[str, Any] | None
    value: Array | None
    trainable: bool
    collections: tuple[str, ...]


def checked_name(name: str, what: str = "variable") -> str:
    """`name` if it is one, else `InvalidName` saying for what it was meant."""
    try:
        return check_name(name)
    except WireError as error:
        raise InvalidName(f"{what}: {error}", name=str(name)[:200]) from None


def checked_shape(
    name: str, shape: Sequence[int], dtype: np.dtype[Any], limit_nbytes: int | None = None
) -> tuple[int, ...]:
    """`shape` as a tuple, once it is known to be one that memory could hold, and within `limit_nbytes` if given."""
    try:
        nbytes = nbytes_of(tuple(shape), dtype)
    except WireError as error:
        raise ShapeMismatch(f"variable {name!r}: {error}", name=name) from None
    if limit_nbytes is not None and nbytes > limit_nbytes:
        raise ShapeMismatch(
            f"variable {name!r}: shape {list(shape)} takes {nbytes} bytes, one variable may take {limit_nbytes}; "
            "split it, or raise the server's limit",
            name=name,
        )
    return tuple(shape)


def checked_dtype(name: str, dtype: str, what: str = "variable") -> np.dtype[Any]:
    """The dtype of that name, which the `what` called `name` asks for."""
    try:
        return dtype_named(dtype)
    except WireError as error:
        raise DtypeMismatch(f"{what} {name!r}: {error}", name=name) from None


def checked_defaults(scope: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A scope's defaults, checked as far as they can be before a variable asks for them."""
    allowed = ("initializer", "dtype", "trainable", "collections")
    unknown = [key for key in defaults if key not in allowed]
    if unknown:
        raise InvalidRequest(
            f"scope {scope!r}: defaults are {', '.join(allowed)}; got {', '.join(unknown)}", name=scope
        )
    settled = {key: value for key, value in defaults.items() if value is not None}
    if "dtype" in settled:
        checked_dtype(scope, settled["dtype"], "scope")
    if "initializer" in settled:
        try:
            settled["initializer"] = dict(check_parameters(settled["initializer"]))
        except InvalidInitializer as error:
            raise InvalidRequest(f"scope {scope!r}: initializer: {error}", name=scope) from None
    checked_collections(scope, settled.get("collections"))
    return settled


def checked_collections(name: str, keys: Sequence[str] | None) -> None:
    """Raise `InvalidName` unless every key may name a collection."""
    for key in keys or ():
        checked_name(key, f"collection of {name!r}")


def settle(new: NewVariable, defaults: Mapping[str, Any], like: Like, limit_nbytes: int | None = None) -> Settlement:
    """What the variable is going to be: an explicit word wins, then the scopes', then TF's defaults.

    Raises a `StoreError` that names the variable when it does not add up; takes no memory in proportion to the shape.
    """
    checked_name(new.name)
    checked_collections(new.name, new.collections)
    if new.value is not None and new.initializer is not None:
        raise InvalidRequest(f"variable {new.name!r}: got a value and an initializer; give one of them", name=new.name)
    trainable = bool(_said(new.trainable, defaults.get("trainable"), True))
    collections = collections_of(_said(new.collections, defaults.get("collections"), None), trainable)
    if new.value is not None:
        dtype_name = _said(new.dtype, defaults.get("dtype") if callable(new.value) else None, None)
        dtype, value = _initial_value(new, new.value, dtype_name, limit_nbytes)
        return Settlement(value.shape, dtype, None, value, trainable, collections)
    settled = _settled_spec(new, defaults, like)
    shape = checked_shape(new.name, settled.shape, settled.dtype, limit_nbytes)
    return Settlement(shape, settled.dtype, dict(settled.spec), None, trainable, collections)


def _said(*words: Any) -> Any:
    return next((word for word in words if word is not None), None)


def _initial_value(
    new: NewVariable, given: Array | Typed, dtype_name: str | None, limit_nbytes: int | None
) -> tuple[np.dtype[Any], Array]:
    dtype = None if dtype_name is None else checked_dtype(new.name, dtype_name)
    if callable(given):
        if new.shape is not None:
            # A bare number fills the whole shape, so the shape must be sound before that. No inferred dtype is wider.
            checked_shape(new.name, new.shape, dtype or np.dtype(np.float32), limit_nbytes)
        value = given(dtype, None if new.shape is None else tuple(new.shape))
    else:
        value = given
    if dtype is not None and not can_cast(value.dtype, dtype):
        raise DtypeMismatch(
            f"variable {new.name!r}: wanted {name_of(dtype)}, got a {name_of(value.dtype)} value, which does not cast to "
            "it without loss; convert it first",
            name=new.name,
        )
    dtype = value.dtype if dtype is None else dtype
    checked_shape(new.name, value.shape, dtype, limit_nbytes)
    if new.shape is not None and checked_shape(new.name, new.shape, value.dtype) != value.shape:
        raise ShapeMismatch(
            f"variable {new.name!r}: wanted shape {list(new.shape)}, got a value of shape {list(value.shape)}; "
            "leave the shape out or send a value that has it",
            name=new.name,
        )
    if not new.allow_non_finite and not is_finite(value):
        raise NonFinite(f"variable {new.name!r}: the value holds NaN or infinity; send finite numbers", name=new.name)
    return dtype, value


def _settled_spec(new: NewVariable, defaults: Mapping[str, Any], like: Like) -> Settled:
    dtype_name = _said(new.dtype, defaults.get("dtype"), None)
    spec = _said(new.initializer, defaults.get("initializer"), None)
    dtype = None if dtype_name is None else checked_dtype(new.name, dtype_name)
    if spec is None:
        dtype = dtype if dtype is not None else np.dtype(np.float32)
        spec = _default_initializer(new.name, dtype)
        if new.shape is None:
            raise InvalidRequest(
                f"variable {new.name!r}: wanted a shape, a value, or an initializer that settles the shape; got none",
                name=new.name,
            )
    try:
        source = liked_name(spec)
        model = None
        if source is not None:
            found = like(source)
            if found is None:
                raise VariableNotFound(
                    f"variable {new.name!r}: its initializer is like {source!r}, which does not exist; create that first",
                    name=source,
                )
            model = (found.shape, found.dtype)
        shape = None if new.shape is None else checked_shape(new.name, new.shape, dtype or np.dtype(np.float32))
        return check_spec(spec, shape, dtype, like=model)
    except InvalidInitializer as error:
        raise InvalidRequest(f"variable {new.name!r}: initializer: {error}", name=new.name) from None


def _default_initializer(name: str, dtype: np.dtype[Any]) -> Mapping[str, Any]:
    if dtype.kind == "c":
        raise InvalidRequest(
            f"variable {name!r}: an initializer or a value is required for {name_of(dtype)}; give one", name=name
        )
    return {"type": "zeros" if dtype.kind in "biu" else "glorot_uniform"}


def as_store_error(error: WireError, name: str) -> StoreError:
    """A wire error about the value of `name`, as the store tells it."""
    return refusal(error.code, f"variable {name!r}: {error}", name=name)
