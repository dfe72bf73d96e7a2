"""How each initializer makes its array: `(generator, arguments, shape, dtype) -> array`, a new one each time.

float16 and bfloat16 are drawn in float32 and rounded. Nothing is checked here: the table in `kinds` has done that.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from .parameters import Arguments
from .values import INTEGERS, Array, DType

Shape = tuple[int, ...]

TRUNCATED_STDDEV: Final = 0.87962566103423978
"""The standard deviation of a standard normal cut at 2: TF divides by it so that the result has the one asked for."""


def working_dtype(dtype: DType) -> type[np.float32] | type[np.float64]:
    return np.float64 if dtype == np.float64 else np.float32


def constant(_: np.random.Generator, arguments: Arguments, shape: Shape, dtype: DType) -> Array:
    given: Array = arguments["value"].typed(dtype).ravel()
    size = math.prod(shape)
    if size <= given.size:
        return given[:size].reshape(shape).copy()
    out = np.full(size, given[-1], dtype=dtype)
    out[: given.size] = given
    return out.reshape(shape)


def zeros(_: np.random.Generator, arguments: Arguments, shape: Shape, dtype: DType) -> Array:
    return np.zeros(shape, dtype=dtype)


def ones(_: np.random.Generator, arguments: Arguments, shape: Shape, dtype: DType) -> Array:
    return np.ones(shape, dtype=dtype)


def linspace(_: np.random.Generator, arguments: Arguments, shape: Shape, dtype: DType) -> Array:
    return np.linspace(float(arguments["start"]), float(arguments["stop"]), shape[0]).astype(dtype)


def arange(_: np.random.Generator, arguments: Arguments, shape: Shape, dtype: DType) -> Array:
    start, delta = arguments["start"], arguments["delta"]
    if dtype not in INTEGERS:
        return (float(start) + np.arange(shape[0], dtype=np.float64) * float(delta)).astype(dtype)
    # Modulo 2**64 the steps are exact for every integer dtype, uint64 included, and the values asked for fit theirs.
    steps = np.arange(shape[0], dtype=np.uint64) * np.array([int(delta) % 2**64], dtype=np.uint64)
    return (steps + np.array([int(start) % 2**64], dtype=np.uint64)).astype(dtype)


def normal(generator: np.random.Generator, arguments: Arguments, shape: Shape, dtype: DType) -> Array:
    out = generator.standard_normal(shape, dtype=working_dtype(dtype))
    return _shifted(out, arguments["stddev"], arguments["mean"], dtype)


def truncated_normal(generator: np.random.Generator, arguments: Arguments, shape: Shape, dtype: DType) -> Array:
    out = _standard_truncated(generator, shape, dtype)
    return _shifted(out, arguments["stddev"], arguments["mean"], dtype)


def uniform(generator: np.random.Generator, arguments: Arguments, shape: Shape, dtype: DType) -> Array:
    low, high = arguments["minval"], arguments["maxval"]
    if dtype in INTEGERS:
        return generator.integers(int(low), int(high), size=shape, dtype=dtype.type)
    return _uniform_floats(generator, low, 1.0 if high is None else high, shape, dtype)


def multinomial(generator: np.random.Generator, arguments: Arguments, shape: Shape, dtype: DType) -> Array:
    logits = arguments["logits"].typed(np.dtype(np.float64))
    out = np.empty(shape, dtype=dtype)
    for row, row_logits in zip(out, logits, strict=True):
        weights = np.exp(row_logits - row_logits.max())
        edges = np.cumsum(weights)
        drawn = np.searchsorted(edges, generator.random(shape[1]) * edges[-1], side="right")
        # The product may round up to the last edge itself: that draw belongs to the last class that has any weight.
        row[:] = np.minimum(drawn, np.flatnonzero(weights)[-1])
    return out


def gamma(generator: np.random.Generator, arguments: Arguments, shape: Shape, dtype: DType) -> Array:
    working = working_dtype(dtype)
    alpha, beta = (arguments[name].typed(np.dtype(working)) for name in ("alpha", "beta"))
    out = generator.standard_gamma(np.broadcast_to(alpha, shape), size=shape, dtype=working)
    return np.asarray(out / beta).astype(dtype, copy=False)


def shuffle(generator: np.random.Generator, arguments: Arguments, shape: Shape, dtype: DType) -> Array:
    value: Array = arguments["value"].typed(dtype).reshape(shape)
    if not shape:
        return np.asarray(value)
    return value[generator.permutation(shape[0])]


def crop(generator: np.random.Generator, arguments: Arguments, shape: Shape, dtype: DType) -> Array:
    value = arguments["value"].typed(dtype)
    starts = [int(generator.integers(0, have - want + 1)) for have, want in zip(value.shape, shape, strict=True)]
    window = tuple(slice(start, start + want) for start, want in zip(starts, shape, strict=True))
    return np.array(value[window], order="C")


def variance_scaling(generator: np.random.Generator, arguments: Arguments, shape: Shape, dtype: DType) -> Array:
    fan_in, fan_out = fans(shape)
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[arguments["mode"]]
    variance = arguments["scale"] / max(1.0, fan)
    if arguments["distribution"] == "uniform":
        limit = math.sqrt(3.0 * variance)
        return _uniform_floats(generator, -limit, limit, shape, dtype)
    if arguments["distribution"] == "untruncated_normal":
        out = generator.standard_normal(shape, dtype=working_dtype(dtype))
        return _shifted(out, math.sqrt(variance), 0.0, dtype)
    out = _standard_truncated(generator, shape, dtype)
    return _shifted(out, math.sqrt(variance) / TRUNCATED_STDDEV, 0.0, dtype)


def orthogonal(generator: np.random.Generator, arguments: Arguments, shape: Shape, dtype: DType) -> Array:
    rows, columns = math.prod(shape[:-1]), shape[-1]
    flat = (max(rows, columns), min(rows, columns))
    # The signs of r's diagonal make the result uniform over the orthogonal matrices.
    q, r = np.linalg.qr(generator.standard_normal(flat, dtype=working_dtype(dtype)))
    q = q * np.where(np.diag(r) < 0, -1, 1).astype(q.dtype)
    out = (q.T if rows < columns else q) * q.dtype.type(arguments["gain"])
    return np.ascontiguousarray(out.reshape(shape).astype(dtype, copy=False))


def identity(_: np.random.Generator, arguments: Arguments, shape: Shape, dtype: DType) -> Array:
    out = np.zeros(shape, dtype=dtype)
    np.fill_diagonal(out, arguments["gain"].typed(dtype))
    return out


def fans(shape: Shape) -> tuple[int, int]:
    """TF's fan_in and fan_out: `[]` 1, 1; `[n]` n, n; else the last two axes, times a convolution's window."""
    if len(shape) < 2:
        size = math.prod(shape)
        return size, size
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def _shifted(out: Any, stddev: float, mean: float, dtype: DType) -> Array:
    array = np.asarray(out)
    array *= array.dtype.type(stddev)
    array += array.dtype.type(mean)
    return array.astype(dtype, copy=False)


def _standard_truncated(generator: np.random.Generator, shape: Shape, dtype: DType) -> Array:
    """Standard normal within 2: what falls outside is drawn again, as clipping would heap values up at the ends."""
    working = working_dtype(dtype)
    flat = generator.standard_normal(math.prod(shape), dtype=working)
    outside = np.flatnonzero(np.abs(flat) > 2)
    while outside.size:
        flat[outside] = generator.standard_normal(outside.size, dtype=working)
        outside = outside[np.abs(flat[outside]) > 2]
    return flat.reshape(shape)


def _uniform_floats(generator: np.random.Generator, low: float, high: float, shape: Shape, dtype: DType) -> Array:
    """`[low, high)` also after rounding to `dtype`: what rounds up to `high` is drawn again."""
    low_rounded, high_rounded = (np.asarray(end, dtype=np.float64).astype(dtype) for end in (low, high))
    if low_rounded == high_rounded:
        return np.full(shape, low_rounded, dtype=dtype)
    flat = _scaled_uniform(generator, math.prod(shape), low, high, dtype)
    outside = np.flatnonzero(flat >= high_rounded)
    while outside.size:
        flat[outside] = _scaled_uniform(generator, outside.size, low, high, dtype)
        outside = outside[flat[outside] >= high_rounded]
    return flat.reshape(shape)


def _scaled_uniform(generator: np.random.Generator, size: int, low: float, high: float, dtype: DType) -> Array:
    working = working_dtype(dtype)
    flat = generator.random(size, dtype=working)
    flat *= working(high - low)
    flat += working(low)
    return flat.astype(dtype, copy=False)
