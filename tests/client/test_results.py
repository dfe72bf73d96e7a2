from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from paramserver_client import errors, results
from paramserver_wire.tensors import Tensor

METADATA = {
    "name": "w",
    "shape": [2, 3],
    "dtype": "bfloat16",
    "version": 4,
    "incarnation": "6c0f3a9d5be71284",
    "initialized": True,
    "trainable": True,
    "collections": ["variables"],
    "initializer": {"type": "zeros"},
    "nbytes": 12,
    "updated_at": "2026-11-24T08:07:06.123456Z",
}


def test_metadata() -> None:
    found = results.metadata_of({**METADATA, "of_a_newer_server": 1})
    assert (found.shape, found.dtype, found.collections) == ((2, 3), "bfloat16", ("variables",))
    assert found.tag == "6c0f3a9d5be71284-4"


@pytest.mark.parametrize(
    "body", [None, [], {}, {**METADATA, "dtype": "bogus"}, {**METADATA, "shape": None}, {"name": "w"}]
)
def test_an_answer_that_does_not_fit(body: Any) -> None:
    with pytest.raises(errors.UnexpectedAnswerError, match="makes a Metadata") as raised:
        results.metadata_of(body)
    assert raised.value.outcome == "applied"


def test_a_damaged_checkpoint_lacks_what_nobody_knows() -> None:
    body = {
        "id": "a",
        "state": "damaged",
        "problem": {"code": "checkpoint_corrupt", "detail": "cut"},
        "commit": 0,
        "step": None,
        "created": "1970-01-01T00:00:00.000000Z",
        "nbytes": 0,
    }
    found = results.checkpoint_of({**body, "variables": 0, "files": []})
    assert (found.state, found.detail, found.files, found.skipped) == ("damaged", "cut", (), ())


def test_a_snapshot_is_a_mapping() -> None:
    values = {"a": np.ones(2), "b": np.zeros(1)}
    snapshot = results.Snapshot(7, values, {"a": "x-1", "b": "x-2"})
    assert list(snapshot) == ["a", "b"]
    assert snapshot["a"] is values["a"]
    assert (len(snapshot), snapshot.commit, "c" in snapshot) == (2, 7, False)
    assert repr(snapshot) == "Snapshot(commit=7, 2 values)"


def test_tensors() -> None:
    tensor = Tensor(np.ones(2), {"incarnation": "x", "version": 3})
    assert results.tag_of(tensor) == "x-3"
    assert results.arrays_of({"w": tensor}) == {"w": tensor.array}
    assert results.arrays_of(None) == {}
