"""Routes of many values at once: pull and push, export and import."""

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
    Route(
        "export_variables",
        "Export values as a file",
        "One consistent cut of all variables, of a scope or of a collection, as a safetensors file. Variables without a "
        "value are left out and listed in its metadata (`skipped`). `Content-Length` is known from the start.",
        query=models.ExportQuery,
        problems=("collection_not_found",),
    ),
    Route(
        "import_variables",
        "Import values from a file",
        "Writes the values of a safetensors file in one transaction: `curl -T model.safetensors` sends one. Everything "
        "that the file's header tells is checked before its data is received, and every difference is listed; then each "
        "value is received into its place, and all become visible at once. `prefix` is a scope put before every name. "
        "No Content-Type is needed.",
        query=models.ImportQuery,
        answer=models.Imported,
        problems=(
            "variable_not_found",
            "invalid_name",
            "shape_mismatch",
            "dtype_mismatch",
            "non_finite",
            "memory_limit_exceeded",
            "overloaded",
        ),
    ),
)
