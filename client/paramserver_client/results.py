"""What calls give back: plain data that never changes, but for the arrays, which belong to the caller."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import numpy as np

from paramserver_client.errors import UnexpectedAnswerError
from paramserver_wire.dtypes import dtype_named
from paramserver_wire.errors import WireError
from paramserver_wire.tensors import Array, Tensor

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Metadata:
    """Everything about a variable but its value. `updated_at` is RFC 3339, in UTC."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    version: int
    incarnation: str
    initialized: bool
    trainable: bool
    collections: tuple[str, ...]
    initializer: Mapping[str, Any] | None
    nbytes: int
    updated_at: str

    @property
    def tag(self) -> str:
        """The version tag: equal tags mean equal values."""
        return f"{self.incarnation}-{self.version}"


@dataclass(frozen=True, slots=True)
class Update:
    """One write of a push: `op` is "assign", "assign_add", "assign_sub"; with `indices` (rows along the first axis)
    "scatter_update", "scatter_add", "scatter_sub"; or "ema", which has no value.

    An "ema" moves the variable towards that of `source`: `average -= (1 - decay) * (average - source)`. With `if_version`
    (a version or a tag) the whole push is refused unless the variable has that version.
    """

    name: str
    op: str
    value: Any = None
    if_version: str | int | None = None
    indices: Any = None
    source: str | None = None
    decay: float | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """A write that was applied: the `commit` that made it visible, and the new version of each variable it wrote.

    `values` holds the values that were asked for, as they were right after the write. `replayed` is true when the
    server had applied this request before, and only its answer was lost. `global_step` is the step that a push of
    gradients counted, if it was told to.
    """

    commit: int
    versions: Mapping[str, int]
    values: Mapping[str, Array] = field(default_factory=dict)
    replayed: bool = False
    global_step: int | None = None


@dataclass(frozen=True, slots=True)
class ScopeInfo:
    """A scope: the `variables` below it, at whatever depth, what their values take, and its stored `defaults`."""

    name: str
    variables: int
    nbytes: int
    defaults: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OptimizerInfo:
    """An optimizer on the server: its type and `hyper`-parameters, defaults filled in, and the names of its variables:
    `scalars` of its own, `slots` by the variable they serve."""

    name: str
    type: str
    hyper: Mapping[str, float | bool]
    scalars: tuple[str, ...]
    slots: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Initialized:
    """Which variables were given their first value, and which were left alone.

    `seed` is the one that was drawn, when neither the request nor an initializer gave one.
    """

    commit: int
    initialized: tuple[str, ...]
    skipped: tuple[str, ...]
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A checkpoint on the server's disk. `created` is RFC 3339, in UTC, `variables` counts them.

    `state` is "complete" or "saving", or "failed" or "damaged", when `problem` says how as `{code, detail}`. `skipped` are
    those that had no value. A `full` one holds everything, so that a server can start from it.
    """

    id: str
    state: str
    commit: int
    step: int | None
    created: str
    nbytes: int
    variables: int
    files: tuple[Mapping[str, Any], ...]
    skipped: tuple[str, ...] = ()
    series: str = ""
    full: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    problem: Mapping[str, str] | None = None

    @property
    def detail(self) -> str:
        """What is wrong with it, in words; empty when nothing is."""
        return "" if self.problem is None else self.problem["detail"]


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: the variables it gave values to, those that the checkpoint lacks, and those it has too many.

    `differences` are `{name, code, detail}` of each that was asked for and left out; none where `strict`.
    """

    commit: int
    restored: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    differences: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written: the `commit` it is a cut of, each variable's version tag, and those without a value."""

    commit: int
    versions: Mapping[str, str]
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """A file that was taken: the `commit` that made it visible, the new version of each variable, and which are new.

    `replayed` is as for `Applied`.
    """

    commit: int
    versions: Mapping[str, int]
    created: tuple[str, ...]
    replayed: bool = False


class Snapshot(Mapping[str, Array]):
    """Values by name, all from one consistent cut. `versions` holds each one's version tag.

    The arrays are the caller's own. Those of one pull may share memory: while one is kept, all are.
    """

    __slots__ = ("_values", "commit", "versions")

    def __init__(self, commit: int, values: Mapping[str, Array], versions: Mapping[str, str]) -> None:
        self.commit = commit
        self.versions = versions
        self._values = values

    def __getitem__(self, name: str) -> Array:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Snapshot(commit={self.commit}, {len(self)} values)"


def metadata_of(body: Any) -> Metadata:
    """`Metadata` from an answer's body."""
    return _filled(Metadata, body, shape=tuple, dtype=dtype_named, collections=tuple)


def initialized_of(body: Any) -> Initialized:
    """`Initialized` from an answer's body."""
    return _filled(Initialized, body, initialized=tuple, skipped=tuple)


def checkpoint_of(body: Any) -> CheckpointInfo:
    """`CheckpointInfo` from an answer's body."""
    return _filled(CheckpointInfo, body, files=tuple, skipped=tuple)


def optimizer_of(body: Any) -> OptimizerInfo:
    """`OptimizerInfo` from an answer's body."""
    known = ("name", "type", "scalars", "slots")
    if not isinstance(body, Mapping) or not set(known) <= body.keys():
        raise _misfit(OptimizerInfo, repr(body)[:80])
    slots = {variable: tuple(slots) for variable, slots in body["slots"].items()}
    hyper = {key: value for key, value in body.items() if key not in known}
    return OptimizerInfo(body["name"], body["type"], hyper, tuple(body["scalars"]), slots)


def scope_of(body: Any) -> ScopeInfo:
    """`ScopeInfo` from an answer's body."""
    return _filled(ScopeInfo, body)


def restored_of(body: Any) -> Restored:
    """`Restored` from an answer's body."""
    return _filled(Restored, body, restored=tuple, missing=tuple, unexpected=tuple, differences=tuple)


def exported_of(metadata: Mapping[str, str]) -> Exported:
    """`Exported` from the metadata of the file itself."""
    try:
        told = {key: json.loads(metadata[key]) for key in ("commit", "versions", "incarnations", "skipped")}
        tags = {name: f"{told['incarnations'][name]}-{version}" for name, version in told["versions"].items()}
        return Exported(told["commit"], tags, tuple(told["skipped"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _misfit(Exported, f"a file whose metadata lacks {error}") from error


def imported_of(body: Any, replayed: bool) -> Imported:
    """`Imported` from an answer's body."""
    return replace(_filled(Imported, body, created=tuple), replayed=replayed)


def tag_of(tensor: Tensor) -> str:
    """The version tag that stands beside a tensor."""
    return f"{tensor.meta['incarnation']}-{tensor.meta['version']}"


def arrays_of(tensors: Mapping[str, Tensor] | None) -> dict[str, Array]:
    """The bare arrays of an answer's tensors."""
    return {name: tensor.array for name, tensor in (tensors or {}).items()}


def _filled(kind: type[R], body: Any, **convert: Any) -> R:
    """A result from the fields of `body`. Fields that a newer server adds are passed over."""
    if not isinstance(body, Mapping):
        raise _misfit(kind, type(body).__name__)
    found = {each.name: body[each.name] for each in fields(kind) if each.name in body}  # type: ignore[arg-type]
    try:
        return kind(**{name: convert.get(name, _as_is)(value) for name, value in found.items()})
    except (TypeError, WireError) as error:
        raise _misfit(kind, str(error)) from error


def _as_is(value: Any) -> Any:
    return value


def _misfit(kind: type, got: str) -> UnexpectedAnswerError:
    return UnexpectedAnswerError(
        f"Wanted an answer that makes a {kind.__name__}, got one that does not: {got}. "
        "Check that client and server are of one version.",
        outcome="applied",
    )
