"""Holds answers to the description: whatever a server says, /openapi.json must have said that it can."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import httpx
from openapi_schema_validator import OAS31Validator

from paramserver.http.openapi import document_of
from paramserver.http.routes import SECTIONS

JSON = ("application/json", "application/problem+json")


@cache
def document() -> dict[str, Any]:
    """The description of the surface."""
    return document_of(SECTIONS)


def validator(schema: dict[str, Any]) -> OAS31Validator:
    """Checks instances of a schema that may point into the document."""
    return OAS31Validator({**schema, "components": document()["components"]})


@cache
def _paths() -> list[tuple[re.Pattern[str], str]]:
    return [
        (
            re.compile(
                "".join("[^:]+" if part[0] == "{" else re.escape(part) for part in re.split(r"(\{\w+\})", path) if part)
            ),
            path,
        )
        for path in document()["paths"]
    ]


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """The operation that a request asks for; None where it asks for none."""
    method = "get" if method == "HEAD" else method.lower()
    matching = [
        known for pattern, known in _paths() if pattern.fullmatch(path) and method in document()["paths"][known]
    ]
    # `/v1/variables:pull` is no name, and neither is what stands in the table as it is.
    return document()["paths"][min(matching, key=lambda known: "{" in known)][method] if matching else None


def check_described(response: httpx.Response) -> None:
    """Refuse an answer whose status, code, media type, headers or JSON its operation does not describe."""
    request = response.request
    operation = operation_of(request.method, request.url.path)
    if operation is None:
        return
    asked = f"{request.method} {request.url.path} -> {response.status_code}"
    answer = operation["responses"].get(str(response.status_code))
    assert answer is not None, f"{asked} is not among {sorted(operation['responses'])}"
    for name, header in answer.get("headers", {}).items():
        assert not header["required"] or name in response.headers, f"{asked} lacks the header {name}"
    if request.method == "HEAD" or "content" not in answer:
        return
    media_type = response.headers["content-type"].partition(";")[0]
    assert media_type in answer["content"], f"{asked} came as {media_type}"
    if media_type not in JSON:
        return
    response.read()
    validator(answer["content"][media_type]["schema"]).validate(response.json())
    if media_type == JSON[1]:
        assert response.json()["code"] in answer["content"][media_type]["examples"], f"{asked}: {response.json()}"
