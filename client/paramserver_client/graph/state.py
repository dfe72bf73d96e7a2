"""Where a session's variables are: on the server under the container's prefix, or, the local ones, right here.

Reading is one pull, writing one push, whatever the number of variables. A variable is created on the server, with its
initializer spec, the first time a session touches it (`reuse="auto"`, so that many sessions share it).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from paramserver_client.client import ParameterClient
from paramserver_client.errors import (
    OptimizerNotFoundError,
    UninitializedError,
    VariableNotFoundError,
    VersionMismatchError,
)
from paramserver_client.graph.changes import Change, Tags, Values, next_value
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import FailedPreconditionError, InvalidArgumentError
from paramserver_client.graph.rows import check_rows
from paramserver_client.graph.steps import GradientStep
from paramserver_client.results import Applied, Update
from paramserver_wire.errors import WireError
from paramserver_wire.names import check_name

Variable = Any  # paramserver_client.graph.variables.Variable, for which sessions are made.
_UNKNOWN_SPEC: Final = {"type": "zeros"}


class Variables:
    """The variables of one session. Thread-safe."""

    def __init__(self, client: ParameterClient, container: str = "") -> None:
        self._client = client
        self._prefix = f"{container}/" if container else ""
        self._container = container
        self._lock = threading.Lock()
        self._created: set[Variable] = set()
        self._foreign: set[Variable] = set()
        self._shapes: dict[Variable, tuple[int, ...]] = {}
        self._steps: set[GradientStep] = set()
        self._names: dict[Variable, str] = {}
        self._local: dict[Variable, Array] = {}

    @property
    def client(self) -> ParameterClient:
        return self._client

    @property
    def foreign(self) -> frozenset[Variable]:
        """Variables that somebody created with another initializer than ours."""
        with self._lock:
            return frozenset(self._foreign)

    def name(self, variable: Variable) -> str:
        """What the variable is called on the server. Raises ValueError for a name that is too long for one."""
        known = self._names.get(variable)
        if known is not None:
            return known
        try:
            name = self._names[variable] = check_name(f"{self._prefix}{server_name(variable.op.name)}")
            return name
        except WireError as error:
            raise ValueError(
                f"Variable {variable.op.name!r} cannot be kept on a parameter server: {error}. Rename it."
            ) from None

    def create(self, variables: Iterable[Variable]) -> None:
        """Create those that this session has not touched before; existing ones are shared.

        Raises InvalidArgumentError when one exists with another shape or dtype.
        """
        with self._lock:
            missing = [each for each in variables if not each.is_local and each not in self._created]
        for variable in missing:
            if variable.shape.is_fully_defined():  # Others are made with the first value they are given.
                self._create(variable, variable.shape.known())

    def _create(self, variable: Variable, shape: tuple[int, ...]) -> None:
        recipe = variable.initial_value.op.recipe
        if shape != variable.initial_value.shape.sizes:
            recipe = None  # It makes a value of another shape.
        metadata = self._client.create_variable(
            self.name(variable),
            shape,
            variable.dtype.base_dtype.name,
            initializer=_UNKNOWN_SPEC if recipe is None else dict(recipe),
            trainable=variable.trainable,
            collections=[key for key in variable.collections if _is_name(key)],
            reuse="auto",
        )
        with self._lock:
            self._created.add(variable)
            self._shapes[variable] = metadata.shape
            if recipe is None or not _agrees(recipe, metadata.initializer):
                self._foreign.add(variable)

    def _create_again(self, variables: Iterable[Variable]) -> None:
        """Somebody deleted variables, or the server came back from a checkpoint older than they are."""
        variables = list(variables)
        with self._lock:
            self._created.difference_update(variables)
            self._steps.clear()
        self.create(variables)

    def pull(self, variables: Sequence[Variable]) -> Values:
        """Their values, those on the server as one cut. Raises FailedPreconditionError naming one without a value."""
        remote = [each for each in variables if not each.is_local]
        values = {each: self._read_local(each) for each in variables if each.is_local}
        tags: Tags = dict(values)
        if remote:
            names = {self.name(each): each for each in remote}
            try:
                snapshot = self._client.pull(list(names))
            except (UninitializedError, VariableNotFoundError) as error:
                raise self._without_value(error, names) from error
            values.update({variable: snapshot[name] for name, variable in names.items()})
            tags.update({variable: snapshot.versions[name] for name, variable in names.items()})
        return Values(values, tags)

    def uninitialized(self, variables: Iterable[Variable]) -> set[Variable]:
        """Those that have no value now. One request for every thousand variables; nothing is created for it."""
        variables = list(variables)
        with self._lock:
            missing = {each for each in variables if each.is_local and each not in self._local}
        remote = {self.name(each): each for each in variables if not each.is_local}
        if remote:
            # Not what is uninitialized: a variable that nobody has created yet, or that was deleted, is not among it.
            known = {
                each.name for each in self._client.list_variables(prefix=self._container or None, initialized=True)
            }
            missing |= {variable for name, variable in remote.items() if name not in known}
        return missing

    def initialize(self, variables: Sequence[Variable], *, only_missing: bool = False) -> None:
        """Have the server give them their first values, whether they have values or not, or those `only_missing` one. One
        request, one commit."""
        names = {self.name(each): each for each in variables}
        try:
            done = self._client.initialize(list(names), only_uninitialized=only_missing)
        except VariableNotFoundError:
            self._create_again(variables)
            done = self._client.initialize(list(names), only_uninitialized=only_missing)
        if done.skipped and not only_missing:
            raise FailedPreconditionError(
                f"Variable {done.skipped[0]!r} was created on the server with a value and no initializer, so it "
                "cannot be initialized. Assign to it, or delete it there."
            )

    def write(self, changes: Sequence[Change], returns: Sequence[Variable]) -> Values:
        """Apply all changes, those on the server as one transaction; gives the new values of `returns`.

        Everything that can be checked here is checked first: a refused change changes nothing. A variable that takes
        another shape is made anew on the server, after the transaction. Raises `VersionMismatchError` when one has no
        longer the version that its change asks for.
        """
        for change in changes:
            try:
                self._check(change)
            except InvalidArgumentError as error:
                error.op = change.op
                raise
        remote = [change for change in changes if not change.variable.is_local]
        made_anew = [change for change in remote if self._needs_making(change)]
        in_place = [change for change in remote if change not in made_anew]
        written = Values({}, {})
        if in_place:
            reshaped = {change.variable for change in made_anew}
            wanted = [each for each in returns if not each.is_local and each not in reshaped]
            written = self._push(in_place, wanted)
        for change in made_anew:
            self._make_anew(change)
            written.values[change.variable] = change.value
        self._write_local([change for change in changes if change.variable.is_local])
        local = {each: self._read_local(each) for each in returns if each.is_local}
        values = {each: local[each] if each in local else written.values[each] for each in returns}
        return Values(values, {**written.tags, **local})

    def _check(self, change: Change) -> None:
        want, got = self._shape(change.variable), change.value.shape
        if change.update == "ema":
            return
        if change.indices is not None:
            if want is not None:
                check_rows(change.indices, change.value, want)
        elif want is not None and want != got and not change.may_reshape:
            what = "Assign requires shapes of both tensors to match."
            if change.step is not None:
                what = "var and grad do not have the same shape."
            elif change.update != "assign":
                what = "Parameters and update must be the same size."
            raise InvalidArgumentError(
                f"{what} lhs shape= {_shape_text(want)} rhs shape= {_shape_text(got)} "
                f"(variable {change.variable.op.name})"
            )
        if change.variable.is_local and change.update != "assign":
            self._read_local(change.variable)

    def _shape(self, variable: Variable) -> tuple[int, ...] | None:
        """The shape the variable has now, as far as this session knows; None for one of unknown shape without a value."""
        with self._lock:
            if variable.is_local and variable in self._local:
                return self._local[variable].shape
            if variable in self._shapes:
                return self._shapes[variable]
        shape: tuple[int, ...] | None = variable.shape.known() if variable.shape.is_fully_defined() else None
        return shape

    def _needs_making(self, change: Change) -> bool:
        return change.update == "assign" and self._shape(change.variable) != change.value.shape

    def _make_anew(self, change: Change) -> None:
        """Put a variable of the value's shape in the place of the one that is there."""
        variable, shape = change.variable, change.value.shape
        with contextlib.suppress(VariableNotFoundError):  # There is none yet when it is the first value.
            self._client.delete_variable(self.name(variable))
        self._create(variable, shape)
        self._push([change], [])

    def _push(self, changes: Sequence[Change], returns: Sequence[Variable]) -> Values:
        wanted = [self.name(each) for each in returns]
        try:
            applied = self._send(changes, wanted)
        except UninitializedError as error:
            raise self._without_value(error, self._named(changes, returns)) from error
        except (VariableNotFoundError, OptimizerNotFoundError):
            names = self._named(changes, returns)
            self._create_again(names.values())
            try:
                applied = self._send(changes, wanted)
            except (UninitializedError, VariableNotFoundError) as error:
                raise self._without_value(error, names) from error
        own = {self.name(each): each for each in [*returns, *(change.variable for change in changes)]}
        values = {own[name]: value for name, value in applied.values.items()}
        return Values(values, {own[name]: version for name, version in applied.versions.items()})

    def _named(self, changes: Sequence[Change], returns: Sequence[Variable]) -> dict[str, Variable]:
        """All variables that a push is about, by their names on the server."""
        return {
            self.name(each): each for each in [*returns, *(each for change in changes for each in change.variables)]
        }

    def _send(self, changes: Sequence[Change], returns: Sequence[str]) -> Applied:
        """One request for all changes. There are gradients of one optimizer's step at most, and they go first."""
        gradients = [change for change in changes if change.step is not None]
        updates = [self._update(change) for change in changes if change.step is None]
        if not gradients:
            return self._client.push(updates, returns=returns, allow_non_finite=True)
        step, hyper = gradients[0].step, gradients[0].hyper or {}
        assert step is not None, "they were chosen so"
        self._make_optimizer(step, hyper)
        counter, updates = _counter(updates)
        return self._client.push_gradients(
            {self.name(change.variable): self._gradient(change) for change in gradients},
            self._optimizer(step),
            hyper=hyper,
            global_step=counter,
            then=updates,
            returns=returns,
            allow_non_finite=True,
        )

    def _make_optimizer(self, step: GradientStep, hyper: Mapping[str, float]) -> None:
        """Have the server know the optimizer, by the names that the graph gave its variables."""
        with self._lock:
            known = step in self._steps
        if known:
            return
        self._client.create_optimizer(
            self._optimizer(step),
            step.type,
            slots={self.name(variable): [*map(self.name, slots)] for variable, slots in step.slots.items() if slots},
            scalars=[*map(self.name, step.scalars)],
            **step.settled,
            **hyper,
        )
        with self._lock:
            self._steps.add(step)

    def _optimizer(self, step: GradientStep) -> str:
        return f"{self._prefix}{server_name(step.optimizer)}"

    def _gradient(self, change: Change) -> Any:
        if change.indices is None:
            return change.value
        return self._rows(change), change.indices.reshape(-1)

    def _rows(self, change: Change) -> Array:
        """The values of the rows that a change names, one behind the other."""
        assert change.indices is not None, "it is of rows"
        row = (self._shape(change.variable) or (0,))[1:]
        return np.broadcast_to(change.value, change.indices.shape + row).reshape(change.indices.size, *row)

    def _update(self, change: Change) -> Update:
        name = self.name(change.variable)
        if change.source is not None:
            return Update(name, "ema", source=self.name(change.source), decay=float(change.value))
        if change.indices is None:
            return Update(name, change.update, change.value, change.if_tag)
        return Update(name, change.update, self._rows(change), indices=change.indices.reshape(-1))

    def _without_value(self, error: Exception, names: Mapping[str, Variable]) -> FailedPreconditionError:
        if isinstance(error, VariableNotFoundError):
            self._create_again(names.values())
        listed = [each.get("name") for each in getattr(error, "errors", ())]
        first = next((names[name] for name in listed if name in names), None)
        what = first.op.name if first is not None else ", ".join(each.op.name for each in names.values())
        return FailedPreconditionError(f"Attempting to use uninitialized value {what}")

    def _read_local(self, variable: Variable) -> Array:
        with self._lock:
            value = self._local.get(variable)
        if value is None:
            raise FailedPreconditionError(f"Attempting to use uninitialized value {variable.op.name}")
        return value

    def _write_local(self, changes: Sequence[Change]) -> None:
        with self._lock:
            for change in changes:
                if change.if_tag is not None and self._local.get(change.variable) is not change.if_tag:
                    raise VersionMismatchError(f"Local variable {change.variable.op.name} was written in between.")
            for change in changes:
                new = np.array(next_value(self._local.get(change.variable), change))
                new.flags.writeable = False  # Runs hand it out as it is.
                self._local[change.variable] = new


def _counter(updates: Sequence[Update]) -> tuple[str | None, list[Update]]:
    """The variable that is counted up by 1, which a push of gradients has a place for, and the other updates."""
    for place, update in enumerate(updates):
        others = [*updates[:place], *updates[place + 1 :]]
        is_count = update.op == "assign_add" and update.value.shape == () and update.value.dtype.kind in "iu"
        if is_count and update.value == 1 and not any(update.name in (each.name, each.source) for each in others):
            return update.name, others
    return None, list(updates)


_ESCAPE: Final = "._."


def server_name(name: str) -> str:
    """The name on a server of a variable of the graph: the same, but for segments that no server has.

    >>> server_name("layer/w"), server_name("x//r")
    ('layer/w', 'x/._./r')
    """
    return "/".join(_ESCAPE + part if _is_odd(part) else part for part in name.split("/"))


def _is_odd(segment: str) -> bool:
    return segment in ("", ".", "..") or segment.startswith(("-", _ESCAPE))


def _is_name(key: Any) -> bool:
    """Whether a collection's key can be one on the server; other keys are the graph's own."""
    try:
        check_name(key)
    except WireError:
        return False
    return True


def _agrees(ours: Mapping[str, Any], theirs: Mapping[str, Any] | None) -> bool:
    """Whether the server's spec, in which defaults are filled in, says what ours says."""
    if theirs is None or ours.get("seed") != theirs.get("seed"):
        return False
    return all(theirs.get(key) == value for key, value in ours.items())


def _shape_text(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
