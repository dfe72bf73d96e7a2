"""The seam between client and server: a message names an operation and carries its arguments.

`OPERATIONS` is the one table of what can be asked. The HTTP transport renders a message with it, the embedded
transport hands the same arguments to the engine's method of the same name, and tests hold the table against the
engine's methods and the routes of the app.

Values in a message are `numpy.ndarray` (typed) or `Untyped` (JSON numbers and lists that take the variable's dtype).
Values in an answer are `Tensor`s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

Place = Literal[
    "path",
    "query",
    "body",
    "tensor",
    "document",
    "if_match",
    "if_none_match",
    "prefer",
    "respond_async",
    "file",
    "sink",
]


@dataclass(frozen=True, slots=True)
class Operation:
    """How one operation travels over HTTP.

    `places` says where each argument goes: into the path, the query, a field of the body, the body itself (`tensor`, or
    `document` for a map), the headers `If-Match` / `If-None-Match`, or `Prefer`: `return=representation` (`prefer`) or
    `respond-async` (`respond_async`), both bools. A `file` is a body that is not held in memory: a client's argument is
    where its bytes are read, the engine's where they were received. A `sink` does not travel: it is where the client has
    the body of the answer written. A body field is called as the argument is, but for those in `wire_names`. `mutates`
    operations carry a request id.
    """

    method: str
    path: str
    places: Mapping[str, Place] = field(default_factory=dict)
    mutates: bool = False
    wire_names: Mapping[str, str] = field(default_factory=dict)


class Message(NamedTuple):
    """An operation to perform: its name, its arguments, and the request id that makes it safe to repeat.

    A `landing` does not travel: it is where the client would have the tensors of the answer received, if its transport can.
    """

    operation: str
    arguments: Mapping[str, Any] = MappingProxyType({})
    request_id: str | None = None
    landing: Any = None


class Answer(NamedTuple):
    """What came back: `body` (a tree of plain values and `Tensor`s, or None), `status` as HTTP counts it, and
    `replayed`, true when the server had done this request before and repeats its answer."""

    body: Any
    status: int = 200
    replayed: bool = False


_VALUE_WRITE: Final[Mapping[str, Place]] = {
    "name": "path",
    "value": "tensor",
    "use_locking": "query",
    "allow_non_finite": "query",
    "if_match": "if_match",
    "return_representation": "prefer",
}
_SCATTER: Final[Mapping[str, Place]] = {**_VALUE_WRITE, "value": "body", "indices": "body"}
_SELECTION: Final[Mapping[str, Place]] = {"names": "body", "prefix": "body", "collection": "body"}

OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType(
    {
        "list_variables": Operation(
            "GET",
            "/v1/variables",
            dict.fromkeys(("prefix", "collection", "initialized", "trainable", "page_size", "page_token"), "query"),
        ),
        "create_variable": Operation(
            "PUT",
            "/v1/variables/{name}",
            {
                "name": "path",
                "reuse": "query",
                "initialize": "query",
                **dict.fromkeys(("shape", "dtype", "initializer", "value", "trainable", "collections"), "body"),
            },
            mutates=True,
        ),
        "get_variable": Operation("GET", "/v1/variables/{name}", {"name": "path"}),
        "update_variable": Operation(
            "PATCH",
            "/v1/variables/{name}",
            {"name": "path", "trainable": "body", "collections": "body"},
            mutates=True,
        ),
        "delete_variable": Operation("DELETE", "/v1/variables/{name}", {"name": "path"}, mutates=True),
        "delete_variables": Operation("DELETE", "/v1/variables", {"prefix": "query", "confirm": "query"}, mutates=True),
        "read": Operation(
            "GET",
            "/v1/variables/{name}:read",
            {
                "name": "path",
                **dict.fromkeys(("slice", "dtype", "after_version", "wait_s"), "query"),
                "if_none_match": "if_none_match",
            },
        ),
        "assign": Operation("POST", "/v1/variables/{name}:assign", _VALUE_WRITE, mutates=True),
        "assign_add": Operation("POST", "/v1/variables/{name}:assign_add", _VALUE_WRITE, mutates=True),
        "assign_sub": Operation("POST", "/v1/variables/{name}:assign_sub", _VALUE_WRITE, mutates=True),
        "gather": Operation(
            "POST", "/v1/variables/{name}:gather", {"name": "path", "indices": "body", "dtype": "query"}
        ),
        "scatter_update": Operation("POST", "/v1/variables/{name}:scatter_update", _SCATTER, mutates=True),
        "scatter_add": Operation("POST", "/v1/variables/{name}:scatter_add", _SCATTER, mutates=True),
        "scatter_sub": Operation("POST", "/v1/variables/{name}:scatter_sub", _SCATTER, mutates=True),
        "initialize_variable": Operation(
            "POST",
            "/v1/variables/{name}:initialize",
            {"name": "path", "only_uninitialized": "body", "seed": "body"},
            mutates=True,
        ),
        "initialize": Operation(
            "POST",
            "/v1/variables:initialize",
            {**_SELECTION, "only_uninitialized": "body", "seed": "body"},
            mutates=True,
        ),
        "is_initialized": Operation("GET", "/v1/variables/{name}:is_initialized", {"name": "path"}),
        "report_uninitialized": Operation(
            "GET", "/v1/variables:report_uninitialized", {"collection": "query", "prefix": "query"}
        ),
        "assert_initialized": Operation("POST", "/v1/variables:assert_initialized", _SELECTION),
        "pull": Operation("POST", "/v1/variables:pull", {**_SELECTION, "if_versions": "body", "dtype": "body"}),
        "push": Operation(
            "POST",
            "/v1/variables:push",
            {"updates": "body", "returns": "body", "allow_non_finite": "query"},
            mutates=True,
            wire_names={"returns": "return"},
        ),
        "create_optimizer": Operation(
            "PUT", "/v1/optimizers/{name}", {"name": "path", "spec": "document"}, mutates=True
        ),
        "get_optimizer": Operation("GET", "/v1/optimizers/{name}", {"name": "path"}),
        "list_optimizers": Operation("GET", "/v1/optimizers"),
        "delete_optimizer": Operation("DELETE", "/v1/optimizers/{name}", {"name": "path"}, mutates=True),
        "apply_gradients": Operation(
            "POST",
            "/v1/optimizers/{name}:apply_gradients",
            {
                "name": "path",
                **dict.fromkeys(("gradients", "hyper", "global_step", "then", "returns"), "body"),
                **dict.fromkeys(("base_commit", "max_staleness"), "body"),
                "allow_non_finite": "query",
            },
            mutates=True,
            wire_names={"returns": "return"},
        ),
        "export_variables": Operation(
            "GET", "/v1/variables:export", {"prefix": "query", "collection": "query", "sink": "sink"}
        ),
        "import_variables": Operation(
            "PUT",
            "/v1/variables:import",
            {"file": "file", **dict.fromkeys(("create", "prefix", "allow_non_finite"), "query")},
            mutates=True,
        ),
        "list_scopes": Operation("GET", "/v1/scopes", {"prefix": "query", "depth": "query"}),
        "get_scope": Operation("GET", "/v1/scopes/{name}", {"name": "path"}),
        "set_scope": Operation(
            "PUT",
            "/v1/scopes/{name}",
            {"name": "path", **dict.fromkeys(("initializer", "dtype", "trainable", "collections"), "body")},
            mutates=True,
        ),
        "delete_scope": Operation("DELETE", "/v1/scopes/{name}", {"name": "path"}, mutates=True),
        "list_collections": Operation("GET", "/v1/collections"),
        "get_collection": Operation("GET", "/v1/collections/{name}", {"name": "path"}),
        "add_to_collection": Operation(
            "POST", "/v1/collections/{name}:add", {"name": "path", "names": "body"}, mutates=True
        ),
        "remove_from_collection": Operation(
            "POST", "/v1/collections/{name}:remove", {"name": "path", "names": "body"}, mutates=True
        ),
        "save": Operation(
            "POST",
            "/v1/checkpoints",
            {
                **_SELECTION,
                **dict.fromkeys(("id", "step", "series", "max_to_keep", "keep_checkpoint_every_n_hours"), "body"),
                **dict.fromkeys(("shard_nbytes", "metadata"), "body"),
                "respond_async": "respond_async",
            },
            mutates=True,
        ),
        "list_checkpoints": Operation("GET", "/v1/checkpoints"),
        "get_checkpoint": Operation("GET", "/v1/checkpoints/{id}", {"id": "path"}),
        "download_checkpoint": Operation(
            "GET", "/v1/checkpoints/{id}:download", {"id": "path", "file": "query", "sink": "sink"}
        ),
        "delete_checkpoint": Operation("DELETE", "/v1/checkpoints/{id}", {"id": "path"}, mutates=True),
        "restore": Operation(
            "POST",
            "/v1/checkpoints/{id}:restore",
            {
                "id": "path",
                **dict.fromkeys(
                    ("names", "rename", "reshape", "strict", "create", "restore_sequentially", "dry_run"), "body"
                ),
            },
            mutates=True,
        ),
        "server": Operation("GET", "/v1/server"),
    }
)
