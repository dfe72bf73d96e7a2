"""What every call needs of the client it belongs to."""

from __future__ import annotations

from typing import Any

from paramserver_wire.messages import Answer


class Calls:
    """The calls of one subject, to be mixed into a client. It holds no state."""

    __slots__ = ()

    def _ask(self, operation: str, /, *, extra_s: float = 0.0, **arguments: Any) -> Answer:
        """Deliver one message; arguments that are None are left out. `extra_s` is added to the deadline."""
        raise NotImplementedError
