"""The store's own errors: one class per problem code it can cause.

    StoreError
     ├─ not there:      VariableNotFound, ScopeNotFound, CollectionNotFound, OptimizerNotFound
     ├─ wrong state:    VariableExists, Uninitialized, NoInitializer, SpecMismatch, StaleUpdate,
     │                  VersionMismatch, CheckpointIncompatible
     ├─ bad input:      InvalidRequest, InvalidName, ShapeMismatch, DtypeMismatch, IndexOutOfRange, NonFinite
     ├─ request ids:    TooOld, IdempotencyKeyReused
     ├─ no room:        MemoryLimitExceeded, DiskFull
     └─ not now:        Draining, Restoring

Whatever is raised, nothing was changed. `errors` lists every difference that was found; `code` and the class are
those of the first one in the request's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that did not fit: the variable's `name` ('' for the request itself), a problem `code`, and the words."""

    name: str
    code: str
    detail: str


class StoreError(Exception):
    """Something was refused and nothing was changed. `code` is stable; `str(error)` is the detail."""

    code: ClassVar[str] = "internal"

    def __init__(self, detail: str, *, name: str = "", errors: Sequence[Difference] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors: tuple[Difference, ...] = tuple(errors) or (Difference(name, self.code, detail),)


class VariableNotFound(StoreError):
    code = "variable_not_found"


class ScopeNotFound(StoreError):
    code = "scope_not_found"


class CollectionNotFound(StoreError):
    code = "collection_not_found"


class OptimizerNotFound(StoreError):
    code = "optimizer_not_found"


class StaleUpdate(StoreError):
    code = "stale_update"


class VariableExists(StoreError):
    code = "variable_exists"


class Uninitialized(StoreError):
    code = "uninitialized"


class NoInitializer(StoreError):
    code = "no_initializer"


class SpecMismatch(StoreError):
    code = "spec_mismatch"


class VersionMismatch(StoreError):
    code = "version_mismatch"


class InvalidRequest(StoreError):
    code = "invalid_request"


class InvalidName(StoreError):
    code = "invalid_name"


class ShapeMismatch(StoreError):
    code = "shape_mismatch"


class DtypeMismatch(StoreError):
    code = "dtype_mismatch"


class IndexOutOfRange(StoreError):
    code = "index_out_of_range"


class NonFinite(StoreError):
    code = "non_finite"


class CheckpointIncompatible(StoreError):
    code = "checkpoint_incompatible"


class TooOld(StoreError):
    code = "too_old"


class IdempotencyKeyReused(StoreError):
    code = "idempotency_key_reused"


class MemoryLimitExceeded(StoreError):
    code = "memory_limit_exceeded"


class DiskFull(StoreError):
    code = "disk_full"


class Draining(StoreError):
    code = "draining"


class Restoring(StoreError):
    code = "restoring"


class WouldBlock(Exception):
    """A non-blocking call found a lock taken. Nothing was changed: call again, blocking, from a thread that may wait."""


BY_CODE: dict[str, type[StoreError]] = {kind.code: kind for kind in StoreError.__subclasses__()}


def refusal(code: str, detail: str, *, name: str = "") -> StoreError:
    """The error of that `code`, to be raised by the caller."""
    return BY_CODE[code](detail, name=name)


def refuse_any(differences: Sequence[Difference]) -> None:
    """Raise the class of the first difference, with all of them listed; return quietly when there is none."""
    if not differences:
        return
    first = differences[0]
    detail = first.detail if len(differences) == 1 else f"{first.detail} (and {len(differences) - 1} more differences)"
    raise BY_CODE[first.code](detail, errors=differences)
