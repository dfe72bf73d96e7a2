"""Writes docs/routes.md from the description at /openapi.json: `make generate`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from paramserver.http.openapi import document_of
from paramserver.http.routes import SECTIONS

PAGE: Final = Path(__file__).parents[1] / "docs" / "routes.md"

_HEAD: Final = """\
# Every route

Made from the description at `/openapi.json` by `make generate`; change the routes and models, not this page. What the
routes have in common (names, media types, request ids, problems) is told in the [REST reference](rest.md).
"""
_METHODS: Final = {"get": "", "put": "-X PUT ", "post": "-X POST ", "patch": "-X PATCH ", "delete": "-X DELETE "}
# A request that changes more than it looks like must say so.
_NEEDED: Final = {"delete_variables": {"prefix": "conv1", "confirm": "true"}}


def page(document: dict[str, Any]) -> str:
    """The whole page, as Markdown."""
    parts = [_HEAD]
    for tag in document["tags"]:
        routes = [
            _route(document, method, path, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if operation["tags"] == [tag["name"]]
        ]
        parts += [f"## {_title(tag['name'])}\n\n{tag['description']}\n", *routes]
    return "\n".join(parts)


def _title(tag: str) -> str:
    return next((section.title for section in SECTIONS if section.tag == tag), tag.capitalize())


def _route(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    lines = [f"### {operation['summary']}", "", f"`{method.upper()} {path}`", "", operation["description"], ""]
    lines += ["```sh", _curl(method, path, operation), "```", ""]
    if operation.get("parameters"):
        lines += ["| parameter | in | type | what |", "|---|---|---|---|"]
        lines += [_parameter(parameter) for parameter in operation["parameters"]]
        lines.append("")
    if "requestBody" in operation:
        lines += _body(document, "Request body", operation["requestBody"]["content"])
    for status, answer in operation["responses"].items():
        if status < "400" and "content" in answer:
            lines += _body(document, f"Answer {status}", answer["content"])
    return "\n".join([*lines, *_answers(operation)])


def _curl(method: str, path: str, operation: dict[str, Any]) -> str:
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
    query = _NEEDED.get(operation["operationId"])
    url = f"http://localhost:8080{path}" + (f"?{urlencode(query)}" if query else "")
    line = f"curl {_METHODS[method]}" + (f"'{url}'" if query else url)
    body = operation.get("requestBody", {}).get("content", {})
    content = body.get("application/json")
    if content is None:
        return f"{line} -T model.safetensors" if body else line
    example = next(iter(content["examples"].values()))["value"]
    return f"{line} \\\n  -H 'Content-Type: application/json' \\\n  -d '{json.dumps(example)}'"


def _parameter(parameter: dict[str, Any]) -> str:
    kind = _type(parameter["schema"])
    return f"| `{parameter['name']}` | {parameter['in']} | {kind} | {_cell(parameter['description'])} |"


def _body(document: dict[str, Any], title: str, content: dict[str, Any]) -> list[str]:
    if "application/json" not in content:
        return [f"{title}: a file, as {', '.join(f'`{media_type}`' for media_type in content)}.", ""]
    name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schema = document["components"]["schemas"][name]
    media_types = ", ".join(f"`{media_type}`" for media_type in content)
    lines = [f"{title}: {name}, as {media_types}.", ""]
    fields = list(_fields(document, schema))
    if not fields:
        return [*lines, _cell(schema["description"]), ""]
    return [*lines, "| field | type | what |", "|---|---|---|", *fields, ""]


def _fields(document: dict[str, Any], schema: dict[str, Any], within: str = "") -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        needed = "" if name in schema.get("required", ()) else ", may be left out"
        yield f"| `{within}{name}` | {_type(field)}{needed} | {_cell(field['description'])} |"
        inner = field.get("items", {}).get("$ref")
        if inner is not None and not within:
            yield from _fields(document, document["components"]["schemas"][inner.rpartition("/")[2]], f"{name}[].")


def _answers(operation: dict[str, Any]) -> list[str]:
    lines = ["| status | when |", "|---|---|"]
    for status, answer in operation["responses"].items():
        told = answer["description"].replace("* ", "").replace("\n", " ")
        lines.append(f"| {status} | {_cell(told)} |")
    return [*lines, ""]


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(variant) for variant in schema["anyOf"] if variant != {"type": "null"}))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map to {_type(schema['additionalProperties'])}"
    bounds = [f"{sign} {schema[key]}" for key, sign in (("minimum", "≥"), ("maximum", "≤")) if key in schema]
    return f"{kind} {', '.join(bounds)}".strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(document_of(SECTIONS)))
