"""Rows read and written by their indices, and moving averages: the same behind every door."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import paramserver_client as ps
from paramserver_wire.messages import Message
from support.contract import f32, refused, value

SCATTERS = ["scatter_update", "scatter_add", "scatter_sub"]


@pytest.fixture(autouse=True)
def _a_table(client: ps.ParameterClient) -> None:
    client.create_variable("w", value=np.arange(6, dtype=np.float32).reshape(3, 2))


def scatter(client: ps.ParameterClient, op: str, *arguments: Any, **settings: Any) -> ps.Applied:
    applied: ps.Applied = getattr(client, op)(*arguments, **settings)
    return applied


# ---------------------------------------------------------------------------------------------------- gather


@pytest.mark.parametrize("indices", [[], [1], [2, 0, 2], [[0, 1], [2, 2]], [[[1]]], 1])
@pytest.mark.parametrize("dtype", [None, np.int8, np.uint64, np.int32])
def test_gather(client: ps.ParameterClient, indices: Any, dtype: Any) -> None:
    rows = client.gather("w", indices if dtype is None else np.array(indices, dtype))
    expected = client.read("w")[np.array(indices, np.int64)]
    assert (rows.shape, rows.dtype) == (expected.shape, np.float32)
    np.testing.assert_array_equal(rows, expected)


def test_gather_in_another_dtype(client: ps.ParameterClient) -> None:
    assert client.gather("w", [1], dtype="float64").dtype == np.float64
    with refused(client, ps.DtypeMismatchError, "w"):
        client.gather("w", [1], dtype="int32")


@pytest.mark.parametrize(
    ("indices", "kind"),
    [
        ([3], ps.IndexOutOfRangeError),
        ([0, -1], ps.IndexOutOfRangeError),
        (np.array([2**63], np.uint64), ps.IndexOutOfRangeError),
        ([0.5], ps.DtypeMismatchError),
        (f32(0, 1), ps.DtypeMismatchError),
        ([True], ps.DtypeMismatchError),
        (np.array([True]), ps.DtypeMismatchError),
        (["0"], ps.DtypeMismatchError),
        ([[0], [1, 2]], ps.ShapeMismatchError),
    ],
)
def test_what_is_no_row(client: ps.ParameterClient, indices: Any, kind: Any) -> None:
    with refused(client, kind, "w"):
        client.gather("w", indices)
    rows = np.zeros((*np.shape(indices), 2), np.float32) if kind is not ps.ShapeMismatchError else f32(1)
    for op in SCATTERS:
        with refused(client, kind, "w"):
            scatter(client, op, "w", indices, rows)
        with refused(client, kind, "w"):
            client.push([ps.Update("w", op, rows, indices=indices)])


def test_rows_of_what_has_none(client: ps.ParameterClient) -> None:
    client.create_variable("n", value=f32(1)[0])
    client.create_variable("u", (2,))
    with refused(client, ps.ShapeMismatchError, "n"):
        client.gather("n", [0])
    with refused(client, ps.ShapeMismatchError, "n"):
        client.scatter_add("n", [0], [1.0])
    with refused(client, ps.UninitializedError, "u"):
        client.gather("u", [0])
    with refused(client, ps.UninitializedError, "u"):
        client.scatter_update("u", [0], [1.0])
    with refused(client, ps.VariableNotFoundError, "nope"):
        client.gather("nope", [0])
    with refused(client, ps.VariableNotFoundError, "nope"):
        client.scatter_update("nope", [0], [1.0])


def test_more_rows_than_one_tensor_may_hold(client: ps.ParameterClient) -> None:
    client.create_variable("deep", value=np.zeros((1,) * 8, np.float32))
    with refused(client, ps.InvalidRequestError, "deep"):
        client.gather("deep", [[0]])


# ---------------------------------------------------------------------------------------------------- scatter


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("scatter_update", [[5, 6], [2, 3], [3, 4]]),
        ("scatter_add", [[5, 7], [2, 3], [8, 11]]),
        ("scatter_sub", [[-5, -5], [2, 3], [0, -1]]),
    ],
)
@pytest.mark.parametrize("typed", [False, True])
def test_scatter(client: ps.ParameterClient, op: str, expected: Any, typed: bool) -> None:
    commit = client.server()["commit"]
    indices, rows = [2, 0, 2], [[1, 2], [5, 6], [3, 4]]
    given = (np.array(indices, np.int16), np.array(rows, np.float32)) if typed else (indices, rows)
    applied = scatter(client, op, "w", *given, return_value=True)
    assert (applied.commit, applied.versions) == (commit + 1, {"w": 2})
    assert applied.values["w"].tolist() == expected
    assert value(client, "w") == (expected, 2)


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.float16, ml_dtypes.bfloat16, np.float64, np.complex64])
def test_repeats_accumulate_in_every_dtype(client: ps.ParameterClient, dtype: Any) -> None:
    client.create_variable("v", value=np.array([1, 2, 3], dtype))
    client.scatter_add("v", [1, 1, 1, 0], np.array([1, 2, 3, 4], dtype))
    assert client.read("v").astype(np.complex64).tolist() == [5, 8, 3]
    client.scatter_sub("v", [2, 2], np.array([1, 1], dtype))
    assert client.read("v").astype(np.complex64).tolist() == [5, 8, 1]


def test_bools_are_updated_only(client: ps.ParameterClient) -> None:
    client.create_variable("flags", value=np.array([True, True]))
    client.scatter_update("flags", [1], [False])
    assert client.read("flags").tolist() == [True, False]
    with refused(client, ps.DtypeMismatchError, "flags"):
        client.scatter_add("flags", [1], [True])


def test_nested_indices(client: ps.ParameterClient) -> None:
    client.scatter_update("w", [[0], [2]], [[[9, 9]], [[8, 8]]])
    assert client.read("w").tolist() == [[9, 9], [2, 3], [8, 8]]
    client.scatter_add("w", np.int64(1), f32(1, 1))
    assert client.read("w").tolist() == [[9, 9], [3, 4], [8, 8]]


def test_no_rows_are_a_write_all_the_same(client: ps.ParameterClient) -> None:
    before = client.read("w")
    assert client.scatter_add("w", [], np.zeros((0, 2), np.float32)).versions == {"w": 2}
    np.testing.assert_array_equal(client.read("w"), before)


def test_hogwild_and_conditions(client: ps.ParameterClient) -> None:
    tag = client.get_variable("w").tag
    client.scatter_add("w", [0], f32(1, 1)[None], use_locking=False)
    with refused(client, ps.VersionMismatchError, "w"):
        client.scatter_add("w", [0], f32(1, 1)[None], if_version=tag)
    client.scatter_update("w", [1], f32(np.nan, 1)[None], allow_non_finite=True)
    assert np.isnan(client.read("w")[1, 0])


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (f32(1, 2), ps.ShapeMismatchError),
        (f32(1, 2)[None, None], ps.ShapeMismatchError),
        (np.float32(1), ps.ShapeMismatchError),
        (1, ps.ShapeMismatchError),
        ([[1.0, 2.0], [3.0, 4.0]], ps.ShapeMismatchError),
        (np.ones((1, 2)), ps.DtypeMismatchError),
        (f32(1, np.inf)[None], ps.NonFiniteError),
        ([[1.0, float("nan")]], ps.NonFiniteError),
    ],
)
@pytest.mark.parametrize("op", SCATTERS)
def test_rows_that_do_not_fit(client: ps.ParameterClient, op: str, rows: Any, kind: Any) -> None:
    with refused(client, kind, "w"):
        scatter(client, op, "w", [1], rows)


def test_a_push_mixes_all(client: ps.ParameterClient) -> None:
    client.create_variable("ids", value=np.zeros(3, np.int64))
    applied = client.push(
        [
            ps.Update("w", "assign", np.ones((3, 2), np.float32)),
            ps.Update("w", "scatter_add", [[1, 1], [2, 2]], indices=[0, 0]),
            ps.Update("ids", "scatter_update", np.array([7], np.int32), indices=np.array([2], np.uint8)),
            ps.Update("w", "assign_add", np.ones((3, 2), np.float32)),
            ps.Update("w", "scatter_sub", [[5, 5]], indices=[2]),
        ],
        returns=["w", "ids"],
    )
    assert applied.versions == {"w": 5, "ids": 2}
    assert applied.values["w"].tolist() == [[5, 5], [2, 2], [-3, -3]]
    assert applied.values["ids"].tolist() == [0, 0, 7]


def test_what_was_read_never_changes(client: ps.ParameterClient) -> None:
    held = client.read("w")
    client.scatter_add("w", [0, 1], np.ones((2, 2), np.float32))
    assert held.tolist() == [[0, 1], [2, 3], [4, 5]]


# ---------------------------------------------------------------------------------------------------- averages


def test_the_moving_average_is_tensorflows(client: ps.ParameterClient) -> None:
    client.create_variable("v", value=f32(10, 20))
    client.create_variable("v/ExponentialMovingAverage", value=f32(10, 20), trainable=False)
    average = ps.Update("v/ExponentialMovingAverage", "ema", source="v", decay=0.9)
    for given, expected in (([1, 2], [9.1, 18.2]), ([3, 4], [8.49, 16.78]), ([5, 6], [8.141, 15.702])):
        applied = client.push([ps.Update("v", "assign", given), average], returns=["v/ExponentialMovingAverage"])
        np.testing.assert_allclose(applied.values["v/ExponentialMovingAverage"], expected, rtol=1e-6)
    assert applied.versions == {"v": 4, "v/ExponentialMovingAverage": 4}


def test_an_average_sees_what_stands_before_it(client: ps.ParameterClient) -> None:
    client.create_variable("v", value=f32(0))
    client.create_variable("a", value=f32(0))
    half = ps.Update("a", "ema", source="v", decay=0.5)
    applied = client.push([half, ps.Update("v", "assign", [8.0]), half, ps.Update("v", "assign", [0.0])], returns=["a"])
    assert (applied.values["a"].tolist(), applied.versions["a"]) == ([4], 3)


@pytest.mark.parametrize(
    ("update", "kind", "name"),
    [
        (ps.Update("w", "ema", source="nope", decay=0.5), ps.VariableNotFoundError, "nope"),
        (ps.Update("nope", "ema", source="w", decay=0.5), ps.VariableNotFoundError, "nope"),
        (ps.Update("w", "ema", source="v", decay=0.5), ps.ShapeMismatchError, "w"),
        (ps.Update("v", "ema", source="double", decay=0.5), ps.DtypeMismatchError, "v"),
        (ps.Update("n", "ema", source="v", decay=0.5), ps.DtypeMismatchError, "n"),
        (ps.Update("v", "ema", source="u", decay=0.5), ps.UninitializedError, "u"),
        (ps.Update("u", "ema", source="v", decay=0.5), ps.UninitializedError, "u"),
        (ps.Update("v", "ema", source="v", decay=1.5), ps.InvalidRequestError, "v"),
        (ps.Update("v", "ema", source="v", decay=-0.5), ps.InvalidRequestError, "v"),
        (ps.Update("v", "ema", source="v"), ps.InvalidRequestError, "v"),
        (ps.Update("v", "ema", decay=0.5), ps.InvalidRequestError, "v"),
        (ps.Update("v", "ema", f32(1), source="v", decay=0.5), ps.InvalidRequestError, "v"),
        (ps.Update("v", "ema", source="v", decay=0.5, indices=[0]), ps.InvalidRequestError, "v"),
        (ps.Update("v", "ema", source="v", decay=0.5, if_version=9), ps.VersionMismatchError, "v"),
        (ps.Update("v", "assign", f32(1), source="v"), ps.InvalidRequestError, "v"),
        (ps.Update("v", "assign", f32(1), indices=[0]), ps.InvalidRequestError, "v"),
        (ps.Update("v", "assign"), ps.InvalidRequestError, "v"),
        (ps.Update("v", "scatter_add", f32(1)), ps.InvalidRequestError, "v"),
        (ps.Update("v", "scatter_add", indices=[0]), ps.InvalidRequestError, "v"),
    ],
)
def test_updates_that_do_not_add_up(client: ps.ParameterClient, update: ps.Update, kind: Any, name: str) -> None:
    client.create_variable("v", value=f32(1))
    client.create_variable("n", value=np.array([1]))
    client.create_variable("double", value=np.ones(1))
    client.create_variable("u", (1,))
    with refused(client, kind, name):
        client.push([ps.Update("w", "assign_add", np.ones((3, 2), np.float32)), update])


@pytest.mark.parametrize(
    "update",
    [
        {"op": "ema", "name": "w", "source": "w", "decay": 0.5},
        {"op": "ema", "name": "w", "target": "w", "source": "w", "decay": 0.5},
        {"op": "assign", "target": "w", "value": f32(1)},
        {"op": "assign", "value": f32(1)},
    ],
)
def test_an_update_says_once_what_it_writes(client: ps.ParameterClient, update: dict[str, Any]) -> None:
    with refused(client, ps.InvalidRequestError):
        client.transport.deliver(Message("push", {"updates": [update]}), 10)
