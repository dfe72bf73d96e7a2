"""The figures as tables: for a terminal, and for docs/performance.md between its marks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.peers.contestants import CONTESTANTS, OURS
from benchmarks.peers.measuring import CASES, STEPS, Case, Rates

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
_WIDE: Final = 150


def print_table(rates: Rates, names: Sequence[str], cases: Sequence[Case] = CASES) -> None:
    """One table; a section for each step and number of workers."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDE, color_system=None)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("GB/s, and in ratio to ours by TCP")
    for case in cases:
        table.add_column(_short(case), justify="right", no_wrap=True)
    for step in STEPS:
        for count in (1, 2):
            table.add_section()
            table.add_row(f"[bold]{step}, {count} worker{'s' if count > 1 else ''}")
            for name in names:
                table.add_row(f"  {name}", *(_cell(rates, (name, case.name, count, step)) for case in cases))
    console.print(table)
    for name, reason in rates.missing.items():
        console.print(f"missing: {name}: {reason}", soft_wrap=True)


def markdown(rates: Rates, about: str, versions: Sequence[str]) -> str:
    """The same for the page."""
    return "\n".join(_lines(rates, about, versions))


def _lines(rates: Rates, about: str, versions: Sequence[str]) -> Iterator[str]:
    yield f"{about}. Beside: {', '.join(versions) or 'nobody'}."
    for step in STEPS:
        for count in (1, 2):
            yield ""
            yield f"**{step}, {count} worker{'s' if count > 1 else ''}**: GB/s, in brackets in ratio to ours by TCP without a journal"
            yield ""
            yield f"| | {' | '.join(map(_short, CASES))} |"
            yield f"|---|{'---:|' * len(CASES)}"
            for contestant in CONTESTANTS:
                name = f"**{contestant.name}**" if contestant.driver == "ours" else contestant.name
                cells = [_cell(rates, (contestant.name, case.name, count, step)) for case in CASES]
                yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    yield "What the figures of each leave out:"
    yield ""
    for contestant in CONTESTANTS:
        gone = rates.missing.get(contestant.name)
        yield f"- {contestant.name}: {contestant.leaves_out}{f'. **Missing**: {gone}' if gone else ''}"


def _cell(rates: Rates, key: tuple[str, str, int, str]) -> str:
    rate, ratio = rates.median(key), rates.ratio(key)
    if rate is None:
        return "missing"
    return f"{rate / 1e9:.3g}" + ("" if ratio is None or key[0] == OURS else f" ({ratio:.2g})")


def _short(case: Case) -> str:
    return case.name.partition(",")[0]


def as_json(rates: Rates, curves: Mapping[str, object]) -> dict[str, object]:
    """What the plots are drawn from."""
    found = [
        {
            "name": name,
            "case": case.name,
            "nbytes": case.nbytes,
            "workers": count,
            "step": step,
            "rate": rates.median(key),
        }
        for case in CASES
        for name in (each.name for each in CONTESTANTS)
        for count in (1, 2)
        for step in STEPS
        if rates.median(key := (name, case.name, count, step)) is not None
    ]
    return {"rates": found, "curves": curves}
