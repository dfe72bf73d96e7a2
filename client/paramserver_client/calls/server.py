"""Calls about the server itself."""

from __future__ import annotations

from typing import Any

from paramserver_client.calls.base import Calls


class ServerCalls(Calls):
    """Calls about the server itself."""

    def server(self) -> dict[str, Any]:
        """What the server says of itself: version, limits, memory, durability, start."""
        return dict(self._ask("server").body)
