from __future__ import annotations

from pathlib import Path

import pytest

import paramserver_client as ps
from paramserver_client.tokens import token_of_the_environment


def test_the_file_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert token_of_the_environment() is None
    monkeypatch.setenv("PARAMSERVER_TOKEN", "plain")
    assert token_of_the_environment() == "plain"
    file = tmp_path / "token"
    file.write_text("of-the-file\n")
    monkeypatch.setenv("PARAMSERVER_TOKEN_FILE", str(file))
    assert token_of_the_environment() == "of-the-file"
    monkeypatch.setenv("PARAMSERVER_TOKEN_FILE", "")
    assert token_of_the_environment() == "plain"


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_a_file_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("PARAMSERVER_TOKEN_FILE", str(file))
    with pytest.raises(ValueError, match="PARAMSERVER_TOKEN_FILE"):
        ps.ParameterClient("http://127.0.0.1:9")
