# Made from calls/reading.py by scripts/make_async.py. Do not change it here: change calls/reading.py, run `make generate`.
"""Calls that read values: one, or many in one cut."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal, overload

from paramserver_client.aio.calls.base import Calls
from paramserver_client.calls.reading import MAX_POLL_S
from paramserver_client.errors import DeadlineExceededError
from paramserver_client.landing import Landing
from paramserver_client.results import Snapshot, arrays_of, tag_of
from paramserver_client.values import Index, dtype_of, index_of, names_of, tags_of, text_of, value_of
from paramserver_wire.tensors import Array


class ReadingCalls(Calls):
    """Calls that read values: one, or many in one cut."""

    @overload
    async def read(
        self,
        name: str,
        *,
        slice: Index | None = ...,
        dtype: Any = ...,
        out: Array | None = ...,
        with_version: Literal[False] = ...,
        after_version: None = ...,
        wait_s: None = ...,
    ) -> Array: ...
    @overload
    async def read(
        self,
        name: str,
        *,
        slice: Index | None = ...,
        dtype: Any = ...,
        out: Array | None = ...,
        with_version: Literal[True],
        after_version: None = ...,
        wait_s: None = ...,
    ) -> tuple[Array, str]: ...
    @overload
    async def read(
        self,
        name: str,
        *,
        slice: Index | None = ...,
        dtype: Any = ...,
        out: Array | None = ...,
        with_version: Literal[False] = ...,
        after_version: str | int,
        wait_s: float | None = ...,
    ) -> Array | None: ...
    @overload
    async def read(
        self,
        name: str,
        *,
        slice: Index | None = ...,
        dtype: Any = ...,
        out: Array | None = ...,
        with_version: Literal[True],
        after_version: str | int,
        wait_s: float | None = ...,
    ) -> tuple[Array, str] | None: ...
    async def read(
        self,
        name: str,
        *,
        slice: Index | None = None,
        dtype: Any = None,
        out: Array | None = None,
        with_version: bool = False,
        after_version: str | int | None = None,
        wait_s: float | None = None,
    ) -> Array | tuple[Array, str] | None:
        """The value of a variable: an array of the caller's own, never torn. Waits for no writer.

        `slice` reads a part (`np.s_[0:10, :, 3]`, or the same as text), `dtype` casts. `with_version=True` gives
        `(value, tag)`. With `after_version` (a tag) and `wait_s` (at most 60) the call waits for another version than
        that one, and gives None when none came in time; the wait does not count against `timeout_s`.

        `out` is an array of the value's shape and dtype, to be filled and returned: it is checked before it is written to,
        and a C-contiguous one takes the value straight from the socket (other transports copy it once, so does any call for
        a strided one). With None it is as it was. When the call breaks in the middle of the value, or is cancelled there,
        what the array holds is not defined; an error says which it is.

        Raises `VariableNotFoundError`, `UninitializedError`, `IndexOutOfRangeError`, `DtypeMismatchError`,
        `InvalidRequestError` (`out`).

        >>> import numpy as np
        >>> async with AsyncParameterClient() as client:
        ...     _ = await client.create_variable("w", value=[[1.0, 2.0], [3.0, 4.0]])
        ...     await client.read("w", slice=np.s_[:, 1])
        ...     mine = np.zeros((2, 2), np.float32)
        ...     await client.read("w", out=mine) is mine
        array([2., 4.], dtype=float32)
        True
        """
        landing = None if out is None else Landing({"": out}, dtype=dtype_of(dtype))
        answer = await self._ask(
            "read",
            extra_s=wait_s or 0.0,
            landing=landing,
            name=name,
            slice=index_of(slice),
            dtype=dtype_of(dtype),
            after_version=text_of(after_version),
            wait_s=wait_s,
        )
        if answer.body is None:
            return None
        value: Array = answer.body.array if landing is None else landing.filled({"": answer.body.array})[""]
        return (value, tag_of(answer.body)) if with_version else value

    async def gather(self, name: str, indices: Any, *, dtype: Any = None) -> Array:
        """Rows along the first axis, all of one version: an array of the shape of `indices`, then that of a row.

        `indices` are integers of any shape, in any order, repeats included; `dtype` casts. Waits for no writer.

        Raises `VariableNotFoundError`, `UninitializedError`, `IndexOutOfRangeError`, `ShapeMismatchError` for a
        variable without rows, `DtypeMismatchError`.

        >>> async with AsyncParameterClient() as client:
        ...     _ = await client.create_variable("w", value=[[1.0, 2.0], [3.0, 4.0]])
        ...     await client.gather("w", [1, 1, 0])
        array([[3., 4.],
               [3., 4.],
               [1., 2.]], dtype=float32)
        """
        array: Array = (
            await self._ask("gather", name=name, indices=value_of(indices), dtype=dtype_of(dtype))
        ).body.array
        return array

    async def wait(self, name: str, *, after_version: str | int, timeout_s: float) -> tuple[Array, str]:
        """Wait until a variable has another version than `after_version` (a tag); then its value and its tag.

        It asks in long polls, so the value comes as soon as it is there, a first value too. `timeout_s` may be as long
        as you like.

        Raises `DeadlineExceededError` when nothing new came within `timeout_s` seconds, `VariableNotFoundError`,
        `UninitializedError`; for a server that goes away and stays away, what `read` raises.

        >>> async with AsyncParameterClient() as client:
        ...     _ = await client.create_variable("w", value=1.0)
        ...     value, tag = await client.read("w", with_version=True)
        ...     _ = await client.assign_add("w", 1.0)
        ...     (await client.wait("w", after_version=tag, timeout_s=60))[0]
        array(2., dtype=float32)
        """
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            poll_s = min(left_s, MAX_POLL_S)
            found = await self.read(name, with_version=True, after_version=after_version, wait_s=poll_s)
            if found is not None:
                return found
            if poll_s == left_s:
                raise DeadlineExceededError(
                    f"Wanted another version of variable {name!r} than {after_version} within {timeout_s:g} s, got none. "
                    "Wait longer, or look for the worker that should write it.",
                    outcome="not applied",
                )

    async def pull(
        self,
        names: str | Iterable[str] | None = None,
        prefix: str | None = None,
        collection: str | None = None,
        *,
        out: Mapping[str, Array] | None = None,
        if_versions: Mapping[str, str | int] | None = None,
        dtype: Any = None,
    ) -> Snapshot:
        """The values of many variables as one consistent cut: all as they were after one commit.

        `names`, `prefix` and `collection` select; none of them means everything, or the names of `out`. Variables that
        still have the version or tag that `if_versions` gives for them are left out.

        `out` gives arrays to be filled, for some names or for all; the snapshot then holds them. All are checked before any is
        written to, and C-contiguous ones take the values straight from the socket (other transports copy once, so does any
        call for strided ones). Arrays of variables that are left out stay as they were. When the call breaks in the middle of
        the values, or is cancelled there, what the arrays hold is not defined; an error says which it is.

        Raises `VariableNotFoundError`, `UninitializedError`, `DtypeMismatchError`, `InvalidRequestError` (`out`).

        >>> import numpy as np
        >>> async with AsyncParameterClient() as client:
        ...     _ = await client.create_variable("w", value=[1.0, 2.0])
        ...     mine = {"w": np.empty(2, np.float32)}
        ...     seen = await client.pull(out=mine)
        ...     mine["w"]
        ...     await client.pull(if_versions=seen.versions)
        array([1., 2.], dtype=float32)
        Snapshot(commit=1, 0 values)
        """
        asked = names_of(names)
        is_all = asked is None and prefix is None and collection is None
        is_exact = asked is not None and prefix is None and collection is None
        landing = None if out is None else Landing(out, names=asked if is_exact else None, dtype=dtype_of(dtype))
        if out is not None and is_all:
            asked = list(out)
        body = (
            await self._ask(
                "pull",
                landing=landing,
                names=asked,
                prefix=prefix,
                collection=collection,
                if_versions=tags_of(if_versions),
                dtype=dtype_of(dtype),
            )
        ).body
        values = arrays_of(body["tensors"])
        versions = {name: tag_of(tensor) for name, tensor in body["tensors"].items()}
        return Snapshot(body["commit"], values if landing is None else landing.filled(values), versions)
