"""`paramserver export` and `import`: all values as one `.safetensors` file, and back."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj
from typing import Annotated, Final

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
from paramserver.cli.showing import count_text, fields_of, names_text, print_fields, print_json, progress_bar, size_text

STANDARD: Final = Path("-")

_EXPORT_EXAMPLES: Final = """\b
Examples:
  paramserver export model.safetensors        every value, one cut
  paramserver export conv1.safetensors --prefix conv1
  paramserver export trained.safetensors --collection trainable_variables
"""
_IMPORT_EXAMPLES: Final = """\b
Examples:
  paramserver import model.safetensors        all of it, or nothing
  paramserver import model.safetensors --prefix teacher     as teacher/...
  paramserver import model.safetensors --no-create     no new ones
  paramserver import model.ckpt-1000          TensorFlow's own checkpoint
  paramserver export - --prefix conv1 | paramserver import - --prefix copy
"""


def register(app: typer.Typer) -> None:
    """Add `export` and `import` to the command line."""
    app.command(
        "export",
        help=(
            "Write the values of a server into a .safetensors file, which exists whole afterwards or not at all. "
            "Pushes go on meanwhile. FILE - is standard output."
        ),
        short_help="Write values into a .safetensors file.",
        epilog=_EXPORT_EXAMPLES,
    )(export)
    app.command(
        "import",
        help=(
            "Give variables the values of a .safetensors file, or of a checkpoint that TensorFlow wrote (its prefix), in "
            "one commit, all or nothing. Those that the server lacks are created. FILE - is standard input."
        ),
        short_help="Give variables the values of a .safetensors file.",
        epilog=_IMPORT_EXAMPLES,
    )(import_)


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.", show_default=False)],
    prefix: Annotated[
        str | None, typer.Option("--prefix", metavar="SCOPE", help="Only this scope.", autocompletion=completing.scopes)
    ] = None,
    collection: Annotated[str | None, typer.Option("--collection", metavar="KEY", help="Only this collection.")] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Write the values of a server into a file."""
    if file == STANDARD and as_json:
        fail("--json would stand in the middle of the file on standard output; give a FILE", USAGE)
    began = time.monotonic()
    with (
        _tell_of_the_disk(file),
        _by_way_of_a_file(file) as path,
        asking(url, timeout_s, token_file) as client,
        _bar("export") as progress,
    ):
        exported = client.export_safetensors(path, prefix=prefix, collection=collection, progress=progress)
        nbytes = path.stat().st_size
        if file == STANDARD:
            with path.open("rb") as written:
                copyfileobj(written, sys.stdout.buffer)
            return
    if as_json:
        print_json({"file": str(file), "nbytes": nbytes, **fields_of(exported)})
        return
    what = count_text(len(exported.versions), "variable")
    print(f"exported {what} to {file}: {_pace_text(nbytes, began)}, commit {exported.commit}")
    if exported.skipped:
        print_fields({"left out, without a value": names_text(exported.skipped)})


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to read.", show_default=False)],
    prefix: Annotated[
        str | None, typer.Option("--prefix", metavar="SCOPE", help="A scope to put before every name of the file.")
    ] = None,
    create: Annotated[
        bool, typer.Option("--create/--no-create", help="Create the variables that the server lacks.")
    ] = True,
    non_finite: Annotated[bool, typer.Option("--allow-non-finite", help="Let NaN and infinities in.")] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Give variables the values of a file."""
    began = time.monotonic()
    with _tell_of_the_disk(file), _to_import(file) as (path, strings):
        nbytes = path.stat().st_size
        with asking(url, timeout_s, token_file) as client, _bar("import") as progress:
            imported = client.import_safetensors(
                path, prefix=prefix, create=create, progress=progress, allow_non_finite=non_finite
            )
    if as_json:
        print_json({"file": str(file), "nbytes": nbytes, **fields_of(imported), "skipped": strings})
        return
    what = count_text(len(imported.versions), "variable")
    print(f"imported {what} from {file}: {_pace_text(nbytes, began)}, commit {imported.commit}")
    if imported.created:
        print_fields({f"created, {len(imported.created):,}": names_text(imported.created)})
    if strings:
        print_fields({"left out, strings": names_text(strings)})


@contextmanager
def _to_import(file: Path) -> Iterator[tuple[Path, list[str]]]:
    """The `.safetensors` file to send, and the names of what it leaves out: the file itself, what comes from standard
    input, or what a checkpoint of TensorFlow holds."""
    # Imported here because it brings the local graph along, which only such a checkpoint needs.
    if (file != STANDARD and not file.is_file()) or file.name.endswith(".index"):
        from paramserver.cli.bundles import as_safetensors, bundle_prefix

        prefix = bundle_prefix(file)
        if prefix is not None:
            with as_safetensors(prefix) as found:
                yield found
            return
    with _by_way_of_a_file(file) as path:
        if file == STANDARD:
            with path.open("wb") as received:
                copyfileobj(sys.stdin.buffer, received)
        yield path, []


@contextmanager
def _by_way_of_a_file(file: Path) -> Iterator[Path]:
    """The file itself, or one that goes away afterwards for what standard input and output hold."""
    if file != STANDARD:
        yield file
        return
    # Imported here because it brings half of the standard library along.
    import tempfile

    with tempfile.TemporaryDirectory(prefix="paramserver-") as directory:
        yield Path(directory) / "model.safetensors"


@contextmanager
def _tell_of_the_disk(file: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        fail(f"{file}: {error.strerror or error}", REFUSED)


@contextmanager
def _bar(doing: str) -> Iterator[Callable[[int, int], None] | None]:
    """What takes note of bytes done and in all: a bar on a terminal, for standard output is for the result; else None."""
    if not sys.stderr.isatty():
        yield None
        return
    with progress_bar() as progress:
        task = progress.add_task(doing, total=None)

        def note(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield note


def _pace_text(nbytes: int, began: float) -> str:
    seconds = max(1e-6, time.monotonic() - began)
    return f"{size_text(nbytes)} in {seconds:.1f} s ({size_text(nbytes / seconds)}/s)"
