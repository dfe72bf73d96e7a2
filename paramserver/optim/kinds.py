"""The one table of optimizers: what each takes, the slots and scalars it keeps, and its rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import ml_dtypes
import numpy as np

from . import rules
from .parameters import ABOVE_ZERO, AT_LEAST_ZERO, AT_MOST_ZERO, BELOW_ONE, ZERO_TO_ONE, Parameter, Range

DType = np.dtype[Any]

FLOATS: Final = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32), np.dtype(np.float64))
FLOAT32_ONLY: Final = (np.dtype(np.float32),)


@dataclass(frozen=True, slots=True)
class Slot:
    """An array of the variable's shape and dtype, filled with `start` before the first step.

    In the table, `start_from` names the hyper-parameter to take `start` from, and `only_if` the flag without which
    there is no such slot.
    """

    name: str
    start: float = 0.0
    start_from: str | None = None
    only_if: str | None = None


@dataclass(frozen=True, slots=True)
class Scalar:
    """A float32 number an optimizer keeps for all its variables: `factor` to the power of (steps made + 1)."""

    name: str
    factor: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One optimizer. `slots` stand in the order of their names: the first `<variable>/<optimizer>`, then `_1`, `_2`.

    `moves_all_rows` tells that a sparse gradient moves the rows without one too.
    """

    type: str
    parameters: Mapping[str, Parameter]
    rule: rules.Rule
    slots: tuple[Slot, ...] = ()
    scalars: tuple[Scalar, ...] = ()
    dtypes: tuple[DType, ...] = FLOATS
    moves_all_rows: bool = False


def _number(wanted: Range, default: float | None = None) -> Parameter:
    return Parameter(default, wanted, per_step=True)


def _settled(wanted: Range, default: float) -> Parameter:
    return Parameter(default, wanted)


_RATE: Final = _number(AT_LEAST_ZERO)
_FLAG: Final = Parameter(False)
_STRENGTH: Final = _number(AT_LEAST_ZERO, 0.0)
_L1_AND_L2: Final = {"l1_regularization_strength": _STRENGTH, "l2_regularization_strength": _STRENGTH}
_ACCUMULATOR: Final = Slot("accumulator", start_from="initial_accumulator_value")

_TABLE: Final = (
    Kind("gradient_descent", {"learning_rate": _RATE}, rules.gradient_descent),
    Kind(
        "momentum",
        {"learning_rate": _RATE, "momentum": _number(AT_LEAST_ZERO), "use_nesterov": _FLAG},
        rules.momentum,
        slots=(Slot("momentum"),),
    ),
    Kind(
        "adagrad",
        {"learning_rate": _RATE, "initial_accumulator_value": _settled(ABOVE_ZERO, 0.1)},
        rules.adagrad,
        slots=(_ACCUMULATOR,),
    ),
    Kind(
        "adadelta",
        {
            "learning_rate": _number(AT_LEAST_ZERO, 0.001),
            "rho": _number(ZERO_TO_ONE, 0.95),
            "epsilon": _number(AT_LEAST_ZERO, 1e-8),
        },
        rules.adadelta,
        slots=(Slot("accum"), Slot("accum_update")),
    ),
    Kind(
        "adam",
        {
            "learning_rate": _number(AT_LEAST_ZERO, 0.001),
            "beta1": _number(BELOW_ONE, 0.9),
            "beta2": _number(BELOW_ONE, 0.999),
            "epsilon": _number(AT_LEAST_ZERO, 1e-8),
        },
        rules.adam,
        slots=(Slot("m"), Slot("v")),
        scalars=(Scalar("beta1_power", "beta1"), Scalar("beta2_power", "beta2")),
        moves_all_rows=True,
    ),
    Kind(
        "rmsprop",
        {
            "learning_rate": _RATE,
            "decay": _number(ZERO_TO_ONE, 0.9),
            "momentum": _number(AT_LEAST_ZERO, 0.0),
            "epsilon": _number(AT_LEAST_ZERO, 1e-10),
            "centered": _FLAG,
        },
        rules.rmsprop,
        slots=(Slot("rms", 1.0), Slot("momentum"), Slot("mg", only_if="centered")),
    ),
    Kind(
        "ftrl",
        {
            # The rule divides by the rate, so 0 would write NaN where other optimizers only stand still.
            "learning_rate": _number(ABOVE_ZERO),
            "learning_rate_power": _number(AT_MOST_ZERO, -0.5),
            "initial_accumulator_value": _settled(AT_LEAST_ZERO, 0.1),
            **_L1_AND_L2,
            "l2_shrinkage_regularization_strength": _STRENGTH,
        },
        rules.ftrl,
        slots=(Slot("accum", start_from="initial_accumulator_value"), Slot("linear")),
    ),
    Kind(
        "proximal_gradient_descent",
        {"learning_rate": _RATE, **_L1_AND_L2},
        rules.proximal_gradient_descent,
        dtypes=FLOAT32_ONLY,
    ),
    Kind(
        "proximal_adagrad",
        {"learning_rate": _RATE, "initial_accumulator_value": _settled(ABOVE_ZERO, 0.1), **_L1_AND_L2},
        rules.proximal_adagrad,
        slots=(_ACCUMULATOR,),
        dtypes=FLOAT32_ONLY,
    ),
)

KINDS: Final[Mapping[str, Kind]] = MappingProxyType({kind.type: kind for kind in _TABLE})
"""Every optimizer by its type's name."""
