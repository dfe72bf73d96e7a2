"""The manifest: what a well-formed checksum does not excuse, and what stays of it as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from paramserver.checkpoint import About, CheckpointCorrupt, CheckpointTooNew, Manifest, SavedFile
from paramserver.checkpoint.format import (
    FORMAT_VERSION,
    manifest_parts,
    parse_manifest,
    saved_variables,
    stored_form,
)
from paramserver.checkpoint.shards import MODEL
from support.checkpoints import cut, rich_store

Change = Callable[[dict[str, Any]], Any]


def manifest() -> Manifest:
    snapshot = cut(rich_store())
    stored = {name: (7, MODEL) for name, variable in snapshot.variables.items() if variable.initialized}
    files = (SavedFile(MODEL, 100, "0" * 64),)
    variables = saved_variables(snapshot, stored)
    return Manifest(About("m/1", 1.5), snapshot.commit, variables, snapshot.scopes, snapshot.requests, files)


def signed(fields: dict[str, Any]) -> bytes:
    """Bytes as a liar would write them, with the right checksum."""
    rest = json.dumps({key: value for key, value in fields.items() if key != "sha256"}).encode()[1:]
    return f'{{"sha256": "{sha256(rest).hexdigest()}",\n'.encode() + rest


def test_it_is_json_and_comes_back() -> None:
    written = manifest()
    content = b"".join(manifest_parts(written))
    assert parse_manifest(content, "here") == written
    fields = json.loads(content)
    assert fields["format"] == "paramserver-checkpoint"
    assert parse_manifest(signed(fields), "here") == written
    empty = Manifest(About("m", 1.5), 0, {}, {}, (), written.files)
    assert parse_manifest(b"".join(manifest_parts(empty)), "here") == empty


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.pop("format"),
        lambda fields: fields.update(format="other"),
        lambda fields: fields.update(format_version="1"),
        lambda fields: fields.update(format_version=True),
        lambda fields: fields.update(id="../x"),
        lambda fields: fields.update(id="latest"),
        lambda fields: fields.update(commit=-1),
        lambda fields: fields.update(step="3"),
        lambda fields: fields.update(full=1),
        lambda fields: fields.update(created=None),
        lambda fields: fields.update(files=[]),
        lambda fields: fields["files"][0].update(name="../../etc/passwd"),
        lambda fields: fields["files"][0].update(nbytes=True),
        lambda fields: fields.update(variables={}),
        lambda fields: fields["variables"].append(fields["variables"][0]),
        lambda fields: fields["variables"][0].update(name="a//b"),
        lambda fields: fields["variables"][0].update(shape=[2**32, 2**32, 0]),
        lambda fields: fields["variables"][0].update(shape=[-1]),
        lambda fields: fields["variables"][0].update(dtype="object"),
        lambda fields: fields["variables"][0].update(version=1.5),
        lambda fields: fields["variables"][0].update(incarnation="x"),
        lambda fields: fields["variables"][0].update(crc32=None),
        lambda fields: fields["variables"][0].update(crc32="zz"),
        lambda fields: fields["variables"][0].update(file="other.safetensors"),
        lambda fields: fields["variables"][0].update(collections="variables"),
        lambda fields: fields["variables"][0].update(initializer=[]),
        lambda fields: fields["scopes"].append(["a b", {}]),
        lambda fields: fields.update(requests=[1]),
    ],
)
def test_a_lie_with_the_right_checksum_is_refused(change: Change) -> None:
    fields = json.loads(b"".join(manifest_parts(manifest())))
    change(fields)
    with pytest.raises(CheckpointCorrupt, match="here"):
        parse_manifest(signed(fields), "here")


def test_a_newer_version_is_refused_whatever_else_it_says() -> None:
    with pytest.raises(CheckpointTooNew, match=r"here was written by a newer version .* got 3"):
        parse_manifest(signed({"format": "paramserver-checkpoint", "format_version": FORMAT_VERSION + 1}), "here")


def test_no_json_no_checkpoint() -> None:
    for rest in (b"", b"[" * 100_000, b"1]", b'"format": NaN}'):
        content = f'{{"sha256": "{sha256(rest).hexdigest()}",\n'.encode() + rest
        with pytest.raises(CheckpointCorrupt, match="here is no checkpoint manifest"):
            parse_manifest(content, "here")


def test_how_values_stand_in_the_model_file() -> None:
    assert stored_form(np.dtype("float32"), (2,)) == ("float32", (2,))
    assert stored_form(np.dtype("complex128"), ()) == ("float64", (2,))
    assert stored_form(np.dtype("complex64"), (1,) * 7 + (3,)) == ("float32", (1,) * 7 + (6,))
