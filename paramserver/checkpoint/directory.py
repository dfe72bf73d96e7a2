"""One checkpoint directory: written whole or not at all, and removed for good."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from paramserver.checkpoint.errors import CheckpointError, disk_trouble
from paramserver.checkpoint.format import (
    MANIFEST,
    About,
    Manifest,
    SavedFile,
    in_file_order,
    manifest_parts,
    model_header,
    saved_variables,
)
from paramserver.checkpoint.reading import ASIDE, blocks, named_beside
from paramserver.checkpoint.shards import DEFAULT_SHARD_NBYTES, INDEX, in_shards, index_of
from paramserver.disk import SAVING, Disk, remove_tree
from paramserver.store.snapshot import Snapshot, VariableSnapshot
from paramserver_wire.checksum import crc32


def write_checkpoint(
    directory: Path,
    snapshot: Snapshot,
    about: About,
    *,
    shard_nbytes: int = DEFAULT_SHARD_NBYTES,
    disk: Disk | None = None,
) -> Manifest:
    """Save a snapshot as the checkpoint directory `directory`, which exists whole afterwards or not at all.

    Blocks for the disk; the values are written from where they are, without a second copy. An older checkpoint in that
    place is replaced; its parent directory must exist. Variables without a value are noted in the manifest only. More
    than `shard_nbytes` of values (0: no limit) go into several files, with an index beside them.

    Raises `DiskFull` or `CheckpointError`: then what was there before is there still, and nothing else.
    """
    disk = disk or Disk()
    beside, aside = named_beside(directory, SAVING), named_beside(directory, ASIDE)
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
            manifest = _write_files(beside, snapshot, about, shard_nbytes, disk)
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


def remove_checkpoint(directory: Path, *, disk: Disk | None = None) -> None:
    """Remove a checkpoint directory; its manifest first, so that a half removed one does not exist. Raises OSError."""
    remove_tree(disk or Disk(), directory, first=MANIFEST)


def _write_files(beside: Path, snapshot: Snapshot, about: About, shard_nbytes: int, disk: Disk) -> Manifest:
    variables = in_file_order(snapshot)
    shards = in_shards(variables, shard_nbytes)
    files: list[SavedFile] = []
    stored: dict[str, tuple[int, str]] = {}
    for name, held in shards:
        saved, crc32s = _write_values(beside / name, held, snapshot.commit, disk)
        files.append(saved)
        stored.update({variable: (checksum, name) for variable, checksum in crc32s.items()})
    if len(shards) > 1:
        content = index_of(
            sum(variable.nbytes for variable in variables), {name: at for name, (_, at) in stored.items()}
        )
        _write_small(beside / INDEX, [content], disk)
        files.append(SavedFile(INDEX, len(content), sha256(content).hexdigest()))
    manifest = Manifest(
        about,
        snapshot.commit,
        saved_variables(snapshot, stored),
        snapshot.scopes,
        snapshot.requests,
        tuple(files),
        snapshot.optimizers,
        snapshot.orders,
    )
    _write_small(beside / MANIFEST, manifest_parts(manifest), disk)
    return manifest


def _write_values(
    path: Path, variables: Sequence[VariableSnapshot], commit: int, disk: Disk
) -> tuple[SavedFile, dict[str, int]]:
    """Write one file of values; returns it, and the checksum of each value."""
    header = model_header(variables, commit)
    whole, nbytes, crc32s = sha256(header), len(header), {}
    with disk.create(path) as file:
        disk.write(file, header)
        for variable in variables:
            assert variable.value is not None, "in_file_order leaves out what has no value"
            checksum = 0
            for block in blocks(variable.value):
                disk.write(file, block)
                checksum = crc32(block, checksum)
                whole.update(block)
                nbytes += block.nbytes
            crc32s[variable.name] = checksum
        disk.sync(file)
    return SavedFile(path.name, nbytes, whole.hexdigest()), crc32s


def _write_small(path: Path, parts: Iterable[bytes], disk: Disk) -> None:
    with disk.create(path) as file:
        for part in parts:
            disk.write(file, part)
        disk.sync(file)


def _put_in_place(beside: Path, directory: Path, aside: Path, *, replacing: bool, disk: Disk) -> None:
    """Rename the finished directory. No call swaps two directories, so for a moment the old one stands aside; a crash
    then leaves it there, and `in_place` finds it."""
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


def _refuse_what_is_no_checkpoint(directory: Path, disk: Disk) -> None:
    try:
        names = disk.names(directory)
    except NotADirectoryError:
        names = [directory.name]
    if names and MANIFEST not in names:
        raise CheckpointError(f"{directory} exists and is no checkpoint; save under another name, or move it away")
