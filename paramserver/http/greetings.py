"""Connections that begin with a TLS handshake: watched from the moment they are accepted.

The event loop's own server tells nobody of a connection before its handshake is over; a peer that never ends one could
hold any number of them. Here each counts among all connections from the first moment, and has the time of a head.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

from paramserver.http.networks import network_of
from paramserver.http.patience import Patience, Phase, reset_on_close

# In one go: those who are served already have their turn in between.
_AT_ONCE: Final = 64
_AGAIN_S: Final = 1.0
# The patience ends it before.
# A peer that does not say goodbye holds up the end for no longer.
_SHUTDOWN_S: Final = 1.0
_HANDSHAKE_S: Final = 3600.0

logger = logging.getLogger("paramserver.http")


class Greeting:
    """An accepted connection whose handshake is under way, as it is watched: a head that is coming, of a stranger."""

    proven = False

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self.peer = network_of(peer)
        self.sock = sock
        self.begun = False
        self.task: asyncio.Task[None] | None = None

    def standing(self) -> tuple[Phase, int]:
        """It is at its first head, all the time."""
        return "head", 0

    def moved_nbytes(self) -> int:
        """Nothing that counts."""
        return 0

    def cut(self) -> None:
        """End it at once."""
        if self.task is not None:
            reset_on_close(self.sock)
            self.task.cancel()


class GreetingServer:
    """Accepts connections at a socket, sees them through their handshake, and hands them to protocols of their own.

    `context` is what newcomers are greeted with; another may take its place at any time. To be used from one event loop. It
    has what uvicorn asks of a server.
    """

    def __init__(
        self,
        bound: socket.socket,
        backlog: int,
        context: ssl.SSLContext,
        patience: Patience,
        make_protocol: Callable[[Callable[[], None]], asyncio.BaseProtocol],
    ) -> None:
        self.context = context
        self._bound = bound
        self._patience = patience
        self._make_protocol = make_protocol
        self._loop = asyncio.get_running_loop()
        self._greetings: set[asyncio.Task[None]] = set()
        bound.setblocking(False)
        bound.listen(backlog)
        self._loop.add_reader(bound, self._accept)
        self._is_open = True

    def close(self) -> None:
        """Take nobody any more; who has not finished his handshake is let go."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._bound)
            self._bound.close()
        for task in self._greetings:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until nobody is at his handshake any more."""
        while self._greetings:
            await asyncio.wait(self._greetings)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                sock, address = self._bound.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # No descriptor is left: they are asked to wait where they are.
                logger.error("no connection can be accepted: %s; trying again in %g s", error.strerror, _AGAIN_S)
                self._loop.remove_reader(self._bound)
                self._loop.call_later(_AGAIN_S, self._go_on)
                return
            self._greet(sock, str(address[0]))

    def _go_on(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._bound, self._accept)

    def _greet(self, sock: socket.socket, peer: str) -> None:
        sock.setblocking(False)
        greeting = Greeting(sock, peer)
        if not self._patience.admit(greeting, self._loop):
            # Nothing can be said to one with whom no key is shared.
            reset_on_close(sock)
            sock.close()
            return
        task = greeting.task = self._loop.create_task(self._shake_hands(greeting))
        self._greetings.add(task)
        task.add_done_callback(lambda _: self._ended(greeting, task))

    def _ended(self, greeting: Greeting, task: asyncio.Task[None]) -> None:
        self._greetings.discard(task)
        self._patience.forget(greeting)
        if not greeting.begun:
            # Cut before it began. From then on the socket is its transport's, which closes it.
            greeting.sock.close()

    async def _shake_hands(self, greeting: Greeting) -> None:
        def make_protocol() -> asyncio.BaseProtocol:
            # Its own connection takes the greeting's place, and is never counted beside it.
            return self._make_protocol(lambda: self._patience.forget(greeting))

        greeting.begun = True
        try:
            await self._loop.connect_accepted_socket(
                make_protocol,
                greeting.sock,
                ssl=self.context,
                ssl_handshake_timeout=_HANDSHAKE_S,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )
        except (OSError, EOFError) as error:
            # ssl.SSLError and time-outs are OSErrors. Strangers who scan would fill a log.
            logger.debug("no handshake with %s: %s", greeting.peer, error)
