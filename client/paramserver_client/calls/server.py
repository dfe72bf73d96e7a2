"""Calls about the server itself."""

from __future__ import annotations

from typing import Any

from paramserver_client.calls.base import Calls


class ServerCalls(Calls):
    """Calls about the server itself."""

    def server(self) -> dict[str, Any]:
        """What the server says of itself: version, limits, memory, durability, start."""
        return dict(self._ask("server").body)

    def wait_ready(self, timeout_s: float) -> dict[str, Any]:
        """Wait until the server takes requests, for a worker that may have started first; then as `server`.

        Raises `UnreachableError` or `UnavailableError` when it does not within `timeout_s` seconds, and at once what
        waiting cannot mend (`UnauthenticatedError`, `WrongHostError`).

        >>> with ParameterClient() as client:
        ...     client.wait_ready(timeout_s=10)["commit"]
        0
        """
        return dict(self._ask("server", extra_s=timeout_s - self._timeout_s).body)
