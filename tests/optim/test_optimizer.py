"""What an optimizer keeps and is called, and what cannot be one."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from paramserver.optim import KINDS, InvalidHyperParameters, check_optimizer

REQUIRED = {"learning_rate": 0.1, "momentum": 0.9}


def smallest(kind: str) -> dict[str, Any]:
    """The spec with nothing in it but what must be."""
    parameters = KINDS[kind].parameters
    return {"type": kind, **{name: REQUIRED[name] for name, p in parameters.items() if p.default is None}}


@pytest.mark.parametrize("kind", KINDS)
def test_a_spec_makes_itself_again(kind: str) -> None:
    optimizer = check_optimizer(smallest(kind))
    assert optimizer.spec["type"] == kind
    assert set(optimizer.spec) == {"type", *KINDS[kind].parameters}
    assert check_optimizer(optimizer.spec) == optimizer
    with pytest.raises(TypeError):
        optimizer.spec["type"] = "other"  # type: ignore[index]


@pytest.mark.parametrize(
    ("kind", "defaults"),
    [
        ("momentum", {"use_nesterov": False}),
        ("adagrad", {"initial_accumulator_value": 0.1}),
        ("adadelta", {"learning_rate": 0.001, "rho": 0.95, "epsilon": 1e-8}),
        ("adam", {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}),
        ("rmsprop", {"decay": 0.9, "momentum": 0.0, "epsilon": 1e-10, "centered": False}),
        ("ftrl", {"learning_rate_power": -0.5, "initial_accumulator_value": 0.1, "l1_regularization_strength": 0.0}),
        ("proximal_adagrad", {"initial_accumulator_value": 0.1, "l2_regularization_strength": 0.0}),
    ],
)
def test_defaults_are_tensorflows(kind: str, defaults: dict[str, Any]) -> None:
    assert dict(check_optimizer(smallest(kind)).spec).items() >= defaults.items()


@pytest.mark.parametrize(
    ("spec", "slots"),
    [
        ({"type": "gradient_descent", "learning_rate": 1}, {}),
        ({"type": "momentum", "learning_rate": 1, "momentum": 0}, {"w/O": 0}),
        ({"type": "adagrad", "learning_rate": 1, "initial_accumulator_value": 0.5}, {"w/O": 0.5}),
        ({"type": "adadelta"}, {"w/O": 0, "w/O_1": 0}),
        ({"type": "adam"}, {"w/O": 0, "w/O_1": 0}),
        ({"type": "rmsprop", "learning_rate": 1}, {"w/O": 1, "w/O_1": 0}),
        ({"type": "rmsprop", "learning_rate": 1, "centered": True}, {"w/O": 1, "w/O_1": 0, "w/O_2": 0}),
        ({"type": "ftrl", "learning_rate": 1, "initial_accumulator_value": 0.25}, {"w/O": 0.25, "w/O_1": 0}),
        ({"type": "proximal_gradient_descent", "learning_rate": 1}, {}),
        ({"type": "proximal_adagrad", "learning_rate": 1}, {"w/O": 0.1}),
    ],
)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_slots_are_named_and_start_as_tensorflows(spec: dict[str, Any], slots: dict[str, float], dtype: Any) -> None:
    optimizer = check_optimizer(spec)
    assert optimizer.slot_names("w", "O") == tuple(slots)
    made = optimizer.init_slots((2, 3), np.dtype(dtype))
    assert len(made) == len(slots)
    for array, start in zip(made, slots.values(), strict=True):
        assert (array.shape, array.dtype) == ((2, 3), np.dtype(dtype))
        np.testing.assert_array_equal(array, np.full((2, 3), start).astype(dtype))


def test_slots_start_without_taking_memory() -> None:
    (first, _) = check_optimizer({"type": "adam"}).init_slots((2**40,), np.dtype(np.float32))
    assert first.shape == (2**40,)
    assert not first.flags.writeable


def test_scalars_are_powers_one_step_ahead() -> None:
    optimizer = check_optimizer({"type": "adam", "beta1": 0.5, "beta2": 0.25})
    assert optimizer.scalar_names("net/Adam") == ("net/Adam/beta1_power", "net/Adam/beta2_power")
    scalars = optimizer.init_scalars()
    assert [(each.shape, each.dtype, float(each)) for each in scalars] == [
        ((), np.float32, 0.5),
        ((), np.float32, 0.25),
    ]
    assert [float(each) for each in optimizer.advance(optimizer.advance(scalars))] == [0.125, 0.015625]
    assert check_optimizer({"type": "adadelta"}).scalar_names("A") == ()


@pytest.mark.parametrize(
    ("spec", "faults"),
    [
        ({}, ["type: wanted"]),
        ({"type": "sgd"}, ["type: wanted"]),
        ({"type": ["adam"]}, ["type: wanted"]),
        ({"type": "gradient_descent"}, ["learning_rate: wanted a number of at least 0, but missing"]),
        ({"type": "gradient_descent", "learning_rate": None}, ["learning_rate"]),
        (
            {"type": "gradient_descent", "learning_rate": -0.1},
            ["learning_rate: wanted a number of at least 0, got -0.1"],
        ),
        ({"type": "gradient_descent", "learning_rate": float("nan")}, ["learning_rate"]),
        ({"type": "gradient_descent", "learning_rate": float("inf")}, ["learning_rate"]),
        ({"type": "gradient_descent", "learning_rate": 1e39}, ["learning_rate"]),
        ({"type": "gradient_descent", "learning_rate": 10**400}, ["learning_rate"]),
        ({"type": "gradient_descent", "learning_rate": True}, ["learning_rate"]),
        ({"type": "gradient_descent", "learning_rate": "0.1"}, ["learning_rate"]),
        ({"type": "gradient_descent", "learning_rate": [0.1]}, ["learning_rate"]),
        ({"type": "gradient_descent", "learning_rate": np.ones(2)}, ["learning_rate"]),
        ({"type": "gradient_descent", "learning_rate": 1j}, ["learning_rate"]),
        ({"type": "momentum", "learning_rate": 1, "momentum": -1}, ["momentum"]),
        ({"type": "momentum", "learning_rate": 1, "momentum": 1, "use_nesterov": 1}, ["use_nesterov"]),
        ({"type": "adam", "beta1": 1.0}, ["beta1"]),
        ({"type": "adam", "beta1": 0.99999999999}, ["beta1: wanted a number of at least 0 and below 1 after rounding"]),
        ({"type": "adam", "beta2": -0.1}, ["beta2"]),
        ({"type": "adam", "decay": 0.9}, ["decay: no such hyper-parameter"]),
        ({"type": "adagrad", "learning_rate": 1, "initial_accumulator_value": 0}, ["initial_accumulator_value"]),
        ({"type": "ftrl", "learning_rate": 0}, ["learning_rate"]),
        ({"type": "ftrl", "learning_rate": 1, "learning_rate_power": 0.5}, ["learning_rate_power"]),
        ({"type": "rmsprop", "learning_rate": 1, "decay": 1.5}, ["decay"]),
        ({"type": "adam", "beta1": 2, "rate": 1, "epsilon": -1}, ["rate", "beta1", "epsilon"]),
    ],
)
def test_every_fault_is_listed(spec: dict[str, Any], faults: list[str]) -> None:
    with pytest.raises(InvalidHyperParameters) as caught:
        check_optimizer(spec)
    assert len(caught.value.faults) == len(faults)
    for found, wanted in zip(caught.value.faults, faults, strict=True):
        assert found.startswith(wanted)
        assert found in str(caught.value)


@pytest.mark.parametrize("spec", [None, [], "adam", 5])
def test_a_spec_is_an_object(spec: Any) -> None:
    with pytest.raises(InvalidHyperParameters, match="wanted an object"):
        check_optimizer(spec)


def test_numbers_may_be_numpys() -> None:
    spec = check_optimizer({"type": "gradient_descent", "learning_rate": np.float32(0.5)}).spec
    assert (spec["learning_rate"], type(spec["learning_rate"])) == (0.5, float)
    assert check_optimizer({"type": "gradient_descent", "learning_rate": np.array(1)}).hyper["learning_rate"] == 1


def test_a_step_may_have_hyper_parameters_of_its_own() -> None:
    optimizer = check_optimizer({"type": "adam"})
    changed = optimizer.with_hyper({"learning_rate": 0.5})
    assert (changed.hyper["learning_rate"], changed.hyper["beta1"]) == (0.5, 0.9)
    assert optimizer.hyper["learning_rate"] == 0.001
    assert optimizer.with_hyper({}) == optimizer


@pytest.mark.parametrize(
    ("kind", "hyper"),
    [
        ("adam", {"learning_rate": -1}),
        ("adam", {"type": "momentum"}),
        ("adagrad", {"initial_accumulator_value": 0.2}),
        ("momentum", {"use_nesterov": True}),
        ("rmsprop", {"centered": True}),
        ("adam", {"beta1": float("nan")}),
    ],
)
def test_what_no_step_may_change(kind: str, hyper: dict[str, Any]) -> None:
    with pytest.raises(InvalidHyperParameters):
        check_optimizer(smallest(kind)).with_hyper(hyper)


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.int64, np.uint64, np.complex64, np.complex128])
@pytest.mark.parametrize("kind", KINDS)
def test_only_floats_are_trained(kind: str, dtype: Any) -> None:
    (told,) = check_optimizer(smallest(kind)).misfits(np.dtype(dtype))
    assert told.startswith("dtype: ")
    assert np.dtype(dtype).name in told


def test_a_start_must_stay_one_in_the_variables_dtype() -> None:
    optimizer = check_optimizer({"type": "adagrad", "learning_rate": 1, "initial_accumulator_value": 1e-9})
    assert optimizer.misfits(np.dtype(np.float32)) == ()
    assert "initial_accumulator_value" in optimizer.misfits(np.dtype(np.float16))[0]
    assert optimizer.misfits(np.dtype(ml_dtypes.bfloat16)) == ()
