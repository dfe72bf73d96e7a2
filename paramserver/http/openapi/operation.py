"""One route as an OpenAPI operation: parameters, body, answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from paramserver.http import codecs
from paramserver.http.models import Model, examples_of
from paramserver.http.openapi.fields import given, told_outside
from paramserver.http.openapi.problems import codes_of, problem_answers
from paramserver_wire.messages import Operation

if TYPE_CHECKING:
    from paramserver.http.endpoints import Route

_REF: Final = "#/components/schemas/{model}"
_TAG: Final = "6c0f3a9d5be71284-17"
# Seen by whoever reads the document; what the engine checks is in paramserver_wire.names.
_NAME_SCHEMA: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "pattern": "^[A-Za-z0-9_.][A-Za-z0-9_.-]*(/[A-Za-z0-9_.][A-Za-z0-9_.-]*)*$",
}
_PATH: Final[Mapping[str, tuple[str, str]]] = {
    "name": ("Name of the variable, with its slashes.", "conv1/weight"),
    "id": ("Id of the checkpoint, with its slashes; `latest` is the newest.", "mnist/epoch-3"),
}
_NAMED: Final[Mapping[str, tuple[str, str]]] = {
    "optimizers": ("Name of the optimizer, with its slashes.", "Adam"),
    "scopes": ("Name of the scope, with its slashes.", "conv1"),
    "collections": ("Key of the collection.", "trainable_variables"),
}
# Whose value an example can spell out.
_SMALL: Final = "conv1/bias"
# Examples stand in the text: sent along with every request that is tried, they would have it refused.
_HEADERS: Final[Mapping[str, tuple[str, str]]] = {
    "if_match": ("If-Match", f'Refuse with 412 unless the variable has this version or tag, as in `"{_TAG}"`.'),
    "if_none_match": ("If-None-Match", f'Answer 304 while the variable has this tag, as in `"{_TAG}"`.'),
    "prefer": ("Prefer", "`return=representation` adds the new value to the answer."),
    "respond_async": ("Prefer", "`respond-async` answers 202 before the files are written."),
}
_KEY: Final = (
    "Idempotency-Key",
    "`<client>-<number>`, as in `worker7-12`, numbers from 1: makes the request safe to send again.",
)
_BYTES: Final[Mapping[codecs.Format, str]] = {
    "msgpack": "The same fields as in JSON, packed; a tensor is a map of dtype, shape and data (little-endian bytes).",
    "frame": "A msgpack header with the same fields, and the tensors' bytes behind it, each aligned to 64.",
    "safetensors": "A file of tensors by name. In an answer, commit and versions stand in its metadata.",
    "npy": "One array as numpy.save writes it.",
}


def describe(route: Route, tag: str) -> dict[str, Any]:
    """The operation object of a route."""
    operation = route.form.described
    described: dict[str, Any] = {
        "tags": [tag],
        "summary": route.summary,
        "description": route.promise,
        "operationId": route.operation,
        "parameters": [*_path(operation, tag), *_query(route.file_query or route.query), *_headers(operation)],
        "responses": _answers(route, operation),
    }
    if route.form.has_body:
        needed = not {"tensor", "file"}.isdisjoint(operation.places.values()) or any(
            field.is_required() for field in route.body.model_fields.values()
        )
        described["requestBody"] = {
            "required": needed,
            "content": _content(_body_name(route), request_examples(route), route.form.formats),
        }
    return described


def request_examples(route: Route) -> list[Any]:
    """Whole examples of a route's body as JSON; none where it has no body."""
    if not route.form.has_body or route.form.is_upload:
        return []
    return list(route.examples) or examples_of(route.body)


def _body_name(route: Route) -> str:
    return "Tensor" if "tensor" in route.form.described.places.values() else route.body.__name__


def _content(name: str, examples: list[Any], formats: Sequence[codecs.Format]) -> dict[str, Any]:
    """What a body may be, by media type: the form called `name` in JSON, the same in bytes."""
    shown = {"examples": {f"example {number}": {"value": value} for number, value in enumerate(examples, 1)}}
    return {
        codecs.MEDIA_TYPE_OF[form]: {"schema": {"$ref": _REF.format(model=name)}, **shown}
        if form == "json"
        else {"schema": {"type": "string", "format": "binary", "description": _BYTES[form]}}
        for form in formats
    }


def _path(operation: Operation, tag: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _path_field(name, tag)[0],
            "schema": _NAME_SCHEMA,
            "example": _path_field(name, tag)[1],
        }
        for name, place in operation.places.items()
        if place == "path"
    ]


def _path_field(name: str, tag: str) -> tuple[str, str]:
    """What a name in the path is called, and an example."""
    if name == "name" and tag in _NAMED:
        return _NAMED[tag]
    return (_PATH[name][0], _SMALL) if tag == "values" else _PATH[name]


def _query(model: type[Model]) -> list[dict[str, Any]]:
    schema = model.model_json_schema()
    fields = {name: told_outside(field) for name, field in schema.get("properties", {}).items()}
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": field["description"],
            # Not an `example` of the parameter: the page would send it along with every request that is tried.
            "schema": {**given(field), "examples": field["examples"]},
        }
        for name, field in fields.items()
    ]


def _headers(operation: Operation) -> list[dict[str, Any]]:
    described = [_HEADERS[place] for place in operation.places.values() if place in _HEADERS]
    if operation.mutates:
        described.append(_KEY)
    return [
        {"name": name, "in": "header", "required": False, "description": told, "schema": {"type": "string"}}
        for name, told in described
    ]


def _answers(route: Route, operation: Operation) -> dict[str, Any]:
    good = {route.status: route.done, **route.also}
    # As if all were asked for that can be: the formats of answers with tensors are among them.
    formats = route.form.answer_formats(dict.fromkeys(operation.places, True))
    answers: dict[str, Any] = {}
    for status, when in sorted(good.items()):
        answer: dict[str, Any] = {"description": when, "headers": _answer_headers(route, operation, status)}
        if route.form.gives_a_file:
            answer["content"] = _content("", [], formats)
        elif route.answer is not None and status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            answer["content"] = _content(route.answer.__name__, examples_of(route.answer), formats)
        if not answer["headers"]:
            del answer["headers"]
        answers[str(status)] = answer
    return {**answers, **problem_answers(codes_of(route))}


def _answer_headers(route: Route, operation: Operation, status: int) -> dict[str, Any]:
    told: dict[str, tuple[str, str, bool]] = {}
    if status in (HTTPStatus.CREATED, HTTPStatus.ACCEPTED):
        told["Location"] = ("Path of what was made.", f"{operation.path.partition('{')[0].rstrip('/')}/...", True)
    if route.operation == "read" and status == HTTPStatus.OK:
        told["ETag"] = ("The variable's version tag.", f'"{_TAG}"', True)
    if "prefer" in operation.places.values():
        told["ETag"] = ("The variable's version tag, when the answer is its value.", f'"{_TAG}"', False)
    if operation.mutates:
        told["Idempotent-Replayed"] = ("`true` when this request was done before: its answer again.", "true", False)
    if "prefer" in operation.places.values():
        told["Preference-Applied"] = ("Which preference was followed.", "return=representation", False)
    if status == HTTPStatus.ACCEPTED:
        told["Preference-Applied"] = ("Which preference was followed.", "respond-async", True)
    return {
        name: {"description": description, "required": required, "schema": {"type": "string"}, "example": example}
        for name, (description, example, required) in told.items()
    }
