"""Where a test of the graph runs: embedded, or on a live server; and a client that counts what it is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paramserver_client.graph as tf
from paramserver_client import ParameterClient, Transport
from paramserver_wire.messages import Answer, Message


@dataclass(frozen=True)
class Target:
    """`session()` makes a session; those of one target share their variables. `kind` is "embedded" or "server"."""

    kind: str
    make: Callable[..., tf.Session]
    url: str | None = None
    container: str = ""
    client: ParameterClient | None = None

    def session(self, **settings: Any) -> tf.Session:
        return self.make(**settings)

    @property
    def where(self) -> dict[str, Any]:
        """What drivers take to make such sessions themselves."""
        if self.client is not None:
            return {"client": self.client}
        return {"master": self.url, "container": self.container}


class Counted:
    """A transport that counts the messages it delivers, by operation."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.counts: Counter[str] = Counter()

    def deliver(self, message: Message, timeout_s: float) -> Answer:
        self.counts[message.operation] += 1
        return self._inner.deliver(message, timeout_s)

    def close(self) -> None:
        self._inner.close()


def counted(client: ParameterClient) -> Counted:
    """Count what this client sends from now on."""
    counting = Counted(client.transport)
    client._transport = counting
    return counting
