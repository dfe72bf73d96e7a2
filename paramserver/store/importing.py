"""What an import is going to do, decided from names, shapes and dtypes alone, before any value has come. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from paramserver.store.buffers import BufferPool
from paramserver.store.creation import Settlement, checked_name, checked_shape
from paramserver.store.errors import Difference, StoreError, refuse_any
from paramserver.store.updates import Array, apply, check_value, is_finite
from paramserver.store.variables import Variable, collections_of
from paramserver.store.workspace import Step, giving
from paramserver_wire.dtypes import nbytes_of


@dataclass(frozen=True, slots=True)
class Offer:
    """A value that is going to come, as far as it is known."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return nbytes_of(self.shape, self.dtype)


def check(
    offers: Mapping[str, Offer], existing: Mapping[str, Variable], *, create: bool, tensor_limit_nbytes: int | None
) -> tuple[str, ...]:
    """The names that are to be created. Raises, with every difference listed, when anything offered does not fit."""
    differences: list[Difference] = []
    for name, offer in offers.items():
        variable = existing.get(name)
        if variable is not None:
            # An array without memory of its own: only its shape and dtype are looked at.
            stand_in = np.broadcast_to(np.empty((), offer.dtype), offer.shape)
            differences += check_value(name, "assign", stand_in, variable.shape, variable.dtype)
            continue
        try:
            checked_name(name)
            checked_shape(name, offer.shape, offer.dtype, tensor_limit_nbytes)
        except StoreError as error:
            differences += error.errors
            continue
        if not create:
            detail = f"variable {name!r} is in the file but not on the server; create it first, or pass create=true"
            differences.append(Difference(name, "variable_not_found", detail))
    refuse_any(differences)
    return tuple(name for name in offers if name not in existing)


def needed_nbytes(offers: Mapping[str, Offer], existing: Mapping[str, Variable]) -> int:
    """Memory that the import takes: the new values, and what is received for those that are then cast."""
    nbytes = sum(offer.nbytes for offer in offers.values())
    casts = [(existing[name], offer) for name, offer in offers.items() if name in existing]
    return nbytes + sum(v.nbytes for v, offer in casts if v.dtype != offer.dtype)


def check_finite(values: Mapping[str, Array]) -> None:
    """Raise `NonFinite`, listing all variables whose value holds NaN or infinity."""
    detail = "variable {!r}: the value holds NaN or infinity; send finite numbers, or set allow_non_finite=true"
    refuse_any(
        [Difference(name, "non_finite", detail.format(name)) for name, value in values.items() if not is_finite(value)]
    )


def settlement(value: Array, defaults: Mapping[str, Any]) -> Settlement:
    """A variable that is created by an import: of the value's own shape and dtype, the rest as its scopes say."""
    trainable = bool(defaults.get("trainable", True))
    collections = collections_of(defaults.get("collections"), trainable)
    return Settlement(value.shape, value.dtype, None, None, trainable, collections)


def write(variable: Variable, value: Array, pool: BufferPool) -> Step:
    """The step that makes `value`, which nobody else has, the variable's value: itself, or cast to its dtype."""
    return giving(variable, partial(apply, "assign", None, value, variable.dtype, donated=True, pool=pool))
