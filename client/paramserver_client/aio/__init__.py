"""The client for asyncio. All of it but `client`, `embedded`, `one_loop` and `waiting` is made by `make generate`."""

from paramserver_client.aio.client import AsyncParameterClient
from paramserver_client.aio.socket_transport import AsyncSocketTransport
from paramserver_client.aio.transport import AsyncHttpTransport, AsyncTransport

__all__ = ["AsyncHttpTransport", "AsyncParameterClient", "AsyncSocketTransport", "AsyncTransport"]
