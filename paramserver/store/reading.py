"""What readers can ask of the store. None of it waits for a writer's arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from paramserver.store import restoring
from paramserver.store.commits import Commits
from paramserver.store.errors import Difference, refusal
from paramserver.store.optimizers import OptimizerState, no_optimizer
from paramserver.store.requests import RequestLog
from paramserver.store.restoring import Restored
from paramserver.store.selection import Selection, members, missing, select
from paramserver.store.snapshot import Snapshot, VariableSnapshot
from paramserver.store.updates import Array
from paramserver.store.variables import Variable

EVERYTHING: Final = Selection()


class Reader:
    """The reading half of a store. Thread-safe."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits
        self.pool = commits.pool
        self.budget = commits.budget

    @property
    def commit(self) -> int:
        """The number of the newest visible transaction."""
        return self._commits.commit

    def try_turn(self, nbytes: int) -> bool:
        """Whether one change of about `nbytes` would not wait to be written down; then make it, and call `end_turn`."""
        return self._commits.try_turn(nbytes)

    def write_ahead(self, arrays: Sequence[Array]) -> bool:
        """Whether the arrays of a change that follows, in this order, are being written down already; then make it, and call
        `end_turn`."""
        return self._commits.write_ahead(arrays)

    def end_turn(self) -> None:
        """Behind a `try_turn` or a `write_ahead` that was granted, however the change ended."""
        self._commits.end_turn()

    @property
    def requests(self) -> RequestLog:
        """The request-id table."""
        return self._commits.requests

    def get(self, name: str) -> VariableSnapshot:
        """One variable as it is now. Never waits. Raises `VariableNotFound`."""
        variable = self._commits.published.variables.get(name)
        if variable is None:
            found = missing(name)
            raise refusal(found.code, found.detail, name=name)
        return variable.snapshot()

    def find(self, name: str) -> VariableSnapshot | None:
        """One variable as it is now, or None."""
        variable = self._commits.published.variables.get(name)
        return None if variable is None else variable.snapshot()

    def snapshot(self, selection: Selection = EVERYTHING, *, with_requests: bool = False) -> Snapshot:
        """One consistent cut through the selected variables, whatever their number.

        Its arrays are read-only and never change; holding them costs memory but blocks nobody. Raises as `select`.
        """
        commits = self._commits
        with commits.publish_lock:
            if selection == EVERYTHING:
                chosen: Iterable[Variable] = commits.published.variables.values()
            else:
                chosen = select(commits.published, selection)
            variables = {variable.name: variable.snapshot() for variable in chosen}
            scopes = dict(commits.published.scopes)
            optimizers = dict(commits.published.optimizers)
            orders = commits.published.orders if with_requests else {}
            commit = commits.commit
        requests = commits.requests.rows(commit) if with_requests else ()
        return Snapshot(commit, variables, scopes, requests, optimizers, orders)

    @property
    def count(self) -> int:
        """How many variables there are."""
        return len(self._commits.published.variables)

    def names(self, prefix: str = "") -> list[str]:
        """The names in scope `prefix`, sorted."""
        with self._commits.publish_lock:
            return self._commits.published.in_name_order(prefix)

    def page(self, prefix: str, after: str, limit: int) -> list[VariableSnapshot]:
        """The first `limit` variables in scope `prefix` whose names come behind `after`, by name and in one cut."""
        with self._commits.publish_lock:
            published = self._commits.published
            return [published.variables[name].snapshot() for name in published.in_name_order(prefix, after, limit)]

    def collections(self) -> dict[str, int]:
        """How many variables each collection holds."""
        with self._commits.publish_lock:
            return self._commits.published.collection_counts()

    def members(self, key: str) -> list[str]:
        """The names in a collection, in the order they entered it. Raises `CollectionNotFound`."""
        with self._commits.publish_lock:
            return members(self._commits.published, key)

    def scopes(self) -> dict[str, Mapping[str, Any]]:
        """The stored scope defaults by scope."""
        with self._commits.publish_lock:
            return dict(self._commits.published.scopes)

    def optimizer(self, name: str) -> OptimizerState:
        """One optimizer as it is now. Raises `OptimizerNotFound`."""
        found = self._commits.published.optimizers.get(name)
        if found is None:
            raise no_optimizer(name)
        return found

    def optimizers(self) -> dict[str, OptimizerState]:
        """All optimizers, by name."""
        with self._commits.publish_lock:
            return dict(sorted(self._commits.published.optimizers.items()))

    def watch(self, name: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after every publication that touches `name`; see `Commits.watch`."""
        return self._commits.watch(name, callback)

    def plan_restore(
        self,
        saved: Mapping[str, VariableSnapshot],
        *,
        strict: bool = True,
        create: bool = True,
        reshape: bool = False,
        absent: Sequence[Difference] = (),
    ) -> Restored:
        """What `Store.restore` would do right now, decided without the values. Raises as it does; changes nothing."""
        head = self._commits.head.variables
        existing = {name: variable for name in saved if (variable := head.get(name)) is not None}
        plan = restoring.plan(saved, existing, strict=strict, create=create, reshape=reshape, absent=absent)
        return plan.done(self.commit)
