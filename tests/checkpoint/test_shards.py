"""Values in several files, as Hugging Face's tools lay them out."""

from __future__ import annotations

import errno
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from paramserver.checkpoint import (
    About,
    CheckpointCorrupt,
    CheckpointError,
    DiskFull,
    read_checkpoint,
    read_manifest,
    read_values,
    write_checkpoint,
)
from paramserver.checkpoint.format import MANIFEST, manifest_parts, parse_manifest
from paramserver.checkpoint.shards import INDEX, MODEL, file_names, in_shards, index_of
from paramserver.store import NewVariable, Selection, Snapshot, VariableSnapshot, VariableState
from support.checkpoints import assert_same, cut, rich_store
from support.disks import FailingDisk, PowerCut, PowerCutDisk
from support.stores import seeded_store

ABOUT = About("m-3", 1_790_000_000.25, full=True)
GOLDEN = Path(__file__).parent.parent / "golden"


def model(**shapes: tuple[int, ...]) -> Snapshot:
    """float32 variables of these shapes, each filled with its place."""
    store = seeded_store(3)
    for number, (name, shape) in enumerate(shapes.items()):
        store.create(NewVariable(name.replace("__", "/"), value=np.full(shape, number, np.float32)))
    return store.snapshot(Selection())


def sized(name: str, nbytes: int) -> VariableSnapshot:
    state = VariableState(None, 0, True, (), None, 0.0)
    return VariableSnapshot(name, (nbytes,), np.dtype(np.uint8), "0" * 16, state)


def names_in(shards: Any) -> list[list[str]]:
    return [[variable.name for variable in held] for _, held in shards]


def test_files_are_filled_in_order() -> None:
    variables = [sized("a", 4), sized("b", 4), sized("c", 4), sized("d", 1)]
    assert names_in(in_shards(variables, 8)) == [["a", "b"], ["c", "d"]]
    assert names_in(in_shards(variables, 13)) == names_in(in_shards(variables, 0)) == [["a", "b", "c", "d"]]
    assert in_shards([], 8) == [(MODEL, [])]


def test_what_is_larger_alone_has_a_file_of_its_own() -> None:
    variables = [sized("a", 4), sized("huge", 100), sized("b", 4)]
    shards = in_shards(variables, 8)
    assert names_in(shards) == [["huge"], ["a", "b"]]
    assert [name for name, _ in shards] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]


@given(sizes=st.lists(st.integers(0, 40), max_size=30), limit=st.integers(1, 50))
def test_every_variable_is_in_one_file_that_is_no_larger_than_asked(sizes: list[int], limit: int) -> None:
    shards = in_shards([sized(str(number), nbytes) for number, nbytes in enumerate(sizes)], limit)
    assert sorted(name for held in names_in(shards) for name in held) == sorted(map(str, range(len(sizes))))
    for _, held in shards:
        assert len(held) == 1 or sum(variable.nbytes for variable in held) <= limit
    assert [name for name, _ in shards] == file_names(len(shards))


@pytest.mark.parametrize("shard_nbytes", [0, 1, 16, 64, 1 << 20])
def test_everything_comes_back_from_any_number_of_files(tmp_path: Path, shard_nbytes: int) -> None:
    snapshot = cut(rich_store())
    manifest = write_checkpoint(tmp_path / "c", snapshot, ABOUT, shard_nbytes=shard_nbytes)
    checkpoint = read_checkpoint(tmp_path / "c")
    assert_same(checkpoint.snapshot, snapshot)
    assert checkpoint.manifest == manifest == read_manifest(tmp_path / "c")
    listed = sorted([MANIFEST, *(file.name for file in manifest.files)])
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == listed
    assert (INDEX in listed) is (len(manifest.model_files) > 1) is (0 < shard_nbytes < 1 << 20)


def test_the_index_is_that_of_hugging_face(tmp_path: Path) -> None:
    """Byte for byte what huggingface_hub's own split of these tensors gives, as transformers write it."""
    snapshot = model(embed__weight=(4, 4), layers__0__w=(2, 4), layers__0__b=(4,), head=(4, 4), huge=(120,), last=(1,))
    manifest = write_checkpoint(tmp_path / "c", snapshot, ABOUT, shard_nbytes=100)
    assert (tmp_path / "c" / INDEX).read_bytes() == (GOLDEN / "hugging-face" / INDEX).read_bytes()
    assert [file.name for file in manifest.files] == [*file_names(3), INDEX]


def test_the_public_package_reads_each_file_by_the_index(tmp_path: Path) -> None:
    snapshot = model(a=(4, 4), b=(2, 4), c=(4,), d=(30,))
    write_checkpoint(tmp_path / "c", snapshot, ABOUT, shard_nbytes=64)
    index = json.loads((tmp_path / "c" / INDEX).read_text())
    assert index["metadata"] == {"total_size": sum(one.nbytes for one in snapshot.variables.values())}
    for name, file in index["weight_map"].items():
        value = safetensors.numpy.load_file(tmp_path / "c" / file)[name]
        np.testing.assert_array_equal(value, snapshot.variables[name].value)


def test_an_index_of_any_name() -> None:
    index = json.loads(index_of(3, {"b": "two", "a": "one"}))
    assert index == {"metadata": {"total_size": 3}, "weight_map": {"a": "one", "b": "two"}}


def test_some_values_are_read_from_their_file_alone(tmp_path: Path) -> None:
    manifest = write_checkpoint(tmp_path / "c", model(a=(4,), b=(4,), c=(4,)), ABOUT, shard_nbytes=16)
    (tmp_path / "c" / file_names(3)[0]).unlink()
    (tmp_path / "c" / file_names(3)[2]).write_bytes(b"")
    assert read_values(tmp_path / "c", manifest, {"b"})["b"].tolist() == [1] * 4
    with pytest.raises(CheckpointCorrupt, match=r"model-00001-of-00003\.safetensors is missing"):
        read_checkpoint(tmp_path / "c")
    with pytest.raises(
        CheckpointCorrupt, match=r"model-00003-of-00003\.safetensors is damaged: wanted \d+ bytes, got 0"
    ):
        read_values(tmp_path / "c", manifest, {"c"})


def test_every_damaged_byte_of_a_shard_is_found(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", model(a=(4,), b=(4,)), ABOUT, shard_nbytes=16)
    for name in file_names(2):
        path = tmp_path / "c" / name
        good = path.read_bytes()
        for position in range(len(good)):
            bad = bytearray(good)
            bad[position] ^= 1 << position % 8
            path.write_bytes(bad)
            with pytest.raises(CheckpointCorrupt, match=name):
                read_checkpoint(tmp_path / "c")
        path.write_bytes(good)


def test_shards_that_changed_places_are_found(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", model(a=(4,), b=(4,)), ABOUT, shard_nbytes=16)
    one, two = (tmp_path / "c" / name for name in file_names(2))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    with pytest.raises(CheckpointCorrupt, match="does not hold what the manifest says about a, b"):
        read_checkpoint(tmp_path / "c")


def test_values_do_not_need_the_index(tmp_path: Path) -> None:
    """It is for other readers; ours go by the manifest, and a derived file must not cost anybody the values."""
    snapshot = model(a=(4,), b=(4,))
    write_checkpoint(tmp_path / "c", snapshot, ABOUT, shard_nbytes=16)
    (tmp_path / "c" / INDEX).write_bytes(b"{}")
    assert_same(read_checkpoint(tmp_path / "c").snapshot, snapshot)


@pytest.mark.parametrize(
    "files",
    [
        [INDEX],
        [MODEL, INDEX],
        file_names(2),
        [*reversed(file_names(2)), INDEX],
        [INDEX, *file_names(2)],
        [file_names(2)[0], INDEX],
        [*file_names(3)[:2], INDEX],
        ["../model.safetensors"],
        [MODEL, MODEL],
    ],
)
def test_other_files_than_those_are_refused(tmp_path: Path, files: list[str]) -> None:
    manifest = write_checkpoint(tmp_path / "c", model(a=(4,), b=(4,)), ABOUT, shard_nbytes=16)
    content = b"".join(manifest_parts(manifest))
    fields = json.loads(content)
    row = fields["files"][0]
    fields["files"] = [{**row, "name": name} for name in files]
    with pytest.raises(CheckpointCorrupt, match="here"):
        parse_manifest(resigned(fields), "here")


@pytest.mark.parametrize("file", [INDEX, "model-00003-of-00002.safetensors", MODEL, 1, ["x"]])
def test_a_variable_in_another_file_is_refused(tmp_path: Path, file: Any) -> None:
    manifest = write_checkpoint(tmp_path / "c", model(a=(4,), b=(4,)), ABOUT, shard_nbytes=16)
    fields = json.loads(b"".join(manifest_parts(manifest)))
    fields["variables"][0]["file"] = file
    with pytest.raises(CheckpointCorrupt, match="here"):
        parse_manifest(resigned(fields), "here")


def resigned(fields: dict[str, Any]) -> bytes:
    rest = json.dumps({key: value for key, value in fields.items() if key != "sha256"}).encode()[1:]
    return f'{{"sha256": "{sha256(rest).hexdigest()}",\n'.encode() + rest


def a_of(directory: Path) -> float:
    value = read_checkpoint(directory).snapshot.variables["a"].value
    assert value is not None
    return float(value[0])


def valued(number: float) -> Snapshot:
    store = seeded_store(3)
    for name in "ab":
        store.create(NewVariable(name, value=np.full(4, number, np.float32)))
    return store.snapshot(Selection())


@pytest.mark.parametrize(("code", "kind"), [(errno.ENOSPC, DiskFull), (errno.EROFS, CheckpointError)])
def test_an_error_at_any_step_of_the_shards_leaves_the_old_one(
    tmp_path: Path, code: int, kind: type[CheckpointError]
) -> None:
    write_checkpoint(tmp_path / "c", valued(1), ABOUT, shard_nbytes=16)
    for first in range(1, 60):
        try:
            write_checkpoint(tmp_path / "c", valued(2), ABOUT, shard_nbytes=16, disk=FailingDisk(first, code))
        except CheckpointError as error:
            assert type(error) is kind
            assert a_of(tmp_path / "c") == 1
            assert [path.name for path in tmp_path.iterdir()] == ["c"]
        else:
            break
    assert first > 15
    assert a_of(tmp_path / "c") == 2


@pytest.mark.parametrize("losing", [False, True], ids=["all reached the disk", "unsynced is lost"])
def test_a_power_cut_at_any_step_of_the_shards_leaves_the_old_or_the_new_one(tmp_path: Path, losing: bool) -> None:
    disk = FailingDisk()
    write_checkpoint(tmp_path / "probe", valued(1), ABOUT, shard_nbytes=16)
    write_checkpoint(tmp_path / "probe", valued(2), ABOUT, shard_nbytes=16, disk=disk)
    for last in range(disk.steps):
        root = tmp_path / f"{last}"
        root.mkdir()
        write_checkpoint(root / "c", valued(1), ABOUT, shard_nbytes=16)
        cutting = PowerCutDisk(last)
        with pytest.raises(PowerCut):
            write_checkpoint(root / "c", valued(2), ABOUT, shard_nbytes=16, disk=cutting)
        if losing:
            cutting.lose(root)
        assert a_of(root / "c") in (1, 2)
        write_checkpoint(root / "c", valued(3), ABOUT)
        assert a_of(root / "c") == 3
        assert sorted(path.name for path in (root / "c").iterdir()) == [MANIFEST, MODEL]
