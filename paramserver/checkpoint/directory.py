"""One checkpoint directory: written whole or not at all, read with every checksum verified, removed for good."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from hashlib import sha256
from io import FileIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from paramserver.checkpoint.disk import SAVING, Disk, read_file, remove_tree
from paramserver.checkpoint.errors import CheckpointCorrupt, CheckpointError, CheckpointNotFound, disk_trouble
from paramserver.checkpoint.format import (
    MANIFEST,
    MAX_MANIFEST_NBYTES,
    MODEL,
    About,
    Manifest,
    SavedFile,
    check_entries,
    in_file_order,
    manifest_parts,
    model_header,
    parse_manifest,
    saved_variables,
)
from paramserver.store.snapshot import Snapshot
from paramserver_wire import safetensors
from paramserver_wire.checksum import crc32
from paramserver_wire.errors import WireError

Array = np.ndarray[Any, Any]
Allocate = Callable[[tuple[int, ...], np.dtype[Any]], Array]

_ASIDE: Final = ".old"
_BLOCK_NBYTES: Final = 1 << 20
"""Checksums and writes go by blocks of this size: large enough to be cheap, small enough to stay in the cache."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint as read from disk: its manifest, and the cut it was saved from."""

    manifest: Manifest
    snapshot: Snapshot


def write_checkpoint(directory: Path, snapshot: Snapshot, about: About, *, disk: Disk | None = None) -> Manifest:
    """Save a snapshot as the checkpoint directory `directory`, which exists whole afterwards or not at all.

    Blocks for the disk; the values are written from where they are, without a second copy. An older checkpoint in that
    place is replaced; its parent directory must exist. Variables without a value are noted in the manifest only.

    Raises `DiskFull` or `CheckpointError`: then what was there before is there still, and nothing else.
    """
    disk = disk or Disk()
    beside, aside = _beside(directory, SAVING), _beside(directory, _ASIDE)
    with disk_trouble(f"saving {directory}"):
        present = set(disk.names(directory.parent))
        if directory.name in present:
            _refuse_what_is_no_checkpoint(directory, disk)
        if beside.name in present:
            remove_tree(disk, beside)
        if {directory.name, aside.name} <= present:
            remove_tree(disk, aside, first=MANIFEST)
        try:
            disk.make_directory(beside)
            manifest = _write_files(beside, snapshot, about, disk)
            disk.sync_directory(beside)
            _put_in_place(beside, directory, aside, replacing=directory.name in present, disk=disk)
        except BaseException:
            with contextlib.suppress(OSError):
                remove_tree(disk, beside)
            raise
        if {directory.name, aside.name} & present:
            # The new one is in place whatever happens here; what stays behind goes with the next save.
            with contextlib.suppress(OSError):
                remove_tree(disk, aside, first=MANIFEST)
    return manifest


def read_manifest(directory: Path, *, disk: Disk | None = None) -> Manifest:
    """A checkpoint's manifest, verified. Raises `CheckpointNotFound` without one, `CheckpointCorrupt` when damaged."""
    disk = disk or Disk()
    path = _in_place(directory, disk) / MANIFEST
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
    return Checkpoint(manifest, Snapshot(manifest.commit, variables, manifest.scopes, manifest.requests))


def read_values(
    directory: Path,
    manifest: Manifest,
    names: Collection[str] | None = None,
    *,
    disk: Disk | None = None,
    allocate: Allocate = np.empty,
) -> dict[str, Array]:
    """The values of these variables (all that have one, unless given), each verified; the rest is passed over."""
    disk = disk or Disk()
    (saved,) = manifest.files
    path = _in_place(directory, disk) / saved.name
    with disk_trouble(f"reading {path}"):
        try:
            file = disk.open(path)
        except FileNotFoundError:
            raise CheckpointCorrupt(f"{path} is missing; restore another checkpoint") from None
        with file:
            if disk.nbytes(file) != saved.nbytes:
                raise CheckpointCorrupt(
                    f"{path} is damaged: wanted {saved.nbytes} bytes, got {disk.nbytes(file)}; restore another checkpoint"
                )
            return _read_model(file, path, manifest, saved, names, disk, allocate)


def remove_checkpoint(directory: Path, *, disk: Disk | None = None) -> None:
    """Remove a checkpoint directory; its manifest first, so that a half removed one does not exist. Raises OSError."""
    remove_tree(disk or Disk(), directory, first=MANIFEST)


def _write_files(beside: Path, snapshot: Snapshot, about: About, disk: Disk) -> Manifest:
    variables = in_file_order(snapshot)
    header = model_header(variables, snapshot.commit)
    whole, nbytes, crc32s = sha256(header), len(header), {}
    with disk.create(beside / MODEL) as file:
        disk.write(file, header)
        for variable in variables:
            assert variable.value is not None, "in_file_order leaves out what has no value"
            checksum = 0
            for block in _blocks(variable.value):
                disk.write(file, block)
                checksum = crc32(block, checksum)
                whole.update(block)
                nbytes += block.nbytes
            crc32s[variable.name] = checksum
        disk.sync(file)
    files = (SavedFile(MODEL, nbytes, whole.hexdigest()),)
    manifest = Manifest(
        about, snapshot.commit, saved_variables(snapshot, crc32s), snapshot.scopes, snapshot.requests, files
    )
    with disk.create(beside / MANIFEST) as file:
        for part in manifest_parts(manifest):
            disk.write(file, part)
        disk.sync(file)
    return manifest


def _put_in_place(beside: Path, directory: Path, aside: Path, *, replacing: bool, disk: Disk) -> None:
    """Rename the finished directory. No call swaps two directories, so for a moment the old one stands aside; a crash
    then leaves it there, and `_in_place` finds it."""
    if replacing:
        disk.rename(directory, aside)
    try:
        disk.rename(beside, directory)
        disk.sync_directory(directory.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            disk.rename(directory, beside)
        if replacing:
            disk.rename(aside, directory)
        raise


def _in_place(directory: Path, disk: Disk) -> Path:
    try:
        present = disk.names(directory.parent)
    except OSError:
        return directory
    aside = _beside(directory, _ASIDE)
    return aside if directory.name not in present and aside.name in present else directory


def _beside(directory: Path, ending: str) -> Path:
    return directory.with_name(directory.name + ending)


def _refuse_what_is_no_checkpoint(directory: Path, disk: Disk) -> None:
    try:
        names = disk.names(directory)
    except NotADirectoryError:
        names = [directory.name]
    if names and MANIFEST not in names:
        raise CheckpointError(f"{directory} exists and is no checkpoint; save under another name, or move it away")


def _blocks(array: Array) -> Iterator[memoryview]:
    """The array's own bytes, row by row and little-endian; only an array that is laid out otherwise is copied."""
    flat = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).reshape(-1).view(np.uint8).data
    for begin in range(0, flat.nbytes, _BLOCK_NBYTES):
        yield flat[begin : begin + _BLOCK_NBYTES]


def _read_model(
    file: FileIO,
    path: Path,
    manifest: Manifest,
    saved: SavedFile,
    names: Collection[str] | None,
    disk: Disk,
    allocate: Allocate,
) -> dict[str, Array]:
    prefix = _read_prefix(file, path, saved.nbytes, disk)
    try:
        header = safetensors.parse(prefix, saved.nbytes)
    except WireError as error:
        raise CheckpointCorrupt(f"{path} is damaged: {error.detail}; restore another checkpoint") from None
    check_entries(manifest, saved, header, str(path))
    whole = sha256(prefix)
    values: dict[str, Array] = {}
    for name, entry in header.entries.items():
        if names is not None and name not in names:
            continue
        variable = manifest.variables[name]
        array = values[name] = allocate(variable.shape, variable.dtype)
        file.seek(header.data_start + entry.begin)
        checksum = 0
        for block in _blocks(array):
            disk.read_into(file, block)
            checksum = crc32(block, checksum)
            whole.update(block)
        if checksum != variable.crc32:
            raise CheckpointCorrupt(
                f"{path} is damaged: the value of variable {name!r} does not match its checksum; "
                "restore another checkpoint, or the other variables by name"
            )
    if len(values) == len(header.entries) and whole.hexdigest() != saved.sha256:
        raise CheckpointCorrupt(f"{path} is damaged: it does not match its checksum; restore another checkpoint")
    return values


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
