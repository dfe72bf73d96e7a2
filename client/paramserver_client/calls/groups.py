"""Calls about scopes and collections: what variables have in common by name, or by label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from paramserver_client.calls.base import Calls
from paramserver_client.results import ScopeInfo, scope_of
from paramserver_client.values import dtype_of, initializer_of, names_of


class GroupCalls(Calls):
    """Calls about scopes and collections: what variables have in common by name, or by label."""

    def scopes(self, *, prefix: str | None = None, depth: int | None = None) -> list[ScopeInfo]:
        """The scopes, by name: every prefix of a variable's name, and every one with stored defaults.

        `prefix` keeps to that scope and what is below it, `depth` to so many levels below. Counts cover all that lies
        below, whatever the depth.

        >>> with ParameterClient() as client:
        ...     _ = client.create_variable("net/conv1/weight", value=[1.0, 2.0])
        ...     [(each.name, each.variables, each.nbytes) for each in client.scopes()]
        [('net', 1, 8), ('net/conv1', 1, 8)]
        """
        return [scope_of(each) for each in self._ask("list_scopes", prefix=prefix, depth=depth).body["scopes"]]

    def get_scope(self, name: str) -> ScopeInfo:
        """One scope. Raises `ScopeNotFoundError`."""
        return scope_of(self._ask("get_scope", name=name).body)

    def set_scope(
        self,
        name: str,
        *,
        initializer: str | Mapping[str, Any] | None = None,
        dtype: Any = None,
        trainable: bool | None = None,
        collections: Iterable[str] | None = None,
    ) -> None:
        """Store what variables created below a scope start with unless they say otherwise; replaces what was stored.

        Raises `InvalidNameError`, `InvalidRequestError`, `DtypeMismatchError`.
        """
        self._ask(
            "set_scope",
            name=name,
            initializer=initializer_of(initializer),
            dtype=dtype_of(dtype),
            trainable=trainable,
            collections=names_of(collections),
        )

    def delete_scope(self, name: str) -> None:
        """Forget a scope's defaults; variables below it stay. Raises `ScopeNotFoundError`."""
        self._ask("delete_scope", name=name)

    def collections(self) -> dict[str, int]:
        """How many variables each collection holds."""
        return dict(self._ask("list_collections").body["collections"])

    def get_collection(self, key: str) -> list[str]:
        """The names in a collection, in the order they entered it. Raises `CollectionNotFoundError`."""
        return list(self._ask("get_collection", name=key).body["names"])

    def add_to_collection(self, key: str, names: str | Iterable[str]) -> None:
        """Put variables into a collection, all or none; a new key becomes one. `trainable` follows
        `trainable_variables`. Raises `VariableNotFoundError`, `InvalidNameError`."""
        self._ask("add_to_collection", name=key, names=names_of(names))

    def remove_from_collection(self, key: str, names: str | Iterable[str]) -> None:
        """Take variables out of a collection, all or none. `trainable` follows `trainable_variables`.

        Raises `VariableNotFoundError`, `CollectionNotFoundError`.
        """
        self._ask("remove_from_collection", name=key, names=names_of(names))
