"""What names exist: the published variables in creation order and in name order, collections, scopes and optimizers.

Not thread-safe by itself. The store keeps one directory for readers, under its publish lock, and one for writers
(the head), under its structure lock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from paramserver.store.optimizers import OptimizerState
from paramserver.store.variables import Variable, canonical
from paramserver_wire.names import ancestors

Defaults = Mapping[str, Any]


class Directory:
    """Names to variables, with the orders that listings need. Adding or dropping one name costs O(log n) and a move."""

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}
        self.scopes: dict[str, Defaults] = {}
        self.optimizers: dict[str, OptimizerState] = {}
        self._sorted: list[str] = []
        self._collections: dict[str, dict[str, None]] = {}
        # Those whose order need not be that in which their variables were created.
        self._reordered: set[str] = set()

    def copy(self) -> Directory:
        other = Directory()
        other.variables = dict(self.variables)
        other.scopes = dict(self.scopes)
        other.optimizers = dict(self.optimizers)
        other._sorted = list(self._sorted)
        other._collections = {key: dict(names) for key, names in self._collections.items()}
        other._reordered = set(self._reordered)
        return other

    def add(self, added: Mapping[Variable, tuple[str, ...]]) -> None:
        """Enter new variables, each with its collections."""
        for variable, collections in added.items():
            self.variables[variable.name] = variable
            self._enter(variable.name, collections)
        if len(added) > 64:
            self._sorted = sorted(self.variables)
        else:
            for variable in added:
                insort(self._sorted, variable.name)

    def drop(self, names: Iterable[str]) -> None:
        """Forget variables by name."""
        dropped = set(names)
        for name in dropped:
            self.regroup(name, self._keys_of(name), ())
            del self.variables[name]
        if len(dropped) > 64:
            self._sorted = sorted(self.variables)
        else:
            for name in dropped:
                del self._sorted[bisect_left(self._sorted, name)]

    def regroup(self, name: str, before: Collection[str], after: Collection[str]) -> None:
        """Move a name between collections; it keeps its place in those it stays in."""
        for key in before:
            if key not in after:
                members = self._collections[key]
                del members[name]
                if not members:
                    del self._collections[key]
        self._reordered.update(key for key in after if key not in before)
        self._enter(name, after)

    @property
    def orders(self) -> dict[str, list[str]]:
        """The names in each collection whose order the variables' own does not tell."""
        return {key: list(self._collections[key]) for key in sorted(self._reordered) if key in self._collections}

    def reorder(self, orders: Mapping[str, Iterable[str]]) -> None:
        """Put the members of collections into the order they had. Names that are no members are passed over."""
        for key, names in orders.items():
            members = self._collections.get(key, {})
            ordered = dict.fromkeys(name for name in names if name in members)
            if ordered:
                self._collections[key] = {**ordered, **members}
                self._reordered.add(key)

    def in_name_order(self, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
        """The names in scope `prefix` (whole segments; '' means all), sorted; of those behind `after` the first `limit`.

        It costs what it returns: a page of a long listing copies no more than the page.
        """
        names = self._sorted
        own: list[str] = []
        begin, end = 0, len(names)
        if prefix:
            own = [prefix] if prefix in self.variables and prefix > after else []
            begin = bisect_left(names, prefix + "/")
            end = bisect_left(names, prefix + "0")  # "0" is the character behind "/"
        if after:
            begin = bisect_right(names, after, begin, end)
        if limit is not None:
            end = min(end, begin + limit)
        return (own + names[begin:end])[:limit]

    def members(self, key: str) -> list[str] | None:
        """The names in a collection in the order they entered it; None when there is no such collection."""
        members = self._collections.get(canonical(key))
        return None if members is None else list(members)

    def collection_counts(self) -> dict[str, int]:
        return {key: len(members) for key, members in self._collections.items()}

    def defaults_for(self, name: str) -> dict[str, Any]:
        """The scope defaults that hold for a variable of that name: the nearest scope's word wins."""
        found: dict[str, Any] = {}
        for scope in ancestors(name):
            found.update(self.scopes.get(scope, {}))
        return found

    def _enter(self, name: str, keys: Iterable[str]) -> None:
        for key in keys:
            self._collections.setdefault(key, {})[name] = None

    def _keys_of(self, name: str) -> list[str]:
        return [key for key, members in self._collections.items() if name in members]
