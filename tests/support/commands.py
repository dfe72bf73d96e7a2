"""How tests run commands."""

from __future__ import annotations

from typing import Protocol

from typer.testing import Result


class Run(Protocol):
    """Runs `paramserver ...` in this process against the server at `url`, or that of the test."""

    def __call__(self, *arguments: str, url: str | None = None) -> Result:
        """Run it to its end."""
