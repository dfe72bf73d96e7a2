"""Messages as HTTP requests, HTTP responses as answers. Plain data on both sides; no I/O.

A request that carries arrays is a frame, one without is JSON: numbers and lists keep JSON's typing rules, and control
requests can be read by a human on the wire. Answers with tensors are asked for as frames, so that arrays are views of
the received buffer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

import numpy as np

from paramserver_client.errors import InvalidNameError, InvalidRequestError, UnexpectedAnswerError, kind_of, translated
from paramserver_client.errors import ParameterServerError as Problem
from paramserver_client.files import FileSource
from paramserver_wire import frame, safetensors
from paramserver_wire.errors import WireError
from paramserver_wire.messages import OPERATIONS, Answer, Message, Operation
from paramserver_wire.tensors import Untyped

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
REQUEST_ID: Final = "Idempotency-Key"

# An answer about 10,000 variables has a header of some 2 MB: more than a server takes from a client.
MAX_ANSWER_HEADER_NBYTES: Final = 64 * 2**20

_IN_BODY: Final = frozenset({"body", "tensor", "document", "file", "sink"})
# A page that a proxy puts in place of an answer is quoted up to here.
_QUOTED_NBYTES: Final = 200


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request ready to be sent, as often as need be: `target` is its path and query, `file` is sent in the place of
    `views`. All but the views and the request id of it is the same again in most requests of a worker."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    views: tuple[memoryview, ...]
    file: FileSource | None = None
    request_id: str | None = None

    @property
    def all_fields(self) -> tuple[tuple[str, str], ...]:
        """The fields, and that of the request id."""
        return self.fields if self.request_id is None else (*self.fields, (REQUEST_ID, self.request_id))


def encode(message: Message) -> Encoded:
    """Render a message. Arguments that are None are left out.

    Arrays are not copied where they are row-major and little-endian: the caller keeps them as they are until the call
    is over. Raises the error class of the problem for what cannot be rendered, such as a name with a `:`.
    """
    operation = OPERATIONS[message.operation]
    beside, placed = _apart(operation, message.arguments)
    try:
        target, fields = _beside_body(message.operation, tuple(beside), *beside.values())
    except TypeError:
        # A list, say, where a name belongs.
        target, fields = _beside_body.__wrapped__(message.operation, tuple(beside), *beside.values())
    views, media_type = _body(placed)
    file = next(iter(placed["file"].values()), None) if "file" in placed else None
    fields = (("Accept", _accepted(message)), *fields)
    if media_type is not None:
        fields = (*fields, ("Content-Type", media_type))
    if operation.method != "GET":
        nbytes = sum(map(len, views)) if file is None else file.nbytes
        fields = (*fields, ("Content-Length", str(nbytes)))
    return Encoded(operation.method, target, fields, views, file, message.request_id)


def decode(status: int, fields: Mapping[str, str], body: memoryview) -> Answer:
    """The answer in a response of 2xx or 304. Arrays are writable views of `body`.

    Raises `UnexpectedAnswerError` when it is none that a parameter server gives.
    """
    replayed = fields.get("idempotent-replayed", "").lower() == "true"
    if status in (204, 304):
        return Answer(None, status, replayed)
    media_type = _media_type(fields)
    try:
        if media_type == frame.MEDIA_TYPE:
            return Answer(frame.decode(body, max_header=MAX_ANSWER_HEADER_NBYTES), status, replayed)
        if media_type == JSON:
            return Answer(json.loads(bytes(body)), status, replayed)
    except (WireError, ValueError) as error:
        raise damaged(media_type, error, status) from error
    raise UnexpectedAnswerError(
        f"Wanted an answer as {frame.MEDIA_TYPE} or {JSON}, got status {status} with "
        f"{media_type or 'no media type'}: {_quoted(body)}. Check that the URL is a parameter server's.",
        status=status,
    )


def damaged(media_type: str, error: Exception, status: int = 200) -> UnexpectedAnswerError:
    """The error of an answer that was cut or changed on its way."""
    return UnexpectedAnswerError(
        f"Wanted a sound {media_type} body, got one that cannot be decoded: {error} "
        "The request was applied; ask for the state with a read.",
        status=status,
        outcome="applied",
    )


def problem(status: int, fields: Mapping[str, str], body: memoryview, request_id: str | None) -> Problem:
    """The error that a response of 3xx, 4xx or 5xx stands for, ready to be raised."""
    document = _problem_document(fields, body)
    code = document.get("code")
    if isinstance(code, str):
        errors = document.get("errors")
        return kind_of(code, status)(
            str(document.get("detail") or document.get("title") or code),
            code=code,
            errors=errors if isinstance(errors, list) else (),
            status=status,
            request_id=request_id,
        )
    if 300 <= status < 400:
        detail = (
            f"Wanted an answer, got a redirect ({status}) to {fields.get('location', 'nowhere')!r}. "
            "Redirects are not followed; give the server's own URL."
        )
        return UnexpectedAnswerError(detail, status=status, request_id=request_id, outcome="not applied")
    detail = (
        f"Wanted an answer of a parameter server, got status {status} without a problem code: {_quoted(body)}. "
        "Check the URL, and any proxy in between."
    )
    kind = kind_of("", status)
    # Only the server's own 503 and 4xx promise that nothing was done; a proxy's 502 and 504 do not.
    outcome = "unknown" if status in (500, 502, 504) else kind.default_outcome
    return kind(detail, code="unexpected_answer", status=status, request_id=request_id, outcome=outcome)


def _apart(operation: Operation, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The arguments that stand beside the body, and those in it, by their place and their name there."""
    beside: dict[str, Any] = {}
    placed: dict[str, dict[str, Any]] = {}
    for name, value in arguments.items():
        if value is not None:
            place = operation.places[name]
            if place in _IN_BODY:
                placed.setdefault(place, {})[operation.wire_names.get(name, name)] = value
            else:
                beside[name] = value
    if "body" not in placed and "body" in operation.places.values():
        placed["body"] = {}
    return beside, placed


# A worker makes the same few requests again and again, but for their bodies. Typed, because 1 is not true.
@lru_cache(1024, typed=True)
def _beside_body(name: str, arguments: tuple[str, ...], *values: Any) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The target of a request, and the header fields that its arguments make."""
    operation = OPERATIONS[name]
    placed: dict[str, dict[str, Any]] = {}
    for argument, value in zip(arguments, values, strict=True):
        placed.setdefault(operation.places[argument], {})[operation.wire_names.get(argument, argument)] = value
    return _target(operation, placed), tuple(_header_fields(placed))


def _target(operation: Operation, placed: Mapping[str, Mapping[str, Any]]) -> str:
    segments = {name: _path_of(value) for name, value in placed.get("path", {}).items()}
    path = operation.path.format(**segments)
    query = "&".join(f"{name}={quote(_text(value), safe='')}" for name, value in placed.get("query", {}).items())
    return f"{path}?{query}" if query else path


def _path_of(name: object) -> str:
    """A name in a path. Any that can stand there is left to the server to judge; the rest has no route."""
    if not isinstance(name, str) or not name or ":" in name:
        raise InvalidNameError(
            f"Wanted a name without ':' as text, got {name!r}. Names are segments of letters, digits, '_', '.' and '-' "
            "joined by '/'."
        )
    return _quoted_path(name)


@lru_cache(4096)
def _quoted_path(name: str) -> str:
    # A bare "." or ".." would be resolved away on the road, and another variable would answer.
    return "/".join(
        "%2E" * len(part) if part in (".", "..") else quote(part, safe="", errors="replace") for part in name.split("/")
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _header_fields(placed: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    fields = []
    for place, field in (("if_match", "If-Match"), ("if_none_match", "If-None-Match")):
        fields += [(field, f'"{_text(tag).strip(chr(34))}"') for tag in placed.get(place, {}).values()]
    if any(placed.get("prefer", {}).values()):
        fields.append(("Prefer", "return=representation"))
    if any(placed.get("respond_async", {}).values()):
        fields.append(("Prefer", "respond-async"))
    return fields


def _accepted(message: Message) -> str:
    arguments = message.arguments
    if message.operation == "export_variables":
        return safetensors.MEDIA_TYPE
    has_tensors = (
        message.operation in ("read", "pull", "gather")
        or arguments.get("returns")
        or arguments.get("return_representation")
    )
    return frame.MEDIA_TYPE if has_tensors else JSON


def _body(placed: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[memoryview, ...], str | None]:
    if "tensor" in placed:
        (tree,) = placed["tensor"].values()
        if isinstance(tree, Untyped):
            return (memoryview(_json(_tensor_map(tree))),), JSON
    elif "document" in placed:
        (tree,) = placed["document"].values()
    elif "body" in placed:
        tree = placed["body"]
    else:
        return (), safetensors.MEDIA_TYPE if "file" in placed else None
    if not _has_array(tree):
        return (memoryview(_json(tree)),), JSON
    try:
        parts = frame.encode(tree)
    except WireError as error:
        raise translated(error) from error
    return tuple(memoryview(part).cast("B") for part in parts), frame.MEDIA_TYPE


def _has_array(tree: Any) -> bool:
    if isinstance(tree, Mapping):
        return any(map(_has_array, tree.values()))
    if isinstance(tree, (list, tuple)):
        return any(map(_has_array, tree))
    return isinstance(tree, np.ndarray)


def _tensor_map(untyped: Untyped) -> dict[str, Any]:
    beside = {"dtype": untyped.dtype, "shape": untyped.shape}
    return {"value": untyped.value, **{key: value for key, value in beside.items() if value is not None}}


def _json(tree: Any) -> bytes:
    try:
        return json.dumps(tree, default=_plain, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        # NaN or an infinity somewhere: rare, so only then is every number looked at.
        return json.dumps(_spelled(tree), default=_plain, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Untyped):
        return value.value if value.dtype is None and value.shape is None else _tensor_map(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise InvalidRequestError(
        f"Wanted numbers, text, lists and mappings, got {type(value).__name__}. Convert it first."
    )


def _spelled(tree: Any) -> Any:
    if isinstance(tree, Untyped):
        return _spelled(_plain(tree))
    if isinstance(tree, Mapping):
        return {key: _spelled(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_spelled(value) for value in tree]
    if isinstance(tree, float) and not math.isfinite(tree):
        return "NaN" if math.isnan(tree) else "Infinity" if tree > 0 else "-Infinity"
    return tree


def _media_type(fields: Mapping[str, str]) -> str:
    return fields.get("content-type", "").partition(";")[0].strip().lower()


def _problem_document(fields: Mapping[str, str], body: memoryview) -> Mapping[str, Any]:
    if _media_type(fields) not in (PROBLEM, JSON):
        return {}
    try:
        document = json.loads(bytes(body))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _quoted(body: memoryview) -> str:
    return repr(bytes(body[:_QUOTED_NBYTES]).decode("utf-8", "replace"))
