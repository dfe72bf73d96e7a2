from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from paramserver.checkpoint.errors import CheckpointError
from paramserver.http.problems import Problem, ProblemResponse, problem_of, response_to
from paramserver.store.errors import Difference, ShapeMismatch, StoreError, WouldBlock
from paramserver_wire.codes import CODES
from paramserver_wire.errors import MalformedBody, WireError


def _kinds(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


OURS = sorted(
    {*_kinds(StoreError), *_kinds(WireError), *_kinds(CheckpointError)},
    key=lambda kind: (kind.__qualname__, kind.__module__),
)


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_error_of_ours_has_its_code_and_status(kind: type) -> None:
    problem = problem_of(kind("wanted this, got that; do so"))
    assert problem.code == kind.code  # type: ignore[attr-defined]
    assert problem.status == CODES[problem.code].status
    assert problem.detail == "wanted this, got that; do so"


def test_the_codes_that_can_occur_now_are_all_told() -> None:
    """The rest belong to rooms that come later: workers, and barriers between them."""
    told = {kind.code for kind in OURS}
    told |= {problem_of(HTTPException(status)).code for status in (400, 404, 405, 406, 413, 415, 422)} | {"internal"}
    # Told by the guard, by the protocol and by downloads, which raise nothing.
    told |= {"unauthenticated", "forbidden", "wrong_host", "head_too_large", "range_not_satisfiable"}
    later = {
        "worker_not_found",
        "fenced",
        "barrier_broken",
    }
    assert told | later == set(CODES)
    assert not told & later


def test_a_problem_is_a_document_with_every_difference() -> None:
    error = ShapeMismatch(
        "two do not fit", errors=[Difference("a", "shape_mismatch", "x"), Difference("b", "non_finite", "y")]
    )
    response = response_to(error)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert json.loads(response.body) == {
        "type": "urn:paramserver:problem:shape_mismatch",
        "title": "The shape does not fit",
        "status": 422,
        "detail": "two do not fit",
        "code": "shape_mismatch",
        "errors": [
            {"name": "a", "code": "shape_mismatch", "detail": "x"},
            {"name": "b", "code": "non_finite", "detail": "y"},
        ],
    }


def test_unforeseen_errors_are_logged_under_the_id_they_carry(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        problem = problem_of(WouldBlock("never lets itself be seen outside"))
    assert (problem.code, problem.status) == ("internal", 500)
    assert problem.instance is not None
    incident = problem.instance.removeprefix("urn:uuid:")
    assert incident in problem.detail
    assert incident in caplog.text
    assert "WouldBlock" in caplog.text
    assert "never lets" not in problem.detail


def test_a_models_errors_name_their_fields() -> None:
    class Inner(BaseModel):
        count: int

    class Outer(BaseModel):
        inner: list[Inner]

    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": [{"count": 1}, {"count": "secret"}, {}]})
    problem = problem_of(caught.value)
    assert problem.code == "invalid_request"
    assert [entry["name"] for entry in problem.errors] == ["inner.1.count", "inner.2.count"]
    assert "secret" not in str(problem.document())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RecursionError(), "malformed_body"),
        (MemoryError(), "memory_limit_exceeded"),
        (ClientDisconnect(), "malformed_body"),
        (HTTPException(418), "internal"),
        (KeyError("x"), "internal"),
    ],
)
def test_errors_that_are_not_ours(error: Exception, code: str) -> None:
    assert problem_of(error).code == code


def test_come_again_says_when() -> None:
    assert ProblemResponse(Problem("draining", "x")).headers["retry-after"] == "1"
    assert ProblemResponse(Problem("overloaded", "x")).headers["retry-after"] == "1"
    assert "retry-after" not in ProblemResponse(Problem("not_found", "x")).headers


def test_no_text_can_break_a_problem() -> None:
    document = json.loads(response_to(MalformedBody("half a pair \ud800, a null \x00, é")).body)
    assert document["detail"] == "half a pair \ud800, a null \x00, é"
