"""From a path to its endpoint by two look-ups in a table.

FastAPI's router tries one regular expression after the other and solves dependencies that ours do not have: 95 us of the
215 us that a 1 KB assign_add took. What this table does not know (probes, the description, wrong methods, unknown paths) is
left to the router, which holds the same routes and the same endpoints.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, Protocol, TypeVar

from starlette.datastructures import Headers
from starlette.requests import Request, empty_receive, empty_send
from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Answering(Protocol):
    """What is behind a route."""

    async def answer(self, request: Request) -> Response:
        """The response to a request."""


Found = TypeVar("Found", bound=Answering)


class IndexedHeaders(Headers):
    """Headers that are looked up in a table: Starlette's walk the list anew for each of the seven that a call asks for."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self._first = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(self._list)}

    def __getitem__(self, key: str) -> str:
        return self._first[key.lower()]

    def get(self, key: str, default: Any = None) -> Any:
        # Mapping's own raises and catches a KeyError for each header that is not there, and most are not.
        return self._first.get(key.lower(), default)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower() in self._first


class IndexedRequest(Request):
    """A request with `IndexedHeaders`."""

    headers = Headers()

    def __init__(self, scope: Scope, receive: Receive = empty_receive, send: Send = empty_send) -> None:
        super().__init__(scope, receive, send)
        self.headers = IndexedHeaders(scope)


class Dispatcher(Generic[Found]):
    """Finds endpoints of paths such as `/v1/variables`, `/v1/variables/{name}` and `/v1/variables/{name}:read`."""

    def __init__(self, endpoints: Iterable[tuple[str, str, Found]]) -> None:
        self._whole: dict[tuple[str, str], Found] = {}
        self._named: dict[tuple[str, str, str], tuple[str, Found]] = {}
        for method, path, endpoint in endpoints:
            prefix, brace, rest = path.partition("{")
            parameter, _, suffix = rest.partition("}")
            if brace:
                self._named[method, prefix, suffix] = (parameter, endpoint)
            else:
                self._whole[method, path] = endpoint
        self._prefixes = tuple({prefix for _, prefix, _ in self._named})

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer the request if its path and method are in the table; say whether that was so."""
        endpoint = self.find(scope)
        if endpoint is None:
            return False
        response = await endpoint.answer(IndexedRequest(scope, receive, send))
        await response(scope, receive, send)
        return True

    def find(self, scope: Scope) -> Found | None:
        """What is behind the path and method of a request, whose `path_params` are then set; None for others."""
        method, path = scope["method"], scope["path"]
        endpoint = self._whole.get((method, path))
        if endpoint is not None:
            scope["path_params"] = {}
            return endpoint
        named, colon, verb = path.partition(":")
        for prefix in self._prefixes:
            if named.startswith(prefix) and len(named) > len(prefix):
                found = self._named.get((method, prefix, colon + verb))
                if found is not None:
                    scope["path_params"] = {found[0]: named[len(prefix) :]}
                    return found[1]
        return None
