"""Routes of the server itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from paramserver.engine import Engine
from paramserver.http import models
from paramserver.http.endpoints import Route
from paramserver.http.performing import Drain
from paramserver.http.problems import response_to
from paramserver.store.errors import Draining, Restoring

ROUTES: Final[Sequence[Route]] = (
    Route(
        "server",
        "Inspect the server",
        "Its version and protocol, limits, memory, durability, and when it started.",
        answer=models.ServerInfo,
    ),
)


def register_probes(app: FastAPI, drain: Drain, engine: Engine) -> None:
    """`/healthz` (the process lives) and `/readyz` (it takes requests): open, and they say nothing but the state."""

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "live"}, headers={"cache-control": "no-store"})

    async def readyz(request: Request) -> Response:
        if drain.begun:
            return response_to(Draining("the server is shutting down; its successor will be ready"))
        if engine.restoring:
            return response_to(Restoring("the server is restoring a checkpoint; it will be ready when that is done"))
        if engine.failed:
            return response_to(Draining("the journal failed and takes no more changes; start the server again"))
        return JSONResponse({"status": "ready"}, headers={"cache-control": "no-store"})

    for path, probe in (("/healthz", healthz), ("/readyz", readyz)):
        app.add_api_route(path, probe, methods=["GET", "HEAD"])
