"""`paramserver token`: a new token in a file of its own, and the line that lets its holder in."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated, Final

import typer

from paramserver.cli.asking import REFUSED, fail

_EXAMPLES: Final = """\b
Examples:
  paramserver token ops 'admin:*' --to ops.token --add-to tokens
  paramserver token worker 'write:model/*' --to worker.token --add-to tokens
  paramserver token reader 'read:*' --to reader.token   (prints the line)
"""


def register(app: typer.Typer) -> None:
    """Add `token` to the command line."""
    app.command(
        "token",
        help=(
            "Make a token for somebody: it goes into a new file that only you may read. The line that lets its holder in goes "
            "to the end of the server's token file, or is printed; it does not tell the token. Rights are read, write or "
            "admin, a colon, and names: *, a scope as in model/*, or one name; several with commas. A server that runs "
            "reads its file again at SIGHUP."
        ),
        short_help="Make a token, and the line that lets its holder in.",
        epilog=_EXAMPLES,
    )(token)


def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who it is for.", show_default=False)],
    rights: Annotated[
        str, typer.Argument(metavar="RIGHTS", help="What it allows, as in read:*,write:model/*.", show_default=False)
    ],
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="New file for the token.", show_default=False)],
    add_to: Annotated[
        Path | None, typer.Option("--add-to", metavar="FILE", help="The server's token file.", show_default=False)
    ] = None,
) -> None:
    """Make a token."""
    from paramserver.keyring import hashed_line

    if add_to is not None and to.absolute() == add_to.absolute():
        raise typer.BadParameter("--to is the holder's own file, --add-to the server's; give two files")
    made = secrets.token_hex(32)
    try:
        line = hashed_line(made, name, rights)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        _write(to, made, os.O_EXCL)
    except OSError as error:
        fail(f"{to}: {error.strerror or error}; a token goes into a new file, so that none is lost", REFUSED)
    if add_to is None:
        print(line)
        return
    try:
        _write(add_to, line, os.O_APPEND)
    except OSError as error:
        fail(f"{add_to}: {error.strerror or error}; add this line to a file you may write: {line}", REFUSED)
    print(f"{to} is the token of {name}; {add_to} lets it in")


def _write(path: Path, line: str, flag: int) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600)
    # Behind a last line without an end it would be part of that, of a comment perhaps.
    joins = flag == os.O_APPEND and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    with os.fdopen(file, "a" if flag == os.O_APPEND else "w") as opened:
        opened.write(f"{chr(10) if joins else ''}{line}\n")
