"""Bodies in which nothing fits: an error for each element takes a kilobyte for two bytes sent (CWE-400, CWE-789).

Seventeen megabytes of zeros where names belong once took 7 GiB and held everybody up for half a minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ValidationError

from paramserver.http.limits import check_counts
from paramserver.http.routes import SECTIONS
from paramserver_wire.errors import InvalidRequest
from support.server import Server

MANY = 15_000
# A piece of a hundred entries, each with a hundred fields that nobody knows.
MOST_ERRORS = 101 * 100
MODELS = sorted({route.body for section in SECTIONS for route in section.routes}, key=lambda model: model.__name__)


def junk() -> Iterator[Any]:
    """What fits nowhere, many times: in lists, in maps, and one level deeper."""
    many_fields = {f"unknown{index}": 0 for index in range(MANY)}
    for element in (None, {}, "x", 0, [0], b"", {"unknown": 0}, many_fields):
        yield [element] * (MANY if element is not many_fields else 20)
        yield {f"a{index}": element for index in range(MANY if element is not many_fields else 20)}
    yield dict.fromkeys(range(MANY), 0)
    yield {"a": [None] * MANY}
    yield {"a": [b""] * MANY}
    yield {"a": dict.fromkeys(range(MANY), b"")}
    yield {"type": "constant", "value": {"a": [b""] * MANY}}
    yield {"value": many_fields, **many_fields}
    yield {"indices": many_fields, "value": many_fields}


def errors_of(model: type[BaseModel], body: Any) -> int:
    """How many errors a body makes in its model."""
    try:
        if isinstance(body, dict):
            check_counts(body, MANY)
        model.model_validate(body)
    except InvalidRequest:
        return 1
    except ValidationError as error:
        return error.error_count()
    return 0


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_errors_are_bounded_wherever_a_body_does_not_fit(model: type[BaseModel]) -> None:
    fields = [field.alias or name for name, field in model.model_fields.items()]
    bodies = [*junk(), *({field: one} for field in fields for one in junk())]
    assert max(errors_of(model, body) for body in bodies) <= MOST_ERRORS


def test_what_is_told_of_the_first_piece_is_told_with_its_places() -> None:
    """The first that does not fit is named where it stands in the whole, however long the list."""
    push = next(model for model in MODELS if model.__name__ == "PushBody")
    updates: list[Any] = [{"name": "w", "op": "assign", "value": 1.0} for _ in range(MANY)]
    updates[MANY - 1] = {"op": 3}
    with pytest.raises(ValidationError) as caught:
        push.model_validate({"updates": updates})
    assert caught.value.errors()[0]["loc"] == ("updates", MANY - 1, "op")
    assert len(push.model_validate({"updates": updates[:-1]}).updates) == MANY - 1  # type: ignore[attr-defined]


def test_a_server_answers_and_goes_on() -> None:
    """Memory is what the body takes decoded, and no more."""
    body = b'{"updates":[' + b",".join([b"{}"] * 300_000) + b"]}"
    with (
        Server(environment={"PARAMSERVER_VARIABLES_LIMIT": "1000000"}) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        before = server.peak_nbytes()
        for _ in range(3):
            reply = client.post("/v1/variables:push", content=body, headers={"content-type": "application/json"})
            assert reply.status_code == 422
            assert len(reply.json()["errors"]) == 100
            assert "updates.0.op" in reply.json()["detail"]
        assert server.peak_nbytes() - before < 200 * 1024 * 1024
        assert client.get("/healthz").status_code == 200
