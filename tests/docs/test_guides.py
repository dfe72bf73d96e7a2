"""What the guides quote is what is in the repository."""

from __future__ import annotations

from pathlib import Path

from support.pages import blocks_of

ROOT = Path(__file__).parents[2]


def test_the_torch_guide_shows_the_worker_as_it_is() -> None:
    shown = [block.text for block in blocks_of(ROOT / "docs" / "guides" / "from-torch.md") if block.language == "py"]
    assert shown == [(ROOT / "examples" / "torch_digits.py").read_text()]
