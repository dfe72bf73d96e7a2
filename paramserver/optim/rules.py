"""The arithmetic of one step, one function an optimizer: TensorFlow 1's rules, on flat blocks of float32 or float64.

Each function takes its hyper-parameters and scalars as numbers of the blocks' dtype, does once what is the same for
every element, and returns a `Step` that does the rest block by block. In the formulas g is the gradient, lr the learning
rate, and ' marks what is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Numbers = Mapping[str, Any]
Step = Callable[[Array, Sequence[Array], Array, Array, Sequence[Array], Array], None]
"""`(value, slots, gradient, out, out_slots, spare)`: one block of everything, `spare` being `SPARES` blocks of scratch.

`out` and `out_slots` are written, wholly; the others are read, `spare` aside. `out` may be the gradient's own memory, so
nothing may be written to it before the gradient is read for the last time.
"""
Rule = Callable[[Numbers, Sequence[Any]], Step]

SPARES: Final = 4


def gradient_descent(hyper: Numbers, scalars: Sequence[Any]) -> Step:
    """`v' = v - lr g`."""
    rate = hyper["learning_rate"]

    def step(value: Array, _: Sequence[Array], g: Array, out: Array, __: Sequence[Array], ___: Array) -> None:
        np.multiply(g, rate, out=out)
        np.subtract(value, out, out=out)

    return step


def momentum(hyper: Numbers, scalars: Sequence[Any]) -> Step:
    """`a' = m a + g; v' = v - lr a'`, with `use_nesterov` `v' = v - (lr g + lr m a')`.

    Polyak's heavy ball with the learning rate outside the accumulator; Nesterov's form after Sutskever et al., "On the
    importance of initialization and momentum in deep learning" (2013), seen from the looked-ahead position.
    """
    rate, decay, nesterov = hyper["learning_rate"], hyper["momentum"], hyper["use_nesterov"]

    def step(
        value: Array, slots: Sequence[Array], g: Array, out: Array, out_slots: Sequence[Array], spare: Array
    ) -> None:
        (a,), (out_a,), ahead = slots, out_slots, spare[0]
        np.multiply(a, decay, out=out_a)
        out_a += g
        if nesterov:
            np.multiply(g, rate, out=out)
            np.multiply(out_a, decay, out=ahead)
            ahead *= rate
            out += ahead
        else:
            np.multiply(out_a, rate, out=out)
        np.subtract(value, out, out=out)

    return step


def adagrad(hyper: Numbers, scalars: Sequence[Any]) -> Step:
    """`A' = A + g^2; v' = v - lr g / sqrt(A')`: no epsilon, A starts above 0.

    Duchi, Hazan and Singer, "Adaptive subgradient methods" (JMLR 12, 2011), the diagonal form.
    """
    rate = hyper["learning_rate"]

    def step(
        value: Array, slots: Sequence[Array], g: Array, out: Array, out_slots: Sequence[Array], spare: Array
    ) -> None:
        (accumulator,), (out_accumulator,), root = slots, out_slots, spare[0]
        np.multiply(g, g, out=out_accumulator)
        out_accumulator += accumulator
        np.sqrt(out_accumulator, out=root)
        np.multiply(g, rate, out=out)
        out /= root
        np.subtract(value, out, out=out)

    return step


def adadelta(hyper: Numbers, scalars: Sequence[Any]) -> Step:
    """`A' = rho A + (1 - rho) g^2; u = sqrt(U + eps) / sqrt(A' + eps) g; U' = rho U + (1 - rho) u^2; v' = v - lr u`.

    Zeiler, "ADADELTA: an adaptive learning rate method" (arXiv:1212.5701), algorithm 1, and a learning rate.
    """
    rate, rho, epsilon = hyper["learning_rate"], hyper["rho"], hyper["epsilon"]

    def step(
        value: Array, slots: Sequence[Array], g: Array, out: Array, out_slots: Sequence[Array], spare: Array
    ) -> None:
        (accum, accum_update), (out_accum, out_accum_update) = slots, out_slots
        move, root = spare[0], spare[1]
        _blend_square(accum, g, rho, out_accum, root)
        np.add(out_accum, epsilon, out=root)
        np.sqrt(root, out=root)
        np.add(accum_update, epsilon, out=move)
        np.sqrt(move, out=move)
        move /= root
        move *= g
        _blend_square(accum_update, move, rho, out_accum_update, root)
        np.multiply(move, rate, out=out)
        np.subtract(value, out, out=out)

    return step


def adam(hyper: Numbers, scalars: Sequence[Any]) -> Step:
    """`m' = m + (1 - b1)(g - m); w' = w + (1 - b2)(g^2 - w); v' = v - lr_t m' / (sqrt(w') + eps)`.

    With `lr_t = lr sqrt(1 - b2^t) / (1 - b1^t)`, w the slot `v`, and the powers the scalars beta1_power and
    beta2_power. This is the "epsilon hat" form at the end of section 2 of Kingma and Ba, "Adam: a method for stochastic
    optimization" (arXiv:1412.6980): eps stands outside the bias correction, so it weighs more in the first steps than in
    their algorithm 1, which PyTorch and Keras 3 follow.
    """
    beta1_power, beta2_power = scalars
    rate = hyper["learning_rate"] * np.sqrt(1 - beta2_power) / (1 - beta1_power)
    fresh1, fresh2, epsilon = 1 - hyper["beta1"], 1 - hyper["beta2"], hyper["epsilon"]

    def step(value: Array, slots: Sequence[Array], g: Array, out: Array, out_slots: Sequence[Array], _: Array) -> None:
        (m, v), (out_m, out_v) = slots, out_slots
        _approach(m, g, fresh1, out_m)
        _approach_square(v, g, fresh2, out_v)
        np.sqrt(out_v, out=out)
        out += epsilon
        np.divide(out_m, out, out=out)
        out *= rate
        np.subtract(value, out, out=out)

    return step


def rmsprop(hyper: Numbers, scalars: Sequence[Any]) -> Step:
    """`R' = d R + (1 - d) g^2; M' = mo M + lr g / sqrt(R' + eps); v' = v - M'`, eps inside the root, R starts at 1.

    With `centered` also `G' = d G + (1 - d) g`, and `R' - G'^2 + eps` under the root. Tieleman and Hinton, lecture 6.5
    of "Neural networks for machine learning" (2012); centred as in Graves, "Generating sequences with recurrent neural
    networks" (arXiv:1308.0850), equations 38 to 41.
    """
    rate, decay, epsilon = hyper["learning_rate"], hyper["momentum"], hyper["epsilon"]
    fresh = 1 - hyper["decay"]

    def step(
        value: Array, slots: Sequence[Array], g: Array, out: Array, out_slots: Sequence[Array], spare: Array
    ) -> None:
        (rms, moved, *means), (out_rms, out_moved, *out_means) = slots, out_slots
        root, move = spare[0], spare[1]
        _approach_square(rms, g, fresh, out_rms)
        root_of = out_rms
        for mean, out_mean in zip(means, out_means, strict=True):
            _approach(mean, g, fresh, out_mean)
            np.multiply(out_mean, out_mean, out=root)
            np.subtract(out_rms, root, out=root)
            root_of = root
        np.add(root_of, epsilon, out=root)
        np.sqrt(root, out=root)
        np.multiply(g, rate, out=move)
        move /= root
        np.multiply(moved, decay, out=out_moved)
        out_moved += move
        np.subtract(value, out_moved, out=out)

    return step


def ftrl(hyper: Numbers, scalars: Sequence[Any]) -> Step:
    """`n' = n + g^2; z' = z + g + 2 shrink v - (n'^-p - n^-p) / lr v`, and
    `v' = (sign(z') l1 - z') / (n'^-p / lr + 2 l2)` where `|z'| > l1`, else 0.

    McMahan et al., "Ad click prediction: a view from the trenches" (2013), algorithm 1, with beta 0 and p the
    learning_rate_power in place of -0.5. Two things are TensorFlow's: l2 counts twice, and the shrinkage's part of the
    gradient does not enter n.
    """
    rate, power = hyper["learning_rate"], hyper["learning_rate_power"]
    l1, twice_l2 = hyper["l1_regularization_strength"], 2 * hyper["l2_regularization_strength"]
    twice_shrink = 2 * hyper["l2_shrinkage_regularization_strength"]

    def raised(base: Array, out: Array) -> None:
        if power == -0.5:
            np.sqrt(base, out=out)
        else:
            np.power(base, -power, out=out)

    def step(
        value: Array, slots: Sequence[Array], g: Array, out: Array, out_slots: Sequence[Array], spare: Array
    ) -> None:
        (n, z), (out_n, out_z) = slots, out_slots
        root, change = spare[0], spare[1]
        np.multiply(g, g, out=out_n)
        out_n += n
        raised(out_n, root)
        raised(n, change)
        np.subtract(root, change, out=change)
        change /= rate
        change *= value
        np.multiply(value, twice_shrink, out=out_z)
        out_z += g
        out_z -= change
        out_z += z
        root /= rate
        root += twice_l2
        _clip(out_z, -l1, l1, out)
        out -= out_z
        out /= root
        np.abs(out_z, out=change)
        np.copyto(out, 0, where=~(change > l1))

    return step


def proximal_gradient_descent(hyper: Numbers, scalars: Sequence[Any]) -> Step:
    """`w = v - lr g; v' = sign(w) max(|w| - lr l1, 0) / (1 + lr l2)`.

    Duchi and Singer, "Efficient learning using forward-backward splitting" (2009), FOBOS.
    """
    rate = hyper["learning_rate"]
    threshold = rate * hyper["l1_regularization_strength"]
    shrinkage = 1 + rate * hyper["l2_regularization_strength"]

    def step(value: Array, _: Sequence[Array], g: Array, out: Array, __: Sequence[Array], spare: Array) -> None:
        np.multiply(g, rate, out=out)
        np.subtract(value, out, out=out)
        _clip(out, -threshold, threshold, spare[0])
        out -= spare[0]
        out /= shrinkage

    return step


def proximal_adagrad(hyper: Numbers, scalars: Sequence[Any]) -> Step:
    """`A' = A + g^2`, then FOBOS with `r = lr / sqrt(A')` for both halves:
    `w = v - r g; v' = sign(w) max(|w| - r l1, 0) / (1 + r l2)`.

    Duchi and Singer's splitting (see `proximal_gradient_descent`) with the rates of `adagrad`.
    """
    rate = hyper["learning_rate"]
    l1, l2 = hyper["l1_regularization_strength"], hyper["l2_regularization_strength"]

    def step(
        value: Array, slots: Sequence[Array], g: Array, out: Array, out_slots: Sequence[Array], spare: Array
    ) -> None:
        (accumulator,), (out_accumulator,) = slots, out_slots
        rates, low, high, kept = spare
        np.multiply(g, g, out=out_accumulator)
        out_accumulator += accumulator
        np.sqrt(out_accumulator, out=rates)
        np.divide(rate, rates, out=rates)
        np.multiply(g, rates, out=out)
        np.subtract(value, out, out=out)
        np.multiply(rates, -l1, out=low)
        np.multiply(rates, l1, out=high)
        _clip(out, low, high, kept)
        out -= kept
        rates *= l2
        rates += 1
        out /= rates

    return step


def moving_average(hyper: Numbers, scalars: Sequence[Any]) -> Step:
    """`a' = a - rate (a - x)`, where x stands in the gradient's place: TensorFlow's ExponentialMovingAverage."""
    rate = hyper["rate"]

    def step(average: Array, _: Sequence[Array], x: Array, out: Array, __: Sequence[Array], ___: Array) -> None:
        np.subtract(average, x, out=out)
        out *= rate
        np.subtract(average, out, out=out)

    return step


def _approach(old: Array, target: Array, share: Any, out: Array) -> None:
    """`out = old + share (target - old)`."""
    np.subtract(target, old, out=out)
    out *= share
    out += old


def _approach_square(old: Array, target: Array, share: Any, out: Array) -> None:
    """`out = old + share (target^2 - old)`."""
    np.multiply(target, target, out=out)
    out -= old
    out *= share
    out += old


def _blend_square(old: Array, fresh: Array, kept: Any, out: Array, spare: Array) -> None:
    """`out = kept old + (1 - kept) fresh^2`."""
    np.multiply(fresh, fresh, out=spare)
    spare *= 1 - kept
    np.multiply(old, kept, out=out)
    out += spare


def _clip(array: Array, low: Any, high: Any, out: Array) -> None:
    """`out` = `array` kept within `low` and `high`.

    `w - clip(w, -t, t)` is `sign(w) max(|w| - t, 0)` to the last bit, and np.sign takes five times as long.
    """
    np.minimum(array, high, out=out)
    np.maximum(out, low, out=out)
