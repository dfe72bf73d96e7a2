"""`paramserver import` of checkpoints that TensorFlow wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from paramserver_client import ParameterClient
from support.commands import Run

GOLDEN = Path(__file__).parents[1] / "golden" / "tensorflow"


@pytest.mark.parametrize("named", ["parts.ckpt", "parts.ckpt.index"])
def test_a_checkpoint_comes_in_by_its_prefix_or_its_index(run: Run, client: ParameterClient, named: str) -> None:
    document = json.loads(run("import", str(GOLDEN / named), "--prefix", "old", "--json").stdout)
    assert sorted(document["created"]) == ["old/across", "old/table"]
    assert document["skipped"] == []
    assert np.array_equal(client.read("old/table"), np.arange(600, dtype=np.float32).reshape(200, 3))
    assert np.array_equal(client.read("old/across"), client.read("old/table").T)


def test_one_in_several_files(run: Run, client: ParameterClient) -> None:
    done = run("import", str(GOLDEN / "sharded.ckpt"))
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("imported 40 variables from ")
    assert client.read("layer39/weights").tolist() == [39.0] * 4


def test_what_no_variable_can_hold_is_told(run: Run, client: ParameterClient) -> None:
    before = client.list_variables()
    done = run("import", str(GOLDEN / "types.ckpt-7"))
    assert done.exit_code == 1
    assert "'types/complex128' is complex128, which safetensors cannot hold" in done.stderr
    assert client.list_variables() == before


def test_a_damaged_one_changes_nothing(run: Run, client: ParameterClient, tmp_path: Path) -> None:
    for part in GOLDEN.glob("parts.ckpt.*"):
        shutil.copy(part, tmp_path)
    data = tmp_path / "parts.ckpt.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[1000] ^= 1
    data.write_bytes(content)
    before = client.list_variables()
    done = run("import", str(tmp_path / "parts.ckpt"))
    assert done.exit_code == 1
    assert "parts.ckpt" in done.stderr
    assert client.list_variables() == before


def test_no_checkpoint_and_no_file(run: Run, tmp_path: Path) -> None:
    done = run("import", str(tmp_path / "model.ckpt-1000"))
    assert done.exit_code == 1
    assert "No such file" in done.stderr


def test_strings_stay_behind(run: Run, client: ParameterClient) -> None:
    done = run("import", str(GOLDEN / "words.ckpt"))
    assert done.exit_code == 0, done.stderr
    assert "left out, strings  vocabulary" in done.stdout
    assert client.read("layer/weights").tolist() == [1.5, 2.5]
