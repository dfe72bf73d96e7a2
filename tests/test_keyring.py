from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from paramserver.grants import ALL, Need
from paramserver.keyring import MAX_FILE_NBYTES, hashed_line, read_keyring
from paramserver.tokens import TokenError

TOKEN = "5f2b7c0d9e8a41663df07a1c2b9e4d58"
DIGEST = hashlib.sha256(TOKEN.encode()).digest()
HASHED = f"sha256:{DIGEST.hex()}"


def keyring(tmp_path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    file = tmp_path / "tokens"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    file.chmod(mode)
    return file


def test_a_file_of_one_token_allows_everything(tmp_path: Path) -> None:
    found = read_keyring(keyring(tmp_path, f"{TOKEN}\n"))
    assert found.grants[DIGEST].unlimited
    assert (found.warnings, found.plain) == ((), TOKEN)


def test_a_file_of_several(tmp_path: Path) -> None:
    lines = [
        "# the ops team",
        hashed_line("x" * 32, "ops", "admin:*"),
        "",
        f"  {HASHED} name=w-1 scopes=read:a,write:b/*  ",
    ]
    found = read_keyring(keyring(tmp_path, "\n".join(lines)))
    assert found.plain is None
    assert [grant.holder for grant in found.grants.values()] == ["ops", "w-1"]
    assert found.grants[DIGEST].rights == (Need("read", "a"), Need("write", "b", True))
    assert next(iter(found.grants.values())).rights == (ALL,)


def test_two_tokens_of_one_name_are_how_one_is_replaced(tmp_path: Path) -> None:
    lines = [hashed_line(token * 32, "ops", "admin:*") for token in "xy"]
    assert len(read_keyring(keyring(tmp_path, "\n".join(lines))).grants) == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"{HASHED[:-1]} name=a scopes=read:*", "64 hexadecimal digits"),
        (f"{HASHED.upper().replace('SHA', 'sha')} name=a scopes=read:*", "64 hexadecimal digits"),
        (HASHED, "name=NAME and scopes=RIGHTS"),
        (f"{HASHED} name=a", "name=NAME and scopes=RIGHTS"),
        (f"{HASHED} name=a scopes=read:* more=1", "name=NAME and scopes=RIGHTS"),
        (f"{HASHED} name=a scopes=read:* name=b", "name=NAME and scopes=RIGHTS"),
        (f"{HASHED} name= scopes=read:*", "1 to 64 letters"),
        (f"{HASHED} name=a scopes=", "read, write or admin"),
        (f"{HASHED} name=a scopes=root:*", "read, write or admin"),
        (f"{HASHED} name=a scopes=read", "read, write or admin"),
        (f"{HASHED} name=a scopes=read:a/../b/*", "names are"),
        (f"{HASHED} name=a scopes=read:a*", "names are"),
        (f"{HASHED} name=a scopes=read:*,", "read, write or admin"),
        (f"{HASHED} name=a scopes=read:*, write:*", "name=NAME"),
        (f"{TOKEN} {TOKEN}", "visible ASCII"),
    ],
)
def test_a_line_that_is_none_is_named_and_not_repeated(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(TokenError, match=words) as raised:
        read_keyring(keyring(tmp_path, f"# first\n{line}\n"))
    assert "line 2" in str(raised.value)
    assert TOKEN not in str(raised.value)
    assert DIGEST.hex() not in str(raised.value)


def test_one_that_stands_there_twice(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match=r"line 2.*twice"):
        read_keyring(keyring(tmp_path, f"{TOKEN}\n{HASHED} name=a scopes=read:*\n"))


@pytest.mark.parametrize("content", ["", "\n# nothing\n", b"\xff\xfe", "#" * (MAX_FILE_NBYTES + 1)])
def test_a_file_that_is_none(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(TokenError, match="token file"):
        read_keyring(keyring(tmp_path, content))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="may read"):
        read_keyring(tmp_path / "nowhere")


def test_what_is_unwise(tmp_path: Path) -> None:
    (readable,) = read_keyring(keyring(tmp_path, TOKEN, 0o644)).warnings
    assert "chmod 600" in readable
    (short,) = read_keyring(keyring(tmp_path, "abc")).warnings
    assert "guessed" in short
    (open_to_all,) = read_keyring(keyring(tmp_path, f"{HASHED} name=a scopes=read:*", 0o602)).warnings
    assert "written by every user" in open_to_all
    # Who can read a digest cannot come in with it.
    assert read_keyring(keyring(tmp_path, f"{HASHED} name=a scopes=read:*", 0o644)).warnings == ()
