"""The one table of initializers: what each takes, which dtypes it makes, what settles its shape, and how it draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from . import draws
from .parameters import (
    LIKE,
    SEED,
    Arguments,
    Parameter,
    above_zero,
    at_least_zero,
    choice,
    count,
    number,
    optional_number,
    positive_tensor,
    scalar,
    sizes,
    tensor,
)
from .values import ALL, FLOATS, INTEGERS, NUMBERS, Array, DType, Fault, fits

Shape = tuple[int, ...]
Draw = Callable[[np.random.Generator, Arguments, Shape, DType], Array]

MAX_COUNT: Final = 2**63 - 1
FLOAT32: Final = np.dtype(np.float32)


def _no_own_shape(arguments: Arguments, dtype: DType) -> Shape | None:
    return None


def _float32(arguments: Arguments) -> DType:
    return FLOAT32


def _nothing_more(arguments: Arguments, shape: Shape, dtype: DType) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Kind:
    """One initializer.

    `own_shape` is the shape the arguments settle, None if they leave it open; a shape asked for must be equal, unless
    `reshapes`. `own_dtype` is the dtype when none is asked for. `check` raises Fault for what only shape and dtype
    together can tell. A `random` kind takes a seed too.
    """

    parameters: Mapping[str, Parameter]
    draw: Draw
    dtypes: tuple[DType, ...] = ALL
    own_shape: Callable[[Arguments, DType], Shape | None] = _no_own_shape
    own_dtype: Callable[[Arguments], DType] = _float32
    check: Callable[[Arguments, Shape, DType], None] = _nothing_more
    reshapes: bool = False
    random: bool = False


def _value_shape(arguments: Arguments, dtype: DType) -> Shape:
    shape: Shape = arguments["value"].shape_in(dtype)
    return shape


def _value_dtype(arguments: Arguments) -> DType:
    dtype: DType = arguments["value"].natural_dtype()
    return dtype


def _check_constant(arguments: Arguments, shape: Shape, dtype: DType) -> None:
    size, given = math.prod(shape), math.prod(_value_shape(arguments, dtype))
    arguments["value"].typed(dtype)
    if size and given > size:
        raise Fault(f"value: Too many elements provided. Needed at most {size}, but received {given}")
    if size and not given:
        raise Fault(f"value: wanted at least one element for shape {list(shape)}, got none")


def _check_fill(arguments: Arguments, shape: Shape, dtype: DType) -> None:
    if _value_shape(arguments, dtype):
        raise Fault(f"value: wanted one number, got shape {list(arguments['value'].shape)}; use constant for more")
    arguments["value"].typed(dtype)


def _check_typed_value(arguments: Arguments, shape: Shape, dtype: DType) -> None:
    arguments["value"].typed(dtype)


def _finite(*names: str) -> Callable[[Arguments, Shape, DType], None]:
    def check(arguments: Arguments, shape: Shape, dtype: DType) -> None:
        faults = [
            f"{name}: wanted a number that stays finite in dtype {dtype.name}, got {arguments[name]!r}"
            for name in names
            if not fits(arguments[name], dtype)
        ]
        if faults:
            raise Fault(*faults)

    return check


def _linspace_shape(arguments: Arguments, dtype: DType) -> Shape:
    return (arguments["num"],)


def _range_count(arguments: Arguments) -> int:
    start, limit, delta = arguments["start"], arguments["limit"], arguments["delta"]
    if delta == 0:
        raise Fault("delta: wanted a step other than 0, got 0")
    if (limit < start) if delta > 0 else (limit > start):
        raise Fault(f"delta: wanted a step that goes from start {start!r} towards limit {limit!r}, got {delta!r}")
    if all(isinstance(item, int) for item in (start, limit, delta)):
        result = -((start - limit) // delta)
    else:
        steps = (float(limit) - float(start)) / float(delta)
        result = math.ceil(steps) if math.isfinite(steps) else MAX_COUNT + 1
    if result > MAX_COUNT:
        raise Fault("limit: wanted a range of fewer than 2**63 numbers, got more")
    return int(result)


def _range_shape(arguments: Arguments, dtype: DType) -> Shape:
    return (_range_count(arguments),)


def _range_dtype(arguments: Arguments) -> DType:
    whole = all(isinstance(arguments[name], int) for name in ("start", "limit", "delta"))
    return np.dtype(np.int32) if whole else FLOAT32


def _check_range(arguments: Arguments, shape: Shape, dtype: DType) -> None:
    if dtype not in INTEGERS:
        return _finite("start", "limit", "delta")(arguments, shape, dtype)
    faults = [
        f"{name}: wanted a whole number for dtype {dtype.name}, got {arguments[name]!r}"
        for name in ("start", "limit", "delta")
        if arguments[name] != int(arguments[name])
    ]
    if faults:
        raise Fault(*faults)
    start, delta, limits = int(arguments["start"]), int(arguments["delta"]), np.iinfo(dtype)
    last = start + delta * (shape[0] - 1)
    outside = [item for item in (start, last) if shape[0] and not limits.min <= item <= limits.max]
    if outside:
        raise Fault(f"limit: wanted numbers in {limits.min}..{limits.max} for dtype {dtype.name}, got {outside[0]}")
    return None


def _check_uniform(arguments: Arguments, shape: Shape, dtype: DType) -> None:
    low, high = arguments["minval"], arguments["maxval"]
    if dtype in INTEGERS:
        return _check_uniform_integers(low, high, dtype)
    high = 1.0 if high is None else high
    _finite("low", "high")({"low": low, "high": high}, shape, dtype)
    if low > high:
        raise Fault(f"minval: wanted at most maxval {high!r}, got {low!r}")
    if not fits(high - low, dtype):
        raise Fault(f"maxval: wanted maxval - minval to stay finite in dtype {dtype.name}, got {high!r} - {low!r}")
    return None


def _check_uniform_integers(low: float, high: float | None, dtype: DType) -> None:
    if high is None:
        raise Fault(f"maxval: wanted for dtype {dtype.name}, but missing")
    limits = np.iinfo(dtype)
    faults = [
        f"{name}: wanted a whole number in {limits.min}..{limits.max} for dtype {dtype.name}, got {value!r}"
        for name, value in (("minval", low), ("maxval", high))
        if value != int(value) or not limits.min <= value <= limits.max
    ]
    if low >= high:
        faults.append(f"minval: wanted less than maxval {high!r}, got {low!r}")
    if faults:
        raise Fault(*faults)


def _multinomial_shape(arguments: Arguments, dtype: DType) -> Shape:
    shape = arguments["logits"].shape
    if len(shape) != 2 or 0 in shape:
        raise Fault(f"logits: wanted shape [batch, classes], none of them 0, got {list(shape)}")
    return (shape[0], arguments["num_samples"])


def _int64(arguments: Arguments) -> DType:
    return np.dtype(np.int64)


def _check_logits(arguments: Arguments, shape: Shape, dtype: DType) -> None:
    arguments["logits"].typed(np.dtype(np.float64))


def _check_gamma(arguments: Arguments, shape: Shape, dtype: DType) -> None:
    ending = _gamma_ending(arguments)
    if shape[len(shape) - len(ending) :] != ending or len(shape) < len(ending):
        raise Fault(f"shape: wanted one that ends with that of alpha and beta, {list(ending)}, got {list(shape)}")
    for name in ("alpha", "beta"):
        if not (arguments[name].typed(np.dtype(draws.working_dtype(dtype))) > 0).all():
            raise Fault(f"{name}: wanted numbers that stay above 0 in dtype {dtype.name}, got smaller ones")


def _gamma_ending(arguments: Arguments) -> Shape:
    alpha, beta = arguments["alpha"].shape, arguments["beta"].shape
    try:
        return np.broadcast_shapes(alpha, beta)
    except ValueError:
        raise Fault(f"beta: wanted a shape that broadcasts with alpha's {list(alpha)}, got {list(beta)}") from None


def _gamma_shape(arguments: Arguments, dtype: DType) -> Shape:
    return _gamma_ending(arguments)


def _crop_shape(arguments: Arguments, dtype: DType) -> Shape:
    have, want = _value_shape(arguments, dtype), arguments["size"]
    if len(have) != len(want) or any(more > given for more, given in zip(want, have, strict=True)):
        raise Fault(f"size: Need value.shape >= size, got {list(have)} and {list(want)}")
    return tuple(want)


def _check_orthogonal(arguments: Arguments, shape: Shape, dtype: DType) -> None:
    if len(shape) < 2:
        raise Fault(f"shape: wanted at least two axes, got {list(shape)}")
    _finite("gain")(arguments, shape, dtype)


def _check_identity(arguments: Arguments, shape: Shape, dtype: DType) -> None:
    if len(shape) != 2:
        raise Fault(f"shape: wanted two axes, got {list(shape)}")
    if arguments["gain"].shape_in(dtype):
        raise Fault(f"gain: wanted one number, got shape {list(arguments['gain'].shape)}")
    arguments["gain"].typed(dtype)


_DISTRIBUTIONS: Final = MappingProxyType(
    {
        "truncated_normal": "truncated_normal",
        "normal": "truncated_normal",
        "untruncated_normal": "untruncated_normal",
        "uniform": "uniform",
    }
)
_MODES: Final = MappingProxyType({mode: mode for mode in ("fan_in", "fan_out", "fan_avg")})


def _scaling(scale: float, mode: str, distribution: str) -> Kind:
    """A variance_scaling whose arguments are fixed."""
    fixed = {"scale": scale, "mode": mode, "distribution": distribution}

    def draw(generator: np.random.Generator, arguments: Arguments, shape: Shape, dtype: DType) -> Array:
        return draws.variance_scaling(generator, fixed, shape, dtype)

    return Kind({}, draw, FLOATS, random=True)


def _identity_gain() -> Parameter:
    read = scalar().read
    return Parameter(read, read(1))


_VALUE: Final[Mapping[str, Any]] = {"own_shape": _value_shape, "own_dtype": _value_dtype}
_NORMAL: Final = {"mean": number(0.0), "stddev": at_least_zero(1.0)}

KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "zeros": Kind({}, draws.zeros),
        "ones": Kind({}, draws.ones),
        "zeros_like": Kind({"like": LIKE}, draws.zeros),
        "ones_like": Kind({"like": LIKE}, draws.ones),
        "constant": Kind({"value": tensor()}, draws.constant, check=_check_constant, reshapes=True, **_VALUE),
        "fill": Kind({"value": scalar()}, draws.constant, own_dtype=_value_dtype, check=_check_fill),
        "linspace": Kind(
            {"start": number(), "stop": number(), "num": count(least=1)},
            draws.linspace,
            FLOATS,
            own_shape=_linspace_shape,
            check=_finite("start", "stop"),
        ),
        "range": Kind(
            {"start": number(0), "limit": number(), "delta": number(1)},
            draws.arange,
            FLOATS + INTEGERS,
            own_shape=_range_shape,
            own_dtype=_range_dtype,
            check=_check_range,
        ),
        "random_normal": Kind(_NORMAL, draws.normal, FLOATS, check=_finite("mean", "stddev"), random=True),
        "truncated_normal": Kind(_NORMAL, draws.truncated_normal, FLOATS, check=_finite("mean", "stddev"), random=True),
        "random_uniform": Kind(
            {"minval": number(0), "maxval": optional_number()},
            draws.uniform,
            FLOATS + INTEGERS,
            check=_check_uniform,
            random=True,
        ),
        "multinomial": Kind(
            {"logits": tensor(), "num_samples": count(least=0)},
            draws.multinomial,
            (np.dtype(np.int32), np.dtype(np.int64)),
            own_shape=_multinomial_shape,
            own_dtype=_int64,
            check=_check_logits,
            random=True,
        ),
        "random_gamma": Kind(
            {"alpha": positive_tensor(), "beta": positive_tensor(1.0)},
            draws.gamma,
            FLOATS,
            own_shape=_gamma_shape,
            check=_check_gamma,
            reshapes=True,
            random=True,
        ),
        "random_shuffle": Kind({"value": tensor()}, draws.shuffle, check=_check_typed_value, random=True, **_VALUE),
        "random_crop": Kind(
            {"value": tensor(), "size": sizes()},
            draws.crop,
            own_shape=_crop_shape,
            own_dtype=_value_dtype,
            check=_check_typed_value,
            random=True,
        ),
        "glorot_normal": _scaling(1.0, "fan_avg", "truncated_normal"),
        "glorot_uniform": _scaling(1.0, "fan_avg", "uniform"),
        "he_normal": _scaling(2.0, "fan_in", "truncated_normal"),
        "he_uniform": _scaling(2.0, "fan_in", "uniform"),
        "lecun_normal": _scaling(1.0, "fan_in", "truncated_normal"),
        "lecun_uniform": _scaling(1.0, "fan_in", "uniform"),
        "variance_scaling": Kind(
            {
                "scale": above_zero(1.0),
                "mode": choice(_MODES, "fan_in"),
                "distribution": choice(_DISTRIBUTIONS, "truncated_normal"),
            },
            draws.variance_scaling,
            FLOATS,
            check=_finite("scale"),
            random=True,
        ),
        "orthogonal": Kind({"gain": number(1.0)}, draws.orthogonal, FLOATS, check=_check_orthogonal, random=True),
        "identity": Kind({"gain": _identity_gain()}, draws.identity, NUMBERS, check=_check_identity),
    }
)

LIKES: Final = frozenset({"zeros_like", "ones_like"})


def parameters_of(kind: Kind) -> Mapping[str, Parameter]:
    """What a spec of this kind may hold beside its type."""
    return {**kind.parameters, "seed": SEED} if kind.random else kind.parameters
