"""A checkpoint directory as readers see it: every checksum verified before a value is given away.

`verify` lists everything that is wrong with one, and needs neither a store nor a server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from hashlib import sha256
from io import FileIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from paramserver.checkpoint.errors import CheckpointCorrupt, CheckpointNotFound, disk_trouble
from paramserver.checkpoint.format import (
    MANIFEST,
    MAX_MANIFEST_NBYTES,
    Manifest,
    SavedFile,
    check_entries,
    parse_manifest,
)
from paramserver.disk import Disk, read_file
from paramserver.store.snapshot import Snapshot
from paramserver_wire import safetensors
from paramserver_wire.checksum import crc32
from paramserver_wire.errors import WireError

Array = np.ndarray[Any, Any]
Allocate = Callable[[tuple[int, ...], np.dtype[Any]], Array]

ASIDE: Final = ".old"
BLOCK_NBYTES: Final = 1 << 20
"""Checksums and writes go by blocks of this size: large enough to be cheap, small enough to stay in the cache."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint as read from disk: its manifest, and the cut it was saved from."""

    manifest: Manifest
    snapshot: Snapshot


def read_manifest(directory: Path, *, disk: Disk | None = None) -> Manifest:
    """A checkpoint's manifest, verified. Raises `CheckpointNotFound` without one, `CheckpointCorrupt` when damaged."""
    disk = disk or Disk()
    path = in_place(directory, disk) / MANIFEST
    with disk_trouble(f"reading {path}"):
        try:
            content = read_file(disk, path, limit_nbytes=MAX_MANIFEST_NBYTES)
        except (FileNotFoundError, NotADirectoryError):
            raise CheckpointNotFound(
                f"{directory} holds no checkpoint: {MANIFEST} is missing; name a directory that was saved"
            ) from None
        except ValueError as error:
            raise CheckpointCorrupt(str(error)) from None
    return parse_manifest(content, str(path))


def read_checkpoint(directory: Path, *, disk: Disk | None = None, allocate: Allocate = np.empty) -> Checkpoint:
    """A whole checkpoint, every checksum verified. Blocks for the disk.

    `allocate(shape, dtype)` gives the arrays to read into; it is called only for sizes that the files really have.
    Raises as `read_manifest`; `CheckpointCorrupt` names the file that is damaged, missing or too short.
    """
    manifest = read_manifest(directory, disk=disk)
    values = read_values(directory, manifest, disk=disk, allocate=allocate)
    variables = {name: saved.snapshot(values.get(name)) for name, saved in manifest.variables.items()}
    told = manifest.scopes, manifest.requests, manifest.optimizers, manifest.orders
    return Checkpoint(manifest, Snapshot(manifest.commit, variables, *told))


def read_values(
    directory: Path,
    manifest: Manifest,
    names: Collection[str] | None = None,
    *,
    disk: Disk | None = None,
    allocate: Allocate = np.empty,
) -> dict[str, Array]:
    """The values of these variables (all that have one, unless given), each verified; the rest is passed over."""
    return dict(each_value(directory, manifest, names, disk=disk, allocate=allocate))


def each_value(
    directory: Path,
    manifest: Manifest,
    names: Collection[str] | None = None,
    *,
    disk: Disk | None = None,
    allocate: Allocate = np.empty,
) -> Iterator[tuple[str, Array]]:
    """As `read_values`, one verified value after the other: what was given away is not held on to."""
    disk = disk or Disk()
    at = in_place(directory, disk)
    wanted: dict[str, set[str]] = {}
    for variable in manifest.variables.values():
        if variable.file is not None and (names is None or variable.name in names):
            wanted.setdefault(variable.file, set()).add(variable.name)
    for saved in manifest.model_files:
        # Without names a file that holds nothing is looked at as well: it too can be damaged.
        if saved.name in wanted or names is None:
            yield from _read_file(at / saved.name, manifest, saved, wanted.get(saved.name, ()), disk, allocate)


def open_file(directory: Path, saved: SavedFile, *, disk: Disk | None = None) -> FileIO:
    """One file of a checkpoint, of the size it must have. It can be read even when the checkpoint is removed meanwhile."""
    disk = disk or Disk()
    path = in_place(directory, disk) / saved.name
    with disk_trouble(f"reading {path}"):
        try:
            file = disk.open(path)
        except FileNotFoundError:
            raise CheckpointCorrupt(f"{path} is missing; restore another checkpoint") from None
        nbytes = disk.nbytes(file)
        if nbytes != saved.nbytes:
            file.close()
            raise CheckpointCorrupt(
                f"{path} is damaged: wanted {saved.nbytes} bytes, got {nbytes}; restore another checkpoint"
            )
        return file


def in_place(directory: Path, disk: Disk) -> Path:
    """Where a checkpoint is: a crash in the middle of its replacement leaves it aside."""
    try:
        present = disk.names(directory.parent)
    except OSError:
        return directory
    aside = named_beside(directory, ASIDE)
    return aside if directory.name not in present and aside.name in present else directory


def named_beside(directory: Path, ending: str) -> Path:
    return directory.with_name(directory.name + ending)


def blocks(array: Array) -> Iterator[memoryview]:
    """The array's own bytes, row by row and little-endian; only an array that is laid out otherwise is copied."""
    flat = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).reshape(-1).view(np.uint8).data
    for begin in range(0, flat.nbytes, BLOCK_NBYTES):
        yield flat[begin : begin + BLOCK_NBYTES]


def _read_file(
    path: Path, manifest: Manifest, saved: SavedFile, names: Collection[str], disk: Disk, allocate: Allocate
) -> Iterator[tuple[str, Array]]:
    with open_file(path.parent, saved, disk=disk) as file:
        with disk_trouble(f"reading {path}"):
            prefix = _read_prefix(file, path, saved.nbytes, disk)
        header = _header_of(prefix, path, saved)
        check_entries(manifest, saved, header, str(path))
        whole, values = sha256(prefix), 0
        for name, entry in header.entries.items():
            if name not in names:
                continue
            variable = manifest.variables[name]
            array = allocate(variable.shape, variable.dtype)
            checksum = 0
            with disk_trouble(f"reading {path}"):
                file.seek(header.data_start + entry.begin)
                for block in blocks(array):
                    disk.read_into(file, block)
                    checksum = crc32(block, checksum)
                    whole.update(block)
            if checksum != variable.crc32:
                raise CheckpointCorrupt(
                    f"{path} is damaged: the value of variable {name!r} does not match its checksum; "
                    "restore another checkpoint, or the other variables by name"
                )
            values += 1
            yield name, array
            del array
        if values == len(header.entries) and whole.hexdigest() != saved.sha256:
            raise CheckpointCorrupt(f"{path} is damaged: it does not match its checksum; restore another checkpoint")


def _header_of(prefix: bytearray, path: Path, saved: SavedFile) -> safetensors.Header:
    try:
        return safetensors.parse(prefix, saved.nbytes)
    except WireError as error:
        raise CheckpointCorrupt(f"{path} is damaged: {error.detail}; restore another checkpoint") from None


def _read_prefix(file: FileIO, path: Path, nbytes: int, disk: Disk) -> bytearray:
    prefix = bytearray(min(8, nbytes))
    disk.read_into(file, memoryview(prefix))
    try:
        start = safetensors.data_start_of(prefix)
    except WireError as error:
        raise CheckpointCorrupt(f"{path} is damaged: {error.detail}; restore another checkpoint") from None
    if start > nbytes:
        raise CheckpointCorrupt(f"{path} is damaged: its header says it has {start} bytes; restore another checkpoint")
    prefix.extend(bytes(start - 8))
    disk.read_into(file, memoryview(prefix)[8:])
    return prefix
