"""Routes of one variable's value: read it, assign to it, add to it, subtract from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from paramserver.http import models
from paramserver.http.endpoints import Route

_LOCKED: Final = (
    "One transaction: checked whole, applied whole, never torn. There is no broadcasting and no lossy cast. "
    "If-Match refuses it unless the variable has that version or tag. Prefer: return=representation adds the new value "
    "to the answer."
)
_WRITE_PROBLEMS: Final = (
    "variable_not_found",
    "uninitialized",
    "version_mismatch",
    "shape_mismatch",
    "dtype_mismatch",
    "non_finite",
    "memory_limit_exceeded",
)


def _write(operation: str, summary: str, effect: str) -> Route:
    return Route(
        operation,
        summary,
        f"{effect} {_LOCKED}",
        query=models.WriteQuery,
        answer=models.Written,
        problems=_WRITE_PROBLEMS,
        examples=({"value": [0.5, -0.5], "dtype": "float32"}, [0.5, -0.5]),
    )


def _scatter(operation: str, summary: str, effect: str) -> Route:
    return replace(
        _write(operation, summary, effect),
        body=models.ScatterBody,
        examples=(),
        problems=(*_WRITE_PROBLEMS, "index_out_of_range"),
    )


ROUTES: Final[Sequence[Route]] = (
    Route(
        "read",
        "Read a value",
        "The value, whole as one write left it; ETag is its version tag, and If-None-Match answers 304 while it stands. "
        "With `after_version` and `wait_s` it waits for another version than that one, and answers 204 when none comes. "
        "Readers never wait for writers.",
        query=models.ReadQuery,
        answer=models.ReadAnswer,
        problems=("variable_not_found", "uninitialized", "dtype_mismatch", "index_out_of_range"),
        done="The value.",
        also={
            204: "No newer version came within `wait_s`.",
            304: "The variable still has the version of If-None-Match.",
        },
    ),
    Route(
        "gather",
        "Gather rows",
        "The rows that the indices name along the first axis, repeats included, in a tensor of the shape of the indices "
        "and then that of a row; all of one version. Readers never wait for writers.",
        query=models.GatherQuery,
        body=models.GatherBody,
        answer=models.ReadAnswer,
        problems=("variable_not_found", "uninitialized", "shape_mismatch", "dtype_mismatch", "index_out_of_range"),
    ),
    _write("assign", "Assign a value", "Replaces the value; a bare number of JSON fills the whole shape."),
    _write("assign_add", "Add to a value", "Adds the tensor to the value. Integers wrap around."),
    _write("assign_sub", "Subtract from a value", "Subtracts the tensor from the value. Integers wrap around."),
    _scatter(
        "scatter_update", "Assign rows", "Replaces the rows that the indices name; of repeated ones the last wins."
    ),
    _scatter("scatter_add", "Add to rows", "Adds to the rows that the indices name; repeats accumulate."),
    _scatter("scatter_sub", "Subtract from rows", "Subtracts from the rows that the indices name; repeats accumulate."),
)
