"""`paramserver ls` and `paramserver get`: which variables there are, and what is in one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from paramserver.cli import completing
from paramserver.cli.asking import (
    DEFAULT_TIMEOUT_S,
    DEFAULT_URL,
    REFUSED,
    USAGE,
    Json,
    Timeout,
    TokenFile,
    Url,
    asking,
    fail,
)
from paramserver.cli.showing import (
    Column,
    age_text,
    ago_text,
    count_text,
    fields_of,
    print_fields,
    print_json,
    print_table,
    shape_text,
    shown_text,
    size_text,
)

if TYPE_CHECKING:
    from paramserver_client import Metadata
    from paramserver_wire.tensors import Array

NO_VALUE: Final = "no value"
PREVIEW_NBYTES: Final = 4_000_000

_COLUMNS: Final = (
    Column("name"),
    Column("shape"),
    Column("dtype"),
    Column("size", right=True),
    Column("version", right=True),
    Column("trainable"),
    Column("updated", spare=True),
)

_LS_EXAMPLES: Final = """\b
Examples:
  paramserver ls                              everything
  paramserver ls conv1                        conv1 and all below conv1/
  paramserver ls --uninitialized              what still waits for a value
  paramserver ls --collection moving_average_variables
  paramserver ls --json | jq -r '.variables[].name'
"""

_GET_EXAMPLES: Final = """\b
Examples:
  paramserver get conv1/weight                what it is, and its first values
  paramserver get conv1/weight --slice 0:3    three rows; or 0:10,:,3
  paramserver get conv1/weight --out w.npy    the whole value, for numpy.load
  paramserver get global_step --json | jq .value
"""


def register(app: typer.Typer) -> None:
    """Add `ls` and `get` to the command line."""
    app.command("ls", help="List the variables of a server.", epilog=_LS_EXAMPLES)(ls)
    app.command("get", help="Show one variable and its value.", epilog=_GET_EXAMPLES)(get)


def ls(
    prefix: Annotated[
        str | None,
        typer.Argument(metavar="SCOPE", help="Only this scope.", show_default=False, autocompletion=completing.scopes),
    ] = None,
    collection: Annotated[str | None, typer.Option(metavar="KEY", help="Only this collection.")] = None,
    trainable: Annotated[
        bool | None, typer.Option("--trainable/--not-trainable", help="Only the (not) trainable ones.")
    ] = None,
    initialized: Annotated[
        bool | None, typer.Option("--initialized/--uninitialized", help="Only the ones with (without) a value.")
    ] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """List the variables of a server."""
    with asking(url, timeout_s, token_file) as client:
        found = client.list_variables(
            prefix=prefix, collection=collection, trainable=trainable, initialized=initialized
        )
    if as_json:
        print_json({"variables": [metadata_fields(each) for each in found]})
        return
    if found:
        print_table(_COLUMNS, map(_row, found))
    print(total_text(found))


def get(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The variable.", show_default=False, autocompletion=completing.variables),
    ],
    slice: Annotated[str | None, typer.Option("--slice", metavar="INDEX", help="Only this part of it.")] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", metavar="DTYPE", help="Cast the value to this.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.npy", help="Write the value to this file.", dir_okay=False)
    ] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Show one variable and its value."""
    with asking(url, timeout_s, token_file) as client:
        metadata = client.get_variable(name)
        index = slice
        if index is None and not as_json and out is None:
            index = preview_index(metadata.shape, metadata.dtype.itemsize)
        value = None
        if metadata.initialized or out is not None:
            value, tag = client.read(name, slice=index, dtype=dtype, with_version=True)
            incarnation, _, version = tag.rpartition("-")
            metadata = replace(metadata, incarnation=incarnation, version=int(version), initialized=True)
    if out is not None and value is not None:
        _write_npy(out, value)
    if as_json:
        print_json(_document(metadata, index, value))
        return
    print(name)
    print_fields(_described(metadata))
    if value is None:
        print(f"\n{NO_VALUE} yet: initialize, assign or restore it")
    elif out is not None:
        print(f"\nwrote {out}: {_form_text(value)}")
    else:
        print(f"\n{value_text(value, index, chosen=slice is not None)}")


def metadata_fields(metadata: Metadata) -> dict[str, Any]:
    """Metadata as JSON has it, as in the server's own answers."""
    from paramserver_wire.dtypes import name_of

    return fields_of(metadata) | {"dtype": name_of(metadata.dtype)}


def preview_index(shape: tuple[int, ...], itemsize: int) -> str | None:
    """The index of a first part of about `PREVIEW_NBYTES`; None when the whole is no more than that.

    >>> preview_index((10, 10), 4), preview_index((100_000_000,), 4), preview_index((3, 8_000_000), 4)
    (None, '0:1000000', '0:1,0:1000000')
    """
    nbytes = itemsize
    for extent in shape:
        nbytes *= extent
    if nbytes <= PREVIEW_NBYTES:
        return None
    parts = []
    for extent in shape:
        nbytes //= extent
        parts.append(f"0:{min(extent, max(1, PREVIEW_NBYTES // nbytes))}")
        if nbytes <= PREVIEW_NBYTES:
            break
    return ",".join(parts)


def total_text(found: list[Metadata]) -> str:
    """How many variables, how large, and how many of them without a value."""
    total = f"{count_text(len(found), 'variable')}, {size_text(sum(each.nbytes for each in found))}"
    empty = sum(not each.initialized for each in found)
    return f"{total}, {empty} without a value" if empty else total


def value_text(value: Array, index: str | None = None, *, chosen: bool = False) -> str:
    """A value for eyes: its first and last elements and its spread. `index` is the part it is, if it is no whole."""
    import numpy as np

    lines = []
    if index is not None:
        hint = "" if chosen else ", the first part; --slice shows another, --out writes the whole"
        lines.append(f"[{index}]: {_form_text(value)}{hint}")
    # Each further axis multiplies the lines: three items from each end of four axes would fill two screens.
    edge = 3 if value.ndim < 3 else 2 if value.ndim == 3 else 1
    lines.append(np.array2string(value, threshold=100, edgeitems=edge, precision=6, max_line_width=79))
    if value.size > 1 and value.dtype.kind != "c" and value.dtype != bool:
        lines.append(_spread_text(value))
    return "\n".join(lines)


def show_value(name: str, fields: Mapping[str, Any], value: Array | None, as_json: bool) -> None:
    """Print a variable that was found in a file. `fields` are its shape, dtype, nbytes, and what else is known."""
    from paramserver_wire.tensors import to_json

    if as_json:
        print_json({"name": name, **fields, "value": None if value is None else to_json(value)})
        return
    print(shown_text(name))
    print_fields(
        {"shape": shape_text(fields["shape"]), "dtype": fields["dtype"], "size": size_text(fields["nbytes"])}
        | ({"version": str(fields["version"])} if "version" in fields else {})
    )
    print(f"\n{NO_VALUE}" if value is None else f"\n{value_text(value)}")


def _row(metadata: Metadata) -> tuple[str, ...]:
    return (
        metadata.name,
        shape_text(metadata.shape),
        metadata.dtype.name,
        size_text(metadata.nbytes),
        str(metadata.version) if metadata.initialized else NO_VALUE,
        "yes" if metadata.trainable else "no",
        age_text(_age_s(metadata)),
    )


def _age_s(metadata: Metadata) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(metadata.updated_at)).total_seconds()


def _described(metadata: Metadata) -> dict[str, str]:
    count = metadata.nbytes // metadata.dtype.itemsize
    described = {
        "shape": f"{shape_text(metadata.shape)} ({count_text(count, 'element')})",
        "dtype": metadata.dtype.name,
        "size": size_text(metadata.nbytes),
        "version": f"{metadata.version} (tag {metadata.tag})",
        "updated": f"{ago_text(_age_s(metadata))} ({metadata.updated_at})",
        "trainable": "yes" if metadata.trainable else "no",
        "collections": ", ".join(metadata.collections) or "none",
    }
    if metadata.initializer is not None:
        described["initializer"] = ", ".join(
            str(value) if key == "type" else f"{key} {value}" for key, value in metadata.initializer.items()
        )
    return described


def _document(metadata: Metadata, index: str | None, value: Array | None) -> dict[str, Any]:
    from paramserver_wire.tensors import to_json

    return {
        **metadata_fields(metadata),
        "slice": index,
        "value": None if value is None else to_json(value),
    }


def _form_text(value: Array) -> str:
    return f"{shape_text(value.shape)} {value.dtype.name}, {size_text(value.nbytes)}"


def _spread_text(value: Array) -> str:
    """Smallest, mean and largest of the finite elements, and how many are not finite."""
    import numpy as np

    numbers = value.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    odd = numbers.size - finite.size
    spread = f"min {finite.min():.6g}, mean {finite.mean():.6g}, max {finite.max():.6g}" if finite.size else ""
    return ", ".join(filter(None, (spread, f"{odd:,} not finite" if odd else "")))


def _write_npy(path: Path, value: Array) -> None:
    """Write the file whole or not at all."""
    import numpy as np

    if value.dtype.kind == "V":
        fail(f"--out {path}: a .npy file cannot hold {value.dtype.name}; add --dtype float32", USAGE)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            np.save(file, value, allow_pickle=False)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        fail(f"--out {path}: {error.strerror or error}", REFUSED)
