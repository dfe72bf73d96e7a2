"""What was measured, as a table and as JSON, with the machine it was measured on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.measuring import Figure, Result, Target

_WIDE: Final = 100
_SIGNS: Final = {"at least": ">=", "at most": "<="}


def machine() -> dict[str, Any]:
    """Where this runs. `load` is the machine's load before the first round: above 0 it was busy with something else."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "uvloop": _version_or_none("uvloop"),
        "zlib-ng": _version_or_none("zlib-ng"),
        "load": round(os.getloadavg()[0], 2),
    }


def as_json(results: Sequence[Result], about: dict[str, Any]) -> str:
    """Everything, for machines."""
    return json.dumps({**about, "results": [{**asdict(each), "met": each.met} for each in results]}, indent=2)


def print_table(results: Sequence[Result], about: dict[str, Any], notes: Sequence[str]) -> None:
    """One table, with a section for each group."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDE, color_system=None)
    console.print(", ".join(f"{name} {value}" for name, value in about["machine"].items()), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    wide = console.width >= _WIDE
    for title in ("size", "SDK", *(["low .. high"] if wide else []), "raw TCP", "ratio", "wanted"):
        table.add_column(title, justify="left" if title == "wanted" else "right", no_wrap=True)
    group = ""
    for each in results:
        if each.group != group:
            group = each.group
            if table.row_count:
                table.add_section()
            table.add_row(Text(group, style="bold"))
        table.add_row(*_row(each, wide))
    console.print(table)
    for note in notes:
        console.print(note, soft_wrap=True)


def _row(result: Result, wide: bool) -> list[Text]:
    style = {True: "green", False: "bold red", None: ""}[result.met]
    return [
        Text(f"  {result.name}"),
        Text("" if result.nbytes is None else _size_text(result.nbytes)),
        Text(_figure_text(result.value.median, result.unit)),
        *([Text(_range_text(result.value, result.unit))] if wide else []),
        Text("" if result.raw is None else _figure_text(result.raw.median, result.unit)),
        Text("" if result.ratio is None else f"{result.ratio:.2f}", style=style),
        Text("" if result.target is None else _target_text(result.target, result.unit, result.met), style=style),
    ]


def _target_text(target: Target, unit: str, met: bool | None) -> str:
    limit = f"{target.limit:g} {unit}" if target.of == "value" else f"{target.limit:g}"
    return f"{_SIGNS[target.rule]} {limit} {'met' if met else 'MISSED'}"


def _range_text(value: Figure, unit: str) -> str:
    return "" if value.low == value.high else f"{_number_text(value.low, unit)} .. {_number_text(value.high, unit)}"


def _figure_text(value: float, unit: str) -> str:
    return f"{_number_text(value, unit)} {unit}"


def _number_text(value: float, unit: str) -> str:
    if unit == "GB/s":
        return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
    return f"{value:,.0f}" if unit == "/s" else f"{value:.1f}"


def _size_text(nbytes: int) -> str:
    return f"{nbytes / 1e6:,.0f} MB" if nbytes >= 1e6 else f"{nbytes / 1e3:.0f} KB"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version_or_none(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def between(page: str, mark: str) -> tuple[str, str, str]:
    """A page before, between and behind the two marks of that name. Raises `ValueError` for a page without them."""
    before, begin, rest = page.partition(f"<!-- {mark}: begin -->\n")
    inside, end, after = rest.partition(f"<!-- {mark}: end -->")
    if not (begin and end):
        raise ValueError(f"the page has no marks <!-- {mark}: begin --> and <!-- {mark}: end --> on lines of their own")
    return before + begin, inside, end + after


def write_between(page: Path, mark: str, text: str) -> None:
    """Put `text` into the page, between its two marks. Raises as `between`."""
    before, _, after = between(page.read_text(encoding="utf-8"), mark)
    page.write_text(f"{before}{text}\n{after}", encoding="utf-8")
