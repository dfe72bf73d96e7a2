from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import paramserver_client as ps
from support.contract import everything, f32, refused, value
from support.doors import Door

BAD_NAMES = [
    "",
    "..",
    ".",
    "a/../b",
    "a//b",
    "/a",
    "a/",
    "a:b",
    "w:assign_add",
    "a b",
    "-a",
    "é",
    "a\n",
    "a\\b",
    "x" * 300,
]
DTYPES: list[Any] = [
    *(np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
    *(np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.complex64, np.complex128),
]


def test_with_a_value(client: ps.ParameterClient) -> None:
    found = client.create_variable("conv1/weight", value=f32(1, 2))
    assert (found.name, found.shape, found.dtype, found.version) == ("conv1/weight", (2,), np.float32, 1)
    assert (found.initialized, found.trainable, found.initializer, found.nbytes) == (True, True, None, 8)
    assert found.collections == ("variables", "trainable_variables")
    assert client.get_variable("conv1/weight") == found
    assert value(client, "conv1/weight") == ([1, 2], 1)


def test_with_an_initializer_that_has_not_run(client: ps.ParameterClient) -> None:
    found = client.create_variable("w", (2, 3), "float64", {"type": "constant", "value": 7}, trainable=False)
    assert (found.version, found.initialized, found.trainable) == (0, False, False)
    assert found.collections == ("variables",)
    assert found.initializer is not None
    assert found.initializer["type"] == "constant"
    assert not client.is_initialized("w")


def test_with_an_initializer_that_has_run(client: ps.ParameterClient) -> None:
    assert client.create_variable("w", (2,), "int64", "ones", initialize=True).version == 1
    assert value(client, "w") == ([1, 1], 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (1,) * 8])
def test_every_dtype_and_shape_survives(client: ps.ParameterClient, dtype: Any, shape: tuple[int, ...]) -> None:
    given = np.zeros(shape).astype(dtype)
    given[...] = 1
    found = client.create_variable("w", value=given)
    read = client.read("w")
    assert (found.shape, found.dtype) == (read.shape, read.dtype) == (shape, np.dtype(dtype))
    assert read.tobytes() == given.tobytes()


@pytest.mark.parametrize(
    ("given", "dtype"),
    [(1, "int32"), (1.5, "float32"), ([True], "bool"), ([1, 2.5], "float32"), ([], "float32")],
)
def test_numbers_without_a_dtype(client: ps.ParameterClient, given: Any, dtype: str) -> None:
    assert client.create_variable("w", value=given).dtype == dtype
    assert client.read("w").tolist() == given


def test_numbers_with_a_dtype(client: ps.ParameterClient) -> None:
    client.create_variable("w", dtype="bfloat16", value=[0.1, 2])
    assert client.read("w").tobytes() == np.array([0.1, 2], ml_dtypes.bfloat16).tobytes()


def test_defaults(client: ps.ParameterClient) -> None:
    found = client.create_variable("w", (4, 5))
    assert found.dtype == np.float32
    assert found.initializer is not None
    assert found.initializer["type"] == "glorot_uniform"


def test_collections_of_its_own(client: ps.ParameterClient) -> None:
    found = client.create_variable("w", value=1.0, collections=["model_variables", "mine"])
    assert set(found.collections) == {"model_variables", "mine", "trainable_variables"}
    assert [each.name for each in client.list_variables(collection="mine")] == ["w"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name(client: ps.ParameterClient, name: str) -> None:
    with refused(client, ps.InvalidNameError):
        client.create_variable(name, value=1.0)
    assert client.list_variables() == []


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_looked_up(client: ps.ParameterClient, name: str) -> None:
    for call in (client.get_variable, client.read, client.delete_variable, client.is_initialized):
        with refused(client, ps.InvalidNameError):
            call(name)


def test_the_longest_name(client: ps.ParameterClient) -> None:
    name = "/".join(["a" * 99, "b" * 100])
    assert len(name) == 200
    client.create_variable(name, value=1.0)
    assert client.get_variable(name).name == name


def test_an_unknown_name(client: ps.ParameterClient) -> None:
    for call in (
        lambda: client.get_variable("nope"),
        lambda: client.read("nope"),
        lambda: client.pull(["nope"]),
        lambda: client.assign("nope", 1.0),
        lambda: client.push({"nope": 1.0}),
        lambda: client.update_variable("nope", trainable=False),
        lambda: client.delete_variable("nope"),
        lambda: client.initialize(["nope"]),
        lambda: client.initialize_variable("nope"),
        lambda: client.is_initialized("nope"),
        lambda: client.assert_initialized(["nope"]),
        lambda: client.create_variable("nope", reuse=True),
        lambda: client.save("a", names=["nope"]),
    ):
        with refused(client, ps.VariableNotFoundError, "nope"):
            call()


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ([2**32, 2**32, 2**32], ps.ShapeMismatchError),
        ([2**32, 2**32, 0], ps.ShapeMismatchError),
        ([2**62], ps.ShapeMismatchError),
        ([10**30], ps.ShapeMismatchError),
        ([-1], ps.ShapeMismatchError),
        ([1] * 9, ps.ShapeMismatchError),
    ],
)
def test_an_impossible_shape(client: ps.ParameterClient, shape: list[int], kind: Any) -> None:
    with pytest.raises(ps.InvalidArgumentError) as raised:
        client.create_variable("w", shape, "float32", "zeros")
    assert type(raised.value) in (kind, ps.InvalidRequestError)
    assert client.list_variables() == []


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"dtype": "float31", "shape": (2,)}, ps.DtypeMismatchError),
        ({"dtype": "string", "shape": (2,)}, ps.DtypeMismatchError),
        ({"value": np.ones(2), "shape": (3,)}, ps.ShapeMismatchError),
        ({"value": np.ones(2), "dtype": "float32"}, ps.DtypeMismatchError),
        ({"value": [[1.0], [1.0, 2.0]]}, ps.ShapeMismatchError),
        ({"value": [1.5], "dtype": "int32"}, ps.DtypeMismatchError),
        ({"value": [300], "dtype": "int8"}, ps.DtypeMismatchError),
        ({"value": [1], "dtype": "bool"}, ps.DtypeMismatchError),
        ({"value": [1e39], "dtype": "float32"}, ps.NonFiniteError),
        ({"value": ["one"]}, ps.DtypeMismatchError),
        ({"value": float("nan")}, ps.NonFiniteError),
        ({"value": f32(1, np.inf)}, ps.NonFiniteError),
        ({"value": [1.0], "initializer": "zeros"}, ps.InvalidRequestError),
        ({"shape": (2,), "initializer": "no_such"}, ps.InvalidRequestError),
        ({"shape": (2,), "initializer": {"type": "zeros", "unknown": 1}}, ps.InvalidRequestError),
        ({"shape": (2,), "initializer": {}}, ps.InvalidRequestError),
        ({"shape": (2,), "initializer": {"type": "random_normal", "stddev": "wide"}}, ps.InvalidRequestError),
        ({"shape": (2,), "reuse": "perhaps"}, ps.InvalidRequestError),
        ({"shape": (2,), "dtype": "complex64"}, ps.InvalidRequestError),
    ],
)
def test_what_cannot_be_created(client: ps.ParameterClient, arguments: dict[str, Any], kind: Any) -> None:
    with refused(client, kind):
        client.create_variable("w", **arguments)
    assert client.list_variables() == []


def test_without_a_shape(client: ps.ParameterClient) -> None:
    with refused(client, ps.InvalidRequestError):
        client.create_variable("w", dtype="float32", initializer="random_normal")


def test_one_that_exists(client: ps.ParameterClient) -> None:
    client.create_variable("w", value=f32(1, 2))
    with refused(client, ps.VariableExistsError, "w"):
        client.create_variable("w", value=f32(3, 4))


@pytest.mark.parametrize("reuse", [True, "auto"])
def test_reuse_takes_it_as_it_is(client: ps.ParameterClient, reuse: Any) -> None:
    made = client.create_variable("w", value=f32(1, 2))
    assert client.create_variable("w", (2,), "float32", "zeros", reuse=reuse, initialize=True) == made
    assert value(client, "w") == ([1, 2], 1)


def test_reuse_auto_creates_what_is_missing(client: ps.ParameterClient) -> None:
    assert client.create_variable("w", (2,), reuse="auto").version == 0


@pytest.mark.parametrize("reuse", [True, "auto"])
@pytest.mark.parametrize(("shape", "dtype"), [((3,), "float32"), ((2,), "float64"), ((2, 1), "float32")])
def test_reuse_wants_the_same_shape_and_dtype(client: ps.ParameterClient, reuse: Any, shape: Any, dtype: str) -> None:
    client.create_variable("w", value=f32(1, 2))
    with refused(client, ps.SpecMismatchError, "w"):
        client.create_variable("w", shape, dtype, "zeros", reuse=reuse)


def test_lists(client: ps.ParameterClient) -> None:
    for name in ("conv1", "conv1/b", "conv10", "a"):
        client.create_variable(name, value=1.0, trainable=name != "a")
    client.create_variable("conv1/z", (2,))

    def names(**selection: Any) -> list[str]:
        return [each.name for each in client.list_variables(**selection)]

    assert names() == ["a", "conv1", "conv1/b", "conv1/z", "conv10"]
    assert names(prefix="conv1") == ["conv1", "conv1/b", "conv1/z"]
    assert names(prefix="conv") == []
    assert names(prefix="") == names()
    assert names(initialized=False) == ["conv1/z"]
    assert names(trainable=False) == ["a"]
    assert names(collection="trainable_variables", prefix="conv1", initialized=True) == ["conv1", "conv1/b"]


def test_a_list_longer_than_a_page(client: ps.ParameterClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paramserver_client.calls.variables._PAGE_SIZE", 3)
    for number in range(7):
        client.create_variable(f"v{number}", value=number)
    assert [each.name for each in client.list_variables()] == [f"v{number}" for number in range(7)]


def test_an_unknown_collection(client: ps.ParameterClient) -> None:
    client.create_variable("w", value=1.0)
    for call in (client.list_variables, client.pull, client.initialize, client.report_uninitialized):
        with refused(client, ps.CollectionNotFoundError):
            call(collection="nope")


def test_metadata_changes_without_a_new_version(client: ps.ParameterClient) -> None:
    made = client.create_variable("w", value=f32(1, 2))
    changed = client.update_variable("w", trainable=False)
    assert (changed.trainable, changed.collections, changed.version) == (False, ("variables",), 1)
    assert changed.incarnation == made.incarnation
    changed = client.update_variable("w", collections=["trainable_variables", "mine"])
    assert (changed.trainable, set(changed.collections)) == (True, {"trainable_variables", "mine"})
    assert client.get_variable("w") == changed
    assert value(client, "w") == ([1, 2], 1)


def test_deletes(client: ps.ParameterClient) -> None:
    made = client.create_variable("w", value=1.0)
    client.delete_variable("w")
    assert client.list_variables() == []
    again = client.create_variable("w", value=1.0)
    assert (again.version, made.version) == (1, 1)
    assert again.incarnation != made.incarnation


def test_deletes_a_scope(client: ps.ParameterClient) -> None:
    for name in ("conv1/a", "conv1/b", "conv10"):
        client.create_variable(name, value=1.0)
    with refused(client, ps.InvalidRequestError):
        client.delete_variables(prefix="conv1")
    assert client.delete_variables(prefix="conv1", confirm=True) == ["conv1/a", "conv1/b"]
    assert list(everything(client)) == ["conv10"]
    assert client.delete_variables(prefix="", confirm=True) == ["conv10"]


def test_the_server_tells_of_itself(client: ps.ParameterClient, door: Door) -> None:
    told = client.server()
    assert told["name"] == "paramserver"
    assert told["durability"] == ("none" if told["journal"] is None else "everysec")
    assert isinstance(told["commit"], int)
    client.create_variable("w", value=np.zeros(1000, np.float32))
    assert client.server()["commit"] == told["commit"] + 1
    assert client.server()["memory"]["used_nbytes"] == told["memory"]["used_nbytes"] + 4000
