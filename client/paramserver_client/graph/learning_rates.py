"""Learning rates that change with the global step: each function gives a tensor to make an optimizer with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from paramserver_client.graph import dtypes
from paramserver_client.graph.convert import apply, convert_to_tensor, op_scope
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.node import Tensor
from paramserver_client.graph.ops_array import identity
from paramserver_client.graph.ops_math import (
    cast,
    exp,
    floor_div,
    less_equal,
    log,
    maximum,
    minimum,
    multiply,
    pow,
    where,
)
from paramserver_client.graph.ops_random import random_normal
from paramserver_client.graph.registry import define


@define("HalfCosine")
def _half_cosine(fraction: Array) -> Array:
    """`(1 + cos(pi x)) / 2`: from 1 at 0 down to 0 at 1."""
    return np.asarray(0.5 * (1.0 + np.cos(math.pi * fraction)), dtype=fraction.dtype)


def exponential_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """`learning_rate * decay_rate ^ (global_step / decay_steps)`; with `staircase` the exponent is rounded down.

    Raises ValueError without a global step, as all of these do.

    >>> import paramserver_client.graph as tf
    >>> with tf.Graph().as_default(), tf.Session() as sess:
    ...     round(float(sess.run(tf.train.exponential_decay(0.1, 10, 10, 0.5))), 6)
    0.05
    """
    with _named("exponential_decay", name, "ExponentialDecay", learning_rate, global_step) as scope:
        rate, past = _rate_and_share(learning_rate, global_step, decay_steps, staircase)
        return multiply(rate, pow(_like(decay_rate, rate), past), name=scope)


def natural_exp_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """`learning_rate * exp(-decay_rate * global_step / decay_steps)`; with `staircase` the quotient is rounded down."""
    with _named("natural_exp_decay", name, "NaturalExpDecay", learning_rate, global_step) as scope:
        rate, past = _rate_and_share(learning_rate, global_step, decay_steps, staircase)
        return multiply(rate, exp(-_like(decay_rate, rate) * past), name=scope)


def inverse_time_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """`learning_rate / (1 + decay_rate * global_step / decay_steps)`; with `staircase` the quotient is rounded down."""
    with _named("inverse_time_decay", name, "InverseTimeDecay", learning_rate, global_step) as scope:
        rate, past = _rate_and_share(learning_rate, global_step, decay_steps, staircase)
        return identity(rate / (1.0 + _like(decay_rate, rate) * past), name=scope)


def polynomial_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, end_learning_rate: Any = 0.0001, power: Any = 1.0,
    cycle: bool = False, name: str | None = None,
) -> Tensor:  # fmt: skip
    """From `learning_rate` to `end_learning_rate` in `decay_steps`:
    `(learning_rate - end) * (1 - step / decay_steps) ^ power + end`.

    With `cycle` the steps are stretched to the next multiple of `decay_steps`, so the rate jumps up again.
    """
    with _named("polynomial_decay", name, "PolynomialDecay", learning_rate, global_step) as scope:
        rate = convert_to_tensor(learning_rate, name="learning_rate")
        step, steps, end = _like(global_step, rate), _like(decay_steps, rate), _like(end_learning_rate, rate)
        if cycle:  # At step 0 the first cycle has begun, not ended.
            steps = steps * maximum(_rounded_up(step / steps), _like(1.0, rate))
        else:
            step = minimum(step, steps)
        left = 1.0 - step / steps
        return identity((rate - end) * pow(left, _like(power, rate)) + end, name=scope)


def piecewise_constant(x: Any, boundaries: Sequence[Any], values: Sequence[Any], name: str | None = None) -> Tensor:
    """`values[0]` while `x <= boundaries[0]`, then `values[1]` while `x <= boundaries[1]`, and the last one after all.

    Raises ValueError unless there is one value more than boundaries, and when boundaries (or values) differ in dtype
    among themselves, or boundaries from `x`.
    """
    if len(boundaries) != len(values) - 1:
        raise ValueError("The length of boundaries should be 1 less than the length of values")
    with op_scope(name, "PiecewiseConstant", [x]) as scope:
        at = convert_to_tensor(x)
        edges = [_edge(each, at) for each in boundaries]
        parts = [convert_to_tensor(each) for each in values]
        for part in parts[1:]:
            if part.dtype.base_dtype != parts[0].dtype.base_dtype:
                raise ValueError(
                    f"Values must have elements all with the same dtype ({parts[0].dtype.base_dtype.name} vs "
                    f"{part.dtype.base_dtype.name})."
                )
        found = parts[-1]
        for edge, part in zip(reversed(edges), reversed(parts[:-1]), strict=True):
            found = where(less_equal(at, edge), part, found)
        return identity(found, name=scope)


def cosine_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, alpha: Any = 0.0, name: str | None = None
) -> Tensor:
    """Half a cosine from `learning_rate` down to `alpha * learning_rate` in `decay_steps`, which then stays.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (arXiv:1608.03983).
    """
    with _named("cosine decay", name, "CosineDecay", learning_rate, global_step) as scope:
        rate, past = _rate_and_bounded_share(learning_rate, global_step, decay_steps)
        return multiply(rate, (1.0 - _like(alpha, rate)) * _cosine(past) + _like(alpha, rate), name=scope)


def cosine_decay_restarts(
    learning_rate: Any, global_step: Any, first_decay_steps: Any, t_mul: float = 2.0, m_mul: float = 1.0,
    alpha: Any = 0.0, name: str | None = None,
) -> Tensor:  # fmt: skip
    """`cosine_decay` that starts again when it is down: each period is `t_mul` times as long as the one before and
    begins at `m_mul` times its rate. `t_mul` is a number, and at least 1: ValueError."""
    if t_mul < 1.0:
        raise ValueError(f"t_mul must be at least 1, got {t_mul}; periods do not become shorter.")
    with _named("cosine decay restarts", name, "SGDRDecay", learning_rate, global_step) as scope:
        rate = convert_to_tensor(learning_rate, name="initial_learning_rate")
        past = _like(global_step, rate) / _like(first_decay_steps, rate)
        number, within = _restarts(past, float(t_mul))
        height = pow(_like(m_mul, rate), number) * _cosine(within)
        return multiply(rate, (1.0 - _like(alpha, rate)) * height + _like(alpha, rate), name=scope)


def linear_cosine_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, num_periods: float = 0.5, alpha: Any = 0.0,
    beta: Any = 0.001, name: str | None = None,
) -> Tensor:  # fmt: skip
    """`learning_rate * ((alpha + linear) * cosine + beta)`: linear falls from 1 to 0 in `decay_steps`, while the cosine
    makes `num_periods` periods. Bello et al., "Neural optimizer search" (arXiv:1709.07417)."""
    with _named("linear cosine decay", name, "LinearCosineDecay", learning_rate, global_step) as scope:
        rate, past = _rate_and_bounded_share(learning_rate, global_step, decay_steps)
        wave = (_like(alpha, rate) + (1.0 - past)) * _cosine(2.0 * num_periods * past)
        return multiply(rate, wave + _like(beta, rate), name=scope)


def noisy_linear_cosine_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, initial_variance: Any = 1.0, variance_decay: Any = 0.55,
    num_periods: float = 0.5, alpha: Any = 0.0, beta: Any = 0.001, name: str | None = None,
) -> Tensor:  # fmt: skip
    """`linear_cosine_decay` with normal noise on the linear part, of variance `initial_variance / (1 + step) ^ variance_decay`."""
    with _named("noisy linear cosine decay", name, "NoisyLinearCosineDecay", learning_rate, global_step) as scope:
        rate, past = _rate_and_bounded_share(learning_rate, global_step, decay_steps)
        step = minimum(_like(global_step, rate), _like(decay_steps, rate))
        variance = _like(initial_variance, rate) / pow(1.0 + step, _like(variance_decay, rate))
        noise = random_normal(past.shape, dtype=rate.dtype) * pow(variance, _like(0.5, rate))
        wave = (_like(alpha, rate) + (1.0 - past) + noise) * _cosine(2.0 * num_periods * past)
        return multiply(rate, wave + _like(beta, rate), name=scope)


def _named(function: str, name: str | None, default: str, learning_rate: Any, global_step: Any) -> Any:
    if global_step is None:
        raise ValueError(f"global_step is required for {function}.")
    return op_scope(name, default, [learning_rate, global_step])


def _rate_and_share(learning_rate: Any, global_step: Any, decay_steps: Any, staircase: bool) -> tuple[Tensor, Tensor]:
    """The learning rate, and which share of the decay is past."""
    rate = convert_to_tensor(learning_rate, name="learning_rate")
    past = _like(global_step, rate) / _like(decay_steps, rate)
    return rate, _rounded_down(past) if staircase else past


def _rate_and_bounded_share(learning_rate: Any, global_step: Any, decay_steps: Any) -> tuple[Tensor, Tensor]:
    rate = convert_to_tensor(learning_rate, name="learning_rate")
    steps = _like(decay_steps, rate)
    return rate, minimum(_like(global_step, rate), steps) / steps


def _like(value: Any, rate: Tensor) -> Tensor:
    return cast(convert_to_tensor(value), rate.dtype.base_dtype)


def _edge(boundary: Any, x: Tensor) -> Tensor:
    """A boundary as a tensor like `x`; int32 ones meet an int64 step, as TensorFlow has it."""
    edge, wanted = convert_to_tensor(boundary), x.dtype.base_dtype
    if edge.dtype.base_dtype == wanted:
        return edge
    if edge.dtype.base_dtype == dtypes.int32 and wanted == dtypes.int64:
        return cast(edge, wanted)
    raise ValueError(
        f"Boundaries ({edge.dtype.base_dtype.name}) must have the same dtype as x ({wanted.name}); give them that."
    )


def _rounded_down(value: Tensor) -> Tensor:
    return floor_div(value, _like(1.0, value))


def _rounded_up(value: Tensor) -> Tensor:
    up: Tensor = -_rounded_down(-value)
    return up


def _cosine(share: Tensor) -> Tensor:
    return apply("HalfCosine", [share], "HalfCosine")


def _restarts(past: Tensor, t_mul: float) -> tuple[Tensor, Tensor]:
    """Which period the share `past` of the first period falls into, from 0, and how much of it is past."""
    if t_mul == 1.0:
        number = _rounded_down(past)
        return number, past - number
    number = _rounded_down(log(1.0 - past * (1.0 - t_mul)) / math.log(t_mul))
    length = pow(_like(t_mul, past), number)
    return number, (past - (1.0 - length) / (1.0 - t_mul)) / length
