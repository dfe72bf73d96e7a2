"""The rules against what TensorFlow computed, and against the same formulas written the plain way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramserver.optim import KINDS, Optimizer, check_optimizer
from paramserver.optim.blocks import BLOCK
from support.arrays import QUICK
from support.optimizer_traces import START, TRACES, Trace, gradient

Array = np.ndarray[Any, np.dtype[Any]]
Slots = list[Array]

SPECS: Mapping[str, dict[str, Any]] = {
    "gradient_descent": {"type": "gradient_descent", "learning_rate": 0.3},
    "momentum": {"type": "momentum", "learning_rate": 0.3, "momentum": 0.7},
    "nesterov": {"type": "momentum", "learning_rate": 0.3, "momentum": 0.7, "use_nesterov": True},
    "adagrad": {"type": "adagrad", "learning_rate": 0.3},
    "adadelta": {"type": "adadelta", "learning_rate": 0.9, "rho": 0.8, "epsilon": 1e-3},
    "adam": {"type": "adam", "learning_rate": 0.2, "beta1": 0.7, "beta2": 0.8, "epsilon": 1e-2},
    "rmsprop": {"type": "rmsprop", "learning_rate": 0.2, "decay": 0.7, "momentum": 0.4, "epsilon": 1e-2},
    "centered": {"type": "rmsprop", "learning_rate": 0.2, "decay": 0.7, "epsilon": 0.3, "centered": True},
    "ftrl": {
        "type": "ftrl",
        "learning_rate": 0.3,
        "learning_rate_power": -0.7,
        "l1_regularization_strength": 0.1,
        "l2_regularization_strength": 0.2,
        "l2_shrinkage_regularization_strength": 0.05,
    },
    "proximal_gradient_descent": {
        "type": "proximal_gradient_descent",
        "learning_rate": 0.3,
        "l1_regularization_strength": 0.1,
        "l2_regularization_strength": 0.2,
    },
    "proximal_adagrad": {
        "type": "proximal_adagrad",
        "learning_rate": 0.3,
        "l1_regularization_strength": 0.1,
        "l2_regularization_strength": 0.2,
    },
}


class Run:
    """A variable with its slots and scalars, as a caller keeps them."""

    def __init__(self, optimizer: Optimizer, value: Array) -> None:
        self.optimizer = optimizer
        self.value = value
        self.slots = list(optimizer.init_slots(value.shape, value.dtype))
        self.scalars = list(optimizer.init_scalars())

    def step(self, g: Array, indices: Array | None = None) -> None:
        out = np.empty_like(self.value)
        out_slots = [np.empty_like(self.value) for _ in self.slots]
        self.optimizer.update(self.value, self.slots, self.scalars, g, out, out_slots, indices=indices)
        self.value, self.slots = out, out_slots
        self.scalars = list(self.optimizer.advance(self.scalars))


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
def test_it_steps_as_tensorflow_did(trace: Trace) -> None:
    run = Run(check_optimizer(trace.spec), np.array(START, trace.dtype))
    for expected in trace.steps:
        run.step(gradient(run.value))
        # TensorFlow's gradient is itself computed from float32 constants, hence the last digit.
        np.testing.assert_allclose(run.value, expected, rtol=0, atol=2e-7)


def test_every_kind_has_a_trace_and_a_formula() -> None:
    assert {trace.spec["type"] for trace in TRACES} == set(KINDS)
    assert {spec["type"] for spec in SPECS.values()} == set(KINDS)


def plain(optimizer: Optimizer, v: Array, slots: Slots, scalars: list[Array], g: Array) -> tuple[Array, Slots]:
    """One step by the formulas of the reference, with whole arrays and temporaries."""
    real = v.dtype.type
    h = {key: x if isinstance(x, bool) else real(np.float32(x)) for key, x in optimizer.hyper.items()}
    lr, kind = h.get("learning_rate"), optimizer.kind.type
    if kind == "gradient_descent":
        return v - lr * g, []
    if kind == "momentum":
        a = h["momentum"] * slots[0] + g
        return v - (lr * g + lr * h["momentum"] * a if h["use_nesterov"] else lr * a), [a]
    if kind == "adagrad":
        a = slots[0] + g * g
        return v - lr * g / np.sqrt(a), [a]
    if kind == "adadelta":
        a = h["rho"] * slots[0] + (1 - h["rho"]) * g * g
        u = np.sqrt(slots[1] + h["epsilon"]) / np.sqrt(a + h["epsilon"]) * g
        return v - lr * u, [a, h["rho"] * slots[1] + (1 - h["rho"]) * u * u]
    if kind == "adam":
        b1, b2 = (real(each) for each in scalars)
        m = h["beta1"] * slots[0] + (1 - h["beta1"]) * g
        w = h["beta2"] * slots[1] + (1 - h["beta2"]) * g * g
        return v - lr * np.sqrt(1 - b2) / (1 - b1) * m / (np.sqrt(w) + h["epsilon"]), [m, w]
    if kind == "rmsprop":
        r = h["decay"] * slots[0] + (1 - h["decay"]) * g * g
        means = [h["decay"] * mean + (1 - h["decay"]) * g for mean in slots[2:]]
        m = h["momentum"] * slots[1] + lr * g / np.sqrt(r - sum(mean * mean for mean in means) + h["epsilon"])
        return v - m, [r, m, *means]
    l1, l2 = h["l1_regularization_strength"], h["l2_regularization_strength"]
    if kind == "ftrl":
        p, shrink = h["learning_rate_power"], h["l2_shrinkage_regularization_strength"]
        n = slots[0] + g * g
        z = slots[1] + g + 2 * shrink * v - (n**-p - slots[0] ** -p) / lr * v
        new = np.where(np.abs(z) > l1, (np.sign(z) * l1 - z) / (n**-p / lr + 2 * l2), 0)
        return new.astype(v.dtype), [n, z]
    if kind == "proximal_gradient_descent":
        w = v - lr * g
        return np.sign(w) * np.maximum(np.abs(w) - lr * l1, 0) / (1 + lr * l2), []
    assert kind == "proximal_adagrad"
    a = slots[0] + g * g
    rate = lr / np.sqrt(a)
    w = v - rate * g
    return np.sign(w) * np.maximum(np.abs(w) - rate * l1, 0) / (1 + rate * l2), [a]


def agrees(found: Run, value: Array, slots: Slots, tolerance: float) -> None:
    for one, other in zip((found.value, *found.slots), (value, *slots), strict=True):
        np.testing.assert_allclose(one.astype(np.float64), other.astype(np.float64), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_blocks_change_nothing(spec: dict[str, Any], size: int) -> None:
    optimizer = check_optimizer(spec)
    numbers = np.random.default_rng(size)
    run = Run(optimizer, numbers.normal(size=size).astype(np.float32))
    for _ in range(2):
        g = numbers.normal(size=size).astype(np.float32)
        value, slots = plain(optimizer, run.value, run.slots, run.scalars, g)
        run.step(g)
        agrees(run, value, slots, 3e-6)


def two_steps(spec: dict[str, Any], dtype: Any, shape: tuple[int, ...]) -> tuple[Run, Array, Slots]:
    optimizer = check_optimizer(spec)
    numbers = np.random.default_rng(3)
    run = Run(optimizer, numbers.normal(size=shape).astype(dtype))
    for _ in range(2):
        g = numbers.normal(size=shape).astype(dtype)
        wide = np.float64 if np.dtype(dtype) == np.float64 else np.float32
        value, slots = plain(
            optimizer, run.value.astype(wide), [each.astype(wide) for each in run.slots], run.scalars, g.astype(wide)
        )
        run.step(g)
    return run, value, slots


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float16, 2e-3), (ml_dtypes.bfloat16, 1.6e-2), (np.float32, 2e-6), (np.float64, 1e-13)]
)
def test_each_dtype_is_computed_wide_and_rounded_once(spec: dict[str, Any], dtype: Any, tolerance: float) -> None:
    if check_optimizer(spec).misfits(np.dtype(dtype)):
        assert spec["type"].startswith("proximal")
        return
    run, value, slots = two_steps(spec, dtype, (4, 3))
    assert {each.dtype for each in (run.value, *run.slots)} == {np.dtype(dtype)}
    agrees(run, value, slots, tolerance)
    for found, wide in zip((run.value, *run.slots), (value, *slots), strict=True):
        if np.dtype(dtype).itemsize == 2:
            # Rounded once: at most one unit in the last place from the wide result rounded, and mostly equal.
            assert np.mean(found == wide.astype(dtype)) > 0.7


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3, 4)])
def test_any_shape(spec: dict[str, Any], shape: tuple[int, ...]) -> None:
    run, value, slots = two_steps(spec, np.float32, shape)
    assert run.value.shape == shape
    agrees(run, value, slots, 3e-6)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("rows", [[], [0], [4, 1], [2, 2, 0, 2], [0, 1, 2, 3, 4]])
def test_sparse_gradients_sum_repeats_and_leave_other_rows(spec: dict[str, Any], rows: list[int]) -> None:
    optimizer = check_optimizer(spec)
    numbers = np.random.default_rng(8)
    run, dense = (Run(optimizer, np.arange(15, dtype=np.float32).reshape(5, 3) / 7) for _ in range(2))
    for _ in range(2):
        before = (run.value, *run.slots)
        g = numbers.normal(size=(len(rows), 3)).astype(np.float32)
        spread = np.zeros((5, 3), np.float32)
        np.add.at(spread, rows, g)
        dense.step(spread)
        run.step(g, np.array(rows, np.int32))
        touched = np.isin(np.arange(5), rows) | optimizer.kind.moves_all_rows
        for found, whole, old in zip((run.value, *run.slots), (dense.value, *dense.slots), before, strict=True):
            np.testing.assert_allclose(found[touched], whole[touched], rtol=2e-6, atol=2e-6)
            np.testing.assert_array_equal(found[~touched], old[~touched])
        dense.value, dense.slots = run.value, run.slots


def test_only_adam_moves_rows_without_a_gradient() -> None:
    assert {kind.type for kind in KINDS.values() if kind.moves_all_rows} == {"adam"}


@pytest.mark.parametrize("name", ["adam", "adagrad"])
def test_sparse_gradients_over_many_blocks(name: str) -> None:
    optimizer = check_optimizer(SPECS[name])
    numbers = np.random.default_rng(1)
    shape = (3 * BLOCK // 16 + 7, 16)
    run, dense = (Run(optimizer, np.ones(shape, np.float32)) for _ in range(2))
    rows = numbers.integers(0, shape[0], 2 * shape[0])
    g = numbers.normal(size=(rows.size, 16)).astype(np.float32)
    spread = np.zeros(shape, np.float32)
    np.add.at(spread, rows, g)
    run.step(g, rows)
    dense.step(spread)
    touched = np.bincount(rows, minlength=shape[0]) > 0 if name == "adagrad" else np.full(shape[0], True)
    np.testing.assert_allclose(run.value[touched], dense.value[touched], rtol=1e-4, atol=1e-5)
    assert (run.value[~touched] == 1).all()


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_inputs_are_only_read_and_the_gradients_memory_may_take_the_value(spec: dict[str, Any]) -> None:
    optimizer = check_optimizer(spec)
    numbers = np.random.default_rng(2)
    run = Run(optimizer, numbers.normal(size=(7, 5)).astype(np.float32))
    g = numbers.normal(size=(7, 5)).astype(np.float32)
    for each in (run.value, *run.slots, *run.scalars):
        each.flags.writeable = False
    shared = g.copy()
    out_slots = [np.empty_like(g) for _ in run.slots]
    optimizer.update(run.value, run.slots, run.scalars, shared, shared, out_slots)
    g.flags.writeable = False
    run.step(g)
    np.testing.assert_array_equal(shared, run.value)
    for one, other in zip(out_slots, run.slots, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_gradient_of_another_dtype_is_cast_without_loss() -> None:
    run = Run(check_optimizer(SPECS["gradient_descent"]), np.zeros(2, np.float64))
    run.step(np.array([1, 2], np.float16))
    np.testing.assert_allclose(run.value, [-0.3, -0.6], rtol=1e-7)


def test_what_is_not_finite_goes_through() -> None:
    run = Run(check_optimizer(SPECS["adam"]), np.zeros(3, np.float32))
    run.step(np.array([np.nan, np.inf, 1], np.float32))
    assert np.isnan(run.value[:2]).all()
    assert np.isfinite(run.value[2])


@given(
    name=st.sampled_from(list(SPECS)),
    values=st.lists(st.tuples(*[st.floats(-4, 4, width=32)] * 2), min_size=1, max_size=6),
    steps=st.integers(1, 4),
)
@QUICK
def test_any_numbers_agree_with_the_plain_formula(name: str, values: list[tuple[float, float]], steps: int) -> None:
    optimizer = check_optimizer(SPECS[name])
    v, g = np.array(values).T
    if optimizer.misfits(np.dtype(np.float64)):
        v, g = v.astype(np.float32), g.astype(np.float32)
    run = Run(optimizer, v)
    for _ in range(steps):
        value, slots = plain(optimizer, run.value, run.slots, run.scalars, g)
        run.step(g)
        agrees(run, value, slots, 1e-4 if v.dtype == np.float32 else 1e-9)


def _faulty(change: Callable[[dict[str, Any]], None]) -> str:
    optimizer = check_optimizer(SPECS["momentum"])
    value = np.zeros((3, 2), np.float32)
    arguments: dict[str, Any] = {
        "value": value,
        "slots": [value],
        "scalars": [],
        "gradient": value,
        "out_value": np.ones_like(value),
        "out_slots": [np.ones_like(value)],
    }
    change(arguments)
    with pytest.raises(ValueError) as caught:
        optimizer.update(**arguments)
    for out in (arguments["out_value"], *arguments["out_slots"]):
        assert (out == 1).all() or out.size == 0
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"slots": []}, "slots: wanted 1"),
        ({"scalars": [np.float32(1)]}, "scalars: wanted 0"),
        ({"slots": [np.zeros((3, 1), np.float32)]}, "slots: wanted"),
        ({"gradient": np.zeros((3, 1), np.float32)}, "gradient: wanted shape"),
        ({"gradient": np.zeros((3, 2))}, "without loss"),
        ({"gradient": np.zeros((3, 2), np.complex64)}, "without loss"),
        ({"out_value": np.ones((2, 3), np.float32).T}, "C-contiguous"),
        ({"out_value": np.ones((3, 2))}, "outs: wanted"),
        ({"indices": np.array([0.0, 1, 2])}, "indices: wanted integers"),
        ({"indices": np.array([[0], [1], [2]])}, "indices: wanted integers"),
        ({"indices": np.array([0])}, "gradient: wanted shape"),
        ({"indices": np.array([0, 1, 3])}, "rows in 0..2"),
        ({"indices": np.array([0, 1, -1])}, "rows in 0..2"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_anything_is_written(change: dict[str, Any], told: str) -> None:
    assert told in _faulty(lambda arguments: arguments.update(change))


def test_a_scalar_has_no_rows() -> None:
    optimizer = check_optimizer(SPECS["gradient_descent"])
    value = np.zeros((), np.float32)
    with pytest.raises(ValueError, match="variable with rows"):
        optimizer.update(value, [], [], np.zeros(1, np.float32), np.empty_like(value), [], indices=np.array([0]))
