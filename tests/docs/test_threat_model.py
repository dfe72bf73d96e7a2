"""Every test that the threat model names is there, and every attack is named in it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text()


def test_what_it_names_is_there() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|") and "`tests/" in line]
    assert len(rows) > 15
    for name in re.findall(r"`(tests/[^`]+)`", PAGE):
        assert (ROOT / name).exists(), name


def test_every_attack_is_named() -> None:
    for path in (ROOT / "tests" / "attacks").glob("test_*.py"):
        assert f"`tests/attacks/{path.name}`" in PAGE, path.name
