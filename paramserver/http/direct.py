"""The short way for the data plane: known heads, to their endpoints, past the parser, the router and the guard.

    known head    heads.py     bytes to what they said the last time
    this          direct.py    who answers the requests of a head: plans are made once, by the guard and the endpoint
    the rest      app.py       every request whose head is not known, and every other route

Both ways end in the same endpoint, which does not know by which one a request came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from paramserver.grants import Grant
from paramserver.http import rights
from paramserver.http.calls import Heading
from paramserver.http.dispatch import Dispatcher, IndexedRequest
from paramserver.http.endpoints import Endpoint
from paramserver.http.guard import GRANT, Guard
from paramserver.http.heads import Answerer
from paramserver.http.large_body import LargeBody
from paramserver.http.limits import declared_nbytes
from paramserver.http.performing import Drain
from paramserver.http.problems import response_to

OPERATIONS: Final = frozenset(
    {
        "read",
        "gather",
        "assign",
        "assign_add",
        "assign_sub",
        "scatter_update",
        "scatter_add",
        "scatter_sub",
        "pull",
        "push",
        "apply_gradients",
    }
)


class Planner:
    """Says who answers the requests of a head that a guard lets in."""

    def __init__(self, dispatcher: Dispatcher[Endpoint], guard: Guard, drain: Drain) -> None:
        self._dispatcher = dispatcher
        self._guard = guard
        self._drain = drain

    def plan(self, scope: Scope) -> Answerer | None:
        """The answerer of a head, from its ASGI scope; None where it is no head of the data plane, or makes a problem."""
        endpoint = self._dispatcher.find(scope)
        if (
            endpoint is None
            or endpoint.form.operation not in OPERATIONS
            or self._guard.refusal(scope, counting=False) is not None
        ):
            return None
        request = IndexedRequest(scope)
        try:
            heading = endpoint.heading(request)
            rights.check_head(scope[GRANT], endpoint.form.operation, heading.arguments)
            nbytes = declared_nbytes(request) or 0
        except Exception:
            # Told to its sender each time it comes, by the long way.
            return None
        if "wait_s" in heading.arguments or nbytes > heading.limit_nbytes or (nbytes and not endpoint.form.has_body):
            return None
        return self._answerer(endpoint, heading, scope[GRANT], self._guard.witness(scope))

    def _answerer(
        self,
        endpoint: Endpoint,
        heading: Heading,
        grant: Grant,
        was_right: Callable[[Mapping[str, Any]], None] | None,
    ) -> Answerer:
        drain = self._drain

        async def answer(
            request_id: str | None, body: bytes | LargeBody, scope: Scope, receive: Receive, send: Send
        ) -> None:
            if was_right is not None:
                was_right(scope)
            if drain.begun:
                await response_to(drain.refusal())(scope, receive, send)
                return
            try:
                known = request_id if heading.form.described.mutates else None
                response = await endpoint.answer_known(heading, known, body, grant)
                await response(scope, receive, send)
            except asyncio.CancelledError:
                # As in the app: its time is up, and uvicorn closes what stays unfinished.
                if not drain.begun:
                    raise

        return answer
