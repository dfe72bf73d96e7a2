"""A variable inside the store: what it is for life, its write lock, and its two states.

`published` is what readers see. `head` is the newest staged state, which may be ahead of it while a publisher makes
transactions durable; writers validate and compute against the head. Both are replaced, never changed.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from paramserver.store.snapshot import VariableSnapshot, VariableState

TRAINABLE: Final = "trainable_variables"
VARIABLES: Final = "variables"
LOCAL: Final = "local_variables"
_ALIASES: Final[Mapping[str, str]] = {"global_variables": VARIABLES}


@dataclass(eq=False, slots=True)
class Variable:
    """A named variable. `lock` guards `head` against other writers; the store's publish lock guards `published`."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    incarnation: str
    lock: threading.Lock
    head: VariableState
    published: VariableState

    @property
    def nbytes(self) -> int:
        """Bytes the value takes or will take."""
        return math.prod(self.shape) * self.dtype.itemsize

    def snapshot(self) -> VariableSnapshot:
        """The variable as readers see it now."""
        return VariableSnapshot(self.name, self.shape, self.dtype, self.incarnation, self.published)

    def at_head(self) -> VariableSnapshot:
        """The variable as the next writer finds it."""
        return VariableSnapshot(self.name, self.shape, self.dtype, self.incarnation, self.head)


def canonical(key: str) -> str:
    """The collection's own key: `global_variables` is another word for `variables`."""
    return _ALIASES.get(key, key)


def collections_of(given: Iterable[str] | None, trainable: bool) -> tuple[str, ...]:
    """The collections of a new variable: `given` replace `variables`; `trainable_variables` follows `trainable`."""
    keys = dict.fromkeys(canonical(key) for key in (given if given is not None else (VARIABLES,)))
    keys.pop(TRAINABLE, None)
    if trainable:
        keys[TRAINABLE] = None
    return tuple(keys)


def changed_collections(
    state: VariableState, trainable: bool | None, collections: Iterable[str] | None
) -> tuple[bool, tuple[str, ...]]:
    """`trainable` and the collections after a change of either: the two are kept in step.

    As at creation, leaving `trainable_variables` out of a list does not make a variable untrainable; only
    `trainable=False` does. Naming it makes the variable trainable.
    """
    keys = [canonical(key) for key in (state.collections if collections is None else collections)]
    wanted = trainable if trainable is not None else state.trainable or TRAINABLE in keys
    return wanted, collections_of(keys, wanted)
