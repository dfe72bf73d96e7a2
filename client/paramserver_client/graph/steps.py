"""What one step of an optimizer on the server is about: the optimizer, the variables it trains, and its memory. Plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Variable = Any  # paramserver_client.graph.variables.Variable, which is built on what is planned by these.


@dataclass(frozen=True, eq=False)
class GradientStep:
    """One `apply_gradients`: all its updates go to the server together, as one transaction.

    `optimizer` is the optimizer's name within the container, `settled` are the hyper-parameters that no step changes, and
    `slots` and `scalars` are in the server's order.
    """

    optimizer: str
    type: str
    settled: Mapping[str, Any]
    slots: Mapping[Variable, Sequence[Variable]]
    scalars: Sequence[Variable]

    @property
    def variables(self) -> Iterator[Variable]:
        """Everything the step writes: what it trains, the slots, the scalars."""
        for variable, slots in self.slots.items():
            yield variable
            yield from slots
        yield from self.scalars
