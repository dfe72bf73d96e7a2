"""What every call needs of the client it belongs to: the way to the server, and a message delivered on it."""

from __future__ import annotations

import time
from typing import Any

from paramserver_client.errors import ParameterServerError, TooOldError
from paramserver_client.landing import Landing
from paramserver_client.request_ids import RequestIds
from paramserver_client.transport import Transport
from paramserver_wire.messages import OPERATIONS, Answer, Message


class Calls:
    """The calls of one subject, to be mixed into a client."""

    _transport: Transport
    _request_ids: RequestIds
    _timeout_s: float
    _closed = False

    def _ask(
        self, operation: str, /, *, extra_s: float = 0.0, landing: Landing | None = None, **arguments: Any
    ) -> Answer:
        """Deliver one message; arguments that are None are left out. `extra_s` is added to the deadline; a transport that can
        receives the tensors of the answer at the `landing`."""
        self._check_open()
        given = {name: value for name, value in arguments.items() if value is not None}
        deadline = time.monotonic() + self._timeout_s + extra_s
        if not OPERATIONS[operation].mutates:
            try:
                return self._transport.deliver(Message(operation, given, landing=landing), self._timeout_s + extra_s)
            except ParameterServerError as error:
                if landing is not None:
                    landing.tell(error)
                raise
        request_id = self._request_ids.next()
        try:
            return self._transport.deliver(Message(operation, given, request_id), self._timeout_s + extra_s)
        except TooOldError:
            # Raised only while nothing can have been applied: the server has forgotten this client, or never knew it.
            message = Message(operation, given, self._request_ids.renew(request_id))
            return self._transport.deliver(message, max(0.001, deadline - time.monotonic()))

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("Wanted an open client, got one that was closed before. Make a new one.")
