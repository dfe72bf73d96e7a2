"""Routes of variables as named things: create, list, inspect, change, delete, initialize, check."""

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
        problems=("invalid_name",),
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
    Route(
        "initialize_variable",
        "Initialize one variable",
        "Runs the variable's initializer, in one transaction. One that has a value is skipped unless "
        "`only_uninitialized` is false.",
        body=models.InitializeOneBody,
        answer=models.Initialized,
        problems=("variable_not_found", "no_initializer", "memory_limit_exceeded"),
    ),
    Route(
        "initialize",
        "Initialize variables",
        "Runs initializers in one transaction: of the variables named, in a scope or in a collection, else of all but "
        "local ones. Those with a value are skipped and listed unless `only_uninitialized` is false. The same seed gives "
        "the same values, in whatever order.",
        body=models.InitializeBody,
        answer=models.Initialized,
        problems=("variable_not_found", "collection_not_found", "memory_limit_exceeded"),
    ),
    Route(
        "is_initialized",
        "Ask whether a variable has a value",
        "Whether the variable has been written yet.",
        answer=models.IsInitialized,
        problems=("variable_not_found",),
    ),
    Route(
        "report_uninitialized",
        "List variables without a value",
        "Names of the variables that have no value yet, local ones left out.",
        query=models.ReportQuery,
        answer=models.NameList,
        problems=("collection_not_found",),
    ),
    Route(
        "assert_initialized",
        "Demand that variables have values",
        "Answers 204 when all have values, else 409 with every name that has none.",
        body=models.SelectionBody,
        status=204,
        problems=("variable_not_found", "collection_not_found", "uninitialized"),
    ),
)
