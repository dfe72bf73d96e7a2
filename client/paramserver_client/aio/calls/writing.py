# Made from calls/writing.py by scripts/make_async.py. Do not change it here: change calls/writing.py, run `make generate`.
"""Calls that write values: to one variable, or to many in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from paramserver_client.aio.calls.base import Calls
from paramserver_client.calls.writing import update_fields
from paramserver_client.results import Applied, Update, arrays_of
from paramserver_client.values import names_of, text_of, value_of


class WritingCalls(Calls):
    """Calls that write values: to one variable, or to many in one transaction."""

    async def assign(
        self,
        name: str,
        value: Any,
        *,
        use_locking: bool = True,
        allow_non_finite: bool = False,
        if_version: str | int | None = None,
        return_value: bool = False,
    ) -> Applied:
        """Give a variable a new value, exactly once, initialized or not. One number may stand for a whole variable.

        `use_locking=False` (Hogwild) may lose to a writer at the same time; values are never torn. With `if_version` (a
        version or a tag) it is refused unless the variable has that version. `return_value=True` brings the new value
        back in `Applied.values`.

        Raises `VariableNotFoundError`, `ShapeMismatchError`, `DtypeMismatchError`, `NonFiniteError`,
        `VersionMismatchError`; `OutcomeUnknownError` when the answer was lost and could not be learnt in time.
        """
        return await self._write("assign", name, value, use_locking, allow_non_finite, if_version, return_value)

    async def assign_add(
        self,
        name: str,
        value: Any,
        *,
        use_locking: bool = True,
        allow_non_finite: bool = False,
        if_version: str | int | None = None,
        return_value: bool = False,
    ) -> Applied:
        """Add to a variable, exactly once. Everything else is as for `assign`, and it raises `UninitializedError` too.

        >>> async with AsyncParameterClient() as client:
        ...     _ = await client.create_variable("step", value=0)
        ...     (await client.assign_add("step", 1, return_value=True)).values["step"]
        array(1, dtype=int32)
        """
        return await self._write("assign_add", name, value, use_locking, allow_non_finite, if_version, return_value)

    async def assign_sub(
        self,
        name: str,
        value: Any,
        *,
        use_locking: bool = True,
        allow_non_finite: bool = False,
        if_version: str | int | None = None,
        return_value: bool = False,
    ) -> Applied:
        """Subtract from a variable, exactly once. Everything else is as for `assign_add`."""
        return await self._write("assign_sub", name, value, use_locking, allow_non_finite, if_version, return_value)

    async def scatter_update(
        self,
        name: str,
        indices: Any,
        value: Any,
        *,
        use_locking: bool = True,
        allow_non_finite: bool = False,
        if_version: str | int | None = None,
        return_value: bool = False,
    ) -> Applied:
        """Give rows along the first axis new values, exactly once; the others stay. Of repeated rows the last wins.

        `indices` are integers of any shape; `value` has that shape, then that of a row. Everything else is as for
        `assign_add`; it raises `IndexOutOfRangeError` too.

        >>> async with AsyncParameterClient() as client:
        ...     _ = await client.create_variable("w", value=[1.0, 2.0, 3.0])
        ...     (await client.scatter_update("w", [0, 2], [8.0, 9.0], return_value=True)).values["w"]
        array([8., 2., 9.], dtype=float32)
        """
        rows = value_of(indices)
        return await self._write(
            "scatter_update", name, value, use_locking, allow_non_finite, if_version, return_value, rows
        )

    async def scatter_add(
        self,
        name: str,
        indices: Any,
        value: Any,
        *,
        use_locking: bool = True,
        allow_non_finite: bool = False,
        if_version: str | int | None = None,
        return_value: bool = False,
    ) -> Applied:
        """Add to rows along the first axis, exactly once; repeats accumulate. As for `scatter_update` else.

        >>> async with AsyncParameterClient() as client:
        ...     _ = await client.create_variable("w", value=[1.0, 2.0, 3.0])
        ...     (await client.scatter_add("w", [0, 0], [1.0, 1.0], return_value=True)).values["w"]
        array([3., 2., 3.], dtype=float32)
        """
        rows = value_of(indices)
        return await self._write(
            "scatter_add", name, value, use_locking, allow_non_finite, if_version, return_value, rows
        )

    async def scatter_sub(
        self,
        name: str,
        indices: Any,
        value: Any,
        *,
        use_locking: bool = True,
        allow_non_finite: bool = False,
        if_version: str | int | None = None,
        return_value: bool = False,
    ) -> Applied:
        """Subtract from rows along the first axis, exactly once; repeats accumulate. As for `scatter_update` else."""
        rows = value_of(indices)
        return await self._write(
            "scatter_sub", name, value, use_locking, allow_non_finite, if_version, return_value, rows
        )

    async def push(
        self,
        updates: Mapping[str, Any] | Sequence[Update],
        op: str = "assign_add",
        *,
        returns: Iterable[str] = (),
        allow_non_finite: bool = False,
    ) -> Applied:
        """Write to many variables in one transaction: exactly once, all of them or none, and visible all at once.

        `updates` are values by name, all written by `op`, or a list of `Update`s, applied in order. `returns` names
        variables whose values, as they are right after the push, come back in `Applied.values`.

        Raises as `assign_add` does, with every difference in `errors`.

        >>> async with AsyncParameterClient() as client:
        ...     for name in ("a", "b"):
        ...         _ = await client.create_variable(name, value=[0.0])
        ...     (await client.push([Update("a", "assign_add", [1.0]), Update("b", "assign", [5.0])], returns=["b"])).values
        {'b': array([5.], dtype=float32)}
        """
        if isinstance(updates, Mapping):
            updates = [Update(name, op, value) for name, value in updates.items()]
        answer = await self._ask(
            "push",
            updates=[update_fields(update) for update in updates],
            returns=names_of(returns) or None,
            allow_non_finite=allow_non_finite or None,
        )
        body = answer.body
        return Applied(body["commit"], body["versions"], arrays_of(body.get("tensors")), answer.replayed)

    async def _write(
        self,
        op: str,
        name: str,
        value: Any,
        use_locking: bool,
        allow_non_finite: bool,
        if_version: str | int | None,
        return_value: bool,
        indices: Any = None,
    ) -> Applied:
        answer = await self._ask(
            op,
            name=name,
            indices=indices,
            value=value_of(value),
            use_locking=None if use_locking else False,
            allow_non_finite=allow_non_finite or None,
            if_match=text_of(if_version),
            return_representation=return_value or None,
        )
        if return_value:
            meta, values = answer.body.meta, {name: answer.body.array}
        else:
            meta, values = answer.body, {}
        return Applied(meta["commit"], {name: meta["version"]}, values, answer.replayed)
