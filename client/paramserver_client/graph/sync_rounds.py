"""How replicas make a step together: gradients are added up on the server until enough are there, and applied once.

All that the replicas share is one vector of integers beside the sums of gradients. Every change of it is conditional on its
version, and goes out in one transaction with what belongs to it: a gradient with the note that it arrived, the update of
the model with the new step and its tokens. So a replica may be killed anywhere, and nothing is counted twice or half.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from paramserver_client.errors import VersionMismatchError
from paramserver_client.graph.changes import Change
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import CancelledError, DeadlineExceededError, OutOfRangeError
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.rows import sum_repeated
from paramserver_client.graph.state import Variables

UNKNOWN: Final = -1
_HEAD: Final = 5
_POLL_S: Final = 20.0


@dataclass(frozen=True)
class Round:
    """The step that is being gathered: how many gradients are there and from which replicas, and the tokens, each the
    step that whoever takes it works on next. `closed` is set when the chief ends."""

    step: int = 0
    count: int = 0
    closed: bool = False
    arrived: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()

    @classmethod
    def read(cls, vector: Array) -> Round:
        """The round that a vector of `written` says."""
        step, count, closed, arrived, tokens = (int(number) for number in vector[:_HEAD])
        rest = [int(number) for number in vector[_HEAD:]]
        middle = len(rest) // 2
        return cls(step, count, bool(closed), tuple(rest[:arrived]), tuple(rest[middle : middle + tokens]))

    def written(self, room: int) -> Array:
        """The round as a vector with room for so many arrivals and tokens. Of more arrivals the last are not named, of
        more tokens the oldest, which are stale, fall away."""
        vector = np.zeros(_HEAD + 2 * room, dtype=np.int64)
        arrived, tokens = self.arrived[:room], self.tokens[-room:]
        vector[:_HEAD] = self.step, self.count, self.closed, len(arrived), len(tokens)
        vector[_HEAD : _HEAD + len(arrived)] = arrived
        vector[_HEAD + room : _HEAD + room + len(tokens)] = tokens
        return vector

    def with_gradient(self, step: int, replica: int) -> Round:
        """The same with one more gradient of `step`."""
        return replace(self, step=step, count=self.count + 1, arrived=(*self.arrived, replica))

    def applied(self, step: int, tokens: int) -> Round:
        """What follows when the gradients were applied and `step` has begun."""
        return replace(self, step=step, count=0, arrived=(), tokens=(*self.tokens, *[step] * tokens))


@dataclass(frozen=True)
class Sum:
    """Where the gradients of one variable are added up. With `rows` they are of some rows: how often each was among them."""

    gradients: Any
    rows: Any = None


@dataclass
class Rounds:
    """The rounds of one `SyncReplicasOptimizer`, as a session takes part in them.

    `apply` is the operation that applies the mean and begins the next step, while the vector is still what is fed for
    `expected`.
    """

    vector: Any
    global_step: Any
    sums: Sequence[Sum]
    wanted: int
    replicas: int
    tokens_per_step: int
    room: int
    replica: int
    wait_s: float
    apply: Operation | None = None
    expected: Tensor | None = None
    clock: Callable[[], float] = field(default=time.monotonic)

    @property
    def variables(self) -> list[Any]:
        """The variables that the replicas share for this."""
        parts = [part for each in self.sums for part in (each.gradients, each.rows) if part is not None]
        return [self.vector, *parts]

    def prepare(self, session: Any) -> int:
        """See to it that the shared variables have values. Every replica may, at any time."""
        session.variables.create(self.variables)
        session.variables.initialize(self.variables, only_missing=True)
        return 0

    def start(self, session: Any, step: Array) -> int:
        """As the chief: forget gradients and tokens of steps that `step` is not at, as after a restore."""
        self.prepare(session)

        def is_old(now: Round) -> bool:
            return bool(now.count) and now.step != int(step)

        def restarted(now: Round) -> Round:
            kept = Round(int(step), closed=now.closed) if is_old(now) else now
            return replace(kept, tokens=tuple(token for token in now.tokens if token <= int(step)))

        def zeros(now: Round) -> list[Change]:
            return [
                Change(each, "assign", np.zeros(each.shape.known(), each.dtype.base_dtype.numpy_dtype))
                for each in (self.variables[1:] if is_old(now) else ())
            ]

        self._change(session.variables, restarted, zeros)
        return 0

    def add_tokens(self, session: Any, step: Array, count: int) -> int:
        """Put `count` tokens of this step, and open what a chief before closed."""
        self.prepare(session)
        self._change(
            session.variables, lambda now: replace(now, closed=False, tokens=(*now.tokens, *[int(step)] * count))
        )
        return count

    def close(self, session: Any) -> int:
        """Let those that wait for a token go, with OutOfRangeError."""
        self._change(session.variables, lambda now: replace(now, closed=True))
        return 0

    def contribute(self, session: Any, local_step: Array, gradients: Sequence[Any]) -> int:
        """Add the gradients of `local_step`, unless that step is over; then wait for a token, and give it.

        `gradients` are arrays, or pairs of rows and their indices, in the order of `sums`.
        """
        variables: Variables = session.variables
        while True:
            pulled = variables.pull([self.vector, self.global_step])
            step = int(pulled.values[self.global_step])
            if int(local_step) < step:
                return self._token(session, None)  # Stale: it is dropped, as TensorFlow does.
            now = Round.read(pulled.values[self.vector])
            changes = [
                change for each, given in zip(self.sums, gradients, strict=True) for change in _added(each, given)
            ]
            noted = now.with_gradient(step, self.replica).written(self.room)
            try:
                variables.write([*changes, Change(self.vector, "assign", noted, if_tag=pulled.tags[self.vector])], [])
            except VersionMismatchError:
                continue
            return self._token(session, step)

    def _token(self, session: Any, handed_in: int | None) -> int:
        """Take the oldest token, and wait for one if need be. Who has `handed_in` gradients of the present step leaves its
        tokens to the others, so that each replica counts once; TensorFlow gives them to whoever is faster."""
        variables: Variables = session.variables
        deadline = self.clock() + self.wait_s
        while True:
            pulled = variables.pull([self.vector])
            vector, tag = pulled.values[self.vector], pulled.tags[self.vector]
            now = Round.read(vector)
            if now.count >= self.wanted:
                self._apply(session, vector)
            elif now.tokens and not (now.tokens[0] == now.step == handed_in and self.replicas >= self.wanted):
                rest = replace(now, tokens=now.tokens[1:]).written(self.room)
                try:
                    variables.write([Change(self.vector, "assign", rest, if_tag=tag)], [])
                except VersionMismatchError:
                    continue
                return now.tokens[0]
            elif now.closed:
                raise OutOfRangeError(f"The chief has ended the training at step {now.step}; there are no tokens left.")
            else:
                self._wait(variables, now, tag, deadline)

    def _apply(self, session: Any, vector: Array) -> None:
        """Apply the mean and begin the next step, unless another replica does."""
        try:
            session.run(self.apply, {self.expected: vector})
        except CancelledError:
            return

    def _wait(self, variables: Variables, now: Round, tag: str, deadline: float) -> None:
        left = deadline - self.clock()
        if left <= 0:
            raise DeadlineExceededError(self._text(now))
        name = variables.name(self.vector)
        variables.client.read(name, after_version=tag, wait_s=min(left, _POLL_S))

    def _text(self, now: Round) -> str:
        known = {replica for replica in now.arrived if replica != UNKNOWN}
        there = f", from {_named(known)}" if known else ""
        missing = sorted(set(range(self.replicas)) - known)
        if known and len(known) == now.count and missing:
            absent = f"Still missing: {_named(missing)}."
        else:
            absent = f"Still missing: {self.wanted - now.count} more."
        return (
            f"Waited {self.wait_s:g} s for the gradients of step {now.step}: {now.count} of {self.wanted} have arrived"
            f"{there}. {absent} Are they running, with the same server and container, and the chief's init tokens put?"
        )

    def _change(
        self,
        variables: Variables,
        change: Callable[[Round], Round],
        others: Callable[[Round], list[Change]] = lambda now: [],
    ) -> None:
        """Change the vector, and what `others` say along with it, whatever other replicas do to it."""
        while True:
            pulled = variables.pull([self.vector])
            now = Round.read(pulled.values[self.vector])
            new, tag = change(now).written(self.room), pulled.tags[self.vector]
            try:
                variables.write([*others(now), Change(self.vector, "assign", new, if_tag=tag)], [])
            except VersionMismatchError:
                continue
            return


def _added(where: Sum, gradient: Any) -> list[Change]:
    """What adds one gradient to the sum of its variable."""
    if where.rows is None:
        return [Change(where.gradients, "assign_add", np.asarray(gradient))]
    values, indices = gradient
    sums, unique = sum_repeated(values, indices)
    return [
        Change(where.gradients, "scatter_add", sums, indices=unique),
        Change(where.rows, "scatter_add", np.ones(unique.size, np.int64), indices=unique),
    ]


def _named(replicas: Any) -> str:
    listed = ", ".join(map(str, sorted(replicas)))
    return f"replica {listed}" if len(replicas) == 1 else f"replicas {listed}"
