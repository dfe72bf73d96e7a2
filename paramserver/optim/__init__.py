"""TensorFlow 1's optimizers as pure arithmetic: a value, its slots and a gradient give the next value and slots.

No store, no clock, no threads: `Optimizer` says which slots and scalars it keeps and how one step changes them; whoever
calls it owns the arrays, their names and the transaction.
"""

from .ema import check_decay, update_average
from .kinds import FLOATS, KINDS, Kind, Scalar, Slot
from .optimizer import Optimizer, check_optimizer
from .parameters import InvalidHyperParameters, Parameter, Range

__all__ = [
    "FLOATS",
    "KINDS",
    "InvalidHyperParameters",
    "Kind",
    "Optimizer",
    "Parameter",
    "Range",
    "Scalar",
    "Slot",
    "check_decay",
    "check_optimizer",
    "update_average",
]
