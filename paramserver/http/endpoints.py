"""What all routes do: decode, call, encode; and how the router learns of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from fastapi import FastAPI
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from paramserver.checkpoint import Download
from paramserver.grants import Grant
from paramserver.http import rights
from paramserver.http.answers import check_answer, encode
from paramserver.http.audit import Act, AuditLog
from paramserver.http.calls import Call, Form, Heading, decode, heading_of, understood
from paramserver.http.dispatch import Dispatcher
from paramserver.http.downloads import file_response
from paramserver.http.guard import GRANT
from paramserver.http.large_body import LargeBody
from paramserver.http.limits import Body, receive_large
from paramserver.http.models import Model, NoFields
from paramserver.http.performing import Performer
from paramserver.http.problems import response_to
from paramserver.http.uploads import upload
from paramserver.settings import Settings
from paramserver.store.buffers import Hold
from paramserver_wire.codes import CODES
from paramserver_wire.messages import OPERATIONS

# Asking for the right to each of so many names takes about a millisecond.
_MANY: Final = 500
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


Note = Callable[[Mapping[str, Any], int, str, str], None]


def _unnoted(arguments: Mapping[str, Any], status: int, code: str, checkpoint: str) -> None:
    return


def _note_end(note: Note, arguments: Mapping[str, Any], checkpoint: str, code: str) -> None:
    """On record what became of a save after its request was answered."""
    note(arguments, CODES[code].status if code else 201, code, checkpoint)


def _id_in(body: Any) -> str:
    return body.get("id", "") if isinstance(body, dict) else ""


class Endpoint:
    """What is behind a route: decode, call, encode. `answer` takes any request to it; it never raises."""

    def __init__(self, form: Form, settings: Settings, performer: Performer, audit: AuditLog) -> None:
        self.form = form
        self._audit = audit if rights.is_admin(form.operation) else None
        self._settings = settings
        self._performer = performer
        self._store = performer.engine.store
        self._helpers = performer.helpers

    async def answer(self, request: Request) -> Response:
        """The response to a request whose body is still to be received."""
        grant: Grant = request.scope[GRANT]
        if self.form.is_upload:
            return await self._answer_upload(request, grant)
        store = self._store
        told: dict[str, Any] = {}

        async def understand(hold: Hold) -> Call:
            try:
                heading = self.heading(request)
            except Exception:
                # Who may not do it anyway is told that first: the record counts refusals, but has a line for each mistake of
                # those who may.
                rights.check_role(grant, self.form.operation)
                raise
            told.update(heading.arguments)
            rights.check_head(grant, self.form.operation, heading.arguments)
            return await decode(request, heading, self._settings, store.pool, hold, self._helpers)

        return await self._answered(understand, request, grant, told)

    def heading(self, request: Request) -> Heading:
        """What the head of a request says; raises what makes it a problem."""
        return heading_of(request, self.form, self._settings)

    async def answer_known(
        self, heading: Heading, request_id: str | None, body: bytes | LargeBody, grant: Grant
    ) -> Response:
        """The response to a request whose head was understood before, with a body that has come or is large."""

        async def understand(hold: Hold) -> Call:
            if isinstance(body, LargeBody):
                body.checksum = 0
                view = await receive_large(body.nbytes, body.receive, self._store.pool, hold)
                received = Body(view, body.checksum)
            else:
                hold.add(len(body))
                received = Body(memoryview(body))
            return await understood(heading, request_id, received, self._settings, hold, self._helpers)

        return await self._answered(understand, None, grant)

    async def _answered(
        self,
        understand: Callable[[Hold], Awaitable[Call]],
        request: Request | None,
        grant: Grant,
        told: Mapping[str, Any] = MappingProxyType({}),
    ) -> Response:
        """The response. `told` is what the head alone has said, once it was understood: the record has that at least."""
        store, helpers = self._store, self._helpers
        holder = rights.holder_of(grant)
        hold, made = store.budget.hold(holder), store.budget.hold(holder)
        sent = False
        arguments = told
        note = self._noting(grant, request)
        try:
            call = await understand(hold)
            arguments = call.message.arguments
            await self._check_rights(grant, arguments)
            check_answer(call, store.find, made)
            settled = partial(_note_end, note, arguments)
            done = await self._performer.perform(call, request, made, grant, settled)
            if request is not None and isinstance(done.body, Download):
                return file_response(request, done.body, helpers)
            response = await encode(call, done, made, helpers)
            sent = True
            note(arguments, response.status_code, "", _id_in(done.body))
            return response
        except Exception as error:
            refusal = response_to(error)
            note(arguments, refusal.status_code, refusal.code, "")
            return refusal
        finally:
            hold.release()
            if not sent:
                made.release()

    async def _check_rights(self, grant: Grant, arguments: Mapping[str, Any]) -> None:
        check = partial(rights.check, grant, self.form.operation, arguments)
        if (
            grant.unlimited
            or sum(len(value) for value in arguments.values() if isinstance(value, (list, dict))) < _MANY
        ):
            check()
        else:
            await asyncio.get_running_loop().run_in_executor(self._helpers, check)

    def _noting(self, grant: Grant, request: Request | None) -> Note:
        """Who puts on record what becomes of a request."""
        audit, operation = self._audit, self.form.operation
        if audit is None or request is None:
            return _unnoted
        client = request.client.host if request.client else ""

        def note(arguments: Mapping[str, Any], status: int, code: str, checkpoint: str) -> None:
            names = rights.names_in(operation, arguments) if arguments or not code else ()
            audit.note(
                Act(grant.holder, client, operation, status, code, names, checkpoint or arguments.get("id") or "")
            )

        return note

    async def _answer_upload(self, request: Request, grant: Grant) -> Response:
        performer, helpers = self._performer, self._helpers
        try:
            async with upload(request, self.form, self._settings, performer.engine, helpers, grant) as call:
                hold = self._store.budget.hold(rights.holder_of(grant))
                return await encode(call, await performer.perform(call, request, hold, grant), hold, helpers)
        except Exception as error:
            return response_to(error)


def register(
    app: FastAPI, routes: Sequence[Route], settings: Settings, performer: Performer, audit: AuditLog
) -> Dispatcher[Endpoint]:
    """Add `routes` to the app, and return the table that finds them faster.

    Whatever can be read with GET answers HEAD too, which FastAPI leaves to us.
    """
    register_url_convertor("name", NameConvertor())
    found: list[tuple[str, str, Endpoint]] = []
    for route in routes:
        operation = OPERATIONS[route.operation]
        path = _PARAMETER.sub(r"{\1:name}", operation.path)
        endpoint = Endpoint(route.form, settings, performer, audit)
        app.add_api_route(path, endpoint.answer, methods=[operation.method], name=route.operation)
        found.append((operation.method, operation.path, endpoint))
        if operation.method == "GET":
            app.add_api_route(path, endpoint.answer, methods=["HEAD"], name=f"{route.operation}_head")
            found.append(("HEAD", operation.path, endpoint))
    return Dispatcher(found)
