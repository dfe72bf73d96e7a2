"""The one table from exceptions to problems: RFC 9457 documents with a stable `code`, for everything that goes wrong.

Nothing else in this room decides about a status. What the table does not know is the server's own fault: `internal`,
logged with its traceback under an id that the problem carries too.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from paramserver.checkpoint.errors import CheckpointError
from paramserver.store.errors import StoreError
from paramserver_wire.codes import CODES
from paramserver_wire.errors import WireError

MEDIA_TYPE: Final = "application/problem+json"
MAX_ERRORS: Final = 100
_MAX_WHERE: Final = 200
_RETRY_AFTER_S: Final = 1

logger = logging.getLogger("paramserver.http")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is told about a failure. `errors` are the single differences: `{name, code, detail}`."""

    code: str
    detail: str
    errors: Sequence[Mapping[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    instance: str | None = None

    @property
    def status(self) -> int:
        return CODES[self.code].status

    def document(self) -> dict[str, Any]:
        """The problem as RFC 9457 writes it, with our `code` and `errors` beside."""
        document: dict[str, Any] = {
            "type": f"urn:paramserver:problem:{self.code}",
            "title": CODES[self.code].title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "errors": list(self.errors),
        }
        if self.instance is not None:
            document["instance"] = self.instance
        return document

    def body(self) -> bytes:
        """The document as JSON. Pure ASCII, so that no text from outside can make it fail."""
        return json.dumps(self.document(), separators=(",", ":")).encode("ascii")


class ProblemResponse(Response):
    """A problem as an answer; 429 and 503 say when to come back."""

    media_type = MEDIA_TYPE

    def __init__(self, problem: Problem) -> None:
        self.code = problem.code
        headers = dict(problem.headers)
        if problem.status in (429, 503):
            headers.setdefault("retry-after", str(_RETRY_AFTER_S))
        super().__init__(problem.body(), status_code=problem.status, headers=headers)


def problem_of(error: BaseException) -> Problem:
    """The problem that tells about `error`. Never raises; logs what only the server's owner can mend."""
    for kind, tell in TABLE.items():
        if isinstance(error, kind):
            return tell(error)
    return _internal(error)


def response_to(error: BaseException) -> ProblemResponse:
    """The answer to a request that ended in `error`."""
    return ProblemResponse(problem_of(error))


def invalid_fields(error: ValidationError) -> Problem:
    """`invalid_request`, with the path of every field that does not fit its model."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    errors = [
        {"name": _where(entry["loc"]), "code": "invalid_request", "detail": entry["msg"]}
        for entry in found[:MAX_ERRORS]
    ]
    first = errors[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Problem(
        "invalid_request",
        f"{first['name'] or 'the request'}: {first['detail']}{more}; see /openapi.json for the form of this request",
        errors,
    )


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(str(step) for step in location)[:_MAX_WHERE]


def _of_store(error: Any) -> Problem:
    shown = [{"name": one.name, "code": one.code, "detail": one.detail} for one in error.errors[:MAX_ERRORS]]
    return _coded(error, shown)


def _coded(error: Any, errors: Sequence[Mapping[str, str]] = ()) -> Problem:
    if CODES[error.code].status == 500:
        # Foreseen, so its own words say what to do; still for the server's owner to see.
        logger.error("%s: %s", error.code, error.detail, exc_info=error)
    return Problem(error.code, error.detail, errors)


def _of_router(error: Any) -> Problem:
    code = _ROUTER_CODES.get(error.status_code)
    if code is None:
        return _internal(error)
    return Problem(code, str(error.detail), headers=dict(error.headers or {}))


def _out_of_memory(error: Any) -> Problem:
    logger.warning("a request ran out of memory: %s", error)
    return Problem(
        "memory_limit_exceeded",
        "the server has no memory left for this request; nothing was changed. Send less at once, or free variables",
    )


def _too_deep(error: Any) -> Problem:
    return Problem(
        "malformed_body", "the body is nested too deeply; send plain values, lists and maps a few levels deep"
    )


def _gone(error: Any) -> Problem:
    return Problem("malformed_body", "the connection ended before the body did; nothing was changed")


def _internal(error: BaseException) -> Problem:
    incident = uuid.uuid4()
    logger.error("internal error %s", incident, exc_info=error)
    return Problem(
        "internal",
        f"the server failed in a way it did not foresee, and logged it as {incident}; whether the request was applied "
        "is unknown: send it again with the same request id to learn the outcome",
        instance=f"urn:uuid:{incident}",
    )


_ROUTER_CODES: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: "malformed_body",
        404: "not_found",
        405: "method_not_allowed",
        406: "not_acceptable",
        413: "body_too_large",
        415: "unsupported_media_type",
        422: "invalid_request",
    }
)

TABLE: Final[Mapping[type[BaseException], Callable[[Any], Problem]]] = MappingProxyType(
    {
        WireError: _coded,
        StoreError: _of_store,
        CheckpointError: _coded,
        ValidationError: invalid_fields,
        HTTPException: _of_router,
        ClientDisconnect: _gone,
        RecursionError: _too_deep,
        MemoryError: _out_of_memory,
    }
)
