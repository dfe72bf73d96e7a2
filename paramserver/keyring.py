"""The tokens that open a server, and the file they are kept in.

Each line of the file is a token that allows everything, or what is known of one without telling it:

    sha256:9f86d081... name=worker scopes=read:model/*,write:model/*

Several tokens may be live, under one name or several: that is how one is replaced. Lines that are empty or begin with # say
nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from paramserver.grants import ALL, Grant, grant_of
from paramserver.tokens import TokenError, checked_token, warnings_about, warnings_about_file

MAX_FILE_NBYTES: Final = 1 << 20
HASHED: Final = "sha256:"
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HOLDER: Final = "token"


class Keyring(NamedTuple):
    """Grants by the sha256 of their token, and what is unwise about them. `plain` is a token that stands there as it is."""

    grants: Mapping[bytes, Grant]
    warnings: tuple[str, ...] = ()
    plain: str | None = None


def digest_of(token: bytes) -> bytes:
    """What is remembered of a token."""
    return hashlib.sha256(token).digest()


def one_token(token: str) -> Keyring:
    """A token that allows everything, from the environment."""
    grants = {digest_of(token.encode()): Grant(_HOLDER, (ALL,))}
    return Keyring(grants, tuple(warnings_about(token, None)), token)


def read_keyring(path: Path) -> Keyring:
    """The tokens in the file at `path`. Raises `TokenError`, naming the line, when there is none or one is no token."""
    grants: dict[bytes, Grant] = {}
    lines = _lines(path)
    warnings = dict.fromkeys(warnings_about_file(path))
    plain: str | None = None
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        try:
            digest, grant = _entry(line)
        except ValueError as error:
            raise TokenError(f"token file {path}, line {number}: {error}") from None
        if digest in grants:
            raise TokenError(f"token file {path}, line {number}: this token stands there twice; keep one of the lines")
        grants[digest] = grant
        if not line.startswith(HASHED):
            plain = plain or line
            warnings.update(dict.fromkeys(warnings_about(line, path)))
    if not grants:
        raise TokenError(f"token file {path}: there is no token in it; make one with: openssl rand -hex 32")
    return Keyring(grants, tuple(warnings), plain)


def hashed_line(token: str, name: str, scopes: str) -> str:
    """The line of a token file that lets the holder of `token` in. Raises `ValueError` for what cannot stand there."""
    line = f"{HASHED}{digest_of(checked_token(token).encode()).hex()} name={name} scopes={scopes}"
    _entry(line)
    return line


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_NBYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise TokenError(f"token file {path}: {error.strerror or error}; give a file this user may read") from None
    except UnicodeDecodeError:
        raise TokenError(f"token file {path}: it is no text; make one with: openssl rand -hex 32") from None
    if len(content) > MAX_FILE_NBYTES:
        raise TokenError(f"token file {path}: it has more than {MAX_FILE_NBYTES} bytes; keep only the tokens in use")
    return [line.strip() for line in text.splitlines()]


def _entry(line: str) -> tuple[bytes, Grant]:
    if not line.startswith(HASHED):
        return digest_of(checked_token(line).encode()), Grant(_HOLDER, (ALL,))
    first, *fields = line.split()
    found = _DIGEST.fullmatch(first)
    if found is None:
        raise ValueError(f"{HASHED} is followed by 64 hexadecimal digits in lower case, as sha256sum prints them")
    given = dict(field.partition("=")[::2] for field in fields)
    if given.keys() != {"name", "scopes"} or len(fields) != 2:
        raise ValueError("behind the digest stand name=NAME and scopes=RIGHTS, each once, and nothing else")
    if _NAME.fullmatch(given["name"]) is None:
        raise ValueError("a name has 1 to 64 letters, digits, '_', '.' and '-'")
    return bytes.fromhex(found[1]), grant_of(given["name"], given["scopes"])
