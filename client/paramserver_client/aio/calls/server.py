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

    async def wait_ready(self, timeout_s: float) -> dict[str, Any]:
        """Wait until the server takes requests, for a worker that may have started first; then as `server`.

        Raises `UnreachableError` or `UnavailableError` when it does not within `timeout_s` seconds, and at once what
        waiting cannot mend (`UnauthenticatedError`, `WrongHostError`).

        >>> async with AsyncParameterClient() as client:
        ...     (await client.wait_ready(timeout_s=10))["commit"]
        0
        """
        return dict((await self._ask("server", extra_s=timeout_s - self._timeout_s)).body)
