"""Which saved value goes to which variable."""

from __future__ import annotations

from typing import Any

import pytest

from paramserver.checkpoint import About, Manifest
from paramserver.checkpoint.arguments import choose
from paramserver.checkpoint.format import saved_variables
from paramserver.checkpoint.shards import MODEL
from paramserver.store import NewVariable, Selection
from support.checkpoints import store_with


def manifest() -> Manifest:
    store = store_with(a=1, b=2, c=3)
    store.create(NewVariable("empty", shape=(1,)))
    variables = saved_variables(store.snapshot(Selection()), dict.fromkeys("abc", (1, MODEL)))
    return Manifest(About("m", 0.0), 1, variables, {}, (), ())


@pytest.mark.parametrize(
    ("names", "rename", "chosen", "absent"),
    [
        (None, {}, {"a": "a", "b": "b", "c": "c"}, []),
        (["c", "a"], {}, {"c": "c", "a": "a"}, []),
        (["c", "x"], {}, {"c": "c"}, ["x"]),
        (["x", "y"], {"x": "a", "y": "a"}, {"x": "a", "y": "a"}, []),
        (["a", "b"], {"a": "b", "b": "a"}, {"a": "b", "b": "a"}, []),
        (["empty"], {}, {}, ["empty"]),
        (None, {"x": "a"}, {"x": "a", "b": "b", "c": "c"}, []),
        (None, {"a": "b"}, {"a": "b", "c": "c"}, []),
        (None, {"x": "nope"}, {"a": "a", "b": "b", "c": "c"}, ["x"]),
        (None, {"x": "empty"}, {"a": "a", "b": "b", "c": "c"}, ["x"]),
    ],
)
def test_choose(names: list[str] | None, rename: dict[str, str], chosen: Any, absent: list[str]) -> None:
    found, differences = choose(manifest(), names, rename)
    assert found == chosen
    assert [difference.name for difference in differences] == absent
    assert {difference.code for difference in differences} <= {"checkpoint_incompatible", "uninitialized"}
    assert all(("had no value" in one.detail) == (one.code == "uninitialized") for one in differences)
