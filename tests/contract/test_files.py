"""Whole files of variables, out and in, behind every door."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors import numpy as public_numpy

import paramserver_client as ps
from paramserver_wire import safetensors
from paramserver_wire.dtypes import DTYPES
from support.arrays import same_bits
from support.contract import everything, f32, refused, value

# Small, of several pieces, and large enough for a buffer of its own from the socket on.
SIZES = [0, 3, 100_000, 700_001]


def written(path: Path, **arrays: Any) -> Path:
    path.write_bytes(b"".join(safetensors.file_parts(arrays, {})))
    return path


@pytest.mark.parametrize("size", SIZES)
def test_out_and_in_again(client: ps.ParameterClient, tmp_path: Path, size: int) -> None:
    values = {
        "m/w": np.arange(size, dtype=np.float32),
        "m/half": np.ones((2, size), np.float16),
        "m/b": np.array([True, False]),
        "m/n": np.array(7, np.int64),
    }
    for name, array in values.items():
        client.create_variable(name, value=array)
    client.create_variable("m/none", (2,), "float32", "zeros")
    path = tmp_path / "model.safetensors"
    told: list[tuple[int, int]] = []
    out = client.export_safetensors(path, prefix="m", progress=lambda *done: told.append(done))
    assert out.commit == client.server()["commit"]
    assert out.skipped == ("m/none",)
    assert out.versions == {name: client.get_variable(name).tag for name in values}
    assert told[-1] == (path.stat().st_size, path.stat().st_size)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    found = public_numpy.load_file(path)
    assert all(np.array_equal(found[name], array) for name, array in values.items())
    told.clear()
    taken = client.import_safetensors(path, prefix="copy", progress=lambda *done: told.append(done))
    assert set(taken.created) == {f"copy/{name}" for name in values}
    assert taken.versions == dict.fromkeys(taken.created, 1)
    assert not taken.replayed
    assert taken.commit == out.commit + 1
    assert all(np.array_equal(client.read(f"copy/{name}"), array) for name, array in values.items())
    if size == SIZES[-1]:
        assert told[-1][1] == path.stat().st_size
        assert len(told) > 2
    assert list(tmp_path.iterdir()) == [path]


def test_every_dtype_the_format_holds(client: ps.ParameterClient, tmp_path: Path) -> None:
    held = {name: np.arange(2).astype(dtype) for name, dtype in DTYPES.items() if name != "complex128"}
    path = written(tmp_path / "all.safetensors", **held)
    client.import_safetensors(path)
    back = tmp_path / "back.safetensors"
    client.export_safetensors(back)
    found = safetensors.decode(back.read_bytes())
    assert all(same_bits(found[name], array) for name, array in held.items())
    assert found["bfloat16"].dtype == ml_dtypes.bfloat16
    client.create_variable("c", value=np.ones(1, np.complex128))
    with refused(client, ps.NotAcceptableError) as raised:
        client.export_safetensors(back)
    assert "'c'" in str(raised.value)
    assert sorted(tmp_path.iterdir()) == [path, back]


def test_what_an_import_does_to_variables_that_exist(client: ps.ParameterClient, tmp_path: Path) -> None:
    client.create_variable("w", value=np.zeros(2, np.float64))
    client.create_variable("other", value=f32(5))
    taken = client.import_safetensors(written(tmp_path / "a", w=f32(1, 2)), create=False)
    assert (taken.created, taken.versions) == ((), {"w": 2})
    assert value(client, "w") == ([1, 2], 2)
    assert value(client, "other") == ([5], 1)
    # Nobody sees half of it, and reading gives arrays of the caller's own.
    client.read("w")[0] = 99
    assert value(client, "w") == ([1, 2], 2)


def test_all_that_does_not_fit_is_listed(client: ps.ParameterClient, tmp_path: Path) -> None:
    client.create_variable("w", value=f32(0, 0))
    before = everything(client)
    path = written(tmp_path / "bad", **{"w": np.ones(3), "a:b": f32(1), "new": f32(1)})
    with refused(client, ps.ShapeMismatchError) as raised:
        client.import_safetensors(path, create=False)
    assert {(each["name"], each["code"]) for each in raised.value.errors} == {
        ("w", "shape_mismatch"),
        ("w", "dtype_mismatch"),
        ("a:b", "invalid_name"),
        ("new", "variable_not_found"),
    }
    with refused(client, ps.InvalidNameError):
        client.import_safetensors(written(tmp_path / "bad", w=f32(1)), prefix="../up")
    with refused(client, ps.NonFiniteError):
        client.import_safetensors(written(tmp_path / "bad", w=f32(1, np.nan)))
    assert everything(client) == before
    client.import_safetensors(tmp_path / "bad", allow_non_finite=True)
    assert np.isnan(client.read("w")[1])


@pytest.mark.parametrize(
    "content", [b"", b"1234567", b"not such a file at all", bytes(8), (1).to_bytes(8, "little") + b"{"]
)
def test_files_that_are_none(client: ps.ParameterClient, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rubbish"
    path.write_bytes(content)
    with pytest.raises((ps.MalformedBodyError, ps.BodyTooLargeError)):
        client.import_safetensors(path)
    assert everything(client) == {}


def test_files_that_are_not_there(client: ps.ParameterClient, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.import_safetensors(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        client.export_safetensors(tmp_path / "no" / "such" / "folder")
    with refused(client, ps.CollectionNotFoundError):
        client.export_safetensors(tmp_path / "never", collection="nobodys")
    assert list(tmp_path.iterdir()) == []


def test_a_caller_that_gives_up_leaves_nothing(client: ps.ParameterClient, tmp_path: Path) -> None:
    client.create_variable("w", value=np.zeros(700_000, np.float32))
    path = tmp_path / "model"
    client.export_safetensors(path)
    before = everything(client)

    class EnoughError(Exception):
        pass

    def stop(done_nbytes: int, total_nbytes: int) -> None:
        if done_nbytes > total_nbytes // 3:
            raise EnoughError

    with pytest.raises(EnoughError):
        client.export_safetensors(tmp_path / "half", progress=stop)
    with pytest.raises(EnoughError):
        client.import_safetensors(path, prefix="half", progress=stop)
    assert list(tmp_path.iterdir()) == [path]
    assert everything(client) == before


def test_a_checkpoints_file_is_fetched_whole(client: ps.ParameterClient, tmp_path: Path) -> None:
    client.create_variable("w", value=np.arange(700_000, dtype=np.float32))
    saved = client.save("made")
    path = tmp_path / "model.safetensors"
    told: list[tuple[int, int]] = []
    client.download_checkpoint(path, progress=lambda *done: told.append(done))
    (file,) = saved.files
    assert told[-1] == (file["nbytes"], file["nbytes"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]
    client.download_checkpoint(path, "made", file["name"])
    assert public_numpy.load_file(path)["w"][-1] == 699_999
    with refused(client, ps.CheckpointNotFoundError):
        client.download_checkpoint(tmp_path / "never", "nobodys")
    with refused(client, ps.InvalidRequestError):
        client.download_checkpoint(tmp_path / "never", "made", "no.such")
    assert list(tmp_path.iterdir()) == [path]
