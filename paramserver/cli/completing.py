"""What the shell offers when somebody presses Tab at a name: the server is asked, for at most a second."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import typer

from paramserver.cli.asking import impatient_transport
from paramserver.tokens import read_token

if TYPE_CHECKING:
    from paramserver_client import ParameterClient

_TIMEOUT_S: Final = 1.0


def variables(ctx: typer.Context, incomplete: str) -> list[str]:
    """The variables of the server whose names begin like that."""
    return _asked(ctx, incomplete, lambda client: _names(client, incomplete))


def scopes(ctx: typer.Context, incomplete: str) -> list[str]:
    """The scopes and variables of the server whose names begin like that."""

    def found(client: ParameterClient) -> Iterable[str]:
        for name in _names(client, incomplete):
            segments = name.split("/")
            yield from ("/".join(segments[: depth + 1]) for depth in range(len(segments)))

    return _asked(ctx, incomplete, found)


def checkpoints(ctx: typer.Context, incomplete: str) -> list[str]:
    """The checkpoints of the server whose ids begin like that, newest first; `latest` is one."""
    return _asked(ctx, incomplete, lambda client: ["latest", *(each.id for each in client.checkpoints())])


def optimizers(ctx: typer.Context, incomplete: str) -> list[str]:
    """The optimizers of the server whose names begin like that."""
    return _asked(ctx, incomplete, lambda client: [each.name for each in client.optimizers()])


def _names(client: ParameterClient, incomplete: str) -> list[str]:
    scope = incomplete.rpartition("/")[0]
    return [each.name for each in client.list_variables(prefix=scope or None)]


def _asked(ctx: typer.Context, incomplete: str, ask: Callable[[ParameterClient], Iterable[str]]) -> list[str]:
    """What the server of the command line so far says; nothing when it does not, for whatever reason."""
    try:
        from paramserver_client import ParameterClient

        given: dict[str, Any] = ctx.params
        token = None if given.get("token_file") is None else read_token(given["token_file"])
        with ParameterClient(
            given["url"], token=token, timeout_s=_TIMEOUT_S, transport=impatient_transport()
        ) as client:
            return [name for name in dict.fromkeys(ask(client)) if name.startswith(incomplete)]
    except Exception:
        # Whatever is said here would stand in the middle of what somebody types.
        return []
