from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import paramserver_client as ps
from support.contract import f32, refused, value

SPECS: dict[str, dict[str, Any]] = {
    "zeros": {},
    "ones": {},
    "constant": {"value": 2.5},
    "fill": {"value": 2.5},
    "random_normal": {"mean": 1, "stddev": 2, "seed": 7},
    "truncated_normal": {"stddev": 2, "seed": 7},
    "random_uniform": {"minval": -1, "maxval": 1, "seed": 7},
    "glorot_uniform": {"seed": 7},
    "glorot_normal": {"seed": 7},
    "he_normal": {"seed": 7},
    "he_uniform": {"seed": 7},
    "lecun_normal": {"seed": 7},
    "lecun_uniform": {"seed": 7},
    "variance_scaling": {"scale": 2.0, "mode": "fan_out", "distribution": "uniform", "seed": 7},
    "orthogonal": {"gain": 2.0, "seed": 7},
    "identity": {"gain": 2.0},
}


@pytest.mark.parametrize("kind", SPECS)
def test_initializers_run_on_the_server(client: ps.ParameterClient, kind: str) -> None:
    client.create_variable("w", (4, 4), "float32", {"type": kind, **SPECS[kind]})
    assert client.initialize().initialized == ("w",)
    array, version = client.read("w"), client.get_variable("w").version
    assert (array.shape, array.dtype, version) == ((4, 4), np.float32, 1)
    assert np.isfinite(array).all()


def test_a_variable_like_another(client: ps.ParameterClient) -> None:
    client.create_variable("a", value=np.zeros((2, 3), np.float64))
    client.create_variable("b", initializer={"type": "ones_like", "like": "a"})
    client.initialize()
    assert client.read("b").tolist() == [[1.0] * 3] * 2


def test_values_of_a_spec_may_be_arrays(client: ps.ParameterClient) -> None:
    client.create_variable(
        "w", initializer={"type": "random_shuffle", "value": np.arange(9, dtype=np.int32), "seed": 1}
    )
    client.initialize()
    assert sorted(client.read("w").tolist()) == list(range(9))


def test_a_seed_gives_the_same_values_in_any_order(client: ps.ParameterClient) -> None:
    for name in ("a", "b"):
        client.create_variable(name, (100,), "float32", "random_normal")
    done = client.initialize(["a", "b"], seed=3)
    assert done.initialized == ("a", "b")
    first = {name: array.copy() for name, array in client.pull().items()}
    client.initialize(["b"], seed=3, only_uninitialized=False)
    client.initialize(["a"], seed=3, only_uninitialized=False)
    again = client.pull()
    for name in ("a", "b"):
        np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(again["a"], again["b"])


def test_a_seed_that_was_drawn_is_told(client: ps.ParameterClient) -> None:
    client.create_variable("w", (10,), "float32", "random_normal")
    drawn = client.initialize().seed
    assert drawn is not None
    first = client.read("w")
    client.initialize(only_uninitialized=False, seed=drawn)
    np.testing.assert_array_equal(client.read("w"), first)


def test_a_second_worker_wipes_nothing(client: ps.ParameterClient) -> None:
    client.create_variable("w", (2,), "float32", "zeros", initialize=True)
    client.assign("w", [5, 5])
    done = client.initialize()
    assert (done.initialized, done.skipped) == ((), ("w",))
    assert value(client, "w") == ([5, 5], 2)
    assert client.initialize(only_uninitialized=False).initialized == ("w",)
    assert value(client, "w") == ([0, 0], 3)


def test_what_has_no_initializer_is_skipped_or_refused(client: ps.ParameterClient) -> None:
    client.create_variable("v", value=f32(1))
    client.create_variable("w", (1,), "float32", "zeros")
    done = client.initialize(only_uninitialized=False)
    assert (done.initialized, done.skipped) == (("w",), ("v",))
    with refused(client, ps.NoInitializerError, "v"):
        client.initialize_variable("v", only_uninitialized=False)
    assert value(client, "v") == ([1], 1)


def test_one_variable(client: ps.ParameterClient) -> None:
    for name in ("a", "b"):
        client.create_variable(name, (1,), "float32", "ones")
    assert client.initialize_variable("a").initialized == ("a",)
    assert client.is_initialized("a")
    assert not client.is_initialized("b")


def test_a_choice(client: ps.ParameterClient) -> None:
    for name in ("s/a", "s/b", "t"):
        client.create_variable(name, (1,), "float32", "ones", collections=["mine"] if name == "t" else None)
    assert client.initialize(prefix="s").initialized == ("s/a", "s/b")
    assert client.initialize(collection="mine").initialized == ("t",)


def test_local_variables_are_left_out_unless_asked_for(client: ps.ParameterClient) -> None:
    client.create_variable("local", (1,), "float32", "ones", collections=["local_variables"])
    client.create_variable("w", (1,), "float32", "ones")
    assert client.report_uninitialized() == ["w"]
    assert client.initialize().initialized == ("w",)
    assert client.report_uninitialized(collection="local_variables") == ["local"]
    assert client.initialize(collection="local_variables").initialized == ("local",)


def test_the_checks(client: ps.ParameterClient) -> None:
    for name in ("s/a", "s/b", "t"):
        client.create_variable(name, (1,), "float32", "ones")
    client.initialize("s/a")
    assert client.report_uninitialized() == ["s/b", "t"]
    assert client.report_uninitialized(prefix="s") == ["s/b"]
    with refused(client, ps.UninitializedError, "s/b", "t"):
        client.assert_initialized()
    with refused(client, ps.UninitializedError, "s/b"):
        client.assert_initialized(prefix="s")
    client.assert_initialized(["s/a"])
    client.initialize()
    client.assert_initialized()
    assert client.report_uninitialized() == []


def test_one_name_too_many_refuses_the_whole(client: ps.ParameterClient) -> None:
    client.create_variable("a", (1,), "float32", "ones")
    with refused(client, ps.VariableNotFoundError, "nope"):
        client.initialize(["a", "nope"])
    with refused(client, ps.InvalidRequestError):
        client.initialize(["a"], prefix="a")
