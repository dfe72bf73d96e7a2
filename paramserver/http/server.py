"""The sockets, the event loop and the signals: uvicorn's server, with what is ours."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from paramserver.http.app import Gate
from paramserver.http.greetings import GreetingServer
from paramserver.http.patience import Bounds, Patience
from paramserver.http.performing import Drain
from paramserver.http.protocol import protocol_factory
from paramserver.settings import Settings

# Docker kills after 10 s: what is left is for the final checkpoint.
GRACE_S: Final = 5
_BACKLOG: Final = 2048


def config_of(app: ASGIApp, settings: Settings, patience: Patience) -> uvicorn.Config:
    """How uvicorn runs the app: uvloop, our protocol, and none of the conveniences we have our own of."""
    heads = None
    if isinstance(app, Gate):
        heads, app.engine.about_connections = app.heads, patience.facts
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol_factory(settings.head_limit_nbytes, settings.headers_limit, heads, patience),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=GRACE_S,
    )


class Stopped(Exception):
    """The server was told to stop while it brought back its data; nothing was changed."""


class Server(uvicorn.Server):
    """uvicorn's server, which lets go of long polls when it is told to stop, and then ends without a signal.

    Once it listens, `start` is called in a thread, and then `announce`. If `start` raises, the server stops, and that is its
    `failure`. At SIGHUP it calls `read_again`.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        drain: Drain,
        uds: Path | None,
        *,
        announce: Callable[[], None],
        start: Callable[[], None] = lambda: None,
        read_again: Callable[[], None] = lambda: None,
        tls: ssl.SSLContext | None = None,
        patience: Patience | None = None,
    ) -> None:
        super().__init__(config)
        self._read_again = read_again
        self._tls = tls
        self._patience = patience or Patience(Bounds())
        self._greeting: list[GreetingServer] = []
        self.failure: Exception | None = None
        self._drain = drain
        self._uds = uds
        self._start = start
        self._announce = announce
        self._bringing_back: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        loop = asyncio.get_running_loop()
        for bound in sockets or []:
            if self._tls is None:
                self.servers.append(await loop.create_server(self._make_protocol, sock=bound, backlog=_BACKLOG))
            else:
                self._greeting.append(GreetingServer(bound, _BACKLOG, self._tls, self._patience, self._make_protocol))
        self.servers += self._greeting  # type: ignore[arg-type]  # it has what uvicorn asks of them
        if self._uds is not None:
            # Created without rights for others; uvicorn would open it to everybody.
            before = os.umask(0o177)
            try:
                self.servers.append(
                    await loop.create_unix_server(self._make_protocol, str(self._uds), backlog=_BACKLOG)
                )
            finally:
                os.umask(before)
        if threading.current_thread() is threading.main_thread():
            loop.add_signal_handler(signal.SIGHUP, self._read_again)
        self._bringing_back = asyncio.create_task(self._bring_back())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._bringing_back is not None:
            await self._bringing_back
        await super().shutdown(sockets=sockets)

    async def _bring_back(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._start)
        except Stopped:
            return
        except Exception as error:
            self.failure = error
            self.should_exit = True
            return
        # What is there now stays: no collection needs to look at it again. That is a third of what decoding a 1 KB push
        # takes.
        gc.freeze()
        self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not uvicorn's own: that one raises the signal again at the end, and the exit status would not be 0.
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        self._drain.begin()

    def greet_with(self, tls: ssl.SSLContext) -> None:
        """Have the connections that come from now on begin with these certificates and authorities."""
        for each in self._greeting:
            each.context = tls

    def _make_protocol(self, before: Callable[[], None] = lambda: None) -> Any:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state, before=before
        )
