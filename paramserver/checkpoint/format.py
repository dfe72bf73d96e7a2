"""What stands in a checkpoint's files, and how it is checked. Pure: bytes and plain data only.

`model.safetensors` holds the values; complex ones as pairs of reals along a last axis of 2, as not every reader of that
format knows complex numbers. `manifest.json` says all the rest and is the authority on dtypes and shapes. Its first line
is the SHA-256 of what follows that line, so that no damage to it goes unseen; it names the checksums of the values.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import numpy as np

from paramserver.checkpoint.errors import CheckpointCorrupt, CheckpointTooNew
from paramserver.checkpoint.shards import INDEX, file_names
from paramserver.store.optimizers import OptimizerState
from paramserver.store.snapshot import Snapshot, VariableSnapshot, VariableState
from paramserver_wire import safetensors
from paramserver_wire.dtypes import MAX_NDIM, dtype_named, name_of, nbytes_of
from paramserver_wire.errors import WireError
from paramserver_wire.names import MAX_SLOT_NAME, check_checkpoint_id, check_name

FORMAT: Final = "paramserver-checkpoint"
FORMAT_VERSION: Final = 2
"""2: values in more than one file. 1 is read as well: the fields it lacks have the one meaning they had then."""
MANIFEST: Final = "manifest.json"
MAX_MANIFEST_NBYTES: Final = 1 << 30

_FIRST_LINE: Final = re.compile(rb'\{"sha256": "([0-9a-f]{64})",')
_INCARNATION: Final = re.compile(r"[0-9a-f]{16}")
_REALS: Final = {"complex64": "float32", "complex128": "float64"}


@dataclass(frozen=True, slots=True)
class About:
    """What the one who saves says about a checkpoint.

    `sequence` orders the checkpoints of one data directory, `server` tells which directory that is. Only a `full` one,
    with every value, all scopes and the request ids, can bring a server back. `created` is in seconds since the epoch.
    """

    id: str
    created: float
    full: bool = False
    series: str = "default"
    step: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    sequence: int = 0
    server: str = ""


@dataclass(frozen=True, slots=True)
class SavedVariable:
    """A variable as the manifest tells it. `crc32` is that of its bytes in `file`; both None when it had no value."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    version: int
    incarnation: str
    trainable: bool
    collections: tuple[str, ...]
    initializer: Mapping[str, Any] | None
    updated_at: float
    crc32: int | None
    file: str | None

    @property
    def initialized(self) -> bool:
        return self.crc32 is not None

    @property
    def nbytes(self) -> int:
        return self.snapshot(None).nbytes

    def snapshot(self, value: np.ndarray[Any, Any] | None) -> VariableSnapshot:
        """The variable as it was, with the value that was read for it."""
        state = VariableState(value, self.version, self.trainable, self.collections, self.initializer, self.updated_at)
        return VariableSnapshot(self.name, self.shape, self.dtype, self.incarnation, state)


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file of values, or the index of them, with its checksum."""

    name: str
    nbytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that a checkpoint says but the values. `variables` stand in the order of their creation."""

    about: About
    commit: int
    variables: Mapping[str, SavedVariable]
    scopes: Mapping[str, Mapping[str, Any]]
    requests: tuple[Mapping[str, Any], ...]
    files: tuple[SavedFile, ...]
    optimizers: Mapping[str, OptimizerState] = field(default_factory=dict)
    orders: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def model_files(self) -> tuple[SavedFile, ...]:
        """Those that hold values."""
        return tuple(file for file in self.files if file.name != INDEX)


def in_file_order(snapshot: Snapshot) -> list[VariableSnapshot]:
    """The variables that have a value, longest items first, so that each tensor is aligned in the file."""
    return sorted(
        (variable for variable in snapshot.variables.values() if variable.initialized),
        key=lambda variable: -variable.dtype.itemsize,
    )


def model_header(variables: Sequence[VariableSnapshot], commit: int) -> bytes:
    """The beginning of the safetensors file; the values follow at once, in the same order."""
    entries = [(variable.name, *stored_form(variable.dtype, variable.shape)) for variable in variables]
    header, _ = safetensors.header(entries, {"format": FORMAT, "commit": str(commit)})
    return header


def stored_form(dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """The dtype name and shape under which a value stands in the safetensors file.

    >>> stored_form(np.dtype("complex64"), (3,))
    ('float32', (3, 2))
    """
    name = name_of(dtype)
    if name not in _REALS:
        return name, shape
    if len(shape) < MAX_NDIM:
        return _REALS[name], (*shape, 2)
    # No axis is left for the pairs: they stand one after the other along the last one.
    return _REALS[name], (*shape[:-1], 2 * shape[-1])


def saved_variables(snapshot: Snapshot, stored: Mapping[str, tuple[int, str]]) -> dict[str, SavedVariable]:
    """The snapshot's variables as the manifest is to tell them. `stored` says checksum and file of those with a value."""
    return {
        name: SavedVariable(
            name,
            variable.shape,
            variable.dtype,
            variable.version,
            variable.incarnation,
            variable.state.trainable,
            variable.state.collections,
            variable.state.initializer,
            variable.state.updated_at,
            *stored.get(name, (None, None)),
        )
        for name, variable in snapshot.variables.items()
    }


def manifest_parts(manifest: Manifest) -> list[bytes]:
    """The bytes of manifest.json, one row to a line. Made in many small steps: one large one would hold up all threads."""
    about = manifest.about
    fields = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "id": about.id,
        "sequence": about.sequence,
        "server": about.server,
        "series": about.series,
        "full": about.full,
        "commit": manifest.commit,
        "step": about.step,
        "created": about.created,
        "metadata": dict(about.metadata),
        "files": [{"name": file.name, "nbytes": file.nbytes, "sha256": file.sha256} for file in manifest.files],
    }
    parts = [_json(fields)[1:-1]]
    parts += _rows("variables", (_row_of(variable) for variable in manifest.variables.values()))
    parts += _rows("scopes", ([scope, dict(defaults)] for scope, defaults in manifest.scopes.items()))
    parts += _rows("optimizers", ([name, state.row()] for name, state in manifest.optimizers.items()))
    parts += _rows("collections", ([key, list(names)] for key, names in manifest.orders.items()))
    parts += _rows("requests", (dict(row) for row in manifest.requests))
    parts.append(b"}\n")
    checksum = sha256()
    for part in parts:
        checksum.update(part)
    return [f'{{"sha256": "{checksum.hexdigest()}",\n'.encode(), *parts]


def parse_manifest(content: bytes, where: str) -> Manifest:
    """The manifest that `content` holds; `where` is the file to name in an error.

    Raises `CheckpointCorrupt` for anything that `manifest_parts` did not write, `CheckpointTooNew` for a newer format.
    """
    first, newline, rest = content.partition(b"\n")
    found = _FIRST_LINE.fullmatch(first)
    if not newline or found is None or sha256(rest).hexdigest().encode() != found[1]:
        raise CheckpointCorrupt(
            f"{where} is damaged: its content does not match its checksum; restore another checkpoint"
        )
    try:
        fields = json.loads(content)
        if fields["format"] != FORMAT:
            raise ValueError(f"wanted format {FORMAT!r}, got {fields['format']!r}")
        check_version(fields["format_version"], FORMAT_VERSION, where)
        return _manifest_of(fields)
    except (KeyError, TypeError, ValueError, RecursionError, WireError) as error:
        raise CheckpointCorrupt(f"{where} is no checkpoint manifest: {error!r}; restore another checkpoint") from None


def check_version(found: object, known: int, where: str) -> None:
    """Refuse a format version this code does not know: `CheckpointTooNew` if it is newer."""
    if type(found) is not int or found < 1:
        raise CheckpointCorrupt(f"{where} has format version {found!r}, wanted a whole number; it is not ours")
    if found > known:
        raise CheckpointTooNew(
            f"{where} was written by a newer version of paramserver: wanted format version {known} or older, got {found}; "
            "use a version that knows it"
        )


def check_entries(manifest: Manifest, file: SavedFile, header: safetensors.Header, where: str) -> None:
    """Raise `CheckpointCorrupt` unless the safetensors header holds exactly what the manifest says."""
    wanted = {
        variable.name: stored_form(variable.dtype, variable.shape)
        for variable in manifest.variables.values()
        if variable.file == file.name
    }
    held = {name: (name_of(entry.dtype), entry.shape) for name, entry in header.entries.items()}
    if wanted != held:
        names = sorted(name for name in wanted.keys() | held.keys() if wanted.get(name) != held.get(name))
        raise CheckpointCorrupt(
            f"{where} does not hold what the manifest says about {', '.join(names[:5])}; restore another checkpoint"
        )


def _manifest_of(fields: Mapping[str, Any]) -> Manifest:
    about = About(
        id=check_checkpoint_id(fields["id"]),
        created=_finite(fields["created"]),
        full=_typed(fields["full"], bool),
        series=_typed(fields["series"], str),
        step=None if fields["step"] is None else _count(fields["step"]),
        metadata=_typed(fields["metadata"], dict),
        sequence=_count(fields["sequence"]),
        server=_typed(fields["server"], str),
    )
    files = tuple(SavedFile(file["name"], _count(file["nbytes"]), file["sha256"]) for file in fields["files"])
    _check_file_names([file.name for file in files])
    variables = [_variable_of(row, {file.name for file in files}) for row in _typed(fields["variables"], list)]
    by_name = {variable.name: variable for variable in variables}
    if len(by_name) != len(variables):
        raise ValueError("wanted each variable once")
    scopes = {check_name(scope): _typed(defaults, dict) for scope, defaults in fields["scopes"]}
    requests = tuple(_typed(row, dict) for row in fields["requests"])
    # What was saved before there were optimizers has none.
    optimizers = {check_name(name): OptimizerState.of_row(row) for name, row in fields.get("optimizers", ())}
    orders = {_typed(key, str): [_typed(name, str) for name in names] for key, names in fields.get("collections", ())}
    return Manifest(about, _count(fields["commit"]), by_name, scopes, requests, files, optimizers, orders)


def _row_of(variable: SavedVariable) -> dict[str, Any]:
    return {
        "name": variable.name,
        "shape": list(variable.shape),
        "dtype": name_of(variable.dtype),
        "file": variable.file,
        "crc32": None if variable.crc32 is None else f"{variable.crc32:08x}",
        "version": variable.version,
        "incarnation": variable.incarnation,
        "trainable": variable.trainable,
        "collections": list(variable.collections),
        "initializer": None if variable.initializer is None else dict(variable.initializer),
        "updated_at": variable.updated_at,
    }


def _check_file_names(names: Sequence[str]) -> None:
    """Nothing else may stand there: a name from a manifest is part of a path."""
    count = len(names) - 1
    wanted = file_names(1) if count < 2 else [*file_names(count), INDEX]
    if names != wanted:
        raise ValueError(f"wanted the files {wanted[:3]}, got {names[:3]}")


def _variable_of(row: Mapping[str, Any], files: Collection[str]) -> SavedVariable:
    dtype = dtype_named(row["dtype"])
    nbytes_of(row["shape"], dtype)
    file = row["file"]
    if (file is not None and (file not in files or file == INDEX)) or (file is None) != (row["crc32"] is None):
        raise ValueError(f"wanted one of the files and a checksum for {row['name']!r}, or neither")
    if _INCARNATION.fullmatch(row["incarnation"]) is None:
        raise ValueError(f"wanted an incarnation of 16 hex digits, got {row['incarnation']!r}")
    return SavedVariable(
        name=check_name(row["name"], limit=MAX_SLOT_NAME),
        shape=tuple(row["shape"]),
        dtype=dtype,
        version=_count(row["version"]),
        incarnation=row["incarnation"],
        trainable=_typed(row["trainable"], bool),
        collections=tuple(_typed(key, str) for key in _typed(row["collections"], list)),
        initializer=None if row["initializer"] is None else _typed(row["initializer"], dict),
        updated_at=_finite(row["updated_at"]),
        crc32=None if row["crc32"] is None else int(row["crc32"], 16),
        file=file,
    )


def _rows(name: str, rows: Iterable[Any]) -> Iterator[bytes]:
    separator = f',\n"{name}": [\n'.encode()
    for row in rows:
        yield separator + _json(row)
        separator = b",\n"
    yield b"\n]" if separator == b",\n" else separator + b"]"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"wanted {kind.__name__}, got {value!r:.40}")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"wanted a whole number of at least 0, got {value!r:.40}")
    return value


def _finite(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"wanted a number, got {value!r:.40}")
    return float(value)
