"""Initializers: objects that make a variable's first value from its shape and dtype.

Each gives a tensor, and notes on it the spec under which the server makes the value itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Self

import numpy as np

from paramserver_client.graph import dtypes, ops_array, ops_random
from paramserver_client.graph.convert import apply, constant_of, make_array, plain, shaped
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_random import get_seed, one_seed
from paramserver_client.graph.registry import attr_dtype, define
from paramserver_client.graph.shapes import TensorShape, as_shape
from paramserver_client.graph.variable_lists import global_variables_initializer as global_variables
from paramserver_client.graph.variable_lists import local_variables_initializer as local_variables
from paramserver_client.graph.variable_lists import tables_initializer
from paramserver_client.graph.variable_lists import variables_initializer as variables

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "Identity",
    "Initializer",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "UniformUnitScaling",
    "VarianceScaling",
    "Zeros",
    "constant",
    "global_variables",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "local_variables",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "tables_initializer",
    "truncated_normal",
    "uniform_unit_scaling",
    "variables",
    "variance_scaling",
    "zeros",
]  # fmt: skip

TRUNCATED_STDDEV: Final = 0.87962566103423978
"""The standard deviation of a standard normal cut at 2, by which TensorFlow divides."""


class Initializer:
    """Called as `init(shape, dtype=None, partition_info=None)`; gives a tensor."""

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        raise TypeError(
            f"{type(self).__name__} makes no values: call an initializer of a kind, as zeros_initializer()."
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, as plain values."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The initializer that `get_config` described."""
        return cls(**config)


class _Typed(Initializer):
    """An initializer with a dtype of its own, used when the call gives none."""

    def __init__(self, dtype: Any = dtypes.float32) -> None:
        self.dtype = dtypes.as_dtype(dtype)

    def _dtype(self, dtype: Any) -> DType:
        return self.dtype if dtype is None else dtypes.as_dtype(dtype).base_dtype

    def get_config(self) -> dict[str, Any]:
        return {"dtype": self.dtype.name}


class Zeros(_Typed):
    """All zeros."""

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return ops_array.zeros(shape, self._dtype(dtype))


class Ones(_Typed):
    """All ones."""

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return ops_array.ones(shape, self._dtype(dtype))


class Constant(_Typed):
    """A number for all elements, or a list or array of them, padded with its last one.

    Raises TypeError for a value that is none of these, ValueError on calls for shapes with fewer elements.
    """

    def __init__(self, value: Any = 0, dtype: Any = dtypes.float32, verify_shape: bool = False) -> None:
        if not (np.isscalar(value) or isinstance(value, list | tuple | np.ndarray)):
            raise TypeError(
                f"Invalid type for initial value: {value} (type: {type(value)}); wanted a python scalar, list or "
                "tuple of values, or a numpy array."
            )
        super().__init__(dtype)
        self.value = value
        self._verify_shape = verify_shape

    def __call__(
        self, shape: Any, dtype: Any = None, partition_info: Any = None, verify_shape: bool | None = None
    ) -> Tensor:
        verify = self._verify_shape if verify_shape is None else verify_shape
        return constant_of(shaped(make_array(self.value, self._dtype(dtype)), shape, verify), "Const")

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value, **super().get_config()}


class _Random(_Typed):
    def __init__(self, seed: int | None, dtype: Any) -> None:
        super().__init__(dtype)
        if not self.dtype.is_floating and not isinstance(self, RandomUniform):
            raise ValueError(f"Expected floating point type, got {self.dtype}.")
        self.seed = seed

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, **super().get_config()}


class RandomUniform(_Random):
    """Spread evenly over `[minval, maxval)`; `maxval` is 1 for floats and must be given for integers."""

    def __init__(self, minval: Any = 0, maxval: Any = None, seed: int | None = None, dtype: Any = dtypes.float32):
        super().__init__(seed, dtype)
        self.minval, self.maxval = minval, maxval

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return ops_random.random_uniform(shape, self.minval, self.maxval, self._dtype(dtype), seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        return {"minval": self.minval, "maxval": self.maxval, **super().get_config()}


class RandomNormal(_Random):
    """Normally distributed."""

    def __init__(self, mean: Any = 0.0, stddev: Any = 1.0, seed: int | None = None, dtype: Any = dtypes.float32):
        super().__init__(seed, dtype)
        self.mean, self.stddev = mean, stddev

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return ops_random.random_normal(shape, self.mean, self.stddev, self._dtype(dtype), seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "stddev": self.stddev, **super().get_config()}


class TruncatedNormal(RandomNormal):
    """Normally distributed, values further than two `stddev` from the mean drawn again."""

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return ops_random.truncated_normal(shape, self.mean, self.stddev, self._dtype(dtype), seed=self.seed)


_DISTRIBUTIONS: Final = ("normal", "uniform", "truncated_normal", "untruncated_normal")


class VarianceScaling(_Random):
    """Values of variance `scale / n`, n being the inputs (`fan_in`), the outputs or their mean of a layer's weights."""

    def __init__(
        self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal",
        seed: int | None = None, dtype: Any = dtypes.float32,
    ) -> None:  # fmt: skip
        if scale <= 0.0:
            raise ValueError(f"`scale` must be positive float, got {scale!r}")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"Invalid `mode` argument: {mode}; wanted fan_in, fan_out or fan_avg")
        if str(distribution).lower() not in _DISTRIBUTIONS:
            raise ValueError(f"Invalid `distribution` argument: {distribution}; wanted one of {_DISTRIBUTIONS}")
        super().__init__(seed, dtype)
        self.scale, self.mode, self.distribution = scale, mode, distribution.lower()

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        wanted = self._dtype(dtype)
        whole = shape if partition_info is None else partition_info.full_shape
        fan_in, fan_out = fans(as_shape(whole).known())
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return ops_random.random_uniform(shape, -limit, limit, wanted, seed=self.seed)
        if self.distribution == "untruncated_normal":
            return ops_random.random_normal(shape, 0.0, math.sqrt(variance), wanted, seed=self.seed)
        return ops_random.truncated_normal(shape, 0.0, math.sqrt(variance) / TRUNCATED_STDDEV, wanted, seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        own = {"scale": self.scale, "mode": self.mode, "distribution": self.distribution}
        return {**own, **super().get_config()}


class GlorotUniform(VarianceScaling):
    """Even, within `sqrt(6 / (fan_in + fan_out))`: what `get_variable` takes when nothing else is said."""

    def __init__(self, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, "dtype": self.dtype.name}


class GlorotNormal(VarianceScaling):
    """Truncated normal of variance `2 / (fan_in + fan_out)`."""

    def __init__(self, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, "dtype": self.dtype.name}


class UniformUnitScaling(_Random):
    """Even, within `factor * sqrt(3 / inputs)`, so that a layer keeps the scale of what goes in."""

    def __init__(self, factor: float = 1.0, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(seed, dtype)
        self.factor = factor

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        whole = as_shape(shape if partition_info is None else partition_info.full_shape).known()
        limit = math.sqrt(3.0 / max(1, math.prod(whole[:-1]))) * self.factor
        return ops_random.random_uniform(shape, -limit, limit, self._dtype(dtype), seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor, **super().get_config()}


def _fixed_scaling(scale: float, mode: str, distribution: str, seed: int | None) -> VarianceScaling:
    return VarianceScaling(scale, mode, distribution, seed)


def he_normal(seed: int | None = None) -> VarianceScaling:
    """Truncated normal of variance `2 / fan_in`."""
    return _fixed_scaling(2.0, "fan_in", "truncated_normal", seed)


def he_uniform(seed: int | None = None) -> VarianceScaling:
    """Even, within `sqrt(6 / fan_in)`."""
    return _fixed_scaling(2.0, "fan_in", "uniform", seed)


def lecun_normal(seed: int | None = None) -> VarianceScaling:
    """Truncated normal of variance `1 / fan_in`."""
    return _fixed_scaling(1.0, "fan_in", "truncated_normal", seed)


def lecun_uniform(seed: int | None = None) -> VarianceScaling:
    """Even, within `sqrt(3 / fan_in)`."""
    return _fixed_scaling(1.0, "fan_in", "uniform", seed)


def _given_shape(op: Operation) -> TensorShape:
    shape: TensorShape = op.attrs["shape"]
    return shape


@define("RandomOrthogonal", shape=_given_shape, dtype=attr_dtype, effect="random")
def _orthogonal(*, shape: TensorShape, gain: float, dtype: DType, rng: np.random.Generator) -> Array:
    sizes = shape.known()
    rows, columns = math.prod(sizes[:-1]), sizes[-1]
    # The signs of r's diagonal make the result uniform over the orthogonal matrices.
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    return ((q.T if rows < columns else q).reshape(sizes) * gain).astype(dtype.numpy_dtype)


class Orthogonal(_Random):
    """A random matrix with orthogonal rows or columns, times `gain`; needs two dimensions or more (ValueError)."""

    def __init__(self, gain: float = 1.0, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(seed, dtype)
        self.gain = gain

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        sizes = as_shape(shape)
        if len(sizes) < 2:
            raise ValueError("The tensor to initialize must be at least two-dimensional")
        seeds = get_seed(self.seed)
        attrs = {"shape": sizes, "gain": self.gain, "dtype": self._dtype(dtype), "seeds": seeds}
        result = apply("RandomOrthogonal", [], "orthogonal", **attrs)
        seed = one_seed(seeds)
        result.op.recipe = {"type": "orthogonal", "gain": float(self.gain), **({} if seed is None else {"seed": seed})}
        return result

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, **super().get_config()}


class Identity(_Typed):
    """The identity matrix times `gain`; for two dimensions only (ValueError). A part gets its part of it."""

    def __init__(self, gain: float = 1.0, dtype: Any = dtypes.float32) -> None:
        super().__init__(dtype)
        if not self.dtype.is_floating:
            raise ValueError(f"Expected floating point type, got {self.dtype}.")
        self.gain = gain

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        sizes = as_shape(shape).known()
        whole = sizes if partition_info is None else tuple(partition_info.full_shape)
        if len(whole) != 2:
            raise ValueError("Identity matrix initializer can only be used for 2D matrices.")
        wanted = self._dtype(dtype).numpy_dtype
        matrix = np.eye(*whole, dtype=wanted) * wanted.type(self.gain)
        if partition_info is not None:
            first, second = partition_info.var_offset
            return constant_of(matrix[first : first + sizes[0], second : second + sizes[1]].copy(), "eye")
        result = constant_of(matrix, "eye")
        result.op.recipe = {"type": "identity", "gain": plain(wanted.type(self.gain))}
        return result

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, **super().get_config()}


def fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """How many inputs and outputs weights of a shape have: `[]` 1, 1; `[n]` n, n; a convolution's `[h, w, in, out]`
    `h*w*in`, `h*w*out`."""
    if len(shape) < 2:
        size = math.prod(shape)
        return size, size
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


# `tf.initializers`: the same under the names used there.
constant = Constant
glorot_normal = GlorotNormal
glorot_uniform = GlorotUniform
identity = Identity
ones = Ones
orthogonal = Orthogonal
random_normal = RandomNormal
random_uniform = RandomUniform
truncated_normal = TruncatedNormal
uniform_unit_scaling = UniformUnitScaling
variance_scaling = VarianceScaling
zeros = Zeros
