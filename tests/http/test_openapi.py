"""The description of the surface: valid, whole, and true of a running server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from paramserver.http import codecs, models
from paramserver.http.models import examples_of
from paramserver.http.openapi import codes_of
from paramserver.http.openapi.operation import request_examples
from paramserver.http.openapi.problems import SURFACE_WIDE
from paramserver.http.routes import ROUTES, SECTIONS
from paramserver_wire import safetensors
from paramserver_wire.codes import CODES
from paramserver_wire.messages import OPERATIONS, Message
from support.described import check_described, document, validator

BY_OPERATION = {route.operation: route for route in ROUTES}
# What belongs to what is not built yet.
LATER = {
    "worker_not_found",
    "fenced",
    "barrier_broken",
}
CODES_OF = {f"{route.operation}-{code}": (route, code) for route in ROUTES for code in codes_of(route)}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def contents(node: Any) -> Iterator[dict[str, Any]]:
    """Every media type that stands anywhere in the document, with its schema."""
    if isinstance(node, dict):
        yield from (content for content in node.get("content", {}).values())
        for value in node.values():
            yield from contents(value)


def test_it_is_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(document()).validate()


def test_every_operation_is_in_it_and_told_about() -> None:
    told = {(method.upper(), path) for method, path, _ in operations() if path.startswith("/v1")}
    assert told == {(operation.method, operation.path) for operation in OPERATIONS.values()}
    tags = {tag["name"]: tag["description"] for tag in document()["tags"]}
    assert all(tags.values())
    assert {section.tag for section in SECTIONS} < set(tags)
    for _, path, operation in operations():
        assert operation["summary"], path
        assert operation["description"].endswith("."), path
        assert set(operation["tags"]) <= set(tags), path
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (path, parameter["name"])
            shown = parameter["in"] == "header" or parameter.get("example") or parameter["schema"]["examples"]
            assert shown, (path, parameter["name"])


def test_every_field_of_every_form_has_a_description() -> None:
    for name, schema in document()["components"]["schemas"].items():
        for field, described in schema.get("properties", {}).items():
            assert described.get("description"), f"{name}.{field}"


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_argument_is_in_it(name: str) -> None:
    described = OPERATIONS[name]
    operation = document()["paths"][described.path][described.method.lower()]
    asked = {parameter["name"].lower().replace("-", "_") for parameter in operation["parameters"]}
    for argument, place in described.places.items():
        if place in ("path", "query"):
            assert described.wire_names.get(argument, argument) in asked
        elif place == "sink":
            assert place not in asked, "it stays with the client"
        elif place not in ("body", "tensor", "document", "file"):
            assert {"respond_async": "prefer"}.get(place, place) in asked
        else:
            assert operation["requestBody"]["content"]
    assert ("idempotency_key" in asked) == described.mutates


def test_every_body_has_an_example_that_fits_its_schema() -> None:
    seen = 0
    for content in contents(document()["paths"]):
        if content["schema"].get("format") == "binary":
            continue
        examples = (
            [content["example"]] if "example" in content else [one["value"] for one in content["examples"].values()]
        )
        assert examples
        for example in examples:
            validator(content["schema"]).validate(example)
            seen += 1
    assert seen > 100


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_the_examples_fit_the_models_that_check_requests(route: Any) -> None:
    requests, answers = request_examples(route), examples_of(route.answer) if route.answer else []
    assert bool(requests) == (route.form.has_body and not route.form.is_upload)
    for example in requests:
        assert example not in ({}, None)
        if "tensor" not in route.form.described.places.values():
            route.body.model_validate(example)
    for example in answers:
        assert example
        route.answer.model_validate(example)


@pytest.mark.parametrize("named", CODES_OF)
def test_every_code_of_a_route_is_told_and_shown(named: str) -> None:
    route, code = CODES_OF[named]
    described = OPERATIONS[route.operation]
    answer = document()["paths"][described.path][described.method.lower()]["responses"][str(CODES[code].status)]
    assert f"`{code}`: {CODES[code].title}." in answer["description"]
    shown = answer["content"]["application/problem+json"]["examples"][code]
    assert shown["summary"] == CODES[code].title
    assert models.ProblemDocument.model_validate(shown["value"]).code == code


def test_every_code_that_can_occur_today_is_in_it() -> None:
    told = {code for route in ROUTES for code in codes_of(route)} | set(SURFACE_WIDE)
    assert told == set(CODES) - LATER
    for code in SURFACE_WIDE:
        assert f"`{code}`" in document()["info"]["description"]


def test_it_tells_every_media_type() -> None:
    for _, path, operation in operations():
        if path == OPERATIONS["import_variables"].path:
            assert set(operation["requestBody"]["content"]) == {safetensors.MEDIA_TYPE}
        elif path.startswith("/v1") and "requestBody" in operation:
            assert set(operation["requestBody"]["content"]) >= {codecs.MEDIA_TYPE_OF[name] for name in codecs.TREES}
    told = {
        media_type
        for _, _, operation in operations()
        for media_type in operation.get("requestBody", {}).get("content", ())
    }
    assert told == set(codecs.MEDIA_TYPES)


def test_an_answer_that_is_not_described_is_found() -> None:
    """What holds the answers of all tests to the description has teeth."""
    for status, kind, body in (
        (200, "application/json", {"name": "w"}),
        (200, "text/html", {}),
        (418, "application/json", {}),
        (404, "application/problem+json", models.examples_of(models.ProblemDocument)[0] | {"code": "version_mismatch"}),
    ):
        request = httpx.Request("GET", "http://server/v1/variables/a/b")
        answer = httpx.Response(status, content=json.dumps(body), headers={"content-type": kind}, request=request)
        with pytest.raises(Exception, match=r"is not among|came as|version_mismatch|required property"):
            check_described(answer)


# ------------------------------------------------------------------------------------------- played on a real server


PLAYED = [(route, example) for route in ROUTES for example in (request_examples(route) or [None])]


def prepare(served: Any, operation: str) -> None:
    """Variables and a checkpoint as the examples name them; nothing where the variable is to be created."""
    served.engine.perform(Message("delete_variables", {"confirm": True}))
    if operation == "create_variable":
        return
    weight = {"name": "conv1/weight", "shape": (5, 5, 1, 8), "initializer": {"type": "zeros"}, "initialize": True}
    served.engine.perform(Message("create_variable", weight))
    served.create("conv1/bias", np.zeros(2, np.float32))
    served.create("step", np.asarray(0, np.int32))
    served.create("global_step", np.asarray(0, np.int64))
    served.create("embedding", np.zeros((8, 2), np.float32))
    served.engine.perform(Message("set_scope", {"name": "conv1", "dtype": "float32"}))
    served.engine.perform(Message("create_optimizer", {"name": "Adam", "spec": {"type": "adam"}}))
    served.create("first/weight", np.zeros((5, 5, 1, 8), np.float32))
    served.engine.perform(Message("save", {"id": "mnist/epoch-3"}))


# The query that an operation cannot do without.
NEEDED = {"delete_variables": {"confirm": "true"}}


def target_of(route: Any) -> str:
    """The path of a request, made of the parameters' examples."""
    path = route.form.described.path
    for parameter in document()["paths"][path][route.form.described.method.lower()]["parameters"]:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
    return path


@pytest.mark.parametrize(
    ("route", "example"), PLAYED, ids=[f"{route.operation}-{number}" for number, (route, _) in enumerate(PLAYED)]
)
def test_every_example_of_a_request_succeeds(keeping: Any, route: Any, example: Any) -> None:
    prepare(keeping, route.operation)
    with keeping.client() as http:
        body: dict[str, Any] = {} if example is None else {"json": example}
        if route.form.is_upload:
            body = {"content": b"".join(safetensors.file_parts({"new/w": np.ones(2, np.float32)}, {}))}
        query = NEEDED.get(route.operation)
        answer = http.request(route.form.described.method, target_of(route), params=query, **body)
    assert answer.is_success, answer.text
