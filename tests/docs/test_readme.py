"""The README's two commands."""

from __future__ import annotations

import re
from pathlib import Path

from support.pages import blocks_of, curl_blocks

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = next(block.text for block in blocks_of(README) if block.language == "console")
    targets = [line.removeprefix("$ make ") for line in commands.splitlines()]
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_curl_session_is_there() -> None:
    assert len(curl_blocks(README)) == 2
