"""What the arrays hold: exact values where they are settled, elsewhere moments and distances from the distribution."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from paramserver.initializers import make
from paramserver.initializers.draws import TRUNCATED_STDDEV, fans
from paramserver.initializers.kinds import KINDS
from paramserver.initializers.values import ALL, FLOATS

GOLDEN = Path(__file__).parent.parent / "golden" / "initializers.json"
F16, F32, F64, I32 = (np.dtype(name) for name in ("float16", "float32", "float64", "int32"))
BF16 = np.dtype(ml_dtypes.bfloat16)
COUNT = 20_000
SHAPES: dict[str, tuple[int, ...] | None] = {
    "constant": None,
    "linspace": None,
    "range": None,
    "multinomial": None,
    "random_shuffle": None,
    "random_crop": None,
}
SPECS: dict[str, dict[str, Any]] = {
    "constant": {"value": [1, 2, 3]},
    "fill": {"value": 7},
    "zeros_like": {"like": "v"},
    "ones_like": {"like": "v"},
    "linspace": {"start": 10.0, "stop": 12.0, "num": 5},
    "range": {"start": 3, "limit": 18, "delta": 3},
    "random_normal": {"mean": 1.0, "stddev": 2.0},
    "truncated_normal": {"mean": 1.0, "stddev": 2.0},
    "random_uniform": {"minval": -1.0, "maxval": 3.0},
    "multinomial": {"logits": [[0.0, 1.0, 2.0], [2.0, 0.0, 1.0]], "num_samples": 6},
    "random_gamma": {"alpha": [0.5, 1.5, 2.5, 4.0], "beta": 2.0},
    "random_shuffle": {"value": [[1, 2], [3, 4], [5, 6], [7, 8]]},
    "random_crop": {"value": [[1, 2, 3], [4, 5, 6], [7, 8, 9]], "size": [2, 2]},
}


def spec_of(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, **SPECS.get(kind, {}), **more}


def draw(kind: str, shape: tuple[int, ...] | None, dtype: Any = None, *, seed: int = 11, **more: Any) -> Any:
    spec = {"type": kind, **more}
    return make(spec, shape, None if dtype is None else np.dtype(dtype), seed, "w")


def distance(sample: Any, distribution: Callable[[float], float]) -> float:
    """Kolmogorov and Smirnov's: the largest gap between the sample's and the exact distribution function."""
    ordered = np.sort(np.asarray(sample, dtype=np.float64).ravel())
    exact = np.array([distribution(value) for value in ordered])
    steps = np.arange(ordered.size + 1) / ordered.size
    return float(max(np.max(steps[1:] - exact), np.max(exact - steps[:-1])))


def phi(value: float) -> float:
    return 0.5 * (1 + math.erf(value / math.sqrt(2)))


LIMIT = 1.95 / math.sqrt(COUNT)
"""The 0.1 % point of the distance; the seeds are fixed, so a pass stays a pass."""


def test_constant_pads_with_its_last_element_and_reshapes() -> None:
    assert draw("constant", (2, 2), value=[1, 2, 3]).tolist() == [[1, 2], [3, 3]]
    assert draw("constant", (2, 2), value=[[1, 2, 3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert draw("constant", (3,), value=2.5).tolist() == [2.5, 2.5, 2.5]
    assert draw("constant", (0, 2), value=[1, 2, 3]).shape == (0, 2)
    assert draw("constant", (2,), "complex64", value=[[1, 2], [3, -4]]).tolist() == [1 + 2j, 3 - 4j]
    assert draw("constant", (2,), "complex128", value=3).tolist() == [3, 3]
    assert draw("constant", None, "float16", value=0.1) == np.float16(0.1)
    assert draw("constant", None, "int8", value=3.0) == np.int8(3)


def test_the_articles_constants() -> None:
    assert draw("linspace", None, start=10.0, stop=12.0, num=3).tolist() == [10, 11, 12]
    assert draw("linspace", None, start=5.0, stop=9.0, num=1).tolist() == [5]
    assert draw("range", None, start=3, limit=18, delta=3).tolist() == [3, 6, 9, 12, 15]
    assert draw("range", None, limit=3).tolist() == [0, 1, 2]
    assert draw("range", None, start=1.0, limit=0.0, delta=-0.5).tolist() == [1, 0.5]
    assert draw("range", None, start=4, limit=4, delta=-1).tolist() == []
    assert draw("fill", (2, 3), value=9).tolist() == [[9] * 3] * 2
    assert draw("fill", (2,), "complex64", value=[1, -1]).tolist() == [1 - 1j, 1 - 1j]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint32", "int64", "uint64", "float16", "float64"])
def test_range_goes_down_and_to_the_edge_of_its_dtype(dtype: str) -> None:
    assert draw("range", None, dtype, start=9, limit=-1, delta=-3).tolist() == [9, 6, 3, 0]
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        assert draw("range", None, dtype, start=limits.max - 1, limit=limits.max).tolist() == [limits.max - 1]
        assert (
            draw("range", None, dtype, start=limits.min, limit=limits.max, delta=limits.max).tolist()[0] == limits.min
        )


@pytest.mark.parametrize("dtype", ALL, ids=lambda dtype: dtype.name)
def test_zeros_and_ones_of_every_dtype(dtype: Any) -> None:
    for kind, number in (("zeros", 0), ("ones", 1)):
        made = draw(kind, (2, 0, 3), dtype), draw(kind, (), dtype)
        assert [array.dtype for array in made] == [dtype, dtype]
        assert made[0].shape == (2, 0, 3)
        assert made[1].astype(np.complex128) == number


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_arrays_are_new_writable_and_contiguous(kind: str) -> None:
    shape = SHAPES.get(kind, (6, 4))
    made = make(spec_of(kind), shape, None, 5, "w")
    assert made.flags.writeable
    assert made.flags.c_contiguous
    assert made.base is None or made.base.flags.writeable
    again = make(spec_of(kind), shape, None, 5, "w")
    assert np.array_equal(made, again)
    assert not np.shares_memory(made, again)


@pytest.mark.parametrize("kind", sorted(kind for kind in KINDS if KINDS[kind].random))
def test_values_depend_on_seed_and_name_but_not_on_order(kind: str) -> None:
    shape = SHAPES.get(kind, (6, 4))

    def of(asked: int | None, name: str, **more: Any) -> list[Any]:
        value: list[Any] = make(spec_of(kind, **more), shape, None, asked, name).tolist()
        return value

    # Small draws (a shuffle of four rows) may meet by chance: several seeds and names together do not.
    forwards = [of(seed, name) for seed in range(4) for name in ("a", "b")]
    backwards = [of(seed, name) for seed in reversed(range(4)) for name in ("b", "a")]
    assert forwards == backwards[::-1]
    assert forwards[0::2] != forwards[1::2]
    assert forwards[:4] != forwards[4:]
    assert of(None, "a", seed=3) == of(3, "a") == of(3, "a", seed=1)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("kind", ["random_normal", "truncated_normal", "random_uniform", "random_gamma", "orthogonal"])
def test_every_float_dtype_and_odd_shape(kind: str, dtype: Any) -> None:
    spec = {"type": kind, **({"alpha": 2.0} if kind == "random_gamma" else {})}
    shapes = [(3, 0), (2, 3)] if kind == "orthogonal" else [(), (0,), (3, 0), (2, 3)]
    for shape in shapes:
        made = make(spec, shape, dtype, 3, "w")
        assert (made.shape, made.dtype) == (shape, dtype)
        assert np.isfinite(made).all()


def test_half_precision_is_rounded_from_float32() -> None:
    single = draw("random_normal", (100,))
    assert np.array_equal(draw("random_normal", (100,), F16), single.astype(F16))
    assert np.array_equal(draw("random_normal", (100,), BF16), single.astype(BF16))


@pytest.mark.parametrize("dtype", [F32, F64])
def test_random_normal(dtype: Any) -> None:
    sample = draw("random_normal", (COUNT,), dtype, mean=3.0, stddev=0.5)
    assert distance((sample - 3.0) / 0.5, phi) < LIMIT
    assert np.array_equal(draw("random_normal", (4,), stddev=0, mean=2), np.full(4, 2, F32))


@pytest.mark.parametrize("dtype", [F32, F64])
def test_truncated_normal_draws_again_instead_of_clipping(dtype: Any) -> None:
    sample = (draw("truncated_normal", (COUNT,), dtype, mean=3.0, stddev=0.5).astype(F64) - 3.0) / 0.5
    assert np.abs(sample).max() <= 2 + 1e-6
    assert np.count_nonzero(np.abs(sample) > 1.9999) < 5
    within = phi(2) - phi(-2)
    assert distance(sample, lambda value: min(1.0, (phi(value) - phi(-2)) / within)) < LIMIT
    assert abs(sample.std() - TRUNCATED_STDDEV) < 0.02


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.name)
def test_random_uniform_floats_stay_below_maxval(dtype: Any) -> None:
    sample = draw("random_uniform", (COUNT,), dtype, minval=-1.0, maxval=3.0).astype(F64)
    assert sample.min() >= -1.0
    assert sample.max() < 3.0
    if dtype in (F32, F64):
        assert distance(sample, lambda value: (value + 1) / 4) < LIMIT
    assert draw("random_uniform", (3,), dtype, minval=2, maxval=2).tolist() == [2, 2, 2]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_random_uniform_integers(dtype: str) -> None:
    sample = draw("random_uniform", (COUNT,), dtype, minval=0, maxval=5)
    counts = np.bincount(sample.astype(np.int64), minlength=5)
    assert counts.size == 5
    assert np.abs(counts - COUNT / 5).max() < 5 * math.sqrt(COUNT * 0.2 * 0.8)
    limits = np.iinfo(dtype)
    wide = draw("random_uniform", (100,), dtype, minval=limits.min, maxval=limits.max)
    assert wide.dtype == np.dtype(dtype)
    assert wide.max() < limits.max


def test_multinomial_draws_by_softmax() -> None:
    logits = np.array([[0.0, 1.0, -1.0, -2000.0], [3.0, 3.0, -500.0, -500.0]])
    sample = draw("multinomial", None, logits=logits, num_samples=COUNT)
    assert sample.dtype == np.int64
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    for row, share in zip(sample, weights / weights.sum(axis=1, keepdims=True), strict=True):
        counts = np.bincount(row, minlength=4)
        assert np.abs(counts - COUNT * share).max() <= 5 * math.sqrt(COUNT * 0.25)
        assert counts[3] == 0
    assert draw("multinomial", None, "int32", logits=[[0.0]], num_samples=3).tolist() == [[0, 0, 0]]


def test_random_gamma_has_mean_alpha_by_beta() -> None:
    sample = draw("random_gamma", (COUNT, 2, 2), alpha=[[0.5], [4.0]], beta=[1.0, 2.0]).astype(F64)
    for i, alpha in enumerate((0.5, 4.0)):
        for j, beta in enumerate((1.0, 2.0)):
            column = sample[:, i, j]
            assert abs(column.mean() - alpha / beta) < 5 * math.sqrt(alpha) / beta / math.sqrt(COUNT)
            assert abs(column.var() / (alpha / beta**2) - 1) < 0.15
    exponential = draw("random_gamma", (COUNT,), F64, alpha=1.0, beta=2.0)
    assert distance(exponential, lambda value: 1 - math.exp(-2 * value)) < LIMIT


def test_random_shuffle_moves_whole_rows() -> None:
    rows = np.arange(60).reshape(20, 3)
    shuffled = draw("random_shuffle", None, value=rows)
    assert not np.array_equal(shuffled, rows)
    assert np.array_equal(shuffled[np.argsort(shuffled[:, 0])], rows)
    assert draw("random_shuffle", None, value=4).tolist() == 4
    first = [draw("random_shuffle", None, seed=seed, value=[0, 1, 2]).tolist()[0] for seed in range(3000)]
    assert np.abs(np.bincount(first) - 1000).max() < 130


def test_random_crop_is_a_contiguous_window() -> None:
    value = np.arange(30).reshape(5, 6)
    corners = set()
    for seed in range(300):
        window = draw("random_crop", None, seed=seed, value=value, size=[3, 4])
        row, column = divmod(int(window[0, 0]), 6)
        assert np.array_equal(window, value[row : row + 3, column : column + 4])
        corners.add((row, column))
    assert corners == {(row, column) for row in range(3) for column in range(3)}
    assert np.array_equal(draw("random_crop", None, value=value, size=[5, 6]), value)
    assert draw("random_crop", None, value=value, size=[0, 6]).shape == (0, 6)


@pytest.mark.parametrize(
    ("shape", "fan_in", "fan_out"),
    [((), 1, 1), ((7,), 7, 7), ((3, 5), 3, 5), ((5, 5, 8, 16), 200, 400), ((4, 3, 2), 12, 8)],
)
def test_fans(shape: tuple[int, ...], fan_in: int, fan_out: int) -> None:
    assert fans(shape) == (fan_in, fan_out)


@pytest.mark.parametrize(
    ("kind", "scale", "mode"),
    [("glorot", 1.0, "fan_avg"), ("he", 2.0, "fan_in"), ("lecun", 1.0, "fan_in")],
)
def test_scaled_initializers_have_the_variance_they_promise(kind: str, scale: float, mode: str) -> None:
    shape = (5, 5, 20, 40)
    fan = {"fan_in": 500, "fan_out": 1000, "fan_avg": 750}[mode]
    stddev = math.sqrt(scale / fan)
    normal, uniform = draw(f"{kind}_normal", shape), draw(f"{kind}_uniform", shape)
    assert abs(normal.std() / stddev - 1) < 0.02
    assert np.abs(normal).max() <= 2 * stddev / TRUNCATED_STDDEV * (1 + 1e-6)
    assert abs(uniform.std() / stddev - 1) < 0.02
    assert np.abs(uniform).max() <= math.sqrt(3 * scale / fan)
    same: dict[str, Any] = {"scale": scale, "mode": mode}
    assert np.array_equal(normal, draw("variance_scaling", shape, distribution="normal", **same))
    assert np.array_equal(uniform, draw("variance_scaling", shape, distribution="uniform", **same))


def test_untruncated_and_fan_out_scaling() -> None:
    sample = draw("variance_scaling", (100, 200), scale=4.0, mode="fan_out", distribution="untruncated_normal")
    stddev = math.sqrt(4.0 / 200)
    assert abs(sample.std() / stddev - 1) < 0.02
    assert np.abs(sample).max() > 3 * stddev
    assert draw("glorot_uniform", (0, 4)).shape == (0, 4)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6), (2, 3, 5), (1, 1)])
def test_orthogonal_rows_or_columns(shape: tuple[int, ...]) -> None:
    flat = draw("orthogonal", shape, F64, gain=3.0).reshape(-1, shape[-1]) / 3.0
    product = flat @ flat.T if flat.shape[0] < flat.shape[1] else flat.T @ flat
    assert np.allclose(product, np.eye(product.shape[0]), atol=1e-12)
    assert flat.shape[1] != flat.shape[0] or not np.allclose(flat, np.eye(flat.shape[0])) or flat.size == 1


def test_identity() -> None:
    assert draw("identity", (2, 3), gain=2.5).tolist() == [[2.5, 0, 0], [0, 2.5, 0]]
    assert draw("identity", (2, 2), "int8").tolist() == [[1, 0], [0, 1]]
    assert draw("identity", (2, 2), "complex64", gain=[0, 1]).tolist() == [[1j, 0], [0, 1j]]
    assert draw("identity", (0, 2)).shape == (0, 2)


def golden_values() -> dict[str, Any]:
    """A few values of each initializer as they are made now: what `golden/initializers.json` was written from."""
    return {
        kind: make(spec_of(kind), SHAPES.get(kind, (3, 4)), None, 2024, "golden/w").tolist() for kind in sorted(KINDS)
    }


def test_golden_values_stay() -> None:
    """Saved runs name a seed: a numpy that draws otherwise from it must be noticed. Rounding may differ by machine."""
    golden = json.loads(GOLDEN.read_text())
    now = golden_values()
    assert sorted(golden) == sorted(now)
    for kind, values in golden.items():
        assert np.allclose(now[kind], values, rtol=1e-5, atol=1e-6), kind
