"""What the commands that ask a server share: their options, the client, and what a refusal looks like.

The client is imported when a command runs: `paramserver --help` needs neither numpy nor httpx.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn
from urllib.parse import urlsplit

import typer

from paramserver.tokens import TokenError, read_token

if TYPE_CHECKING:
    from paramserver_client import ParameterClient, SocketTransport
    from paramserver_client.http1 import Head, Origin
    from paramserver_client.socket_transport import Patience, Sending

DEFAULT_URL: Final = "http://127.0.0.1:8080"
REFUSED: Final = 1
USAGE: Final = 2
NOT_REACHED: Final = 3

Url = Annotated[str, typer.Option("--url", envvar="PARAMSERVER_URL", metavar="URL", help="The server to ask.")]
# A token has no flag of its own: whoever runs `ps` would see it.
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar="PARAMSERVER_TOKEN_FILE",
        metavar="FILE",
        help="File with the server's token; it goes before PARAMSERVER_TOKEN.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON in place of text.")]
Timeout = Annotated[int, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long to wait in all.")]
DEFAULT_TIMEOUT_S: Final = 60


class NotReachedError(Exception):
    """Nobody took the first connection."""


@contextmanager
def asking(url: str, timeout_s: int, token_file: Path | None = None) -> Iterator[ParameterClient]:
    """A client of the server at `url`. What goes wrong is told on standard error, and ends the command.

    The status is 1 when the server refused, 3 when there is none, and 2 when `url` is no URL, `token_file` has no
    token, or the certificate to show cannot be used.
    """
    from paramserver_client import DeadlineExceededError, ParameterClient, ParameterServerError, UnreachableError

    try:
        token = None if token_file is None else read_token(token_file)
    except TokenError as error:
        raise typer.BadParameter(str(error), param_hint="'--token-file'") from None
    try:
        transport = impatient_transport()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="PARAMSERVER_CLIENT_CERT") from None
    try:
        client = ParameterClient(url, token=token, timeout_s=timeout_s, transport=transport)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--url'") from error
    try:
        with client:
            yield client
    except NotReachedError as error:
        fail(f"no server at {url}: {error}\n{_how_to_start(url)}", NOT_REACHED)
    except (UnreachableError, DeadlineExceededError) as error:
        fail(f"{error.code}: {error}\n{_how_to_start(url)}", NOT_REACHED)
    except ParameterServerError as error:
        fail(f"{error.code}: {error}", REFUSED)


def fail(reason: str, exit_code: int) -> NoReturn:
    """Say why on standard error, and end the command."""
    print(f"paramserver: {reason}", file=sys.stderr)
    raise typer.Exit(exit_code)


def _how_to_start(url: str) -> str:
    if url.startswith("unix://"):
        command = f"paramserver serve --uds {url.removeprefix('unix://')}"
    else:
        port = urlsplit(url).port
        command = "paramserver serve" if port in (None, 8080) else f"paramserver serve --port {port}"
    return f"Start one with `{command}`, or name another with --url or PARAMSERVER_URL."


def impatient_transport(hear: Callable[[Mapping[str, str]], None] = lambda fields: None) -> SocketTransport:
    """A worker waits for its server to come back; somebody at a terminal wants to know at once that there is none.

    `hear` is told the header fields of every answer.
    """
    import httpx

    from paramserver_client import SocketTransport

    class ImpatientTransport(SocketTransport):
        met = False

        def exchange(self, origin: Origin, sending: Sending, patience: Patience) -> tuple[Head, memoryview]:
            try:
                head, body = super().exchange(origin, sending, patience)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if self.met:
                    raise
                raise NotReachedError(str(error)) from error
            except httpx.TransportError:
                self.met = True
                raise
            self.met = True
            hear(head.by_name)
            return head, body

    return ImpatientTransport()
