"""The client: one method per thing a worker can ask of a parameter server. The methods themselves are in `calls`."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from paramserver_client.calls import AllCalls
from paramserver_client.request_ids import RequestIds
from paramserver_client.tokens import token_of_the_environment
from paramserver_client.transport import BaseTransport, Transport, transport_of


class ParameterClient(AllCalls):
    """A worker's connection to a parameter server, or a whole server in this process.

    With `url` (default: `PARAMSERVER_URL`) it speaks HTTP to that server, with `token` if it wants one (default: what is
    in the file that `PARAMSERVER_TOKEN_FILE` names, or else `PARAMSERVER_TOKEN`). Without a URL it is *embedded*: a
    server of its own inside this process, with the same promises and no network; `data_dir` gives it a place for
    checkpoints.

    Every call blocks until it is answered, refused, or `timeout_s` seconds have passed. Refusals for now and broken
    connections are tried again meanwhile, a write always with its first request id, so that it is applied once. Every
    error is a `ParameterServerError`, whose `outcome` says whether the call was applied; a refused call changed
    nothing. Thread-safe. A forked child can go on using a client over HTTP.

    `client_id` makes the request ids of this client readable. `transport` takes the place of the socket (an
    `httpx.BaseTransport`: a mock, a proxy, an ASGI app) or of the whole way to the server (a `Transport`).

    >>> import numpy as np
    >>> import paramserver_client as ps
    >>> client = ps.ParameterClient()
    >>> client.create_variable("layer/weight", value=np.zeros(2, np.float32)).version
    1
    >>> client.push({"layer/weight": np.array([1, 2], np.float32)}).versions
    {'layer/weight': 2}
    >>> client.read("layer/weight")
    array([1., 2.], dtype=float32)
    >>> client.close()
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        client_id: str | None = None,
        transport: BaseTransport | Transport | None = None,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        where = settled(url, transport, data_dir, timeout_s)
        self._timeout_s = timeout_s
        self._request_ids = RequestIds(client_id)
        if where is None and transport is None:
            self._transport = _embedded(data_dir)
        else:
            self._transport = transport_of(where, token or token_of_the_environment(), transport)

    @property
    def transport(self) -> Transport:
        """The way to the server, below ids and types: for tests and tools that deliver messages of their own."""
        return self._transport

    def close(self) -> None:
        """Let go of connections; an embedded server with a `data_dir` saves a last checkpoint.

        Call it once all calls are done: later ones raise RuntimeError. A second time it does nothing.
        """
        if not self._closed:
            self._closed = True
            self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def settled(url: str | None, transport: object, data_dir: object, timeout_s: float) -> str | None:
    """The server's URL for the arguments of a client, of the environment if need be; None when there is none.

    Raises ValueError for arguments that cannot be meant.
    """
    if not timeout_s > 0:
        raise ValueError(f"Wanted a timeout_s above 0, got {timeout_s!r}.")
    if data_dir is not None and (url is not None or transport is not None):
        raise ValueError("Wanted a data_dir (embedded) or a server's url, got both. A server has a --data-dir.")
    if url is None and transport is None and data_dir is None:
        return os.environ.get("PARAMSERVER_URL") or None
    return url


def _embedded(data_dir: str | os.PathLike[str] | None) -> Transport:
    from paramserver_client.embedded import EmbeddedTransport

    return EmbeddedTransport.open(data_dir)
