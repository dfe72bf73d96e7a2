"""The table and FastAPI's router must agree on every path: the one is only a faster way to the other's endpoints."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Match

from paramserver.engine import Engine
from paramserver.http.audit import AuditLog
from paramserver.http.dispatch import Dispatcher
from paramserver.http.endpoints import Endpoint, register
from paramserver.http.performing import Drain, Performer
from paramserver.http.routes import ROUTES
from paramserver.settings import Settings

METHODS = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS")
NAMES = ("", "w", "a/b/w", "/", "a//b", "w:", "w:read", "w:read:read", "latest", "a:restore", "\n", "é")
VERBS = ("", ":", ":read", ":READ", ":assign", ":pull", ":push", ":initialize", ":restore", ":read/", ":read\n")
STEMS = ("/v1/variables", "/v1/variables/", "/v1/checkpoints", "/v1/checkpoints/", "/v1/server", "/v1", "/", "")


def _routed() -> tuple[FastAPI, Dispatcher[Endpoint]]:
    app = FastAPI(redirect_slashes=False)
    return app, register(app, ROUTES, Settings(), Performer(Engine.open(), Drain()), AuditLog(None))


APP, DISPATCHER = _routed()


def _by_router(method: str, path: str) -> Any:
    scope = {"type": "http", "method": method, "path": path, "root_path": "", "path_params": {}}
    for route in APP.router.routes:
        match, child = route.matches(scope)
        if match is Match.FULL:
            return child["endpoint"], child["path_params"]
    return None, {}


def _by_table(method: str, path: str) -> Any:
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path}
    found = DISPATCHER.find(scope)
    return None if found is None else found.answer, scope.get("path_params", {})


def _agree(method: str, path: str) -> None:
    if path.endswith("\n"):
        # `$` of a regular expression matches before a last line feed; the table does not.
        return
    assert _by_router(method, path) == _by_table(method, path), (method, path)


@pytest.mark.parametrize("method", METHODS)
def test_both_agree(method: str) -> None:
    for stem, name, verb in product(STEMS, NAMES, VERBS):
        _agree(method, stem + name + verb)


@given(st.sampled_from(METHODS), st.sampled_from(STEMS), st.text(alphabet="aw/:.read", max_size=12))
def test_both_agree_on_anything(method: str, stem: str, rest: str) -> None:
    _agree(method, stem + rest)
