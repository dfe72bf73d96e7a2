"""The hyper-parameters an optimizer may have: what each takes, and the one error that lists all that is wrong.

TensorFlow makes float32 tensors of them, whatever the variables' dtype, so a number must keep to its range as float32
too: a `beta1` of 0.99999999999 would be 1 there, and Adam's correction a division by zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

Hyper = Mapping[str, float | bool]
"""Checked hyper-parameters by name: every one present, numbers as python floats, flags as booleans."""


class InvalidHyperParameters(ValueError):
    """An optimizer cannot be made so. `faults` lists everything that is wrong, each as `parameter: wanted, got`."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers from `low` to `high`; an `above_low` or `below_high` one leaves that end out."""

    low: float = -math.inf
    high: float = math.inf
    above_low: bool = False
    below_high: bool = False

    def holds(self, number: float) -> bool:
        above = number > self.low if self.above_low else number >= self.low
        below = number < self.high if self.below_high else number <= self.high
        return above and below

    def __str__(self) -> str:
        ends = []
        if self.low > -math.inf:
            ends.append(f"{'above' if self.above_low else 'of at least'} {self.low:g}")
        if self.high < math.inf:
            ends.append(f"{'below' if self.below_high else 'of at most'} {self.high:g}")
        return " ".join(["a number", " and ".join(ends)]).strip()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One hyper-parameter: a number in `range`, or a flag when that is None. Without a `default` it must be given.

    A `per_step` one may be another in every step; the others settle which slots there are and how they start.
    """

    default: float | bool | None = None
    range: Range | None = None
    per_step: bool = False

    @property
    def required(self) -> bool:
        return self.default is None

    def read(self, value: object) -> float | bool:
        """`value` as a python float or bool. Raises ValueError, which says what was wanted and what came."""
        plain = value.item() if isinstance(value, (np.ndarray, np.generic)) and value.ndim == 0 else value
        if self.range is None:
            if not isinstance(plain, bool):
                raise ValueError(f"wanted true or false, got {shorten(value)}")
            return plain
        if isinstance(plain, bool) or not isinstance(plain, (int, float)):
            raise ValueError(f"wanted {self.range}, got {shorten(value)}")
        return _in_range(plain, self.range)


AT_LEAST_ZERO: Final = Range(0.0)
ABOVE_ZERO: Final = Range(0.0, above_low=True)
AT_MOST_ZERO: Final = Range(high=0.0)
ZERO_TO_ONE: Final = Range(0.0, 1.0)
BELOW_ONE: Final = Range(0.0, 1.0, below_high=True)


def read_hyper(parameters: Mapping[str, Parameter], given: Mapping[str, Any], known: Hyper | None = None) -> Hyper:
    """All parameters of an optimizer, read from `given`, else from `known`, else their defaults; None is not given.

    With `known`, which has them all, only `per_step` ones may be given. Raises InvalidHyperParameters, which lists every
    unknown, missing, misplaced and wrong one.
    """
    faults = [
        f"{name}: no such hyper-parameter; it takes {', '.join(parameters)}" for name in given if name not in parameters
    ]
    hyper: dict[str, float | bool] = {}
    for name, parameter in parameters.items():
        value = given.get(name)
        if value is None:
            usual = parameter.default if known is None else known[name]
            if usual is None:
                faults.append(f"{name}: wanted {parameter.range}, but missing")
            else:
                hyper[name] = usual
            continue
        if known is not None and not parameter.per_step:
            faults.append(f"{name}: it is settled for the life of the optimizer, got {shorten(value)}; leave it out")
            continue
        try:
            hyper[name] = parameter.read(value)
        except ValueError as error:
            faults.append(f"{name}: {error}")
    if faults:
        raise InvalidHyperParameters(*faults)
    return MappingProxyType(hyper)


def as_float32(number: float) -> float:
    """`number` rounded to float32, as a python float; infinity beyond its range."""
    with np.errstate(over="ignore", under="ignore"):
        return float(np.float32(number))


def _in_range(number: float, wanted: Range) -> float:
    try:
        plain = float(number)
    except OverflowError:
        plain = math.inf if number > 0 else -math.inf
    if not math.isfinite(as_float32(plain)):
        raise ValueError(f"wanted {wanted} that is finite in float32, got {shorten(number)}")
    if not wanted.holds(plain):
        raise ValueError(f"wanted {wanted}, got {number!r}")
    if not wanted.holds(as_float32(plain)):
        raise ValueError(f"wanted {wanted} after rounding to float32, got {number!r}")
    return plain


def shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
