"""Routes of first values: run initializers, and ask which variables have no value yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from paramserver.http import models
from paramserver.http.endpoints import Route

ROUTES: Final[Sequence[Route]] = (
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
