"""The routes by subject. Each is one entry: what comes in, what goes out, and what it promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from paramserver.http.endpoints import Route, Section
from paramserver.http.routes import checkpoints, groups, initializing, optimizers, server, transfer, values, variables

SECTIONS: Final[Sequence[Section]] = (
    Section(
        "variables", "Variables", "Named, mutable arrays: create, list, inspect, change, delete.", variables.ROUTES
    ),
    Section("values", "One value", "The value of one variable: read it, assign to it, add to it.", values.ROUTES),
    Section("initialization", "Initialization", "First values, and who has none yet.", initializing.ROUTES),
    Section(
        "transfer",
        "Many values",
        "Pull many values as one consistent cut, push many updates as one transaction.",
        transfer.ROUTES,
    ),
    Section("scopes", "Scopes", "Prefixes of names, and what variables below them start with.", groups.SCOPES),
    Section("collections", "Collections", "Labels of variables, in the order they got them.", groups.COLLECTIONS),
    Section(
        "optimizers",
        "Optimizers",
        "Rules that turn gradients into new values on the server, and pushes of gradients through them.",
        optimizers.ROUTES,
    ),
    Section("checkpoints", "Checkpoints", "Cuts of the variables on disk: save, list, restore.", checkpoints.ROUTES),
    Section("server", "The server", "What runs here, and within which limits.", server.ROUTES),
)
"""The surface, subject by subject: the order of the description and of the reference."""

ROUTES: Final[Sequence[Route]] = tuple(route for section in SECTIONS for route in section.routes)
"""Every operation of the REST surface, once."""

__all__ = ["ROUTES", "SECTIONS"]
