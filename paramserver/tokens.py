"""The one token that opens a server, and the file it is kept in."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

MAX_NBYTES: Final = 4096
# An attacker who may try as often as the network lets him needs ages for 128 random bits: 22 characters of base64.
SHORT: Final = 16


class TokenError(ValueError):
    """What was given is no token. The message never holds the token itself."""


def checked_token(given: str) -> str:
    """The token in `given`, without white space around it. Raises `TokenError` unless it can travel in a header."""
    token = given.strip()
    if not token:
        raise TokenError("the token is empty; make one with: openssl rand -hex 32")
    if not (token.isascii() and token.isprintable()) or " " in token or len(token) > MAX_NBYTES:
        raise TokenError(
            f"wanted one token of at most {MAX_NBYTES} visible ASCII characters without spaces, got something else; "
            "make one with: openssl rand -hex 32"
        )
    return token


def read_token(path: Path) -> str:
    """The token in the file at `path`: its one line. Raises `TokenError` when there is none, or it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(2 * MAX_NBYTES)
    except OSError as error:
        raise TokenError(f"token file {path}: {error.strerror or error}; give a file this user may read") from None
    try:
        return checked_token(content.decode("utf-8"))
    except (TokenError, UnicodeDecodeError) as error:
        reason = error if isinstance(error, TokenError) else "it is no text; make one with: openssl rand -hex 32"
        raise TokenError(f"token file {path}: {reason}") from None


def warnings_about(token: str, path: Path | None) -> list[str]:
    """What is unwise about a token: that it can be guessed, or that others on this machine can read its file."""
    found = []
    if len(token) < SHORT:
        found.append(f"the token has {len(token)} characters and can be guessed; make one with: openssl rand -hex 32")
    # Container engines mount secrets below /run/secrets readable for all, which there means this process.
    if path is not None and not path.is_relative_to("/run/secrets") and path.stat().st_mode & stat.S_IROTH:
        found.append(f"token file {path} can be read by every user of this machine; run: chmod 600 {path}")
    return found


def warnings_about_file(path: Path) -> list[str]:
    """What is unwise about a token file, whatever is in it: that others could let themselves in."""
    if path.stat().st_mode & stat.S_IWOTH:
        return [f"token file {path} can be written by every user of this machine; run: chmod o-w {path}"]
    return []
