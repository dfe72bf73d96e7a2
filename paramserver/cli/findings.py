"""What `paramserver doctor` finds: one line each, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from shutil import get_terminal_size
from textwrap import wrap
from typing import Final, Literal

Verdict = Literal["ok", "warn", "problem"]

_SUBJECT: Final = 15
_INDENT: Final = 8 + 1 + _SUBJECT + 1
_STYLES: Final = {"ok": "green", "warn": "yellow", "problem": "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was found, and, unless it is ok, what to do."""

    subject: str
    verdict: Verdict
    found: str
    advice: str = ""


def print_findings(findings: Iterable[Finding]) -> None:
    """Print each finding as it comes, its advice below it; in colours on a terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, emoji=False, markup=False, soft_wrap=True)
    room = max(40, console.width if console.is_terminal else get_terminal_size((100, 24)).columns) - _INDENT
    for finding in findings:
        first, *rest = wrap(finding.found, room, break_on_hyphens=False) or [""]
        console.print(
            Text(f"{finding.verdict:<8}", _STYLES[finding.verdict]), Text(f"{finding.subject:<{_SUBJECT}}"), first
        )
        for line in [*rest, *wrap(finding.advice, room, initial_indent="> ", subsequent_indent="  ")]:
            console.print(" " * _INDENT + line)


def summary_text(findings: Sequence[Finding]) -> str:
    """How many of each, in one line.

    >>> summary_text([Finding("a", "ok", ""), Finding("b", "warn", ""), Finding("c", "warn", "")])
    '1 ok, 2 warnings, no problem'
    """
    ok, warnings, problems = (
        sum(finding.verdict == verdict for finding in findings) for verdict in ("ok", "warn", "problem")
    )
    return (
        f"{ok} ok, {warnings or 'no'} warning{'' if warnings < 2 else 's'}, "
        f"{problems or 'no'} problem{'' if problems < 2 else 's'}"
    )
