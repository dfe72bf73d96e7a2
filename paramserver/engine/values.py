"""Between what travels and what the store takes: values, slices and metadata. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Final

import numpy as np

from paramserver.store.errors import (
    Difference,
    DtypeMismatch,
    IndexOutOfRange,
    InvalidRequest,
    Uninitialized,
    refusal,
    refuse_any,
)
from paramserver.store.gradients import Gradient
from paramserver.store.selection import no_value
from paramserver.store.snapshot import VariableSnapshot
from paramserver.store.updates import EMA, Array, Typed, Update, check_rows
from paramserver_wire.dtypes import MAX_NDIM, dtype_named, name_of
from paramserver_wire.errors import WireError
from paramserver_wire.messages import Message
from paramserver_wire.tensors import Tensor, Untyped, inferred, typed

_MAX_SLICE_LENGTH: Final = 200
Count = Callable[[int], None]
"""Hears of bytes that are going to be taken; raises `MemoryLimitExceeded` when there are not so many."""


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC: `2026-11-24T08:07:06.123456Z`."""
    whole, microseconds = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_whole_second(whole)}.{microseconds:06}Z"


@lru_cache(64)
def _whole_second(seconds: int) -> str:
    # A page of a listing has 1,000 times, most of them of few seconds.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def metadata(variable: VariableSnapshot) -> dict[str, Any]:
    """What `GET /v1/variables/{name}` answers."""
    state = variable.state
    return {
        "name": variable.name,
        "shape": list(variable.shape),
        "dtype": name_of(variable.dtype),
        "version": state.version,
        "incarnation": variable.incarnation,
        "initialized": state.value is not None,
        "trainable": state.trainable,
        "collections": list(state.collections),
        "initializer": None if state.initializer is None else dict(state.initializer),
        "nbytes": variable.nbytes,
        "updated_at": timestamp(state.updated_at),
    }


def written(variable: VariableSnapshot, commit: int) -> dict[str, Any]:
    """What a write of one variable answers."""
    return {
        "name": variable.name,
        "version": variable.version,
        "incarnation": variable.incarnation,
        "shape": list(variable.shape),
        "dtype": name_of(variable.dtype),
        "commit": commit,
    }


def value_of(variable: VariableSnapshot) -> Array:
    """The variable's array, or `Uninitialized`."""
    if variable.value is None:
        raise Uninitialized(no_value(variable.name).detail, name=variable.name)
    return variable.value


def uncounted(nbytes: int) -> None:
    """For those who count no memory."""
    return


def tensor(variable: VariableSnapshot, dtype: str | None = None, *, count: Count = uncounted) -> Tensor:
    """The variable as one tensor of an answer, its version beside it."""
    return Tensor(
        in_dtype(variable.name, value_of(variable), dtype, count=count),
        {"version": variable.version, "incarnation": variable.incarnation},
    )


def in_dtype(name: str, value: Array, dtype: str | None, *, count: Count = uncounted) -> Array:
    """`value` in the dtype a reader asked for; of the same kind or wider, since the reader chose what it loses.

    `count` hears of the bytes of a new array before it is made, and may raise.
    """
    if dtype is None:
        return value
    try:
        wanted = dtype_named(dtype)
    except WireError as error:
        raise DtypeMismatch(f"variable {name!r}: {error}", name=name) from None
    if not _of_one_kind(value.dtype, wanted):
        raise DtypeMismatch(
            f"variable {name!r} holds {name_of(value.dtype)}, which cannot be read as {dtype}; ask for a dtype of its kind",
            name=name,
        )
    if wanted == value.dtype:
        return value
    count(value.size * wanted.itemsize)
    with np.errstate(all="ignore"):
        return value.astype(wanted)


def _of_one_kind(held: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    # numpy takes bfloat16 for a kind of its own: it would let complex numbers lose half of themselves on the way to it,
    # and keep bfloat16 from float16.
    floats = [dtype.kind == "f" or name_of(dtype) == "bfloat16" for dtype in (held, wanted)]
    return all(floats) or (np.can_cast(held, wanted, "same_kind") and (wanted.kind == "c" or held.kind != "c"))


def for_store(
    value: Array | Untyped, name: str, *, spread: bool = False, allow_non_finite: bool = False
) -> Array | Typed:
    """A value as the store takes it: an array as it is, JSON numbers as a function that waits for the dtype.

    With `spread` a bare number fills the whole shape.
    """
    if isinstance(value, Untyped):
        return partial(_typed, value, name, spread, allow_non_finite)
    return value


def updates(given: Sequence[Mapping[str, Any]], *, allow_non_finite: bool, donated_nbytes: int) -> list[Update]:
    """The updates of a push; raises with every one listed that does not say what to write."""
    made: list[Update] = []
    differences: list[Difference] = []
    for fields in given:
        try:
            made.append(update(fields, allow_non_finite=allow_non_finite, donated_nbytes=donated_nbytes))
        except InvalidRequest as error:
            differences.extend(error.errors)
    refuse_any(differences)
    return made


def update(given: Mapping[str, Any], *, allow_non_finite: bool, donated_nbytes: int) -> Update:
    """One update of a push; raises `InvalidRequest` when it does not say what to write."""
    op, value = given["op"], given.get("value")
    called = "target" if op == EMA else "name"
    name = given.get(called)
    if name is None or len({"name", "target"} & given.keys()) > 1:
        got = name or given.get("name") or given.get("target") or ""
        detail = f"an update by {op!r} says in {called!r}, and there only, which variable it writes; got {got!r}"
        raise InvalidRequest(detail, name=got)
    return write(
        name,
        op,
        value,
        given.get("indices"),
        given.get("if_version"),
        given.get("source"),
        given.get("decay"),
        allow_non_finite=allow_non_finite,
        donated_nbytes=donated_nbytes,
    )


def write(
    name: str,
    op: str,
    value: Array | Untyped | None,
    indices: Array | Untyped | Sequence[Any] | None,
    if_version: str | None,
    source: str | None = None,
    decay: Any = None,
    *,
    allow_non_finite: bool,
    donated_nbytes: int,
) -> Update:
    """One update, of fields as they travel. A value that is most of the memory it came in is donated to the store with it."""
    return Update(
        name,
        op,
        None if value is None else for_store(value, name, spread=op == "assign", allow_non_finite=allow_non_finite),
        if_version,
        isinstance(value, np.ndarray) and 0 < donated_nbytes <= 2 * value.nbytes,
        rows_for_store(indices, name),
        source,
        decay,
    )


def gradient(name: str, given: Any, *, allow_non_finite: bool, donated_nbytes: int) -> Gradient:
    """The gradient of one variable: a tensor, or `{value, indices}` for some of its rows."""
    value, indices = (given["value"], given["indices"]) if isinstance(given, Mapping) else (given, None)
    return Gradient(
        name,
        for_store(value, name, allow_non_finite=allow_non_finite),
        rows_for_store(indices, name),
        isinstance(value, np.ndarray) and 0 < donated_nbytes <= 2 * value.nbytes,
    )


def rows_for_store(indices: Array | Untyped | Sequence[Any] | None, name: str) -> Array | Typed | None:
    """Indices of rows as the store takes them: an array as it is, lists of JSON as a function that makes one."""
    if indices is None or isinstance(indices, np.ndarray):
        return indices
    return for_store(indices if isinstance(indices, Untyped) else Untyped(indices), name)


def arrays_of(message: Message) -> list[Array]:
    """The arrays of a change, in the order in which a journal has them; none where numbers still wait for their dtype."""
    arguments = message.arguments
    gradients = arguments.get("gradients", {}).values()
    rows = [each if isinstance(each, Mapping) else {"value": each} for each in gradients]
    rows += arguments.get("updates") or arguments.get("then") or ()
    if "value" in arguments:
        rows.append(arguments)
    found = [given for row in rows for key in ("value", "indices") if (given := row.get(key)) is not None]
    return found if all(isinstance(given, np.ndarray) for given in found) else []


def gathered(
    variable: VariableSnapshot, indices: Array | Untyped, *, limit_nbytes: int | None, count: Count = uncounted
) -> Array:
    """The rows that `indices` name, in a new array of the shape of `indices` and then that of a row; `count` hears of it.

    Raises `Uninitialized`, `ShapeMismatch` for a variable without rows, `DtypeMismatch`, `IndexOutOfRange`, and
    `InvalidRequest` when they take more than `limit_nbytes`.
    """
    name, value = variable.name, value_of(variable)
    made = rows_for_store(indices, name)
    rows = made(np.dtype(np.int64), None) if callable(made) else made
    assert rows is not None
    refuse_any(check_rows(name, rows, variable.shape))
    nbytes = rows.size * value[:1].nbytes
    if (limit_nbytes is not None and nbytes > limit_nbytes) or rows.ndim + value.ndim - 1 > MAX_NDIM:
        raise InvalidRequest(
            f"variable {name!r}: the rows asked for take {nbytes} bytes in {rows.ndim + value.ndim - 1} axes, one tensor "
            f"may take {limit_nbytes} in {MAX_NDIM}; gather fewer at a time",
            name=name,
        )
    count(nbytes)
    return value.take(rows.astype(np.intp, copy=False), axis=0)


def sliced(name: str, value: Array, text: str) -> Array:
    """`value[text]` for numpy's basic slices: `0:10,:,3`, `...,-1`. A view.

    Raises `InvalidRequest` for anything else, `IndexOutOfRange` for an index the axis does not have.
    """
    if len(text) > _MAX_SLICE_LENGTH:
        raise InvalidRequest(f"variable {name!r}: the slice has more than {_MAX_SLICE_LENGTH} characters", name=name)
    try:
        index = tuple(_axis(part.strip()) for part in text.split(","))
    except ValueError:
        raise InvalidRequest(
            f"variable {name!r}: wanted a slice such as 0:10,:,3 (numbers, a:b:c, ... and commas), got {text!r}",
            name=name,
        ) from None
    if index.count(...) > 1 or sum(part is not ... for part in index) > value.ndim:
        raise InvalidRequest(
            f"variable {name!r} has {value.ndim} axes; the slice {text!r} names more, or has more than one '...'",
            name=name,
        )
    try:
        return np.asarray(value[index])
    except (IndexError, ValueError) as error:
        raise IndexOutOfRange(
            f"variable {name!r} has shape {list(value.shape)}; the slice {text!r} does not fit: {error}", name=name
        ) from None


def _axis(part: str) -> Any:
    if part == "...":
        return ...
    if ":" not in part:
        return int(part)
    fields = part.split(":")
    if len(fields) > 3:
        raise ValueError(part)
    return slice(*(int(field) if field.strip() else None for field in fields))


def _typed(
    value: Untyped,
    name: str,
    spread: bool,
    allow_non_finite: bool,
    dtype: np.dtype[Any] | None,
    shape: Sequence[int] | None,
) -> Array:
    try:
        wanted = inferred(value) if dtype is None else dtype
        array = typed(value, wanted, allow_non_finite=allow_non_finite)
    except WireError as error:
        raise refusal(error.code, f"variable {name!r}: {error}", name=name) from None
    bare = value.shape is None and not isinstance(value.value, list | tuple)
    if spread and bare and shape:
        # A view of one number: a push may fill a thousand large variables, and is not paid for before it is computed.
        return np.broadcast_to(array, tuple(shape))
    return array
