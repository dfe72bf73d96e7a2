"""The whole document: what stands around the routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

from paramserver import VERSION
from paramserver.http.models import (
    FORM,
    Initializer,
    NoFields,
    Probe,
    ProblemDocument,
    RowIndices,
    Tensor,
    VariableGradient,
)
from paramserver.http.openapi.fields import told_outside
from paramserver.http.openapi.operation import describe
from paramserver.http.openapi.problems import SURFACE_WIDE, problem_answers
from paramserver_wire.codes import CODES
from paramserver_wire.messages import OPERATIONS

if TYPE_CHECKING:
    from paramserver.http.endpoints import Section

REF: Final = "#/components/schemas/{model}"

_DESCRIPTION: Final = """\
Named variables of a model, kept in memory: workers **pull** values and **push** updates.

* **Names** hold slashes, `conv1/weight`; in a path they stand as they are, or as `%2F`. The colon before a verb ends them.
* **Media types**: a request's `Content-Type` says what it is, `Accept` what the answer shall be (the default is the
  request's own type, else JSON). JSON is for reading; large tensors travel as msgpack or as frames.
* **Repeats**: any request that changes something may carry an `Idempotency-Key`. Sent again with the same key, it is
  not applied again: the first answer comes back, with `Idempotent-Replayed: true`.
* **Problems** are `application/problem+json` (RFC 9457) with a stable `code`, and every single difference in `errors`.
  Of a 4xx, a 503 or a 507 nothing was applied; after a 500, or none at all, the outcome is unknown: send the request
  again with the same key.
* What GET answers, HEAD answers too, without the body. Before it is known what is asked for, the answer may be
  {surface_wide}.
"""
_SECURITY: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The server's token. Only a server that was started with one asks for it.",
    }
}


class _Schemas(GenerateJsonSchema):
    """Without the titles of fields, which repeat their names and become names of generated classes; without null as a
    default, which is the same as leaving a field out."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        return (
            self.generate_inner(schema["schema"]) if schema.get("default") is None else super().default_schema(schema)
        )


def document_of(sections: Sequence[Section]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the routes in `sections`, and of the probes."""
    paths: dict[str, dict[str, Any]] = {}
    for section in sections:
        for route in section.routes:
            operation = OPERATIONS[route.operation]
            paths.setdefault(operation.path, {})[operation.method.lower()] = describe(route, section.tag)
    wide = " or ".join(f"`{code}` ({CODES[code].status})" for code in SURFACE_WIDE)
    return {
        "openapi": "3.1.0",
        "info": {
            # Generated clients are packages of this name and `client`; `paramserver_client` is our own.
            "title": "Parameter server",
            "version": VERSION,
            "summary": "A parameter server over plain HTTP.",
            "description": _DESCRIPTION.format(surface_wide=wide),
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The server that this document came from."}],
        "security": [{}, {"bearer": []}],
        "tags": [
            *({"name": section.tag, "description": section.description} for section in sections),
            {"name": "probes", "description": "For load balancers and orchestrators: open to all, never cached."},
        ],
        "paths": {**paths, "/healthz": {"get": _probe("live")}, "/readyz": {"get": _probe("ready")}},
        "components": {"schemas": _schemas(sections), "securitySchemes": _SECURITY},
    }


def _schemas(sections: Sequence[Section]) -> dict[str, Any]:
    used: set[type[BaseModel]] = {
        Initializer,
        ProblemDocument,
        Probe,
        RowIndices,
        Tensor,
        VariableGradient,
    }
    for section in sections:
        for route in section.routes:
            used |= {model for model in (route.body, route.answer) if model is not None}
    named = sorted(used - {NoFields}, key=lambda model: model.__name__)
    _, definitions = models_json_schema(
        [(model, "validation") for model in named], ref_template=REF, schema_generator=_Schemas
    )
    schemas: dict[str, Any] = _tidied(definitions["$defs"])
    return schemas


def _tidied(schema: Any) -> Any:
    """The schema with a `$ref` wherever a field says which form it is described as, and with what is told about a
    field beside it, not inside one of its variants."""
    if isinstance(schema, list):
        return [_tidied(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if FORM in schema:
        return {**{key: value for key, value in schema.items() if key != FORM}, "$ref": REF.format(model=schema[FORM])}
    tidied = told_outside({key: _tidied(value) for key, value in schema.items()})
    for name, field in tidied.get("properties", {}).items():
        for variant in field.get("anyOf", ()):
            if variant.get("type") == "object" and "title" not in variant:
                # Else generated clients call the map of such a field `...Type0`.
                variant["title"] = "".join(word.capitalize() for word in name.split("_"))
    return tidied


def _probe(state: str) -> dict[str, Any]:
    asked = {"live": "Is the process alive", "ready": "Does it take requests"}[state]
    described: dict[str, Any] = {
        "tags": ["probes"],
        "summary": asked,
        "description": f"Answers 200 while that is so. {'503 while it shuts down, or restores a checkpoint variable by variable.' if state == 'ready' else ''}".strip(),
        "operationId": {"live": "healthz", "ready": "readyz"}[state],
        "security": [],
        "responses": {
            "200": {
                "description": "Yes.",
                "content": {
                    "application/json": {"schema": {"$ref": REF.format(model="Probe")}, "example": {"status": state}}
                },
            }
        },
    }
    if state == "ready":
        described["responses"] |= problem_answers(["draining", "restoring"])
    return described
