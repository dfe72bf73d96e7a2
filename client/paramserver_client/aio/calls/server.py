# Made from calls/server.py by scripts/make_async.py. Do not change it here: change calls/server.py, run `make generate`.
"""Calls about the server itself."""

from __future__ import annotations

from typing import Any

from paramserver_client.aio.calls.base import Calls


class ServerCalls(Calls):
    """Calls about the server itself."""

    async def server(self) -> dict[str, Any]:
        """What the server says of itself: version, limits, memory, durability, start."""
        return dict((await self._ask("server")).body)
