"""Restores that are not plain: reshaped, rehearsed, in parts, one variable after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import paramserver_client as ps
from support.contract import everything, f32, refused, value


@pytest.fixture(autouse=True)
def _saved(client: ps.ParameterClient) -> None:
    client.create_variable("s/a", value=np.arange(6, dtype=np.float32).reshape(2, 3))
    client.create_variable("b", value=np.array([10], np.int64))
    client.save("x")


def codes(error: ps.ParameterServerError) -> dict[str, str]:
    return {each["name"]: each["code"] for each in error.errors}


def test_another_shape_with_as_many_elements(client: ps.ParameterClient) -> None:
    client.delete_variable("s/a")
    client.create_variable("s/a", value=np.zeros((3, 2), np.float32))
    with refused(client, ps.CheckpointIncompatibleError, "s/a") as raised:
        client.restore("x")
    assert codes(raised.value) == {"s/a": "shape_mismatch"}
    assert "reshape=true" in raised.value.detail
    done = client.restore("x", reshape=True)
    assert set(done.restored) == {"s/a", "b"}
    assert value(client, "s/a") == ([[0, 1], [2, 3], [4, 5]], 2)


@pytest.mark.parametrize("shape", [(7,), (0, 6), (2, 2), ()])
def test_another_count_never_fits(client: ps.ParameterClient, shape: tuple[int, ...]) -> None:
    client.delete_variable("s/a")
    client.create_variable("s/a", value=np.zeros(shape, np.float32))
    with refused(client, ps.CheckpointIncompatibleError, "s/a") as raised:
        client.restore("x", reshape=True)
    assert codes(raised.value) == {"s/a": "shape_mismatch"}


def test_a_reshape_changes_no_dtype(client: ps.ParameterClient) -> None:
    client.delete_variable("b")
    client.create_variable("b", value=np.zeros((1, 1), np.float64))
    with refused(client, ps.CheckpointIncompatibleError, "b") as raised:
        client.restore("x", reshape=True)
    assert codes(raised.value) == {"b": "dtype_mismatch"}


def test_every_difference_has_its_own_code(client: ps.ParameterClient) -> None:
    client.create_variable("empty", (1,))
    client.save("x")
    client.delete_variables(prefix="", confirm=True)
    client.create_variable("s/a", value=f32(1))
    client.create_variable("b", value=f32(1))
    wanted = {"nope": "checkpoint_incompatible", "empty": "uninitialized", "s/a": "shape_mismatch"}
    wanted |= {"b": "dtype_mismatch", "new": "variable_not_found"}
    arguments: dict[str, Any] = {"names": list(wanted), "rename": {"new": "b"}, "create": False}
    with refused(client, ps.CheckpointIncompatibleError, *wanted) as raised:
        client.restore("x", **arguments)
    assert codes(raised.value) == wanted
    with refused(client, ps.CheckpointIncompatibleError, *wanted) as rehearsed:
        client.restore("x", dry_run=True, **arguments)
    assert rehearsed.value.errors == raised.value.errors
    done = client.restore("x", strict=False, **arguments)
    assert {each["name"]: each["code"] for each in done.differences} == wanted
    assert (done.restored, set(done.missing), set(done.unexpected)) == ((), {"nope", "empty"}, {"s/a", "b", "new"})


@pytest.mark.parametrize("sequentially", [False, True])
def test_a_dry_run_tells_and_changes_nothing(client: ps.ParameterClient, sequentially: bool) -> None:
    client.push({"b": [5]})
    client.create_variable("new", value=f32(7))
    client.delete_variable("s/a")
    before, commit = everything(client), client.server()["commit"]
    arguments: dict[str, Any] = {"restore_sequentially": sequentially}
    told = client.restore("x", dry_run=True, **arguments)
    assert everything(client) == before
    assert client.server()["commit"] == told.commit == commit
    done = client.restore("x", **arguments)
    assert (set(told.restored), told.missing, told.unexpected) == (set(done.restored), ("new",), ())
    assert done.commit == commit + (2 if sequentially else 1)


def test_a_dry_run_that_is_not_strict_lists_what_would_be_left_out(client: ps.ParameterClient) -> None:
    client.delete_variable("b")
    client.create_variable("b", value=f32(1))
    told = client.restore("x", names=["s/a", "b", "nope"], strict=False, dry_run=True)
    assert (told.restored, told.missing, told.unexpected) == (("s/a",), ("nope",), ("b",))
    assert [each["code"] for each in told.differences] == ["checkpoint_incompatible", "dtype_mismatch"]


def test_one_variable_after_the_other(client: ps.ParameterClient) -> None:
    client.push({"b": [5]})
    client.assign("s/a", np.ones((2, 3), np.float32))
    commit = client.server()["commit"]
    done = client.restore("x", names=["b", "copy", "s/a"], rename={"copy": "b"}, restore_sequentially=True)
    assert set(done.restored) == {"b", "copy", "s/a"}
    assert done.commit == client.server()["commit"] == commit + 3
    assert (value(client, "b"), value(client, "copy")) == (([10], 3), ([10], 1))
    assert value(client, "s/a")[0] == [[0, 1, 2], [3, 4, 5]]
    assert client.server()["state"] == "ready"


def test_a_sequential_restore_is_checked_whole_before_it_begins(client: ps.ParameterClient) -> None:
    client.delete_variable("b")
    client.create_variable("b", value=f32(1))
    with refused(client, ps.CheckpointIncompatibleError, "b"):
        client.restore("x", restore_sequentially=True)
    done = client.restore("x", restore_sequentially=True, strict=False)
    assert (done.restored, done.unexpected) == (("s/a",), ("b",))


def test_nothing_to_restore_is_a_restore_of_nothing(client: ps.ParameterClient) -> None:
    assert client.restore("x", names=[], restore_sequentially=True).restored == ()
    assert client.restore("x", names=[], dry_run=True).restored == ()


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"names": ["b", "b"]}, ps.InvalidRequestError),
        ({"names": ["b"], "rename": {"s/a": "b"}}, ps.InvalidRequestError),
        ({"rename": {"b": "a//b"}}, ps.InvalidNameError),
        ({"rename": {"../b": "b"}}, ps.InvalidNameError),
        ({"rename": {"c": "nope"}}, ps.CheckpointIncompatibleError),
        ({"names": ["nope", "neither"]}, ps.CheckpointIncompatibleError),
    ],
)
@pytest.mark.parametrize("how", [{}, {"dry_run": True}, {"restore_sequentially": True}], ids=["whole", "dry", "each"])
def test_what_is_refused_however_it_is_asked(
    client: ps.ParameterClient, arguments: dict[str, Any], kind: Any, how: dict[str, Any]
) -> None:
    with refused(client, kind):
        client.restore("x", **arguments, **how)
    with refused(client, ps.CheckpointNotFoundError):
        client.restore("y", **how)


def test_a_swap_by_rename(client: ps.ParameterClient) -> None:
    client.create_variable("c", value=np.array([20], np.int64))
    client.save("y")
    client.restore("y", rename={"b": "c", "c": "b"})
    assert (value(client, "b")[0], value(client, "c")[0]) == ([20], [10])
