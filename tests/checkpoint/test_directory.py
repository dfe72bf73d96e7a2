"""A checkpoint directory: every value comes back bit by bit, any damage is found, and no failure leaves half of one."""

from __future__ import annotations

import errno
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings

from paramserver.checkpoint import (
    About,
    CheckpointCorrupt,
    CheckpointError,
    CheckpointNotFound,
    CheckpointTooNew,
    DiskFull,
    read_checkpoint,
    read_manifest,
    read_values,
    remove_checkpoint,
    write_checkpoint,
)
from paramserver.checkpoint.format import FORMAT_VERSION, MANIFEST, manifest_parts
from paramserver.checkpoint.shards import MODEL
from paramserver.store import Snapshot, VariableSnapshot, VariableState
from support.arrays import QUICK, arrays, same_bits
from support.checkpoints import assert_same, cut, rich_store, store_with
from support.disks import FailingDisk, PowerCut, PowerCutDisk

ABOUT = About("m-3", 1_790_000_000.25, full=True, series="s", step=3, metadata={"loss": 0.5, "tags": ["a"]}, sequence=9)


def tiny() -> Snapshot:
    return cut(store_with(w=1.5))


def one(value: np.ndarray[Any, Any]) -> Snapshot:
    state = VariableState(value, 1, True, ("variables",), None, 1.0)
    return Snapshot(1, {"v": VariableSnapshot("v", value.shape, value.dtype, "0" * 16, state)}, {})


def test_everything_comes_back(tmp_path: Path) -> None:
    snapshot = cut(rich_store())
    written = write_checkpoint(tmp_path / "c", snapshot, ABOUT)
    checkpoint = read_checkpoint(tmp_path / "c")
    assert_same(checkpoint.snapshot, snapshot)
    assert checkpoint.manifest == written
    assert checkpoint.manifest.about == ABOUT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [MANIFEST, MODEL]


@settings(QUICK)
@given(array=arrays())
def test_any_array_comes_back(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray[Any, Any]) -> None:
    directory = tmp_path_factory.mktemp("any") / "c"
    write_checkpoint(directory, one(array), ABOUT)
    value = read_checkpoint(directory).snapshot.variables["v"].value
    assert value is not None
    assert same_bits(value, array)


def test_the_public_safetensors_package_reads_the_values(tmp_path: Path) -> None:
    snapshot = cut(rich_store())
    write_checkpoint(tmp_path / "c", snapshot, ABOUT)
    loaded = safetensors.numpy.load_file(tmp_path / "c" / MODEL)
    values = {name: variable.value for name, variable in snapshot.variables.items() if variable.value is not None}
    assert sorted(loaded) == sorted(values)
    for name, value in values.items():
        theirs = loaded[name]
        if value.dtype.kind == "c":
            theirs = np.ascontiguousarray(theirs).reshape(-1).view(value.dtype).reshape(value.shape)
        assert same_bits(theirs, value), name


def test_tensors_are_aligned_in_the_file(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", cut(rich_store()), ABOUT)
    content = (tmp_path / "c" / MODEL).read_bytes()
    header = int.from_bytes(content[:8], "little")
    assert (8 + header) % 64 == 0


def test_values_are_written_without_a_second_copy(tmp_path: Path) -> None:
    big = one(np.zeros(8 << 20, np.uint8))
    tracemalloc.start()
    write_checkpoint(tmp_path / "c", big, ABOUT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20


def test_some_values_can_be_read_alone(tmp_path: Path) -> None:
    snapshot = cut(rich_store())
    manifest = write_checkpoint(tmp_path / "c", snapshot, ABOUT)
    values = read_values(tmp_path / "c", manifest, {"int8/v22", "conv1/weight"})
    assert sorted(values) == ["conv1/weight", "int8/v22"]
    wanted = snapshot.variables["conv1/weight"].value
    assert wanted is not None
    assert same_bits(values["conv1/weight"], wanted)


def test_every_damaged_byte_is_found(tmp_path: Path) -> None:
    snapshot = tiny()
    write_checkpoint(tmp_path / "c", snapshot, ABOUT)
    for name in (MODEL, MANIFEST):
        path = tmp_path / "c" / name
        good = path.read_bytes()
        for position in range(len(good)):
            bad = bytearray(good)
            bad[position] ^= 1 << position % 8
            path.write_bytes(bad)
            with pytest.raises(CheckpointCorrupt, match=name):
                read_checkpoint(tmp_path / "c")
        path.write_bytes(good)
    assert_same(read_checkpoint(tmp_path / "c").snapshot, snapshot)


def test_a_damaged_value_is_found_when_read_alone(tmp_path: Path) -> None:
    snapshot = cut(store_with(a=1, b=2))
    manifest = write_checkpoint(tmp_path / "c", snapshot, ABOUT)
    path = tmp_path / "c" / MODEL
    content = bytearray(path.read_bytes())
    content[-1] ^= 4
    path.write_bytes(content)
    with pytest.raises(CheckpointCorrupt, match=r"variable 'b' does not match its checksum"):
        read_values(tmp_path / "c", manifest, {"b"})
    assert read_values(tmp_path / "c", manifest, {"a"})["a"].tolist() == [1, 1]


def test_every_truncation_and_any_tail_is_found(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", tiny(), ABOUT)
    for name in (MODEL, MANIFEST):
        path = tmp_path / "c" / name
        good = path.read_bytes()
        for bad in (*(good[:length] for length in range(len(good))), good + b"\0", good + good):
            path.write_bytes(bad)
            with pytest.raises(CheckpointCorrupt, match=name):
                read_checkpoint(tmp_path / "c")
        path.write_bytes(good)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match="nowhere holds no checkpoint"):
        read_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointNotFound):
        read_checkpoint(tmp_path / "no" / "where")
    write_checkpoint(tmp_path / "c", tiny(), ABOUT)
    (tmp_path / "c" / MODEL).unlink()
    with pytest.raises(CheckpointCorrupt, match=r"model\.safetensors is missing"):
        read_checkpoint(tmp_path / "c")
    (tmp_path / "c" / MANIFEST).unlink()
    with pytest.raises(CheckpointNotFound, match=r"manifest\.json is missing"):
        read_manifest(tmp_path / "c")


def test_a_newer_format_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paramserver.checkpoint.format.FORMAT_VERSION", FORMAT_VERSION + 1)
    write_checkpoint(tmp_path / "c", tiny(), ABOUT)
    monkeypatch.undo()
    with pytest.raises(CheckpointTooNew, match=rf"c/manifest.json.* or older, got {FORMAT_VERSION + 1}"):
        read_checkpoint(tmp_path / "c")


def test_a_manifest_that_lies_about_the_model_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    manifest = write_checkpoint(tmp_path / "c", tiny(), ABOUT)
    huge = replace(manifest.variables["w"], shape=(1 << 40,))
    lie = replace(manifest, variables={"w": huge})
    (tmp_path / "c" / MANIFEST).write_bytes(b"".join(manifest_parts(lie)))
    with pytest.raises(CheckpointCorrupt, match="does not hold what the manifest says about w"):
        read_checkpoint(tmp_path / "c")


def test_a_checkpoint_in_the_same_place_is_replaced(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", cut(store_with(w=1)), ABOUT)
    write_checkpoint(tmp_path / "c", cut(store_with(w=2)), ABOUT)
    assert w_of(tmp_path / "c") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_nothing_but_a_checkpoint_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("all my work")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis").write_text("all my work")
    for name in ("thesis", "folder"):
        with pytest.raises(CheckpointError, match="is no checkpoint"):
            write_checkpoint(tmp_path / name, tiny(), ABOUT)
    assert (tmp_path / "thesis").read_text() == (tmp_path / "folder" / "thesis").read_text() == "all my work"


def w_of(directory: Path) -> float:
    value = read_checkpoint(directory).snapshot.variables["w"].value
    assert value is not None
    return float(value[0])


def steps_of_a_replacement(directory: Path) -> int:
    disk = FailingDisk()
    write_checkpoint(directory / "c", cut(store_with(w=1)), ABOUT)
    write_checkpoint(directory / "c", cut(store_with(w=2)), ABOUT, disk=disk)
    shutil.rmtree(directory / "c")
    return disk.steps


@pytest.mark.parametrize("losing", [False, True], ids=["all reached the disk", "unsynced is lost"])
def test_a_power_cut_at_any_step_leaves_the_old_or_the_new_one(tmp_path: Path, losing: bool) -> None:
    for last in range(steps_of_a_replacement(tmp_path)):
        root = tmp_path / f"{last}"
        root.mkdir()
        write_checkpoint(root / "c", cut(store_with(w=1)), ABOUT)
        disk = PowerCutDisk(last)
        with pytest.raises(PowerCut):
            write_checkpoint(root / "c", cut(store_with(w=2)), ABOUT, disk=disk)
        if losing:
            disk.lose(root)
        assert w_of(root / "c") in (1, 2)
        write_checkpoint(root / "c", cut(store_with(w=3)), ABOUT)
        assert w_of(root / "c") == 3
        assert [path.name for path in root.iterdir()] == ["c"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EIO, CheckpointError),
        (errno.EROFS, CheckpointError),
    ],
)
def test_an_error_at_any_step_leaves_the_old_one_and_no_leftovers(
    tmp_path: Path, code: int, kind: type[CheckpointError]
) -> None:
    write_checkpoint(tmp_path / "c", cut(store_with(w=1)), ABOUT)
    for first in range(1, 40):
        disk = FailingDisk(first, code)
        try:
            write_checkpoint(tmp_path / "c", cut(store_with(w=2)), ABOUT, disk=disk)
        except CheckpointError as error:
            assert type(error) is kind
            assert str(tmp_path / "c") in str(error)
            assert w_of(tmp_path / "c") == 1
            assert [path.name for path in tmp_path.iterdir()] == ["c"]
        else:
            break
    assert first > 10
    assert w_of(tmp_path / "c") == 2


def test_removing_goes_through(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", tiny(), ABOUT)
    remove_checkpoint(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []
