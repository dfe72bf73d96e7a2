"""What a check of a gradient is made of: an operation, its inputs, the same thing in HIPS autograd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import paramserver_client.graph as tf

Array = np.ndarray[Any, np.dtype[Any]]
rng = np.random.default_rng(20261124)


@dataclass(frozen=True)
class Case:
    """`build` makes the tensor from its float64 inputs; `oracle` is the same with HIPS autograd, where it has it."""

    covers: str
    build: Callable[..., Any]
    inputs: tuple[Array, ...]
    oracle: Callable[..., Any] | None = None
    checked: tuple[int, ...] | None = None
    """The inputs whose gradients are looked at; None for all."""
    once: bool = False
    """Not to be derived again: the rule for the second derivative, TensorFlow's own, divides by a zero here."""


def n(*shape: int) -> Array:
    return rng.standard_normal(shape)


def positive(*shape: int) -> Array:
    return rng.uniform(0.5, 2.0, shape)


def inside(*shape: int) -> Array:
    """Between -0.9 and 0.9."""
    return rng.uniform(-0.9, 0.9, shape)


def apart(*shape: int) -> Array:
    """No two elements near each other or near 0, so that a small step changes no order."""
    count = int(np.prod(shape))
    values = (np.arange(count) + 1) * 0.3 * np.where(np.arange(count) % 2, 1, -1)
    return rng.permutation(values).reshape(shape)


def settled_by_run(value: int) -> Any:
    """An index whose value the graph does not know."""
    return tf.placeholder_with_default(value, [])


def first_gradient(function: Callable[..., Any], which: int) -> Callable[..., Any]:
    """The gradient of a weighted sum of the function's output, itself to be derived: second order."""

    def build(*inputs: Any) -> Any:
        y = function(*inputs)
        weights = tf.cos(tf.cast(tf.reshape(tf.range(tf.size(y)), tf.shape(y)), y.dtype))
        return tf.gradients(tf.reduce_sum(tf.square(y) * weights), inputs[which])[0]

    return build
