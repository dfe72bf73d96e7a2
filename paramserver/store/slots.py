"""Which variables are an optimizer's memory: what it remembers, but for what was made in the place of a deleted one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from paramserver.store.optimizers import OptimizerState
from paramserver.store.variables import Variable


def serves(variable: Variable, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether it can be the slot of a variable of `shape` and `dtype`, or such a scalar: nobody trains those."""
    return variable.shape == shape and variable.dtype == dtype and not variable.head.trainable


def slots_of(state: OptimizerState, served: Iterable[str], variables: Mapping[str, Variable]) -> Iterator[str]:
    """The names of the slots of the variables `served` among `variables`."""
    for name in served:
        for slot in state.slots.get(name, ()):
            if slot in variables and serves(variables[slot], variables[name].shape, variables[name].dtype):
                yield slot


def memory_of(state: OptimizerState, variables: Mapping[str, Variable]) -> Iterator[str]:
    """The names of all its scalars and slots among `variables`."""
    # Without a step yet there are none of the scalars.
    for name, start in zip(state.scalars, state.optimizer.init_scalars(), strict=False):
        if name in variables and serves(variables[name], start.shape, start.dtype):
            yield name
    yield from slots_of(state, state.slots, variables)
