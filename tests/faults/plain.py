"""TensorFlow 1's optimizers once more, in plain numpy of float32: one expression a line, no blocks, no scratch.

Each takes the value, its slots, the gradient, the hyper-parameters as float32 and the optimizer's scalars, and returns the
new value and slots. The order of the operations is part of it: a step that is done again must come out the same to the last
bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]
Hyper = Mapping[str, Any]
Rule = Callable[[Array, Sequence[Array], Array, Hyper, Sequence[Any]], tuple[Array, list[Array]]]
ONE: Final = np.float32(1)
TWO: Final = np.float32(2)


def gradient_descent(
    v: Array, slots: Sequence[Array], g: Array, h: Hyper, _: Sequence[Any]
) -> tuple[Array, list[Array]]:
    return v - g * h["learning_rate"], []


def momentum(v: Array, slots: Sequence[Array], g: Array, h: Hyper, _: Sequence[Any]) -> tuple[Array, list[Array]]:
    a = slots[0] * h["momentum"] + g
    if h["use_nesterov"]:
        return v - (g * h["learning_rate"] + a * h["momentum"] * h["learning_rate"]), [a]
    return v - a * h["learning_rate"], [a]


def adagrad(v: Array, slots: Sequence[Array], g: Array, h: Hyper, _: Sequence[Any]) -> tuple[Array, list[Array]]:
    a = slots[0] + g * g
    return v - g * h["learning_rate"] / np.sqrt(a), [a]


def adadelta(v: Array, slots: Sequence[Array], g: Array, h: Hyper, _: Sequence[Any]) -> tuple[Array, list[Array]]:
    a, u = slots
    a = a * h["rho"] + g * g * (ONE - h["rho"])
    move = np.sqrt(u + h["epsilon"]) / np.sqrt(a + h["epsilon"]) * g
    u = u * h["rho"] + move * move * (ONE - h["rho"])
    return v - move * h["learning_rate"], [a, u]


def adam(v: Array, slots: Sequence[Array], g: Array, h: Hyper, scalars: Sequence[Any]) -> tuple[Array, list[Array]]:
    power1, power2 = scalars
    rate = h["learning_rate"] * np.sqrt(ONE - power2) / (ONE - power1)
    m = slots[0] + (g - slots[0]) * (ONE - h["beta1"])
    w = slots[1] + (g * g - slots[1]) * (ONE - h["beta2"])
    return v - m / (np.sqrt(w) + h["epsilon"]) * rate, [m, w]


def rmsprop(v: Array, slots: Sequence[Array], g: Array, h: Hyper, _: Sequence[Any]) -> tuple[Array, list[Array]]:
    rms, moved, *means = slots
    fresh = ONE - h["decay"]
    rms = rms + (g * g - rms) * fresh
    under = rms
    if means:
        means = [means[0] + (g - means[0]) * fresh]
        under = rms - means[0] * means[0]
    moved = moved * h["momentum"] + g * h["learning_rate"] / np.sqrt(under + h["epsilon"])
    return v - moved, [rms, moved, *means]


def ftrl(v: Array, slots: Sequence[Array], g: Array, h: Hyper, _: Sequence[Any]) -> tuple[Array, list[Array]]:
    n, z = slots
    lr, l1 = h["learning_rate"], h["l1_regularization_strength"]
    l2, shrink = h["l2_regularization_strength"], h["l2_shrinkage_regularization_strength"]
    assert h["learning_rate_power"] == -0.5
    new_n = n + g * g
    new_z = v * (TWO * shrink) + g - (np.sqrt(new_n) - np.sqrt(n)) / lr * v + z
    out = (np.clip(new_z, -l1, l1) - new_z) / (np.sqrt(new_n) / lr + TWO * l2)
    return np.where(np.abs(new_z) > l1, out, np.float32(0)), [new_n, new_z]


def proximal_gradient_descent(
    v: Array, slots: Sequence[Array], g: Array, h: Hyper, _: Sequence[Any]
) -> tuple[Array, list[Array]]:
    lr = h["learning_rate"]
    threshold = lr * h["l1_regularization_strength"]
    w = v - g * lr
    return (w - np.clip(w, -threshold, threshold)) / (ONE + lr * h["l2_regularization_strength"]), []


def proximal_adagrad(
    v: Array, slots: Sequence[Array], g: Array, h: Hyper, _: Sequence[Any]
) -> tuple[Array, list[Array]]:
    a = slots[0] + g * g
    rates = h["learning_rate"] / np.sqrt(a)
    w = v - g * rates
    threshold = rates * h["l1_regularization_strength"]
    return (w - np.clip(w, -threshold, threshold)) / (rates * h["l2_regularization_strength"] + ONE), [a]


RULES: Final[Mapping[str, Rule]] = {
    rule.__name__: rule
    for rule in (
        gradient_descent,
        momentum,
        adagrad,
        adadelta,
        adam,
        rmsprop,
        ftrl,
        proximal_gradient_descent,
        proximal_adagrad,
    )
}
