"""The token of the environment: from the file that `PARAMSERVER_TOKEN_FILE` names, or else `PARAMSERVER_TOKEN`."""

from __future__ import annotations

import os


def token_of_the_environment() -> str | None:
    """The token, or None. Raises `ValueError` when the file cannot be read or holds none; it never shows the token."""
    path = os.environ.get("PARAMSERVER_TOKEN_FILE")
    if not path:
        return os.environ.get("PARAMSERVER_TOKEN") or None
    try:
        with open(path, encoding="utf-8") as file:
            token = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"Wanted a token in {path} (PARAMSERVER_TOKEN_FILE), which cannot be read: {error}.") from None
    if not token:
        raise ValueError(f"Wanted a token in {path} (PARAMSERVER_TOKEN_FILE), got an empty file.")
    return token
