"""Operations that draw: a new value at every run.

With a seed, of the operation or of the graph, every new session draws the same sequence; the generator of an
operation is Philox, keyed by both seeds. Without one it is keyed by the machine's entropy.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import numpy as np

from paramserver_client.graph import dtypes
from paramserver_client.graph.convert import (
    apply,
    constant_shape,
    constant_value,
    convert_to_tensor,
    nested,
    op_scope,
    plain,
    shape_tensor,
)
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.graph import get_default_graph
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_math import add, cast, maximum, multiply, realdiv, subtract
from paramserver_client.graph.registry import attr_dtype, define
from paramserver_client.graph.shapes import TensorShape

DEFAULT_GRAPH_SEED: Final = 87654321
Seeds = tuple[int, int] | None


def get_seed(op_seed: int | None) -> Seeds:
    """The graph's seed and the operation's, as TensorFlow pairs them; None when neither is set."""
    graph = get_default_graph()
    if graph.seed is None:
        return None if op_seed is None else (DEFAULT_GRAPH_SEED, int(op_seed))
    return (graph.seed, graph.version if op_seed is None else int(op_seed))


def seed_pair(op_seed: int | None) -> tuple[int | None, int | None]:
    """The seeds that a random operation made now would get: the graph's and its own, or None and None."""
    return get_seed(op_seed) or (None, None)


def one_seed(seeds: Seeds) -> int | None:
    """Both seeds as the one number that an initializer spec takes; below 2**53, so that every JSON reader keeps it."""
    if seeds is None:
        return None
    digest = blake2b(repr(seeds).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 11


def make_generator(seeds: Seeds) -> np.random.Generator:
    if seeds is None:
        return np.random.Generator(np.random.Philox())
    key = int.from_bytes(blake2b(repr(seeds).encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))


def _sizes(shape: Array) -> tuple[int, ...]:
    if (shape < 0).any():
        raise InvalidArgumentError(f"Dimensions of a random shape must be >= 0, got {shape.tolist()}")
    return tuple(int(size) for size in shape)


def _working(dtype: DType) -> Any:
    return np.float64 if dtype == dtypes.float64 else np.float32


def _asked_shape(op: Operation) -> TensorShape:
    return constant_shape(op.inputs[0])


@define("RandomStandardNormal", shape=_asked_shape, dtype=attr_dtype, effect="random")
def _standard_normal(shape: Array, *, dtype: DType, rng: np.random.Generator) -> Array:
    return np.asarray(rng.standard_normal(_sizes(shape), dtype=_working(dtype))).astype(dtype.numpy_dtype, copy=False)


@define("TruncatedNormal", shape=_asked_shape, dtype=attr_dtype, effect="random")
def _truncated(shape: Array, *, dtype: DType, rng: np.random.Generator) -> Array:
    out = np.asarray(rng.standard_normal(_sizes(shape), dtype=_working(dtype)))
    flat = out.reshape(-1)
    outside = np.flatnonzero(np.abs(flat) > 2)
    while outside.size:  # Drawn again: clipping would heap values up at the ends.
        flat[outside] = rng.standard_normal(outside.size, dtype=_working(dtype))
        outside = outside[np.abs(flat[outside]) > 2]
    return flat.reshape(out.shape).astype(dtype.numpy_dtype, copy=False)


@define("RandomUniform", shape=_asked_shape, dtype=attr_dtype, effect="random")
def _uniform(shape: Array, *, dtype: DType, rng: np.random.Generator) -> Array:
    out = np.asarray(rng.random(_sizes(shape), dtype=_working(dtype)))
    if dtype.size >= 4:
        return out
    below_one = 1 - (2.0**-11 if dtype == dtypes.float16 else 2.0**-8)
    cut: Array = np.minimum(out, out.dtype.type(below_one))  # It must not be rounded up to 1.
    return cut.astype(dtype.numpy_dtype)


@define("RandomUniformInt", shape=_asked_shape, dtype=attr_dtype, effect="random")
def _uniform_int(shape: Array, low: Array, high: Array, *, dtype: DType, rng: np.random.Generator) -> Array:
    if low >= high:
        raise InvalidArgumentError(f"Need minval < maxval, got {low} >= {high}")
    return np.asarray(rng.integers(int(low), int(high), size=_sizes(shape), dtype=dtype.numpy_dtype.type))


def _multinomial_shape(op: Operation) -> TensorShape:
    logits = op.inputs[0].shape
    if logits.ndims not in (None, 2):
        raise ValueError(f"Shape must be rank 2 but is rank {logits.ndims}")
    samples = constant_value(op.inputs[1])
    batch = logits.sizes[0] if logits.sizes else None
    return TensorShape([batch, None if samples is None else int(samples)])


@define("Multinomial", shape=_multinomial_shape, dtype=attr_dtype, effect="random")
def _multinomial(logits: Array, samples: Array, *, dtype: DType, rng: np.random.Generator) -> Array:
    if logits.ndim != 2 or samples < 0:
        raise InvalidArgumentError(f"logits should be a matrix, got shape {list(logits.shape)}; samples >= 0")
    weights = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    edges = np.cumsum(weights, axis=1)
    out = np.empty((len(logits), int(samples)), dtype=dtype.numpy_dtype)
    for row, row_edges in zip(out, edges, strict=True):
        drawn = np.searchsorted(row_edges, rng.random(out.shape[1]) * row_edges[-1], side="right")
        row[:] = np.minimum(drawn, len(row_edges) - 1)
    return out


def _gamma_shape(op: Operation) -> TensorShape:
    return constant_shape(op.inputs[0]).concatenate(op.inputs[1].shape)


@define("RandomGamma", shape=_gamma_shape, dtype=attr_dtype, effect="random")
def _gamma(shape: Array, alpha: Array, *, dtype: DType, rng: np.random.Generator) -> Array:
    wide = np.asarray(rng.standard_gamma(alpha.astype(np.float64), size=(*_sizes(shape), *alpha.shape)))
    return wide.astype(dtype.numpy_dtype)


@define("RandomShuffle", effect="random")
def _shuffle(value: Array, *, rng: np.random.Generator) -> Array:
    return value[rng.permutation(len(value))] if value.ndim else value


def _crop_shape(op: Operation) -> TensorShape:
    size = constant_shape(op.inputs[1])
    rank = op.inputs[0].shape.ndims
    if rank is not None and size.ndims is not None and rank != size.ndims:
        raise ValueError(f"Shapes must be equal rank, but are {rank} and {size.ndims}")
    return size


@define("RandomCrop", shape=_crop_shape, effect="random")
def _crop(value: Array, size: Array, *, rng: np.random.Generator) -> Array:
    if (np.array(value.shape) < size).any():
        raise InvalidArgumentError(f"Need value.shape >= size, got {list(value.shape)} {size.tolist()}")
    starts = [int(rng.integers(0, have - want + 1)) for have, want in zip(value.shape, size, strict=True)]
    return value[tuple(slice(start, start + int(want)) for start, want in zip(starts, size, strict=True))].copy()


# What users call


def _float_dtype(dtype: Any) -> DType:
    wanted = dtypes.as_dtype(dtype).base_dtype
    if not wanted.is_floating:
        raise TypeError(
            f"Value passed to parameter 'dtype' has DataType {wanted.name} not in list of allowed values: "
            "float16, bfloat16, float32, float64"
        )
    return wanted


def _number(tensor: Tensor) -> float | None:
    value = constant_value(tensor)
    if value is None or value.ndim or not np.isfinite(value):
        return None
    number: float = plain(value[()])
    return number


def _add_recipe(tensor: Tensor, kind: str, seeds: Seeds, **parameters: Any) -> Tensor:
    """Note the spec of the same draw on the server, when the graph settles all of it."""
    if tensor.shape.is_fully_defined() and all(value is not None for value in parameters.values()):
        seed = one_seed(seeds)
        tensor.op.recipe = {"type": kind, **parameters, **({} if seed is None else {"seed": seed})}
    return tensor


def _normal(
    op_type: str, kind: str, shape: Any, mean: Any, stddev: Any, dtype: Any, seed: int | None, name: str | None
) -> Tensor:
    with op_scope(name, kind, [shape, mean, stddev]) as scope:
        wanted = _float_dtype(dtype)
        dims = shape_tensor(shape)
        centre = convert_to_tensor(mean, wanted, name="mean")
        spread = convert_to_tensor(stddev, wanted, name="stddev")
        seeds = get_seed(seed)
        drawn = apply(op_type, [dims], op_type, dtype=wanted, seeds=seeds)
        result = add(multiply(drawn, spread, name="mul"), centre, name=scope)
        mean_number, stddev_number = _number(centre), _number(spread)
        if stddev_number is not None and stddev_number >= 0:
            _add_recipe(result, kind, seeds, mean=mean_number, stddev=stddev_number)
        return result


def random_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, seed: int | None = None,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """Normally distributed numbers. Raises TypeError for dtypes that are not floating point."""
    return _normal("RandomStandardNormal", "random_normal", shape, mean, stddev, dtype, seed, name)


def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, seed: int | None = None,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """Normally distributed numbers, those further than two `stddev` from the mean drawn again."""
    return _normal("TruncatedNormal", "truncated_normal", shape, mean, stddev, dtype, seed, name)


def random_uniform(
    shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = dtypes.float32, seed: int | None = None,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """Numbers spread evenly over `[minval, maxval)`; `maxval` is 1 for floats and must be given for integers."""
    wanted = dtypes.as_dtype(dtype).base_dtype
    if maxval is None:
        if wanted.is_integer:
            raise ValueError(f"Must specify maxval for integer dtype {wanted!r}")
        maxval = 1
    with op_scope(name, "random_uniform", [shape, minval, maxval]) as scope:
        dims = shape_tensor(shape)
        low, high = convert_to_tensor(minval, wanted, name="min"), convert_to_tensor(maxval, wanted, name="max")
        seeds = get_seed(seed)
        if wanted.is_integer:
            result = apply("RandomUniformInt", [dims, low, high], scope, dtype=wanted, seeds=seeds)
        else:
            attrs = {"dtype": _float_dtype(wanted), "seeds": seeds}
            drawn = apply("RandomUniform", [dims], "RandomUniform", **attrs)
            result = add(multiply(drawn, subtract(high, low, name="sub"), name="mul"), low, name=scope)
        least, most = _number(low), _number(high)
        if least is not None and most is not None and least < most:
            _add_recipe(result, "random_uniform", seeds, minval=least, maxval=most)
        return result


def multinomial(
    logits: Any, num_samples: Any, seed: int | None = None, name: str | None = None, output_dtype: Any = None
) -> Tensor:
    """`num_samples` draws from each row of unnormalized log-probabilities `[batch, classes]`: int64 class numbers
    `[batch, num_samples]`. Raises ValueError when `logits` is no matrix."""
    wanted = dtypes.int64 if output_dtype is None else dtypes.as_dtype(output_dtype)
    with op_scope(name, "multinomial", [logits]) as scope:
        scores = convert_to_tensor(logits, name="logits")
        count = convert_to_tensor(num_samples, dtypes.int32, name="num_samples")
        seeds = get_seed(seed)
        result = apply("Multinomial", [scores, count], scope, dtype=wanted, seeds=seeds)
        samples = constant_value(count)
        number = None if samples is None else int(samples)
        return _add_recipe(result, "multinomial", seeds, logits=nested(constant_value(scores)), num_samples=number)


def random_gamma(
    shape: Any, alpha: Any, beta: Any = None, dtype: Any = dtypes.float32, seed: int | None = None,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """Gamma-distributed numbers of mean `alpha / beta`, of the shape `shape + broadcast(alpha, beta)`."""
    with op_scope(name, "random_gamma", [shape, alpha, beta]) as scope:
        wanted = _float_dtype(dtype)
        dims = shape_tensor(shape)
        form = convert_to_tensor(alpha, wanted, name="alpha")
        rate = convert_to_tensor(1 if beta is None else beta, wanted, name="beta")
        whole = add(form, multiply(rate, np.zeros((), wanted.numpy_dtype)), name="alpha_of_each")
        seeds = get_seed(seed)
        drawn = apply("RandomGamma", [dims, whole], "RandomGamma", dtype=wanted, seeds=seeds)
        tiny = np.finfo(wanted.numpy_dtype).tiny if wanted.size > 2 else 2.0**-14
        result = maximum(realdiv(drawn, rate), cast(convert_to_tensor(float(tiny), dtypes.float64), wanted), name=scope)
        given = {"alpha": nested(constant_value(form)), "beta": nested(constant_value(rate))}
        return _add_recipe(result, "random_gamma", seeds, **given)


def random_shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """`value` with the rows along its first axis in a new random order."""
    with op_scope(name, "RandomShuffle", [value]) as scope:
        tensor = convert_to_tensor(value, name="value")
        seeds = get_seed(seed)
        result = apply("RandomShuffle", [tensor], scope, seeds=seeds)
        return _add_recipe(result, "random_shuffle", seeds, value=nested(constant_value(tensor)))


def random_crop(value: Any, size: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """A block of shape `size` cut out of `value` at a random place. One larger than `value` fails the run:
    InvalidArgumentError."""
    with op_scope(name, "random_crop", [value, size]) as scope:
        tensor, extent = convert_to_tensor(value, name="value"), shape_tensor(size, "size")
        seeds = get_seed(seed)
        result = apply("RandomCrop", [tensor, extent], scope, seeds=seeds)
        given = {"value": nested(constant_value(tensor)), "size": list(result.shape.sizes or ())}
        return _add_recipe(result, "random_crop", seeds, **given) if _fits(result, tensor) else result


def _fits(part: Tensor, whole: Tensor) -> bool:
    if not (part.shape.is_fully_defined() and whole.shape.is_fully_defined()):
        return False
    return all(want <= have for want, have in zip(part.shape.known(), whole.shape.known(), strict=True))
