"""The routes by subject. Each is one entry: what comes in, what goes out, and what it promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from paramserver.http.endpoints import Route
from paramserver.http.routes import checkpoints, server, transfer, values, variables

ROUTES: Final[Sequence[Route]] = (
    *variables.ROUTES,
    *values.ROUTES,
    *transfer.ROUTES,
    *checkpoints.ROUTES,
    *server.ROUTES,
)
"""Every operation of the REST surface, once."""

__all__ = ["ROUTES"]
