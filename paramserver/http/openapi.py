"""The description of the REST surface at /openapi.json, drawn from the routes, their models and `OPERATIONS`.

FastAPI would draw it from the functions' signatures; ours take a request and give a response, so that no answer is
turned into another by a serializer (a typed FastAPI response makes null of NaN).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.responses import Response

from paramserver.http import codecs
from paramserver.http.models import TENSOR_SCHEMA, Model, NoFields, ProblemDocument
from paramserver.http.problems import MEDIA_TYPE as PROBLEM_MEDIA_TYPE
from paramserver_wire.codes import CODES
from paramserver_wire.messages import Operation

if TYPE_CHECKING:
    from paramserver.http.endpoints import Route

_REF: Final = "#/components/schemas/{model}"
_EVERYWHERE: Final = ("invalid_request", "not_acceptable", "draining", "restoring", "internal")
_OF_BODIES: Final = ("malformed_body", "body_too_large", "unsupported_media_type")
_OF_MUTATIONS: Final = ("too_old", "idempotency_key_reused")
_HEADERS: Final[Mapping[str, tuple[str, str, str]]] = {
    "if_match": ("If-Match", "Refuse with 412 unless the variable has this version or tag.", '"6c0f3a9d5be71284-17"'),
    "if_none_match": ("If-None-Match", "Answer 304 while the variable has this tag.", '"6c0f3a9d5be71284-17"'),
    "prefer": ("Prefer", "return=representation adds the new value to the answer.", "return=representation"),
}


def describe(route: Route) -> dict[str, Any]:
    """The arguments of FastAPI's `add_api_route` that document a route."""
    operation = route.form.described
    extra: dict[str, Any] = {
        "parameters": [*_path(operation), *_query(route.file_query or route.query), *_headers(operation)]
    }
    if route.form.has_body:
        extra["requestBody"] = {
            "required": "tensor" in operation.places.values(),
            "content": _content(_body(route), route.form.formats),
        }
    return {
        "summary": route.summary,
        "description": route.promise,
        "operation_id": route.operation,
        "tags": [operation.path.split("/")[2].partition(":")[0]],
        "status_code": route.status,
        "response_class": Response,
        "responses": _responses(route, operation),
        "openapi_extra": extra,
    }


def install(app: FastAPI, routes: Sequence[Route]) -> None:
    """Make `app.openapi()` answer the whole description, built on first use."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes, tags=None
            )
            document.setdefault("components", {}).setdefault("schemas", {}).update(_schemas(routes))
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _schemas(routes: Sequence[Route]) -> dict[str, Any]:
    used: set[type[Model]] = {ProblemDocument, *(route.body for route in routes)}
    used |= {route.answer for route in routes if route.answer is not None}
    named = sorted((model for model in used if model is not NoFields), key=lambda model: model.__name__)
    _, definitions = models_json_schema([(model, "validation") for model in named], ref_template=_REF)
    schemas: dict[str, Any] = definitions["$defs"]
    return {**schemas, "Tensor": dict(TENSOR_SCHEMA)}


def _body(route: Route) -> dict[str, str]:
    name = "Tensor" if "tensor" in route.form.described.places.values() else route.body.__name__
    return {"$ref": _REF.format(model=name)}


def _content(schema: Mapping[str, Any], formats: Sequence[codecs.Format]) -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {codecs.MEDIA_TYPE_OF[name]: {"schema": dict(schema)} if name == "json" else binary for name in formats}


def _path(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": "Name, with its slashes." if name == "name" else "Id of the checkpoint, or `latest`.",
            "schema": {"type": "string"},
            "example": "conv1/weight" if name == "name" else "ckpt-42",
        }
        for name, place in operation.places.items()
        if place == "path"
    ]


def _query(model: type[Model]) -> list[dict[str, Any]]:
    properties = model.model_json_schema().get("properties", {})
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema.get("description", ""),
            "schema": {key: value for key, value in schema.items() if key not in ("description", "title", "default")},
        }
        for name, schema in properties.items()
    ]


def _headers(operation: Operation) -> list[dict[str, Any]]:
    described = [_HEADERS[place] for place in operation.places.values() if place in _HEADERS]
    if operation.mutates:
        described.append(("Idempotency-Key", "<client>-<number>: makes the request safe to repeat.", "worker7-12"))
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": description,
            "schema": {"type": "string"},
            "example": example,
        }
        for name, description, example in described
    ]


def _responses(route: Route, operation: Operation) -> dict[int | str, dict[str, Any]]:
    responses: dict[int | str, dict[str, Any]] = {}
    codes = [*route.problems, *_EVERYWHERE]
    codes += _OF_BODIES if route.form.has_body else ()
    codes += _OF_MUTATIONS if operation.mutates else ()
    for code in codes:
        told = responses.setdefault(CODES[code].status, {"description": "", "content": _problem_content()})
        told["description"] = ", ".join(filter(None, (told["description"], f"`{code}`")))
    if route.answer is None:
        responses[204] = {"description": "Done; there is nothing to tell."}
        return responses
    # As if all were asked for that can be: the formats of answers with tensors are among them.
    formats = route.form.answer_formats(dict.fromkeys(operation.places, True))
    answered = {
        "description": "Done.",
        "content": _content({"$ref": _REF.format(model=route.answer.__name__)}, formats),
    }
    responses[route.status] = answered
    if route.operation == "create_variable":
        responses[200] = answered
    if route.operation == "read":
        responses[204] = {"description": "No newer version came within `wait_s`."}
        responses[304] = {"description": "The variable still has the version of If-None-Match."}
    return responses


def _problem_content() -> dict[str, Any]:
    return {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": _REF.format(model=ProblemDocument.__name__)}}}
