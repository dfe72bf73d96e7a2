"""How things look on a terminal and in a pipe: sizes, ages, shapes, tables, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from shutil import get_terminal_size
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")
_LISTED: Final = 20


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. A narrow terminal goes without the columns that are `spare`, the last of them first."""

    title: str
    right: bool = False
    spare: bool = False


def size_text(nbytes: float) -> str:
    """Bytes for humans, in powers of 1000.

    >>> [size_text(nbytes) for nbytes in (0, 999, 1000, 102_228_128, 999_950)]
    ['0 B', '999 B', '1.0 kB', '102.2 MB', '1.0 MB']
    """
    if nbytes < 1000:
        return f"{nbytes:.0f} B"
    power = 0
    while round(nbytes, 1) >= 1000 and power + 1 < len(_UNITS):
        nbytes /= 1000
        power += 1
    return f"{nbytes:.1f} {_UNITS[power]}"


def age_text(seconds: float) -> str:
    """A time span for humans; a clock that runs ahead gives "now".

    >>> [age_text(seconds) for seconds in (-3, 59, 60, 7_199, 200_000, 10_000_000)]
    ['now', '59 s', '1 min', '1 h', '2 d', '115 d']
    """
    if seconds < 1:
        return "now"
    for limit_s, unit_s, unit in ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h")):
        if seconds < limit_s:
            return f"{seconds // unit_s:.0f} {unit}"
    return f"{seconds // 86_400:.0f} d"


def ago_text(seconds: float) -> str:
    """An age as a phrase.

    >>> ago_text(0.2), ago_text(75)
    ('now', '1 min ago')
    """
    age = age_text(seconds)
    return age if age == "now" else f"{age} ago"


def shape_text(shape: Sequence[int]) -> str:
    """A shape in one word.

    >>> shape_text((5, 5, 1, 8)), shape_text(()), shape_text((10,))
    ('5x5x1x8', 'scalar', '10')
    """
    return "x".join(map(str, shape)) or "scalar"


def shown_text(text: str) -> str:
    """Text from a file that anybody may have written: what could steer the terminal is spelled out.

    >>> shown_text("weight"), shown_text("a\\x1b[2Jb")
    ('weight', 'a\\\\x1b[2Jb')
    """
    return text if text.isprintable() else repr(text)[1:-1]


def count_text(count: int, noun: str) -> str:
    """A number and its noun.

    >>> count_text(1, "variable"), count_text(1200, "variable")
    ('1 variable', '1,200 variables')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def names_text(names: Sequence[str]) -> str:
    """Names in one line; of very many, the first ones.

    >>> names_text(["b", "a/w"])
    'b, a/w'
    """
    more = f" and {len(names) - _LISTED:,} more (--json lists all)" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def fields_of(result: Any) -> dict[str, Any]:
    """What a result of the client holds, by name."""
    return {field.name: getattr(result, field.name) for field in fields(result)}


def json_text(document: Mapping[str, Any]) -> str:
    """One field a line, and the items of a list of mappings one a line as well: for eyes, `grep` and `jq` alike."""
    fields = (f"  {json.dumps(name)}: {_items_text(value)}" for name, value in document.items())
    return "{\n" + ",\n".join(fields) + "\n}"


def print_json(document: Mapping[str, Any]) -> None:
    """Print a document as `json_text` has it."""
    print(json_text(document))


def on_terminal() -> bool:
    """Whether standard output is a terminal, as rich sees it (`FORCE_COLOR` counts as one)."""
    from rich.console import Console

    return Console().is_terminal


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: with a ruled head on a terminal, bare words in a pipe."""
    from rich.console import Console

    console = Console(highlight=False, emoji=False, markup=False)
    table = _table(columns, rows, bare=not console.is_terminal)
    if console.is_terminal:
        _fit(table, columns, console)
        console.print(table)
        return
    wide = Console(width=1_000_000, color_system=None, emoji=False)
    with wide.capture() as capture:
        wide.print(table)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def print_fields(fields: Mapping[str, str]) -> None:
    """Print names and values, one pair a line, the values below each other; a terminal's line is kept to."""
    width = max(map(len, fields))
    room = max(20, get_terminal_size().columns - width - 4) if sys.stdout.isatty() else sys.maxsize
    for name, value in fields.items():
        first, *rest = wrap(value, room, break_long_words=False, break_on_hyphens=False) or [""]
        print(f"  {name:<{width}}  {first}")
        for line in rest:
            print(f"  {'':<{width}}  {line}")


def _items_text(value: Any) -> str:
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
        return "[\n" + ",\n".join(f"    {json.dumps(item)}" for item in value) + "\n  ]"
    return json.dumps(value)


def _table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, bare: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None if bare else box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 2 if bare else 1, 0, 0),
        header_style="" if bare else "bold",
        show_edge=False,
    )
    for at, column in enumerate(columns):
        table.add_column(
            Text(column.title), justify="right" if column.right else "left", no_wrap=at > 0, overflow="fold"
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _fit(table: Table, columns: Sequence[Column], console: Console) -> None:
    """Take spare columns out until the table fits. What is still too wide folds the first column."""
    unlimited = console.options.update(max_width=1_000_000)
    for at in reversed(range(len(columns))):
        if table.__rich_measure__(console, unlimited).maximum <= console.width:
            return
        if columns[at].spare:
            del table.columns[at]


def progress_bar() -> Progress:
    """A bar on standard error that goes away when it is done: standard output is for the result."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
