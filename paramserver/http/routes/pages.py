"""Pages about the surface itself: `/openapi.json`, and `/docs`, where it can be read and tried in a browser, offline."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from paramserver import VERSION
from paramserver.http.endpoints import Section
from paramserver.http.openapi import document_of

# Everything comes from this server, and nothing may be framed. Swagger UI sets styles on its elements, and draws its
# icons from data: URLs.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_GUARDED: Final[Mapping[str, str]] = MappingProxyType(
    {"content-security-policy": _POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
)
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="docs/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="stylesheet" href="docs/page.css">
</head>
<body>
<div id="reference"><p class="waiting">The reference is drawn by a script. Without one, read
<a href="openapi.json">openapi.json</a>.</p></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/page.js"></script>
</body>
</html>
"""
_SCRIPT: Final = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  defaultModelExpandDepth: 2,
  displayRequestDuration: true,
  docExpansion: "list",
  filter: true,
  layout: "BaseLayout",
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""
_STYLE: Final = """\
body { margin: 0; }
.waiting { margin: 3rem auto; max-width: 40rem; font-family: sans-serif; }
.swagger-ui .scheme-container { padding: 12px 0; box-shadow: none; }
.swagger-ui .info { margin: 30px 0 20px; }
"""
_ICON: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#173647"/>
<path d="M4 4h3v3H4zM9 4h3v3H9zM4 9h3v3H4zM9 9h3v3H9z" fill="#fff"/></svg>
"""
_FROM_SWAGGER: Final[Mapping[str, str]] = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Page:
    """Bytes that never change while the server runs."""

    body: bytes
    media_type: str

    def answer(self, request: Request) -> Response:
        """The page, or 304 to who has it already."""
        headers = {**_GUARDED, "etag": self._tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == self._tag:
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers=headers, media_type=self.media_type)

    @property
    def _tag(self) -> str:
        return f'"{hashlib.blake2b(self.body, digest_size=12).hexdigest()}"'


def register_pages(app: FastAPI, sections: Sequence[Section]) -> None:
    """Add `/openapi.json`, `/docs` and what that page loads."""

    @cache
    def described() -> Page:
        return Page(orjson.dumps(document_of(sections)), "application/json")

    app.add_api_route("/openapi.json", _serving(described), methods=["GET", "HEAD"])
    for path, page in _PAGES.items():
        app.add_api_route(path, _serving(page), methods=["GET", "HEAD"])


def _serving(page: Callable[[], Page]) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        return page().answer(request)

    return serve


def _written(body: str, media_type: str) -> Callable[[], Page]:
    return lambda: Page(body.encode(), f"{media_type}; charset=utf-8")


def _shipped(name: str) -> Callable[[], Page]:
    """A file of Swagger UI, as the package fastapi-offline ships it."""
    return cache(lambda: Page((files("fastapi_offline") / "static" / name).read_bytes(), _FROM_SWAGGER[name]))


_PAGES: Final[Mapping[str, Callable[[], Page]]] = {
    "/docs": _written(_PAGE.format(title=html.escape(f"paramserver {VERSION}")), "text/html"),
    "/docs/page.js": _written(_SCRIPT, "text/javascript"),
    "/docs/page.css": _written(_STYLE, "text/css"),
    "/docs/icon.svg": _written(_ICON, "image/svg+xml"),
    **{f"/docs/{name}": _shipped(name) for name in _FROM_SWAGGER},
}
