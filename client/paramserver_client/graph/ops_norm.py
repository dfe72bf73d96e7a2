"""Normalization and dropout, made of other operations."""

from __future__ import annotations

from typing import Any

from paramserver_client.graph import dtypes
from paramserver_client.graph.convert import (
    constant_value,
    convert_to_tensor,
    op_scope,
    same_type,
    static_axis,
)
from paramserver_client.graph.node import Tensor
from paramserver_client.graph.ops_array import expand_dims, range_, reshape, shape, squeeze
from paramserver_client.graph.ops_math import (
    abs,
    add,
    cast,
    equal,
    exp,
    greater_equal,
    less_equal,
    log1p,
    maximum,
    multiply,
    negative,
    pow,
    square,
    subtract,
    to_float,
)
from paramserver_client.graph.ops_matmul import tensordot
from paramserver_client.graph.ops_nn import relu
from paramserver_client.graph.ops_random import random_uniform
from paramserver_client.graph.ops_reduce import reduce_mean, reduce_sum
from paramserver_client.graph.ops_unary import rsqrt, squared_difference


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: str | None = None, dim: Any = None) -> Tensor:
    """`x / sqrt(max(sum(x ** 2), epsilon))`, the sum taken along `axis`, or over all elements."""
    if axis is not None and dim is not None:
        raise ValueError("Cannot specify both 'axis' and 'dim'.")
    with op_scope(name, "l2_normalize", [x]) as scope:
        tensor = convert_to_tensor(x, name="x")
        squares = reduce_sum(square(tensor), dim if axis is None else axis, keepdims=True)
        return multiply(tensor, rsqrt(maximum(squares, epsilon)), name=scope)


def moments(
    x: Any, axes: Any, shift: Any = None, name: str | None = None, keep_dims: Any = None, keepdims: Any = None
) -> tuple[Tensor, Tensor]:
    """The mean and the (biased) variance of `x` over `axes`; float16 is summed in float32. `shift` is not used."""
    with op_scope(name, "moments", [x]):
        tensor = convert_to_tensor(x, name="x")
        wide = cast(tensor, dtypes.float32) if tensor.dtype.base_dtype == dtypes.float16 else tensor
        over = static_axis(axes, "The axes of moments")
        over = [over] if isinstance(over, int) else over
        mean = reduce_mean(wide, over, keepdims=True, name="mean")
        variance = reduce_mean(squared_difference(wide, mean), over, keepdims=True, name="variance")
        if not (keepdims or keep_dims):
            mean, variance = (squeeze(each, over) for each in (mean, variance))
        return cast(mean, tensor.dtype), cast(variance, tensor.dtype)


def batch_normalization(
    x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: Any, name: str | None = None
) -> Tensor:
    """`scale * (x - mean) / sqrt(variance + variance_epsilon) + offset`; `scale` and `offset` may be None.

    All broadcast to `x`: for images `[batch, height, width, channels]` vectors `[channels]` do.
    """
    given = [each for each in (x, mean, variance, offset, scale) if each is not None]
    with op_scope(name, "batchnorm", given):
        tensor = convert_to_tensor(x, name="x")
        factor = rsqrt(add(variance, variance_epsilon))
        if scale is not None:
            factor = multiply(factor, scale)
        lowered = negative(multiply(mean, factor)) if offset is None else subtract(offset, multiply(mean, factor))
        return add(multiply(tensor, cast(factor, tensor.dtype)), cast(lowered, tensor.dtype))


def local_response_normalization(
    input: Any, depth_radius: int = 5, bias: float = 1, alpha: float = 1, beta: float = 0.5, name: str | None = None
) -> Tensor:
    """`input / (bias + alpha * sum(input ** 2)) ** beta`, the sum over the channels at most `depth_radius` away
    (Krizhevsky et al., ImageNet Classification, 2012).

    `input` is `[batch, height, width, channels]`; another rank raises ValueError.
    """
    with op_scope(name, "LRN", [input]) as scope:
        images = convert_to_tensor(input, name="input")
        channels = images.shape.with_rank(4).as_list()[3]
        places = range_(shape(images)[3] if channels is None else channels)
        near = less_equal(abs(subtract(expand_dims(places, 1), places)), depth_radius)
        # The sum over a band of channels is a product with a matrix of ones and zeros, which BLAS does.
        band = cast(near, images.dtype)
        sums = add(multiply(tensordot(square(images), band, 1), alpha), bias)
        return multiply(images, pow(sums, -beta), name=scope)


def dropout(
    x: Any, keep_prob: Any = None, noise_shape: Any = None, seed: int | None = None, name: str | None = None,
    rate: Any = None,
) -> Tensor:  # fmt: skip
    """`x` with each element set to 0 with probability `rate` (`1 - keep_prob`), the others divided by `1 - rate`.

    With a `noise_shape` that broadcasts to `x`, whole parts are kept or dropped together. At a rate of 0 it is `x`
    itself. Raises ValueError when neither or both probabilities are given, for a number outside [0, 1), and for
    integers.
    """
    if keep_prob is not None and rate is not None:
        raise ValueError("Cannot specify both 'rate' and 'keep_prob'.")
    if keep_prob is None and rate is None:
        raise ValueError("You must provide a rate to dropout.")
    with op_scope(name, "dropout", [x]):
        tensor = convert_to_tensor(x, name="x")
        if not tensor.dtype.is_floating:
            raise ValueError(
                "x has to be a floating point tensor since it's going to be scaled. Got a "
                f"{tensor.dtype.base_dtype.name} tensor instead."
            )
        dropped = 1.0 - keep_prob if rate is None else rate
        if isinstance(dropped, int | float) and not 0 <= dropped < 1:
            raise ValueError(f"rate must be a scalar tensor or a float in the range [0, 1), got {dropped:g}")
        chance = convert_to_tensor(dropped, tensor.dtype.base_dtype, name="rate")
        if chance.shape.ndims not in (None, 0):
            raise ValueError(f"rate must be a scalar, got shape {chance.shape}")
        known = constant_value(chance)
        if known is not None and known == 0:
            return tensor
        sizes = shape(tensor) if noise_shape is None else _filled_in(noise_shape, tensor)
        drawn = random_uniform(sizes, seed=seed, dtype=tensor.dtype.base_dtype)
        kept = cast(greater_equal(drawn, chance), tensor.dtype)
        result: Tensor = tensor * (1.0 / (1.0 - chance)) * kept
        result.set_shape(tensor.shape)
        return result


def _filled_in(noise_shape: Any, tensor: Tensor) -> Any:
    """Where a list of sizes says None, that of the tensor is meant."""
    if not isinstance(noise_shape, list | tuple) or None not in noise_shape:
        return noise_shape
    sizes = tensor.shape.as_list() if tensor.shape.sizes is not None else []
    if len(sizes) != len(noise_shape) or any(a is None and b is None for a, b in zip(noise_shape, sizes, strict=True)):
        raise ValueError(f"noise_shape {noise_shape} wants sizes that x, of shape {tensor.shape}, does not know.")
    return [own if size is None else size for size, own in zip(noise_shape, sizes, strict=True)]


def zero_fraction(value: Any, name: str | None = None) -> Tensor:
    """The share of the elements of `value` that are 0, as float32."""
    with op_scope(name, "zero_fraction", [value]) as scope:
        tensor = convert_to_tensor(value, name="value")
        return reduce_mean(to_float(equal(tensor, cast(0, tensor.dtype))), name=scope)


def weighted_cross_entropy_with_logits(
    labels: Any = None, logits: Any = None, pos_weight: Any = None, name: str | None = None, targets: Any = None
) -> Tensor:
    """As `sigmoid_cross_entropy_with_logits`, with the losses of positive labels multiplied by `pos_weight`.

    `targets` is the old name of `labels`. Raises ValueError when the shapes differ.
    """
    chosen = targets if labels is None else labels
    if chosen is None or logits is None or pos_weight is None:
        raise ValueError("weighted_cross_entropy_with_logits wants labels, logits and pos_weight.")
    with op_scope(name, "logistic_loss", [logits, chosen]) as scope:
        scores, chances = same_type("Sub", logits=logits, labels=chosen)
        if not scores.shape.is_compatible_with(chances.shape):
            raise ValueError(f"logits and targets must have the same shape ({scores.shape} vs {chances.shape})")
        weight = 1 + (pos_weight - 1) * chances
        rest = log1p(exp(negative(abs(scores)))) + relu(negative(scores))
        return add((1 - chances) * scores, weight * rest, name=scope)


def batch_of_rows(x: Tensor) -> Tensor:
    """`x` `[batch, ...]` as a matrix with a row for each element of the batch."""
    sizes = x.shape.as_list() if x.shape.sizes is not None else [None]
    width = None if None in sizes[1:] else 1
    for size in sizes[1:]:
        width = None if width is None or size is None else width * size
    if x.shape.ndims is None or width is None:
        return reshape(x, [shape(x)[0], -1])
    return reshape(x, [-1 if sizes[0] is None else sizes[0], width])
