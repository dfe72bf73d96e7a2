"""The app: routes, problems and draining around one engine. Any ASGI server can run it; ours is in `serve`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from paramserver import VERSION
from paramserver.engine import Engine
from paramserver.http.audit import Act, AuditLog
from paramserver.http.direct import Planner
from paramserver.http.dispatch import Dispatcher
from paramserver.http.endpoints import Endpoint, register
from paramserver.http.guard import PROBES, Guard
from paramserver.http.heads import KnownHeads
from paramserver.http.large_body import EXTENSION
from paramserver.http.performing import Drain, Performer
from paramserver.http.problems import Problem, ProblemResponse, response_to
from paramserver.http.protocol import LET_IN
from paramserver.http.rights import is_admin
from paramserver.http.routes import ROUTES, SECTIONS
from paramserver.http.routes.pages import register_pages
from paramserver.http.routes.server import register_probes
from paramserver.keyring import Keyring
from paramserver.settings import Settings


def create_app(engine: Engine, settings: Settings, drain: Drain | None = None) -> Gate:
    """The ASGI app that serves `engine`. It never closes the engine; `drain.begin()` makes it refuse new requests.

    Raises `TokenError` when the settings name a token file that holds none, and OSError for an audit log that cannot be opened.
    """
    drain = drain or Drain()
    guard = Guard.of(settings)
    performer = Performer(engine, drain)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        drain.attach()
        try:
            yield
        finally:
            performer.close()
            audit.close()

    audit = AuditLog.of(settings)
    app = FastAPI(
        title="paramserver",
        version=VERSION,
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    dispatcher = register(app, ROUTES, settings, performer, audit)
    register_probes(app, drain, engine)
    register_pages(app, SECTIONS)
    app.add_exception_handler(HTTPException, _router_problem)
    app.add_exception_handler(Exception, _problem)
    return Gate(app, engine, dispatcher, drain, guard, audit)


class Gate:
    """In front of everything: lets in whom the guard lets in, turns requests away while the server drains, and settles
    unanswered expectations."""

    def __init__(
        self,
        app: FastAPI,
        engine: Engine,
        dispatcher: Dispatcher[Endpoint],
        drain: Drain,
        guard: Guard,
        audit: AuditLog,
    ) -> None:
        self.app = app
        self._audit = audit
        self.engine = engine
        # For a server that knows the short way.
        self.heads = KnownHeads(Planner(dispatcher, guard, drain).plan)
        self._dispatcher = dispatcher
        self._drain = drain
        self._guard = guard

    def read_tokens(self, settings: Settings) -> Keyring | None:
        """Take the tokens as they are in the file now; requests that were let in go on. Raises `TokenError`, and changes
        nothing."""
        keyring = self._guard.read_again(settings)
        self.heads.forget()
        return keyring

    def _note(self, scope: Scope, problem: Problem) -> None:
        """Put on record that a stranger tried what takes an admin. What he said of names is not worth taking apart."""
        endpoint = self._dispatcher.find(scope)
        if endpoint is not None and is_admin(endpoint.form.operation):
            client = scope.get("client")
            self._audit.note(
                Act("", client[0] if client else "", endpoint.form.operation, problem.status, problem.code)
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if _expects_continue(scope):
                receive, send = _closing_unless_invited(scope, receive, send)
            problem = self._guard.refusal(scope)
            if problem is None and scope["path"] in PROBES and _leaves_a_body(scope):
                problem = Problem("invalid_request", f"{scope['path']} takes no body, got one; leave it out")
            if problem is not None:
                self._note(scope, problem)
                await _turning_away(problem, scope)(scope, receive, send)
                return
            if scope["path"] not in PROBES:
                scope[LET_IN] = True
            if self._drain.begun and scope["path"] not in PROBES:
                await response_to(self._drain.refusal())(scope, receive, send)
                return
            try:
                if await self._dispatcher.answer(scope, receive, send):
                    return
            except asyncio.CancelledError:
                if self._drain.begun:
                    # Its time is up. uvicorn closes the connection of an answer that stays unfinished; raised on, it
                    # would log a traceback for every slow reader.
                    return
                raise
        if asyncio.current_task() is None:
            # The router and its pages may need one; our own endpoints don't.
            await asyncio.sleep(0)
        await self.app(scope, receive, send)


async def _problem(request: Request, error: Exception) -> Response:
    return response_to(error)


async def _router_problem(request: Request, error: Exception) -> Response:
    """404 and 405 of the router: with a way on, and with all methods of the path, not only the first route's."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = _allowed_methods(request)
        error = HTTPException(
            405,
            f"{request.scope['path'][:200]} has no method {request.method[:20]}; it has {', '.join(allowed)}",
            {"allow": ", ".join(allowed)},
        )
    elif isinstance(error, HTTPException) and error.status_code == 404:
        error = HTTPException(
            404, f"there is no route {request.scope['path'][:200]}; see /openapi.json for those there are"
        )
    return response_to(error)


def _allowed_methods(request: Request) -> list[str]:
    allowed: set[str] = set()
    for route in request.app.router.routes:
        if route.matches(dict(request.scope))[0] is not Match.NONE:
            allowed |= set(route.methods or ())
    return sorted(allowed)


def _turning_away(problem: Problem, scope: Scope) -> Response:
    """The answer to somebody who may not come in. What he goes on sending is not worth receiving to throw it away."""
    response = ProblemResponse(problem)
    if _leaves_a_body(scope):
        response.headers["connection"] = "close"
    return response


def _leaves_a_body(scope: Scope) -> bool:
    """Whether an answer comes before the body has: it is large, or of no declared length."""
    return EXTENSION in scope.get("extensions", {}) or any(name == b"transfer-encoding" for name, _ in scope["headers"])


def _expects_continue(scope: Scope) -> bool:
    return b"100-continue" in [value.lower() for name, value in scope["headers"] if name == b"expect"]


def _closing_unless_invited(scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Close the connection after an answer that came before the body was invited: what follows could be either the
    body or the next request."""
    invited = False
    large = scope.get("extensions", {}).get(EXTENSION)

    async def receive_noting() -> Message:
        nonlocal invited
        invited = True
        return await receive()

    async def send_closing(message: Any) -> None:
        received = invited or (large is not None and large.asked_for)
        if message["type"] == "http.response.start" and not received:
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await send(message)

    return receive_noting, send_closing
