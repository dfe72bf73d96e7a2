from __future__ import annotations

from pathlib import Path

import pytest

from paramserver.tokens import MAX_NBYTES, TokenError, checked_token, read_token, warnings_about


@pytest.mark.parametrize("given", ["abc", " abc\n", "abc\r\n", "\tabc"])
def test_white_space_around_it_is_no_part_of_it(given: str) -> None:
    assert checked_token(given) == "abc"


@pytest.mark.parametrize("given", ["", " ", "\n\n", "a b", "a\nb", "tökén", "a\x00b", "x" * (MAX_NBYTES + 1)])
def test_what_is_no_token(given: str) -> None:
    with pytest.raises(TokenError) as raised:
        checked_token(given)
    assert "openssl rand" in str(raised.value)
    assert not given.strip() or given.strip() not in str(raised.value)


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("abc\n")
    assert read_token(file) == "abc"
    for content in (b"", b" \n", b"\xff\xfe", b"a\nb\n", b"x" * 100_000):
        file.write_bytes(content)
        with pytest.raises(TokenError, match="token file"):
            read_token(file)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(TokenError, match=str(path)):
            read_token(path)


def test_what_is_unwise(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("x" * 32)
    file.chmod(0o600)
    assert warnings_about("x" * 32, file) == []
    assert warnings_about("x" * 32, None) == []
    file.chmod(0o644)
    (readable,) = warnings_about("x" * 32, file)
    assert "chmod 600" in readable
    (short,) = warnings_about("abc", None)
    assert "guessed" in short
    assert "abc" not in short
