"""What all routes do: decode, call, encode; and how the router learns of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import FastAPI
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from paramserver.checkpoint import Download
from paramserver.http.answers import check_answer, encode
from paramserver.http.calls import Form, decode
from paramserver.http.dispatch import Dispatcher, Endpoint
from paramserver.http.downloads import file_response
from paramserver.http.models import Model, NoFields
from paramserver.http.performing import Performer
from paramserver.http.problems import response_to
from paramserver.http.uploads import upload
from paramserver.settings import Settings
from paramserver_wire.messages import OPERATIONS

_PARAMETER: Final = re.compile(r"\{(\w+)\}")


class NameConvertor(Convertor[str]):
    """Names hold slashes but no colon, so that `.../{name}:read` is never taken for a name.

    Starlette's own `path` convertor lets `GET .../w:assign_add` reach the route that inspects `{name}`.
    """

    regex = "[^:]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


@dataclass(frozen=True, slots=True)
class Route:
    """One operation as REST: how its request is formed, what it answers, and what it promises.

    `answer` None means that it answers 204, or a file. `promise` is its text in the API's description; `problems` are the codes
    it can answer beside those that every route can. `done` says what `status` means, and `also` which other good
    statuses there are and when. `examples` are whole bodies in JSON, where those of the `body` model will not do.
    `file_field` and `file_query` are as in `Form`.
    """

    operation: str
    summary: str
    promise: str
    query: type[Model] = NoFields
    body: type[Model] = NoFields
    answer: type[Model] | None = None
    status: int = 200
    problems: Sequence[str] = ()
    file_field: str | None = None
    file_query: type[Model] | None = None
    done: str = "Done."
    also: Mapping[int, str] = field(default_factory=dict)
    examples: Sequence[Any] = ()

    @property
    def form(self) -> Form:
        return Form(self.operation, self.query, self.body, self.file_field, self.file_query)


@dataclass(frozen=True, slots=True)
class Section:
    """Routes about one subject: a chapter of the API's description, and a module of generated clients."""

    tag: str
    title: str
    description: str
    routes: Sequence[Route]


def endpoint(route: Route, settings: Settings, performer: Performer) -> Endpoint:
    """The function behind a route."""
    form, store, helpers = route.form, performer.engine.store, performer.helpers

    async def answer_upload(request: Request) -> Response:
        try:
            async with upload(request, form, settings, performer.engine, helpers) as call:
                hold = store.budget.hold()
                return await encode(call, await performer.perform(call, request, hold), hold, helpers)
        except Exception as error:
            return response_to(error)

    async def answer(request: Request) -> Response:
        hold, made = store.budget.hold(), store.budget.hold()
        sent = False
        try:
            call = await decode(request, form, settings, store.pool, hold, helpers)
            check_answer(call, store.find)
            done = await performer.perform(call, request, made)
            if isinstance(done.body, Download):
                return file_response(request, done.body, helpers)
            response = await encode(call, done, made, helpers)
            sent = True
            return response
        except Exception as error:
            return response_to(error)
        finally:
            hold.release()
            if not sent:
                made.release()

    return answer_upload if form.is_upload else answer


def register(app: FastAPI, routes: Sequence[Route], settings: Settings, performer: Performer) -> Dispatcher:
    """Add `routes` to the app, and return the table that finds them faster.

    Whatever can be read with GET answers HEAD too, which FastAPI leaves to us.
    """
    register_url_convertor("name", NameConvertor())
    found: list[tuple[str, str, Endpoint]] = []
    for route in routes:
        operation = OPERATIONS[route.operation]
        path = _PARAMETER.sub(r"{\1:name}", operation.path)
        function = endpoint(route, settings, performer)
        app.add_api_route(path, function, methods=[operation.method], name=route.operation)
        found.append((operation.method, operation.path, function))
        if operation.method == "GET":
            app.add_api_route(path, function, methods=["HEAD"], name=f"{route.operation}_head")
            found.append(("HEAD", operation.path, function))
    return Dispatcher(found)
