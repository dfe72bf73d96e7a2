"""Scopes and collections, the same behind every door."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import paramserver_client as ps
from support.contract import f32, refused


@pytest.fixture(autouse=True)
def _a_small_net(client: ps.ParameterClient) -> None:
    for scope in client.scopes():
        if scope.defaults:
            client.delete_scope(scope.name)
    client.create_variable("net/conv1/weight", value=np.zeros((2, 3)))
    client.create_variable("net/conv1/bias", value=f32(1, 2))
    client.create_variable("net/step", value=np.int32(0), trainable=False)
    client.create_variable("net2/w", (2,), "float16")


def told(scopes: list[ps.ScopeInfo]) -> dict[str, tuple[int, int]]:
    return {each.name: (each.variables, each.nbytes) for each in scopes}


def test_counts_cover_everything_below(client: ps.ParameterClient) -> None:
    assert told(client.scopes()) == {"net": (3, 60), "net/conv1": (2, 56), "net2": (1, 4)}
    assert told(client.scopes(prefix="net")) == {"net": (3, 60), "net/conv1": (2, 56)}
    assert told(client.scopes(depth=1)) == {"net": (3, 60), "net2": (1, 4)}
    assert told(client.scopes(prefix="net", depth=1)) == {"net": (3, 60), "net/conv1": (2, 56)}
    assert client.scopes(prefix="nothing") == []
    assert client.get_scope("net/conv1") == ps.ScopeInfo("net/conv1", 2, 56, {})


def test_an_empty_scope_lives_by_its_defaults(client: ps.ParameterClient) -> None:
    client.set_scope("later", dtype="float64", trainable=False, collections=["own"], initializer="ones")
    defaults = {"initializer": {"type": "ones"}, "dtype": "float64", "trainable": False, "collections": ["own"]}
    assert client.get_scope("later") == ps.ScopeInfo("later", 0, 0, defaults)
    assert "later" in told(client.scopes())
    made = client.create_variable("later/deep/w", (2,), initialize=True)
    assert (made.dtype, made.trainable, made.collections) == (np.float64, False, ("own",))
    assert client.read("later/deep/w").tolist() == [1, 1]
    client.set_scope("later/deep", dtype="float16")
    assert client.create_variable("later/deep/v", (1,)).dtype == np.float16
    client.set_scope("later", trainable=True)
    assert client.get_scope("later").defaults == {"trainable": True}
    client.delete_scope("later")
    assert client.get_scope("later").defaults == {}
    client.delete_variables(prefix="later", confirm=True)
    client.delete_scope("later/deep")
    with refused(client, ps.ScopeNotFoundError, "later"):
        client.get_scope("later")


@pytest.mark.parametrize(
    ("name", "defaults", "kind"),
    [
        ("..", {}, ps.InvalidNameError),
        ("a b", {"dtype": "float32"}, ps.InvalidNameError),
        ("s", {"dtype": "float31"}, ps.DtypeMismatchError),
        ("s", {"initializer": {"type": "guess"}}, ps.InvalidRequestError),
        ("s", {"collections": ["a b"]}, ps.InvalidNameError),
    ],
)
def test_defaults_that_hold_nowhere(client: ps.ParameterClient, name: str, defaults: Any, kind: Any) -> None:
    scopes = client.scopes()
    with refused(client, kind):
        client.set_scope(name, **defaults)
    assert client.scopes() == scopes


def test_what_is_no_scope(client: ps.ParameterClient) -> None:
    for name in ("nothing", "ne", "net/step"):
        with refused(client, ps.ScopeNotFoundError, name):
            client.get_scope(name)
    with refused(client, ps.ScopeNotFoundError, "net"):
        client.delete_scope("net")
    with refused(client, ps.InvalidRequestError):
        client.scopes(depth=0)


def test_collections(client: ps.ParameterClient) -> None:
    assert client.collections() == {"variables": 4, "trainable_variables": 3}
    client.add_to_collection("losses", ["net/step", "net/conv1/bias", "net/step"])
    assert client.get_collection("losses") == ["net/step", "net/conv1/bias"]
    assert client.get_variable("net/step").collections == ("variables", "losses")
    assert client.collections()["losses"] == 2
    client.add_to_collection("losses", "net2/w")
    client.remove_from_collection("losses", ["net/step", "net/conv1/weight"])
    assert client.get_collection("losses") == ["net/conv1/bias", "net2/w"]
    client.remove_from_collection("losses", ["net/conv1/bias", "net2/w"])
    with refused(client, ps.CollectionNotFoundError, "losses"):
        client.get_collection("losses")
    assert client.get_collection("model_variables") == []
    assert client.get_collection("global_variables") == client.get_collection("variables")


def test_trainable_follows_its_collection(client: ps.ParameterClient) -> None:
    version = client.get_variable("net/step").version
    client.add_to_collection("trainable_variables", ["net/step"])
    assert client.get_variable("net/step").trainable
    client.remove_from_collection("trainable_variables", ["net/step", "net2/w"])
    found = client.get_variable("net/step")
    assert (found.trainable, found.collections, found.version) == (False, ("variables",), version)
    assert client.get_collection("trainable_variables") == ["net/conv1/weight", "net/conv1/bias"]
    client.add_to_collection("own", ["net/step"])
    assert not client.get_variable("net/step").trainable


@pytest.mark.parametrize(
    ("call", "key", "names", "kind"),
    [
        ("add_to_collection", "own", ["net/step", "nope"], ps.VariableNotFoundError),
        ("add_to_collection", "own", ["nope", ".."], ps.VariableNotFoundError),
        ("add_to_collection", "a b", ["net/step"], ps.InvalidNameError),
        ("remove_from_collection", "own", ["net/step"], ps.CollectionNotFoundError),
        ("remove_from_collection", "variables", ["nope"], ps.VariableNotFoundError),
    ],
)
def test_a_change_of_a_collection_is_refused_whole(
    client: ps.ParameterClient, call: str, key: str, names: list[str], kind: Any
) -> None:
    with refused(client, kind):
        getattr(client, call)(key, names)


def test_scopes_come_back_with_a_checkpoint(client: ps.ParameterClient) -> None:
    client.set_scope("net", dtype="float64")
    client.add_to_collection("own", ["net/step"])
    client.save("grouped")
    client.delete_variables(prefix="net", confirm=True)
    client.restore("grouped")
    assert client.get_collection("own") == ["net/step"]
