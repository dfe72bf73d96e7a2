"""Recipes of first values: a spec such as `{"type": "random_normal", "stddev": 0.1}` and a shape give an array.

Pure: no clock, no disk, no global random state. The values follow TensorFlow 1's initializers and value-making ops.
"""

from .spec import InvalidInitializer, Settled, check_parameters, check_spec, liked_name, make, needs_seed

__all__ = [
    "InvalidInitializer",
    "Settled",
    "check_parameters",
    "check_spec",
    "liked_name",
    "make",
    "needs_seed",
]
