"""What a run wants of variables: updates, and the values that are read. Plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.rows import SCATTERS
from paramserver_client.graph.steps import GradientStep

Variable = Any  # paramserver_client.graph.variables.Variable, for which sessions are made.

Tags = dict[Variable, Any]
"""By variable the version of a value that was read. For local variables it is the value itself."""


@dataclass(frozen=True, slots=True)
class Change:
    """One update: `update` is `assign`, `assign_add` or `assign_sub`, or with `indices` a `scatter_...` of these rows.

    A `gradient` (with `indices`, of these rows) is part of the optimizer's `step`, with the `hyper`-parameters of this
    time; an `ema` moves the variable towards `source`, and its value is the decay.

    With `if_tag` it holds only while the variable still has that version. `may_reshape`: the variable takes the
    value's shape. `op` is the operation that asks for it, for errors.
    """

    variable: Variable
    update: str
    value: Array
    indices: Array | None = None
    if_tag: Any = None
    may_reshape: bool = False
    op: Any = None
    step: GradientStep | None = None
    hyper: Mapping[str, float] | None = None
    source: Variable = None

    @property
    def variables(self) -> Iterator[Variable]:
        """Every variable that it is about."""
        yield self.variable
        if self.source is not None:
            yield self.source
        if self.step is not None:
            yield from self.step.variables


@dataclass(frozen=True, slots=True)
class Values:
    """Values of variables, with the versions they were read at."""

    values: dict[Variable, Array]
    tags: Tags


def next_value(old: Array | None, change: Change) -> Any:
    """The value of a local variable behind a change."""
    if old is None or change.update == "assign":
        return change.value
    if change.indices is not None:
        new = np.array(old)
        SCATTERS[change.update](new, change.indices, change.value)
        return new
    return old + change.value if change.update == "assign_add" else old - change.value
