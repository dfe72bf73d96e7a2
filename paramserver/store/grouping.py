"""The part of the store that knows scopes and collections: what variables have in common by name, or by label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paramserver.store.base import Answering, Writer, no_answer
from paramserver.store.creation import checked_defaults, checked_name
from paramserver.store.errors import CollectionNotFound, ScopeNotFound, refuse_any
from paramserver.store.publisher import Change, Receipt
from paramserver.store.requests import Claim
from paramserver.store.selection import WELL_KNOWN, missing
from paramserver.store.variables import TRAINABLE, Variable, canonical, changed_collections
from paramserver_wire.names import ancestors, in_scope


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope: how many variables lie below it, at whatever depth, what their values take, and its stored defaults."""

    name: str
    variables: int
    nbytes: int
    defaults: Mapping[str, Any]


class Grouping(Writer):
    """Scopes and collections of a store."""

    def scope(self, name: str) -> Scope:
        """One scope: a prefix of some variable's name, or a name with stored defaults. Raises `ScopeNotFound`."""
        found = self._scopes(name).get(name)
        if found is None:
            raise ScopeNotFound(
                f"scope {name!r} does not exist: no variable is below it, no defaults are stored", name=name
            )
        return found

    def list_scopes(self, prefix: str = "", depth: int | None = None) -> list[Scope]:
        """The scopes in `prefix`, itself included, at most `depth` levels below it; by name."""
        found = self._scopes(prefix)
        level = prefix.count("/") + 1 if prefix else 0
        return [found[name] for name in sorted(found) if depth is None or name.count("/") + 1 - level <= depth]

    def set_scope(
        self,
        scope: str,
        defaults: Mapping[str, Any],
        *,
        claim: Claim | None = None,
        answer: Answering = no_answer,
        blocking: bool = True,
    ) -> Receipt:
        """Store what variables below `scope` start with unless they say otherwise; replaces what was stored."""
        checked_name(scope, "scope")
        return self._set_scope(scope, checked_defaults(scope, defaults), claim, answer, blocking)

    def delete_scope(
        self, scope: str, *, claim: Claim | None = None, answer: Answering = no_answer, blocking: bool = True
    ) -> Receipt:
        """Forget a scope's defaults; variables below it stay. Raises `ScopeNotFound`."""
        return self._set_scope(scope, None, claim, answer, blocking)

    def _scopes(self, prefix: str) -> dict[str, Scope]:
        with self._commits.publish_lock:
            # Counting takes a while where there are many: nobody else waits for it.
            directory = self._commits.published
            variables = [directory.variables[name] for name in directory.in_name_order(prefix)]
            defaults = dict(directory.scopes)
        return _scopes(variables, defaults, prefix)

    def _set_scope(
        self, scope: str, defaults: Mapping[str, Any] | None, claim: Claim | None, answer: Answering, blocking: bool
    ) -> Receipt:
        with self._commits.structure(blocking):
            if defaults is None and scope not in self._commits.head.scopes:
                raise ScopeNotFound(f"scope {scope!r} has no stored defaults; there is nothing to delete", name=scope)
            transaction = self._commits.begin("scopes", None, claim, answer)
            transaction.scopes[scope] = defaults
            self._commits.stage(transaction)
        return self._settled(transaction)

    def regroup(
        self,
        key: str,
        names: Sequence[str],
        *,
        add: bool,
        claim: Claim | None = None,
        answer: Answering = no_answer,
        blocking: bool = True,
    ) -> Receipt:
        """Put variables into a collection, or take them out, as one transaction; what is so already stays.

        A key that is new becomes a collection. `trainable` follows `trainable_variables`. Raises `InvalidName`,
        `VariableNotFound` listing every unknown name, and `CollectionNotFound` for taking out of one that is not there.
        """
        checked_name(key, "collection")
        key = canonical(key)
        commits = self._commits
        with commits.writing(names, blocking) as held:
            refuse_any([missing(name) for name in dict.fromkeys(names) if name not in held])
            if not add and commits.head.members(key) is None and key not in WELL_KNOWN:
                raise CollectionNotFound(f"collection {key!r} does not exist; no variable is in it", name=key)
            transaction = commits.begin("regroup", None, claim, answer)
            for variable in (held[name] for name in dict.fromkeys(names)):
                trainable, keys = _regrouped(variable, key, add)
                if keys != variable.head.collections:
                    transaction.changes[variable] = Change(trainable=trainable, collections=keys)
            commits.stage(transaction)
        return self._settled(transaction)


def _regrouped(variable: Variable, key: str, add: bool) -> tuple[bool, tuple[str, ...]]:
    if key == TRAINABLE:
        return changed_collections(variable.head, add, None)
    others = [each for each in variable.head.collections if each != key]
    return changed_collections(variable.head, None, [*variable.head.collections, key] if add else others)


def _scopes(variables: Iterable[Variable], defaults: Mapping[str, Mapping[str, Any]], prefix: str) -> dict[str, Scope]:
    """The scopes in `prefix`, itself included: those of variables' names, and those with stored defaults."""
    counts = {scope: [0, 0] for scope in defaults if in_scope(prefix, scope)}
    for variable in variables:
        nbytes = variable.snapshot().nbytes
        for scope in ancestors(variable.name):
            if in_scope(prefix, scope):
                count = counts.setdefault(scope, [0, 0])
                count[0] += 1
                count[1] += nbytes
    return {
        scope: Scope(scope, variables, nbytes, defaults.get(scope, {})) for scope, (variables, nbytes) in counts.items()
    }
