"""The one list of problem codes: what each is called on the wire and which HTTP status carries it.

The server turns its exceptions into these codes, the client turns the codes into its exceptions; a test on each side
proves its table complete against this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Code:
    """One stable problem code: its HTTP `status` and the human `title` of the problem document."""

    status: int
    title: str


CODES: Final = MappingProxyType(
    {
        "malformed_body": Code(400, "The body cannot be decoded"),
        "unauthenticated": Code(401, "A valid token is needed"),
        "forbidden": Code(403, "This is not allowed"),
        "not_found": Code(404, "No such route"),
        "variable_not_found": Code(404, "No such variable"),
        "scope_not_found": Code(404, "No such scope"),
        "collection_not_found": Code(404, "No such collection"),
        "optimizer_not_found": Code(404, "No such optimizer"),
        "checkpoint_not_found": Code(404, "No such checkpoint"),
        "worker_not_found": Code(404, "No such worker"),
        "method_not_allowed": Code(405, "The route has no such method"),
        "not_acceptable": Code(406, "The answer has no form the client accepts"),
        "variable_exists": Code(409, "The variable exists already"),
        "uninitialized": Code(409, "A variable has no value yet"),
        "no_initializer": Code(409, "The variable has no initializer"),
        "spec_mismatch": Code(409, "The variable exists with another shape or dtype"),
        "stale_update": Code(409, "The update is too old"),
        "fenced": Code(409, "A newer worker has taken this one's place"),
        "too_old": Code(409, "The request id has left its window"),
        "barrier_broken": Code(409, "The barrier is broken"),
        "checkpoint_busy": Code(409, "A save or restore of this checkpoint is running"),
        "no_data_dir": Code(409, "The server has no data directory"),
        "version_mismatch": Code(412, "The variable has another version"),
        "body_too_large": Code(413, "The body is too large"),
        "unsupported_media_type": Code(415, "The body's media type is not taken here"),
        "range_not_satisfiable": Code(416, "The file has no such bytes"),
        "wrong_host": Code(421, "The server does not answer for this host"),
        "invalid_request": Code(422, "The request does not fit its form"),
        "invalid_name": Code(422, "The name is not allowed"),
        "shape_mismatch": Code(422, "The shape does not fit"),
        "dtype_mismatch": Code(422, "The dtype does not fit"),
        "index_out_of_range": Code(422, "An index is out of range"),
        "non_finite": Code(422, "A value is not finite"),
        "idempotency_key_reused": Code(422, "The request id was used for another request"),
        "checkpoint_incompatible": Code(422, "The checkpoint does not fit the variables"),
        "head_too_large": Code(431, "The path, query and headers are too large"),
        "overloaded": Code(429, "Too many requests"),
        "checkpoint_corrupt": Code(500, "The checkpoint is damaged"),
        "internal": Code(500, "The server failed"),
        "draining": Code(503, "The server is shutting down"),
        "restoring": Code(503, "The server is restoring"),
        "memory_limit_exceeded": Code(507, "The memory budget is used up"),
        "disk_full": Code(507, "The disk is full"),
    }
)
