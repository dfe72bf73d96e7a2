"""The client: one method per thing a worker can ask of a parameter server.

One long file on purpose: it is the list of what there is, each method a promise and a few lines, and nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self, overload

import numpy as np

from paramserver_client.errors import TooOldError
from paramserver_client.request_ids import RequestIds
from paramserver_client.results import (
    Applied,
    CheckpointInfo,
    Initialized,
    Metadata,
    Restored,
    Snapshot,
    Update,
    arrays_of,
    checkpoint_of,
    initialized_of,
    metadata_of,
    restored_of,
    tag_of,
)
from paramserver_client.transport import BaseTransport, Transport, transport_of
from paramserver_client.values import (
    Index,
    checked_out,
    dtype_of,
    index_of,
    initializer_of,
    names_of,
    shape_of,
    tags_of,
    text_of,
    value_of,
)
from paramserver_wire.messages import OPERATIONS, Answer, Message
from paramserver_wire.tensors import Array

_PAGE_SIZE: Final = 1000
_REUSE: Final = {False: "false", True: "true", "auto": "auto"}


class ParameterClient:
    """A worker's connection to a parameter server, or a whole server in this process.

    With `url` (default: `PARAMSERVER_URL`) it speaks HTTP to that server, with `token` (default:
    `PARAMSERVER_TOKEN`) if it wants one. Without a URL it is *embedded*: a server of its own inside this process, with
    the same promises and no network; `data_dir` gives it a place for checkpoints.

    Every call blocks until it is answered, refused, or `timeout_s` seconds have passed. Refusals for now and broken
    connections are tried again meanwhile, a write always with its first request id, so that it is applied once. Every
    error is a `ParameterServerError`, whose `outcome` says whether the call was applied; a refused call changed
    nothing. Thread-safe. A forked child can go on using a client over HTTP.

    `client_id` makes the request ids of this client readable. `transport` takes the place of the socket (an
    `httpx.BaseTransport`: a mock, a proxy, an ASGI app) or of the whole way to the server (a `Transport`).

    >>> import numpy as np
    >>> import paramserver_client as ps
    >>> client = ps.ParameterClient()
    >>> client.create_variable("layer/weight", value=np.zeros(2, np.float32)).version
    1
    >>> client.push({"layer/weight": np.array([1, 2], np.float32)}).versions
    {'layer/weight': 2}
    >>> client.read("layer/weight")
    array([1., 2.], dtype=float32)
    >>> client.close()
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        client_id: str | None = None,
        transport: BaseTransport | Transport | None = None,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        if not timeout_s > 0:
            raise ValueError(f"Wanted a timeout_s above 0, got {timeout_s!r}.")
        if data_dir is not None and (url is not None or transport is not None):
            raise ValueError("Wanted a data_dir (embedded) or a server's url, got both. A server has a --data-dir.")
        if url is None and transport is None and data_dir is None:
            url = os.environ.get("PARAMSERVER_URL") or None
        self._timeout_s = timeout_s
        self._request_ids = RequestIds(client_id)
        self._transport: Transport
        if url is None and transport is None:
            self._transport = _embedded(data_dir)
        else:
            self._transport = transport_of(url, token or os.environ.get("PARAMSERVER_TOKEN") or None, transport)

    @property
    def transport(self) -> Transport:
        """The way to the server, below ids and types: for tests and tools that deliver messages of their own."""
        return self._transport

    def close(self) -> None:
        """Let go of connections; an embedded server with a `data_dir` saves a last checkpoint. Call it once all calls
        are done; the client is of no use afterwards."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---------------------------------------------------------------- variables

    def create_variable(
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

        >>> with ParameterClient() as client:
        ...     client.create_variable("w", (2, 3), "float32", "zeros", initialize=True).shape
        (2, 3)
        """
        answer = self._ask(
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

    def get_variable(self, name: str) -> Metadata:
        """Everything about a variable but its value. Raises `VariableNotFoundError`."""
        return metadata_of(self._ask("get_variable", name=name).body)

    def list_variables(
        self,
        *,
        prefix: str | None = None,
        collection: str | None = None,
        initialized: bool | None = None,
        trainable: bool | None = None,
    ) -> list[Metadata]:
        """The metadata of all variables that fit, by name. `prefix` is a scope: `conv1` fits `conv1` and `conv1/...`.

        Beyond 1,000 variables it takes several requests, between which others may create and delete.

        >>> with ParameterClient() as client:
        ...     for name in ("b", "a/x"):
        ...         _ = client.create_variable(name, value=1.0)
        ...     [each.name for each in client.list_variables()]
        ['a/x', 'b']
        """
        found: list[Metadata] = []
        page_token: str | None = None
        while True:
            page = self._ask(
                "list_variables",
                prefix=prefix,
                collection=collection,
                initialized=initialized,
                trainable=trainable,
                page_size=_PAGE_SIZE,
                page_token=page_token,
            ).body
            found += map(metadata_of, page["variables"])
            page_token = page.get("next_page_token")
            if not page_token:
                return found

    def update_variable(
        self, name: str, *, trainable: bool | None = None, collections: Iterable[str] | None = None
    ) -> Metadata:
        """Change whether a variable is trainable and which collections it is in; its value and version stay."""
        answer = self._ask("update_variable", name=name, trainable=trainable, collections=names_of(collections))
        return metadata_of(answer.body)

    def delete_variable(self, name: str) -> None:
        """Delete a variable. Raises `VariableNotFoundError`."""
        self._ask("delete_variable", name=name)

    def delete_variables(self, *, prefix: str, confirm: bool = False) -> list[str]:
        """Delete a whole scope in one commit, and return the names. The prefix "" means everything.

        Raises `InvalidRequestError` unless `confirm=True`.
        """
        deleted: list[str] = self._ask("delete_variables", prefix=prefix, confirm=confirm or None).body["deleted"]
        return deleted

    # ---------------------------------------------------------------- reading values

    @overload
    def read(
        self,
        name: str,
        *,
        slice: Index | None = ...,
        dtype: Any = ...,
        with_version: Literal[False] = ...,
        after_version: None = ...,
        wait_s: None = ...,
    ) -> Array: ...
    @overload
    def read(
        self,
        name: str,
        *,
        slice: Index | None = ...,
        dtype: Any = ...,
        with_version: Literal[True],
        after_version: None = ...,
        wait_s: None = ...,
    ) -> tuple[Array, str]: ...
    @overload
    def read(
        self,
        name: str,
        *,
        slice: Index | None = ...,
        dtype: Any = ...,
        with_version: Literal[False] = ...,
        after_version: str | int,
        wait_s: float | None = ...,
    ) -> Array | None: ...
    @overload
    def read(
        self,
        name: str,
        *,
        slice: Index | None = ...,
        dtype: Any = ...,
        with_version: Literal[True],
        after_version: str | int,
        wait_s: float | None = ...,
    ) -> tuple[Array, str] | None: ...
    def read(
        self,
        name: str,
        *,
        slice: Index | None = None,
        dtype: Any = None,
        with_version: bool = False,
        after_version: str | int | None = None,
        wait_s: float | None = None,
    ) -> Array | tuple[Array, str] | None:
        """The value of a variable: an array of the caller's own, never torn. Waits for no writer.

        `slice` reads a part (`np.s_[0:10, :, 3]`, or the same as text), `dtype` casts. `with_version=True` gives
        `(value, tag)`. With `after_version` (a tag) and `wait_s` (at most 60) the call waits for another version than
        that one, and gives None when none came in time; the wait does not count against `timeout_s`.

        Raises `VariableNotFoundError`, `UninitializedError`, `IndexOutOfRangeError`, `DtypeMismatchError`.

        >>> with ParameterClient() as client:
        ...     _ = client.create_variable("w", value=[[1.0, 2.0], [3.0, 4.0]])
        ...     client.read("w", slice=np.s_[:, 1])
        array([2., 4.], dtype=float32)
        """
        answer = self._ask(
            "read",
            extra_s=wait_s or 0.0,
            name=name,
            slice=index_of(slice),
            dtype=dtype_of(dtype),
            after_version=text_of(after_version),
            wait_s=wait_s,
        )
        if answer.body is None:
            return None
        return (answer.body.array, tag_of(answer.body)) if with_version else answer.body.array

    def pull(
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
        still have the version or tag that `if_versions` gives for them are left out. `out` gives arrays to be filled:
        they are checked first, and written to only when all fit; the snapshot then holds them.

        Raises `VariableNotFoundError`, `UninitializedError`, `DtypeMismatchError`, `InvalidRequestError` (`out`).

        >>> with ParameterClient() as client:
        ...     _ = client.create_variable("w", value=[1.0, 2.0])
        ...     seen = client.pull()
        ...     client.pull(if_versions=seen.versions)
        Snapshot(commit=1, 0 values)
        """
        if out is not None and names is None and prefix is None and collection is None:
            names = out
        body = self._ask(
            "pull",
            names=names_of(names),
            prefix=prefix,
            collection=collection,
            if_versions=tags_of(if_versions),
            dtype=dtype_of(dtype),
        ).body
        values = arrays_of(body["tensors"])
        versions = {name: tag_of(tensor) for name, tensor in body["tensors"].items()}
        if out is not None:
            checked_out(out, values)
            for name in values.keys() & out.keys():
                np.copyto(out[name], values[name])
                values[name] = out[name]
        return Snapshot(body["commit"], values, versions)

    # ---------------------------------------------------------------- writing values

    def assign(
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
        return self._write("assign", name, value, use_locking, allow_non_finite, if_version, return_value)

    def assign_add(
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

        >>> with ParameterClient() as client:
        ...     _ = client.create_variable("step", value=0)
        ...     client.assign_add("step", 1, return_value=True).values["step"]
        array(1, dtype=int32)
        """
        return self._write("assign_add", name, value, use_locking, allow_non_finite, if_version, return_value)

    def assign_sub(
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
        return self._write("assign_sub", name, value, use_locking, allow_non_finite, if_version, return_value)

    def push(
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

        >>> with ParameterClient() as client:
        ...     for name in ("a", "b"):
        ...         _ = client.create_variable(name, value=[0.0])
        ...     client.push([Update("a", "assign_add", [1.0]), Update("b", "assign", [5.0])], returns=["b"]).values
        {'b': array([5.], dtype=float32)}
        """
        if isinstance(updates, Mapping):
            updates = [Update(name, op, value) for name, value in updates.items()]
        answer = self._ask(
            "push",
            updates=[_update_fields(update) for update in updates],
            returns=names_of(returns) or None,
            allow_non_finite=allow_non_finite or None,
        )
        body = answer.body
        return Applied(body["commit"], body["versions"], arrays_of(body.get("tensors")), answer.replayed)

    # ---------------------------------------------------------------- initializing

    def initialize(
        self,
        names: str | Iterable[str] | None = None,
        prefix: str | None = None,
        collection: str | None = None,
        *,
        only_uninitialized: bool = True,
        seed: int | None = None,
    ) -> Initialized:
        """Run the initializers of the selected variables (default: all but `local_variables`) in one commit.

        Variables that have a value keep it, unless `only_uninitialized=False`; they are `skipped`, as are those that
        have no initializer. `seed` wins over the initializers' own; the same seed gives the same values in any order.

        >>> with ParameterClient() as client:
        ...     _ = client.create_variable("w", (2,), "float32", "ones")
        ...     client.initialize().initialized
        ('w',)
        """
        answer = self._ask(
            "initialize",
            names=names_of(names),
            prefix=prefix,
            collection=collection,
            only_uninitialized=only_uninitialized,
            seed=seed,
        )
        return initialized_of(answer.body)

    def initialize_variable(
        self, name: str, *, only_uninitialized: bool = True, seed: int | None = None
    ) -> Initialized:
        """Run the initializer of one variable; as `initialize`, but raises `NoInitializerError` if it has none."""
        answer = self._ask("initialize_variable", name=name, only_uninitialized=only_uninitialized, seed=seed)
        return initialized_of(answer.body)

    def is_initialized(self, name: str) -> bool:
        """Whether a variable has a value. Raises `VariableNotFoundError`."""
        return bool(self._ask("is_initialized", name=name).body["initialized"])

    def report_uninitialized(self, collection: str | None = None, prefix: str | None = None) -> list[str]:
        """The names of the variables that have no value yet (default: of all but `local_variables`)."""
        names: list[str] = self._ask("report_uninitialized", collection=collection, prefix=prefix).body["names"]
        return names

    def assert_initialized(
        self,
        names: str | Iterable[str] | None = None,
        prefix: str | None = None,
        collection: str | None = None,
    ) -> None:
        """Return quietly if all selected variables have a value, else raise `UninitializedError` listing the others."""
        self._ask("assert_initialized", names=names_of(names), prefix=prefix, collection=collection)

    # ---------------------------------------------------------------- checkpoints

    def save(
        self,
        id: str | None = None,
        *,
        step: int | None = None,
        names: str | Iterable[str] | None = None,
        prefix: str | None = None,
        collection: str | None = None,
        series: str | None = None,
        max_to_keep: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> CheckpointInfo:
        """Save one consistent cut to the server's disk; pushes go on meanwhile. When it returns, the checkpoint is
        whole and synced; when it raises, no checkpoint was made and an older one of that `id` is as it was.

        Without a selection it is a full checkpoint. `max_to_keep` of a `series` are kept; the oldest go.

        Raises `NoDataDirError`, `UninitializedError` (by name), `InvalidRequestError` (a name twice),
        `CheckpointBusyError`, `DiskFullError`.
        """
        answer = self._ask(
            "save",
            id=id,
            step=step,
            names=names_of(names),
            prefix=prefix,
            collection=collection,
            series=series,
            max_to_keep=max_to_keep,
            metadata=None if metadata is None else dict(metadata),
        )
        return checkpoint_of(answer.body)

    def restore(
        self,
        id: str = "latest",
        *,
        names: str | Iterable[str] | None = None,
        rename: Mapping[str, str] | None = None,
        strict: bool = True,
        create: bool = True,
    ) -> Restored:
        """Give variables the values of a checkpoint, in one commit, all or nothing.

        Variables that the server lacks are created unless `create=False`. `rename` maps a variable to the name it was
        saved by. With `strict`, anything that is not there or does not fit refuses the whole.

        Raises `CheckpointNotFoundError`, `CheckpointIncompatibleError` (all differences in `errors`),
        `CheckpointCorruptError`, `NoDataDirError`, `MemoryLimitExceededError`.
        """
        answer = self._ask(
            "restore",
            id=id,
            names=names_of(names),
            rename=None if rename is None else dict(rename),
            strict=strict,
            create=create,
        )
        return restored_of(answer.body)

    def checkpoints(self) -> list[CheckpointInfo]:
        """The checkpoints on the server's disk, newest first."""
        return [checkpoint_of(each) for each in self._ask("list_checkpoints").body["checkpoints"]]

    def get_checkpoint(self, id: str = "latest") -> CheckpointInfo:
        """One checkpoint. Raises `CheckpointNotFoundError`."""
        return checkpoint_of(self._ask("get_checkpoint", id=id).body)

    def delete_checkpoint(self, id: str) -> None:
        """Delete a checkpoint. Raises `CheckpointNotFoundError`, `CheckpointBusyError`."""
        self._ask("delete_checkpoint", id=id)

    def server(self) -> dict[str, Any]:
        """What the server says of itself: version, limits, memory, durability, start."""
        return dict(self._ask("server").body)

    # ---------------------------------------------------------------- the way out

    def _write(
        self,
        op: str,
        name: str,
        value: Any,
        use_locking: bool,
        allow_non_finite: bool,
        if_version: str | int | None,
        return_value: bool,
    ) -> Applied:
        answer = self._ask(
            op,
            name=name,
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

    def _ask(self, operation: str, /, *, extra_s: float = 0.0, **arguments: Any) -> Answer:
        """Deliver one message. `extra_s` is added to the deadline."""
        given = {name: value for name, value in arguments.items() if value is not None}
        deadline = time.monotonic() + self._timeout_s + extra_s
        if not OPERATIONS[operation].mutates:
            return self._transport.deliver(Message(operation, given), self._timeout_s + extra_s)
        request_id = self._request_ids.next()
        try:
            return self._transport.deliver(Message(operation, given, request_id), self._timeout_s)
        except TooOldError:
            # Raised only while nothing can have been applied: the server has forgotten this client, or never knew it.
            message = Message(operation, given, self._request_ids.renew(request_id))
            return self._transport.deliver(message, max(0.001, deadline - time.monotonic()))


def _update_fields(update: Update) -> dict[str, Any]:
    fields = {"name": update.name, "op": update.op, "value": value_of(update.value)}
    return fields if update.if_version is None else {**fields, "if_version": str(update.if_version)}


def _embedded(data_dir: str | os.PathLike[str] | None) -> Transport:
    from paramserver_client.embedded import EmbeddedTransport

    return EmbeddedTransport.open(data_dir)
