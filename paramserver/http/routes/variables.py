"""Routes of variables as named things: create, list, inspect, change, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from paramserver.http import models
from paramserver.http.endpoints import Route

ROUTES: Final[Sequence[Route]] = (
    Route(
        "list_variables",
        "List variables",
        "Metadata without values, in the order of names, page by page. `prefix` matches whole segments.",
        query=models.ListQuery,
        answer=models.VariableList,
        problems=("collection_not_found", "invalid_name"),
    ),
    Route(
        "create_variable",
        "Create a variable",
        "Creates a variable of a shape and dtype with an initializer, or with a value. With `reuse=auto` or `true` one "
        "that exists is answered with 200 instead, its value left alone. What is not given comes from the nearest scope's "
        "defaults. Numbers without a dtype become int32, float32 or bool.",
        query=models.CreateQuery,
        body=models.CreateBody,
        answer=models.Metadata,
        status=201,
        done="Created.",
        also={200: "It existed, and was left alone."},
        problems=(
            "variable_not_found",
            "variable_exists",
            "spec_mismatch",
            "invalid_name",
            "shape_mismatch",
            "dtype_mismatch",
            "non_finite",
            "memory_limit_exceeded",
        ),
    ),
    Route(
        "get_variable",
        "Inspect a variable",
        "Metadata of one variable, without its value.",
        answer=models.Metadata,
        problems=("variable_not_found",),
    ),
    Route(
        "update_variable",
        "Change a variable's collections",
        "Sets `trainable` and `collections`, which are kept in step. The value and its version stay.",
        body=models.UpdateBody,
        answer=models.Metadata,
        problems=("variable_not_found", "invalid_name"),
    ),
    Route(
        "delete_variable",
        "Delete a variable",
        "Deletes one variable. Long polls on it end.",
        status=204,
        problems=("variable_not_found",),
    ),
    Route(
        "delete_variables",
        "Delete variables",
        "Deletes every variable in a scope in one transaction; an empty prefix means all. Needs `confirm=true`.",
        query=models.DeleteQuery,
        answer=models.Deleted,
        problems=("invalid_name",),
    ),
)
