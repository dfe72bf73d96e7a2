"""What a transaction computes: its steps in their order, over values that change as they go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from paramserver.store.buffers import BufferPool
from paramserver.store.publisher import Change
from paramserver.store.updates import Array
from paramserver.store.variables import Variable


class Workspace:
    """The values of one transaction while it is computed: those of the heads until it writes others."""

    def __init__(self, pool: BufferPool) -> None:
        self.pool = pool
        self._written: dict[Variable, Array] = {}

    def find(self, variable: Variable) -> Array | None:
        """The newest value; None while there is none."""
        written = self._written.get(variable)
        return variable.head.value if written is None else written

    def value(self, variable: Variable) -> Array:
        """The newest value of a variable that has one. Not to be written to."""
        value = self.find(variable)
        assert value is not None, "what has no value is refused before any arithmetic"
        return value

    def put(self, variable: Variable, value: Array) -> None:
        """Make `value` the newest one. Its memory is the transaction's own from here on."""
        self._written[variable] = value

    def writable(self, variable: Variable) -> Array:
        """An array that holds the newest value and may be written: the transaction's own if it made one, else a copy."""
        written = self._written.get(variable)
        if written is not None and written.flags.writeable and written.flags.c_contiguous:
            return written
        value = self.value(variable)
        copy = self.pool.empty(value.shape, value.dtype)
        copy[...] = value
        return copy


class Step(NamedTuple):
    """One computation of a transaction. `run` puts each variable of `writes` exactly once."""

    writes: tuple[Variable, ...]
    run: Callable[[Workspace], None]


def giving(variable: Variable, make: Callable[[], Array]) -> Step:
    """The step that gives a variable what `make` returns, whatever it held before."""

    def run(workspace: Workspace) -> None:
        workspace.put(variable, make())

    return Step((variable,), run)


def written_by(steps: Iterable[Step]) -> dict[Variable, int]:
    """How often each variable is written, in the order of first writes."""
    writes: dict[Variable, int] = {}
    for step in steps:
        for variable in step.writes:
            writes[variable] = writes.get(variable, 0) + 1
    return writes


def computed(steps: Iterable[Step], writes: dict[Variable, int], pool: BufferPool) -> dict[Variable, Change]:
    """Run the steps: what becomes of each variable, its new value frozen."""
    workspace = Workspace(pool)
    for step in steps:
        step.run(workspace)
    return {
        variable: Change(writes=count, value=frozen(workspace.value(variable))) for variable, count in writes.items()
    }


def frozen(value: Array) -> Array:
    """The same memory, read-only: by a view of its own, so that freezing it cannot surprise the giver of the array."""
    if not value.flags.writeable:
        return value
    value = value.view()
    value.flags.writeable = False
    return value
