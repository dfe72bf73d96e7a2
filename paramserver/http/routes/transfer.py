"""Routes of many values at once: pull and push."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from paramserver.http import models
from paramserver.http.endpoints import Route

ROUTES: Final[Sequence[Route]] = (
    Route(
        "pull",
        "Pull values",
        "One consistent cut: the values of all variables named, in a scope or in a collection (else of all), as they were "
        "after one commit. With `if_versions` those the caller has already are left out.",
        body=models.PullBody,
        answer=models.Pulled,
        problems=("variable_not_found", "collection_not_found", "uninitialized", "dtype_mismatch"),
    ),
    Route(
        "push",
        "Push updates",
        "One transaction over all its variables: every update is checked before any is applied, and all become visible "
        "at once or none does. Every difference is listed. Updates of one name apply in order. `return` carries the new "
        "values back.",
        query=models.PushQuery,
        body=models.PushBody,
        file_field="updates",
        file_query=models.PushFileQuery,
        answer=models.Pushed,
        problems=(
            "variable_not_found",
            "uninitialized",
            "version_mismatch",
            "shape_mismatch",
            "dtype_mismatch",
            "index_out_of_range",
            "non_finite",
            "memory_limit_exceeded",
        ),
    ),
)
