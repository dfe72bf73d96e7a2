"""`python -m paramserver.cli.health [URL]`: exit status 0 when the server there takes requests, else 1.

For health checks of containers, which run every few seconds: it imports nothing beyond the standard library. Without a
URL it asks the server that this environment describes (`PARAMSERVER_UDS`, `PARAMSERVER_HOST`, `PARAMSERVER_PORT`, `PARAMSERVER_TLS_CERT`;
`PARAMSERVER_CLIENT_CERT` where that wants to be shown one).
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import sys
from collections.abc import Mapping
from contextlib import closing
from typing import Final

_TIMEOUT_S: Final = 2.0
# Listening on every address is no address to ask.
_ANY: Final[Mapping[str, str]] = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Say in a line how the server is; 0 when it is ready, 1 when it is not or there is none, 2 for what is no URL."""
    if len(arguments) > 1 or any(not url.startswith("http://") for url in arguments):
        print("usage: python -m paramserver.cli.health [http://HOST:PORT]", file=sys.stderr)
        return 2
    try:
        with closing(_connection(arguments, environment)) as connection:
            connection.request("GET", "/readyz", headers={"Host": "localhost", "Connection": "close"})
            with closing(connection.getresponse()) as answer:
                state = answer.read(200).decode("latin-1")
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"no server: {error}")
        return 1
    print(f"{answer.status} {state}")
    return 0 if answer.status == 200 else 1


def _connection(arguments: list[str], environment: Mapping[str, str]) -> http.client.HTTPConnection:
    path = environment.get("PARAMSERVER_UDS")
    if path and not arguments:
        return _UnixConnection(path)
    if arguments:
        return http.client.HTTPConnection(arguments[0].removeprefix("http://").rstrip("/"), timeout=_TIMEOUT_S)
    host = environment.get("PARAMSERVER_HOST") or "127.0.0.1"
    port = int(environment.get("PARAMSERVER_PORT") or "8080")
    if environment.get("PARAMSERVER_TLS_CERT"):
        # It asks itself, and nothing secret: whose certificate it is does not matter.
        context = ssl._create_unverified_context()
        if cert := environment.get("PARAMSERVER_CLIENT_CERT"):
            context.load_cert_chain(cert, environment.get("PARAMSERVER_CLIENT_KEY") or None)
        return http.client.HTTPSConnection(_ANY.get(host, host), port, timeout=_TIMEOUT_S, context=context)
    return http.client.HTTPConnection(_ANY.get(host, host), port, timeout=_TIMEOUT_S)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket; `close` closes it, connected or not."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(self._path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
