"""Looking at a data directory from outside changes nothing and finds every damage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from paramserver.checkpoint import (
    About,
    CheckpointNotFound,
    holder_of,
    is_data_directory,
    read_manifest,
    survey,
    verify,
    write_checkpoint,
)
from support.checkpoints import cut, opened, rich_store, store_with


def saved(directory: Path) -> Path:
    """A data directory with two full checkpoints and a partial one, left by its server."""
    store = store_with(a=1.0, b=2.0)
    manager = opened(directory, store)
    manager.start()
    for id in ("one", "two"):
        manager.save(id)
    manager.save("part", names=["a"])
    manager.close()
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_data_directory_is_told_without_being_changed(tmp_path: Path) -> None:
    directory = saved(tmp_path / "data")
    before = contents(directory)
    found = survey(directory)
    assert contents(directory) == before
    assert [entry.id for entry in found.entries][:3] == ["part", "two", "one"]
    assert [entry.id for entry in found.recovery_points] == ["two", "one"]
    assert found.holder is None
    assert found.server is not None
    assert found.leftovers == found.gone == ()


def test_the_holder_is_told_while_a_server_has_it(tmp_path: Path) -> None:
    manager = opened(tmp_path / "data", store_with(a=1.0))
    manager.start()
    assert survey(tmp_path / "data").holder == str(os.getpid())
    manager.close()
    assert holder_of(tmp_path / "data") is None


def test_an_empty_directory_and_one_that_is_none(tmp_path: Path) -> None:
    found = survey(tmp_path)
    assert (found.server, found.holder, found.entries) == (None, None, ())
    assert not is_data_directory(tmp_path)
    assert is_data_directory(saved(tmp_path / "data"))


def test_a_sound_checkpoint_has_no_damage(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", cut(rich_store()), About("c", 1.0))
    assert verify(tmp_path / "c") == []


def test_all_damaged_variables_are_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", cut(store_with(a=1.0, b=2.0, c=3.0)), About("c", 1.0))
    file = tmp_path / "c" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    content[-24] ^= 1
    file.write_bytes(content)
    damage = verify(tmp_path / "c")
    assert len(damage) == 2
    for told, name in zip(damage, "ac", strict=True):
        assert str(file) in told
        assert f"variable '{name}'" in told
        assert "restore another checkpoint" in told


@pytest.mark.parametrize("name", ["manifest.json", "model.safetensors"])
@pytest.mark.parametrize("place", [0, 8, 40, -1])
def test_any_flipped_bit_is_found(tmp_path: Path, name: str, place: int) -> None:
    write_checkpoint(tmp_path / "c", cut(store_with(a=1.0)), About("c", 1.0))
    file = tmp_path / "c" / name
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.write_bytes(content)
    assert any(str(file) in told for told in verify(tmp_path / "c"))


def test_a_file_that_is_missing_or_short(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", cut(store_with(a=1.0)), About("c", 1.0))
    file = tmp_path / "c" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert len(verify(tmp_path / "c", read_manifest(tmp_path / "c"))) == 1
    file.unlink()
    (told,) = verify(tmp_path / "c")
    assert "missing" in told


def test_what_is_no_checkpoint_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound):
        verify(tmp_path)


def test_of_several_files_each_is_looked_at_the_index_too(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", cut(store_with(a=1.0, b=2.0, c=3.0)), About("c", 1.0), shard_nbytes=8)
    assert verify(tmp_path / "c") == []
    files = sorted(path.name for path in (tmp_path / "c").iterdir())
    assert len(files) == 5
    for name in files:
        path = tmp_path / "c" / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert [told.split()[0] for told in verify(tmp_path / "c")] == [str(path)]
        path.write_bytes(content)
