"""Which problems a route can answer, and how each looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from paramserver.http.problems import MEDIA_TYPE, Problem
from paramserver_wire.codes import CODES

if TYPE_CHECKING:
    from paramserver.http.endpoints import Route

SURFACE_WIDE: Final[Sequence[str]] = ("not_found", "method_not_allowed", "head_too_large")
"""What is answered before it is known which operation is meant."""

EVERYWHERE: Final[Sequence[str]] = (
    "unauthenticated",
    "forbidden",
    "wrong_host",
    "invalid_request",
    "not_acceptable",
    "head_too_large",
    "memory_limit_exceeded",
    "draining",
    "restoring",
    "internal",
)
OF_BODIES: Final[Sequence[str]] = ("malformed_body", "body_too_large", "unsupported_media_type")
OF_MUTATIONS: Final[Sequence[str]] = ("too_old", "idempotency_key_reused", "invalid_name")
_RETRY_LATER: Final = frozenset({429, 503})

# What a caller might read; a problem about variables lists each difference too.
_DETAILS: Final[Mapping[str, str]] = {
    "malformed_body": "this is not JSON: Expecting value: line 1 column 1 (char 0); send one JSON value",
    "unauthenticated": "this server wants its token; send Authorization: Bearer <token>",
    "forbidden": "requests from other sites are refused; send it from where the server is at home",
    "not_found": "there is no route /v1/nothing; see /openapi.json for those there are",
    "variable_not_found": "conv1/weight: there is no such variable; create it first",
    "scope_not_found": "conv1: there is no such scope",
    "collection_not_found": "losses: there is no such collection",
    "optimizer_not_found": "adam: there is no such optimizer; create it first",
    "checkpoint_not_found": "there is no checkpoint mnist/epoch-3; see GET /v1/checkpoints for those there are",
    "worker_not_found": "there is no such worker",
    "method_not_allowed": "/v1/server has no method POST; it has GET, HEAD",
    "not_acceptable": "answers come as JSON, msgpack or frame, none of which Accept 'text/html' allows; ask for one",
    "variable_exists": "conv1/weight exists already; ask with reuse=auto, or delete it first",
    "uninitialized": "conv1/weight has no value yet; initialize or assign it",
    "no_initializer": "conv1/weight was created with a value and has no initializer; assign it instead",
    "spec_mismatch": "conv1/weight exists with shape [5, 5, 1, 8] and dtype float32, wanted [2] and float32",
    "stale_update": "the gradients are of commit 17, at most 4 behind commit 42 are taken; pull, and compute them anew",
    "fenced": "a newer worker has taken this one's place",
    "too_old": "request id worker7-12 has left its window; whether it was applied is no longer known",
    "barrier_broken": "the barrier is broken",
    "checkpoint_busy": "a save or restore of checkpoint mnist/epoch-3 is running; ask again when it has ended",
    "no_data_dir": "this server keeps nothing on disk; start it with --data-dir",
    "version_mismatch": "conv1/weight has version 18, If-Match wants 17; read it, and decide anew",
    "body_too_large": "a body of 20000000 bytes is over the limit of 16777216 bytes; send a frame, or several requests",
    "unsupported_media_type": "wanted a body of JSON, msgpack or frame, got 'text/plain'; set Content-Type",
    "range_not_satisfiable": "Range: model.safetensors has 103000 bytes, none of which were asked for",
    "wrong_host": "this server does not answer for example.org; see --allowed-hosts",
    "invalid_request": "page_size: a whole number is wanted; see /openapi.json for the form of this request",
    "invalid_name": "name 'a//b' is not allowed; use segments of letters, digits, '_', '.' and '-', joined by '/'",
    "shape_mismatch": "conv1/bias has shape [2], got [3]; send the shape it has",
    "dtype_mismatch": "conv1/bias is float32, which float64 does not fit without loss; send float32",
    "index_out_of_range": "conv1/bias: index 7 is outside 0..1; rows count from 0",
    "non_finite": "conv1/bias: the value has a NaN; mend it, or send allow_non_finite=true",
    "idempotency_key_reused": "request id worker7-12 stood for another request; take the next number",
    "checkpoint_incompatible": "checkpoint mnist/epoch-3 does not fit; nothing was changed",
    "head_too_large": "the path, query and headers of a request have at most 16384 bytes together, got more; send less",
    "overloaded": "too many requests are waiting; come again",
    "checkpoint_corrupt": "checkpoint mnist/epoch-3: model.safetensors is not what was written; restore another one",
    "internal": "the server failed in a way it did not foresee, and logged it; send it again with the same request id",
    "draining": "the server is shutting down; send the request again, its successor will take it",
    "restoring": "the server is restoring a checkpoint; come again",
    "memory_limit_exceeded": "this needs 400000000 bytes more, but 800000000 of the 1000000000 bytes of the memory budget are in use",
    "disk_full": "the disk is full; nothing was changed. Make room and send it again",
}
_ABOUT_VARIABLES: Final = frozenset(
    {
        "uninitialized",
        "variable_not_found",
        "version_mismatch",
        "shape_mismatch",
        "dtype_mismatch",
        "index_out_of_range",
        "non_finite",
        "checkpoint_incompatible",
    }
)


def codes_of(route: Route) -> list[str]:
    """Every code that a route can answer, its own first."""
    codes = [*route.problems, *EVERYWHERE]
    codes += OF_BODIES if route.form.has_body else ()
    codes += OF_MUTATIONS if route.form.described.mutates else ()
    codes += ("invalid_name",) if "path" in route.form.described.places.values() else ()
    return list(dict.fromkeys(codes))


def problem_answers(codes: Iterable[str]) -> dict[str, Any]:
    """The responses of some codes, by status: each code told and shown."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(CODES[code].status, []).append(code)
    return {str(status): _answer(status, of_status) for status, of_status in sorted(by_status.items())}


def _answer(status: int, codes: Sequence[str]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": "\n".join(f"* `{code}`: {CODES[code].title}." for code in codes),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/ProblemDocument"},
                "examples": {code: {"summary": CODES[code].title, "value": problem_example(code)} for code in codes},
            }
        },
    }
    if status in _RETRY_LATER:
        answer["headers"] = {
            "Retry-After": {
                "description": "Seconds to wait before the next try.",
                "required": True,
                "schema": {"type": "string"},
                "example": "1",
            }
        }
    return answer


def problem_example(code: str) -> dict[str, Any]:
    """A problem document with this code, as a caller might get it."""
    detail = _DETAILS[code]
    errors = []
    if code in _ABOUT_VARIABLES:
        of = "shape_mismatch" if code == "checkpoint_incompatible" else code
        errors = [{"name": "conv1/bias", "code": of, "detail": _DETAILS[of]}]
    return Problem(code, detail, errors).document()
