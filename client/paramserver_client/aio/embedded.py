"""A parameter server inside this process for the async client: the engine's work is done in threads."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from paramserver_wire.messages import Answer, Message

if TYPE_CHECKING:
    from paramserver_client.transport import Transport

# A long poll holds its thread for up to a minute, so the threads are more than the processors could use.
MAX_THREADS: Final = 256


class AsyncEmbeddedTransport:
    """Hands messages to a transport of the sync client in threads of its own, so that no event loop ever waits.

    `transport` does the work; without one an embedded server is opened at the first message, for opening may restore a
    checkpoint. A call that is cancelled is carried out all the same, if its thread had begun.
    """

    def __init__(self, transport: Transport | None = None, *, data_dir: str | os.PathLike[str] | None = None) -> None:
        self._transport = transport
        self._data_dir = data_dir
        self._opening = threading.Lock()
        self._threads = ThreadPoolExecutor(MAX_THREADS, "paramserver-embedded")

    async def deliver(self, message: Message, timeout_s: float) -> Answer:
        """Have the message performed and return the answer, or raise a `ParameterServerError`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._deliver, message, timeout_s)

    async def close(self) -> None:
        """Close the embedded server: with a data directory it saves a last checkpoint. A second time does nothing."""
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    def _deliver(self, message: Message, timeout_s: float) -> Answer:
        return self._opened().deliver(message, timeout_s)

    def _opened(self) -> Transport:
        with self._opening:
            if self._transport is None:
                from paramserver_client.embedded import EmbeddedTransport

                self._transport = EmbeddedTransport.open(self._data_dir)
            return self._transport

    def _close(self) -> None:
        self._threads.shutdown()
        with self._opening:
            if self._transport is not None:
                self._transport.close()
