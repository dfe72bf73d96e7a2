"""`paramserver inspect`: what a checkpoint, a data directory or a safetensors file holds, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from paramserver.cli.asking import REFUSED, USAGE, Json, fail
from paramserver.cli.inspecting import show_value
from paramserver.cli.saved import show_checkpoint, show_data_directory
from paramserver.cli.showing import (
    Column,
    count_text,
    print_fields,
    print_json,
    print_table,
    shape_text,
    shown_text,
    size_text,
)

_COLUMNS: Final = (Column("name"), Column("shape"), Column("dtype"), Column("size", right=True))
_EXAMPLES: Final = """\b
Examples:
  paramserver inspect data                    the checkpoints of a server
  paramserver inspect data/checkpoints/epoch-3.*
  paramserver inspect data --verify           read all, compare checksums
  paramserver inspect model.safetensors --variable conv1/weight
  paramserver inspect model.safetensors --json | jq -r '.variables[].name'
"""


def register(app: typer.Typer) -> None:
    """Add `inspect` to the command line."""
    app.command(
        "inspect",
        help=(
            "Show what a checkpoint directory, a data directory or a .safetensors file holds. It needs no server and "
            "changes nothing. With --verify it ends with 1 when anything is damaged."
        ),
        short_help="Show what is in a checkpoint or file, offline.",
        epilog=_EXAMPLES,
    )(inspect)


def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The directory or file.", show_default=False)],
    verify: Annotated[bool, typer.Option("--verify", help="Read all values and compare every checksum.")] = False,
    variable: Annotated[
        str | None, typer.Option("--variable", metavar="NAME", help="Show this variable and its value.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what is on disk."""
    from paramserver.checkpoint import CheckpointError, is_data_directory

    if not path.exists():
        fail(f"{path}: there is no such file or directory", USAGE)
    try:
        if path.name == "manifest.json" or (path / "manifest.json").exists():
            directory = path.parent if path.is_file() else path
            show_checkpoint(directory, verify=verify, variable=variable, as_json=as_json)
        elif path.is_file():
            _file(path, variable, as_json)
        elif is_data_directory(path) or (path / "checkpoint.json").exists():
            if variable is not None:
                fail(f"{path} is a data directory; give the directory of one of its checkpoints for --variable", USAGE)
            show_data_directory(path if is_data_directory(path) else path.parent, verify=verify, as_json=as_json)
        else:
            fail(f"{path} holds no checkpoint: wanted a manifest.json in it, or a data directory, or a file", REFUSED)
    except CheckpointError as error:
        fail(f"{error.code}: {error}", REFUSED)


def _file(path: Path, variable: str | None, as_json: bool) -> None:
    from paramserver_wire import safetensors
    from paramserver_wire.errors import WireError

    try:
        with path.open("rb") as file:
            total = path.stat().st_size
            prefix = bytearray(file.read(8))
            prefix += file.read(min(total, safetensors.data_start_of(prefix)) - len(prefix))
        header = safetensors.parse(prefix, total)
    except OSError as error:
        fail(f"{path}: {error.strerror or error}", REFUSED)
    except WireError as error:
        fail(f"{path} is no sound .safetensors file: {error.detail}", REFUSED)
    if variable is not None:
        _tensor(path, header, variable, as_json)
        return
    rows = [(name, _tensor_fields(entry)) for name, entry in header.entries.items()]
    if as_json:
        variables = [{"name": name, **fields} for name, fields in rows]
        print_json(
            {
                "kind": "file",
                "path": str(path),
                "nbytes": total,
                "metadata": dict(header.metadata),
                "variables": variables,
            }
        )
        return
    print(f"file {path}")
    print_fields(
        {"size": size_text(total)}
        | {f"metadata {shown_text(key)}": shown_text(text) for key, text in header.metadata.items()}
    )
    print()
    print_table(
        _COLUMNS,
        (
            (shown_text(name), shape_text(fields["shape"]), fields["dtype"], size_text(fields["nbytes"]))
            for name, fields in rows
        ),
    )
    print(f"{count_text(len(rows), 'variable')}, {size_text(sum(fields['nbytes'] for _, fields in rows))}")


def _tensor(path: Path, header: Any, name: str, as_json: bool) -> None:
    from paramserver_wire.tensors import array_over

    entry = header.entries.get(name)
    if entry is None:
        fail(f"variable_not_found: {path} holds no variable {name!r}; without --variable all are listed", REFUSED)
    with path.open("rb") as file:
        file.seek(header.data_start + entry.begin)
        value = array_over(bytearray(file.read(entry.end - entry.begin)), 0, entry.shape, entry.dtype)
    show_value(name, _tensor_fields(entry), value, as_json)


def _tensor_fields(entry: Any) -> dict[str, Any]:
    from paramserver_wire.dtypes import name_of

    return {"shape": entry.shape, "dtype": name_of(entry.dtype), "nbytes": entry.end - entry.begin}
