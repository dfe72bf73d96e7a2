"""The moving average of a variable: TensorFlow's ExponentialMovingAverage, without its bookkeeping."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from .blocks import real_of, run_dense
from .kinds import FLOATS
from .optimizer import cast_faults, out_faults
from .parameters import ZERO_TO_ONE, InvalidHyperParameters, Parameter
from .rules import Array, moving_average

_DECAY: Final = Parameter(range=ZERO_TO_ONE)


def check_decay(decay: Any) -> float:
    """`decay` as a python float from 0 to 1. Raises InvalidHyperParameters for anything else."""
    try:
        return float(_DECAY.read(decay))
    except ValueError as error:
        raise InvalidHyperParameters(f"decay: {error}") from None


def update_average(average: Array, value: Array, decay: float, out: Array) -> None:
    """`out = average - (1 - decay)(average - value)`, wholly written; thread-safe.

    `average` and `value` are only read. `out` is writable and C-contiguous, of the average's shape and dtype, and does
    not overlap it; it may be the value's own memory. The value has the average's shape, and a dtype that casts to the
    average's without loss. `1 - decay` is computed in float32, as in TensorFlow, for float64 variables too; float16 and
    bfloat16 are computed in float32 and rounded once.

    Raises InvalidHyperParameters for a decay outside 0..1, ValueError when the arrays do not fit together; nothing is
    written then.
    """
    checked = check_decay(decay)
    faults = [*cast_faults("value", average, value), *out_faults(average, out)]
    if average.dtype not in FLOATS:
        faults.append(f"dtype: wanted one of {', '.join(each.name for each in FLOATS)}, got {average.dtype.name}")
    if value.shape != average.shape:
        faults.append(f"value: wanted shape {list(average.shape)}, got {list(value.shape)}")
    if faults:
        raise ValueError("; ".join(faults))
    with np.errstate(all="ignore"):
        rate = real_of(average.dtype)(np.float32(1) - np.float32(checked))
        run_dense(moving_average({"rate": rate}, ()), (average,), value, (out,))
