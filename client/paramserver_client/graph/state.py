"""Where a session's variables are: on the server under the container's prefix, or, the local ones, right here.

Reading is one pull, writing one push, whatever the number of variables. A variable is created on the server, with its
initializer spec, the first time a session touches it (`reuse="auto"`, so that many sessions share it).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from paramserver_client.client import ParameterClient
from paramserver_client.errors import UninitializedError, VariableNotFoundError
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import FailedPreconditionError, InvalidArgumentError
from paramserver_client.results import Update
from paramserver_wire.errors import WireError
from paramserver_wire.names import check_name

Variable = Any  # paramserver_client.graph.variables.Variable, for which sessions are made.
_UNKNOWN_SPEC: Final = {"type": "zeros"}


@dataclass(frozen=True, slots=True)
class Change:
    """One update: `update` is `assign`, `assign_add` or `assign_sub`."""

    variable: Variable
    update: str
    value: Array


class Variables:
    """The variables of one session. Thread-safe."""

    def __init__(self, client: ParameterClient, container: str = "") -> None:
        self._client = client
        self._prefix = f"{container}/" if container else ""
        self._container = container
        self._lock = threading.Lock()
        self._created: set[Variable] = set()
        self._foreign: set[Variable] = set()
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
        """What the variable is called on the server. Raises ValueError for names no server variable can have."""
        name = f"{self._prefix}{variable.op.name}"
        try:
            return check_name(name)
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
            self._create(variable)

    def _create(self, variable: Variable) -> None:
        recipe = variable.initial_value.op.recipe
        metadata = self._client.create_variable(
            self.name(variable),
            variable.shape.known(),
            variable.dtype.base_dtype.name,
            initializer=_UNKNOWN_SPEC if recipe is None else dict(recipe),
            trainable=variable.trainable,
            collections=[key for key in variable.collections if _is_name(key)],
            reuse="auto",
        )
        with self._lock:
            self._created.add(variable)
            if recipe is not None and not _agrees(recipe, metadata.initializer):
                self._foreign.add(variable)

    def _create_again(self, variables: Iterable[Variable]) -> None:
        """Somebody deleted variables, or the server came back from a checkpoint older than they are."""
        with self._lock:
            self._created.difference_update(variables)
        self.create(variables)

    def pull(self, variables: Sequence[Variable]) -> dict[Variable, Array]:
        """Their values, those on the server as one cut. Raises FailedPreconditionError naming one without a value."""
        remote = [each for each in variables if not each.is_local]
        values = {each: self._read_local(each) for each in variables if each.is_local}
        if not remote:
            return values
        names = {self.name(each): each for each in remote}
        try:
            snapshot = self._client.pull(list(names))
        except (UninitializedError, VariableNotFoundError) as error:
            raise self._without_value(error, names) from error
        values.update({variable: snapshot[name] for name, variable in names.items()})
        return values

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

    def initialize(self, variables: Sequence[Variable]) -> None:
        """Have the server give them their first values, whether they have values or not. One request, one commit."""
        names = {self.name(each): each for each in variables}
        try:
            done = self._client.initialize(list(names), only_uninitialized=False)
        except VariableNotFoundError:
            self._create_again(variables)
            done = self._client.initialize(list(names), only_uninitialized=False)
        if done.skipped:
            raise FailedPreconditionError(
                f"Variable {done.skipped[0]!r} was created on the server with a value and no initializer, so it "
                "cannot be initialized. Assign to it, or delete it there."
            )

    def write(self, changes: Sequence[Change], returns: Sequence[Variable]) -> dict[Variable, Array]:
        """Apply all changes, those on the server as one transaction; gives the new values of `returns`.

        Everything that can be checked here is checked first: a refused change changes nothing.
        """
        for change in changes:
            self._check(change)
        values: dict[Variable, Array] = {}
        remote = [change for change in changes if not change.variable.is_local]
        if remote:
            values = self._push(remote, [each for each in returns if not each.is_local])
        for change in changes:
            if change.variable.is_local:
                self._write_local(change)
        values.update({each: self._read_local(each) for each in returns if each.is_local})
        return values

    def _check(self, change: Change) -> None:
        want, got = change.variable.shape.known(), change.value.shape
        if want != got:
            verb = {"assign": "Assign", "assign_add": "AssignAdd", "assign_sub": "AssignSub"}[change.update]
            raise InvalidArgumentError(
                f"{verb} requires shapes of both tensors to match. lhs shape= {_shape_text(want)} rhs shape= "
                f"{_shape_text(got)} (variable {change.variable.op.name})"
            )
        if change.variable.is_local and change.update != "assign":
            self._read_local(change.variable)

    def _push(self, changes: Sequence[Change], returns: Sequence[Variable]) -> dict[Variable, Array]:
        updates = [Update(self.name(each.variable), each.update, each.value) for each in changes]
        names = {self.name(each): each for each in [*returns, *(change.variable for change in changes)]}
        wanted = [self.name(each) for each in returns]
        try:
            applied = self._client.push(updates, returns=wanted, allow_non_finite=True)
        except UninitializedError as error:
            raise self._without_value(error, names) from error
        except VariableNotFoundError:
            self._create_again([change.variable for change in changes])
            try:
                applied = self._client.push(updates, returns=wanted, allow_non_finite=True)
            except UninitializedError as error:
                raise self._without_value(error, names) from error
        return {names[name]: value for name, value in applied.values.items()}

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

    def _write_local(self, change: Change) -> None:
        with self._lock:
            old = self._local.get(change.variable)
            if change.update == "assign" or old is None:
                new = np.array(change.value)
            else:
                new = old + change.value if change.update == "assign_add" else old - change.value
            new = np.asarray(new)
            new.flags.writeable = False  # Runs hand it out as it is.
            self._local[change.variable] = new


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
