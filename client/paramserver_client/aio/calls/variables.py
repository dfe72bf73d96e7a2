# Made from calls/variables.py by scripts/make_async.py. Do not change it here: change calls/variables.py, run `make generate`.
"""Calls about variables as named things: create, list, change, delete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from paramserver_client.aio.calls.base import Calls
from paramserver_client.calls.variables import _PAGE_SIZE, _REUSE
from paramserver_client.results import Metadata, metadata_of
from paramserver_client.values import dtype_of, initializer_of, names_of, shape_of, value_of


class VariableCalls(Calls):
    """Calls about variables as named things: create, list, change, delete."""

    async def create_variable(
        self,
        name: str,
        shape: Any = None,
        dtype: Any = None,
        initializer: str | Mapping[str, Any] | None = None,
        value: Any = None,
        *,
        trainable: bool | None = None,
        collections: Iterable[str] | None = None,
        reuse: bool | Literal["auto"] = False,
        initialize: bool = False,
    ) -> Metadata:
        """Create a variable, all or nothing, and return its metadata.

        It starts with `value`, or with `initializer` (a name or a spec such as `{"type": "random_normal", "stddev":
        0.1, "seed": 7}`), which runs at once with `initialize=True` and else by `initialize()`. Without either, the
        nearest scope's default holds. `reuse="auto"` takes an existing variable of the same shape and dtype as it is,
        `reuse=True` wants it to exist.

        Raises `VariableExistsError`, `VariableNotFoundError` (`reuse=True`), `SpecMismatchError`, `InvalidNameError`,
        `ShapeMismatchError`, `DtypeMismatchError`, `NonFiniteError`, `InvalidRequestError`, `MemoryLimitExceededError`.

        >>> async with AsyncParameterClient() as client:
        ...     (await client.create_variable("w", (2, 3), "float32", "zeros", initialize=True)).shape
        (2, 3)
        """
        answer = await self._ask(
            "create_variable",
            name=name,
            shape=shape_of(shape),
            dtype=dtype_of(dtype),
            initializer=initializer_of(initializer),
            value=None if value is None else value_of(value),
            trainable=trainable,
            collections=names_of(collections),
            reuse=_REUSE.get(reuse, str(reuse)),
            initialize=initialize or None,
        )
        return metadata_of(answer.body)

    async def get_variable(self, name: str) -> Metadata:
        """Everything about a variable but its value. Raises `VariableNotFoundError`."""
        return metadata_of((await self._ask("get_variable", name=name)).body)

    async def list_variables(
        self,
        *,
        prefix: str | None = None,
        collection: str | None = None,
        initialized: bool | None = None,
        trainable: bool | None = None,
    ) -> list[Metadata]:
        """The metadata of all variables that fit, by name. `prefix` is a scope: `conv1` fits `conv1` and `conv1/...`.

        Beyond 1,000 variables it takes several requests, between which others may create and delete.

        >>> async with AsyncParameterClient() as client:
        ...     for name in ("b", "a/x"):
        ...         _ = await client.create_variable(name, value=1.0)
        ...     [each.name for each in await client.list_variables()]
        ['a/x', 'b']
        """
        found: list[Metadata] = []
        page_token: str | None = None
        while True:
            page = (
                await self._ask(
                    "list_variables",
                    prefix=prefix,
                    collection=collection,
                    initialized=initialized,
                    trainable=trainable,
                    page_size=_PAGE_SIZE,
                    page_token=page_token,
                )
            ).body
            found += map(metadata_of, page["variables"])
            page_token = page.get("next_page_token")
            if not page_token:
                return found

    async def update_variable(
        self, name: str, *, trainable: bool | None = None, collections: Iterable[str] | None = None
    ) -> Metadata:
        """Change whether a variable is trainable and which collections it is in; its value and version stay."""
        answer = await self._ask("update_variable", name=name, trainable=trainable, collections=names_of(collections))
        return metadata_of(answer.body)

    async def delete_variable(self, name: str) -> None:
        """Delete a variable. Raises `VariableNotFoundError`."""
        await self._ask("delete_variable", name=name)

    async def delete_variables(self, *, prefix: str, confirm: bool = False) -> list[str]:
        """Delete a whole scope in one commit, and return the names. The prefix "" means everything.

        Raises `InvalidRequestError` unless `confirm=True`.
        """
        deleted: list[str] = (await self._ask("delete_variables", prefix=prefix, confirm=confirm or None)).body[
            "deleted"
        ]
        return deleted
