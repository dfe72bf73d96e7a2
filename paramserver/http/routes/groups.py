"""Routes of scopes and collections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from paramserver.http import models
from paramserver.http.endpoints import Route

SCOPES: Final[Sequence[Route]] = (
    Route(
        "list_scopes",
        "List scopes",
        "Every prefix of a variable's name, and every scope with stored defaults; counts cover all that lies below.",
        query=models.ScopesQuery,
        answer=models.ScopeList,
    ),
    Route(
        "get_scope",
        "Inspect a scope",
        "How many variables lie below it, what they take, and its stored defaults.",
        answer=models.ScopeInfo,
        problems=("scope_not_found",),
    ),
    Route(
        "set_scope",
        "Store a scope's defaults",
        "What variables that are created below it start with unless they say otherwise: the nearest scope's word wins. It "
        "replaces what was stored; variables that exist stay as they are.",
        body=models.ScopeBody,
        answer=models.ScopeStored,
        problems=("dtype_mismatch",),
    ),
    Route(
        "delete_scope",
        "Forget a scope's defaults",
        "Forgets the stored defaults. The variables below it stay.",
        status=204,
        problems=("scope_not_found",),
    ),
)
COLLECTIONS: Final[Sequence[Route]] = (
    Route(
        "list_collections",
        "List collections",
        "Every collection that holds a variable, and how many it holds.",
        answer=models.CollectionList,
    ),
    Route(
        "get_collection",
        "List a collection's variables",
        "Their names, in the order they entered it.",
        answer=models.NameList,
        problems=("collection_not_found",),
    ),
    Route(
        "add_to_collection",
        "Put variables into a collection",
        "One transaction; what is in it already stays. A new key becomes a collection. Those put into "
        "`trainable_variables` are trainable.",
        body=models.CollectionBody,
        answer=models.Regrouped,
        problems=("variable_not_found",),
    ),
    Route(
        "remove_from_collection",
        "Take variables out of a collection",
        "One transaction; what is not in it stays out. Those taken out of `trainable_variables` are not trainable.",
        body=models.CollectionBody,
        answer=models.Regrouped,
        problems=("variable_not_found", "collection_not_found"),
    ),
)
