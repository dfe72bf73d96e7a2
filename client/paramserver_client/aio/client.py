"""The client for asyncio. Its calls are in `calls`, which is made from the calls of the sync client."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from paramserver_client.aio.calls import AllCalls
from paramserver_client.aio.embedded import AsyncEmbeddedTransport
from paramserver_client.aio.one_loop import in_one_loop
from paramserver_client.aio.transport import AsyncBaseTransport, AsyncTransport, transport_of
from paramserver_client.client import settled
from paramserver_client.request_ids import RequestIds
from paramserver_client.tokens import token_of_the_environment


class AsyncParameterClient(AllCalls):
    """`ParameterClient` for asyncio: the same calls, arguments, promises and errors, each call awaited.

    With `url` (default: `PARAMSERVER_URL`) it speaks HTTP to that server over sockets that never block the event loop.
    Without a URL it is *embedded*: a server of its own inside this process, whose work is done in threads; `data_dir`
    is opened, and its newest checkpoint restored, at the first call.

    Many tasks may use one client at once; each call has a connection for itself. A call that is cancelled closes its
    connection. Whether a cancelled write was applied is not known: read to find out. The client is bound to no event
    loop, and may be used in several (but not with `httpx.AsyncHTTPTransport` as its `transport`: RuntimeError).

    >>> import numpy as np
    >>> import paramserver_client as ps
    >>> client = ps.AsyncParameterClient()
    >>> (await client.create_variable("layer/weight", value=np.zeros(2, np.float32))).version
    1
    >>> (await client.push({"layer/weight": np.array([1, 2], np.float32)})).versions
    {'layer/weight': 2}
    >>> await client.read("layer/weight")
    array([1., 2.], dtype=float32)
    >>> await client.close()
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        client_id: str | None = None,
        transport: AsyncBaseTransport | AsyncTransport | None = None,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        where = settled(url, transport, data_dir, timeout_s)
        self._timeout_s = timeout_s
        self._request_ids = RequestIds(client_id)
        if where is None and transport is None:
            self._transport = AsyncEmbeddedTransport(data_dir=data_dir)
        else:
            self._transport = transport_of(where, token or token_of_the_environment(), in_one_loop(transport))

    @property
    def transport(self) -> AsyncTransport:
        """The way to the server, below ids and types: for tests and tools that deliver messages of their own."""
        return self._transport

    async def close(self) -> None:
        """Let go of connections; an embedded server with a `data_dir` saves a last checkpoint.

        Call it once all calls are done: later ones raise RuntimeError. A second time it does nothing.
        """
        if not self._closed:
            self._closed = True
            await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
