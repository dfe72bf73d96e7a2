"""`paramserver set`: give a variable a value, or add to it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from paramserver.cli import completing
from paramserver.cli.asking import DEFAULT_TIMEOUT_S, DEFAULT_URL, USAGE, Json, Timeout, TokenFile, Url, asking, fail
from paramserver.cli.showing import print_json

if TYPE_CHECKING:
    from paramserver_client import ParameterClient

_NPY: Final = b"\x93NUMPY"
_EXAMPLES: Final = """\b
Examples:
  paramserver set conv1/bias 0.0              one number for all of it
  paramserver set global_step 1 --add         --sub subtracts
  paramserver set scale '[[1, 2], [3, 4]]' --create
  paramserver set conv1/weight --from w.npy   as `get --out` wrote it
  echo '[1, 2, 3, 4]' | paramserver set conv1/bias --from -
  paramserver set global_step 0 --if-version 2
"""


def register(app: typer.Typer) -> None:
    """Add `set` to the command line."""
    app.command(
        "set",
        help=(
            "Give a variable a value. It is applied whole and once, or refused with the reason. VALUE is JSON, and takes "
            "the variable's dtype."
        ),
        short_help="Give a variable a value, or add to it.",
        epilog=_EXAMPLES,
        # So that -0.5 is a value and not an option.
        context_settings={"ignore_unknown_options": True},
    )(set_)


def set_(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The variable.", show_default=False, autocompletion=completing.variables),
    ],
    text: Annotated[
        str | None,
        typer.Argument(metavar="VALUE", help="A number, true, false, or lists of them.", show_default=False),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help="Read it from a .npy or JSON file; - is standard input."),
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Add it to the variable.")] = False,
    sub: Annotated[bool, typer.Option("--sub", help="Subtract it from the variable.")] = False,
    create: Annotated[bool, typer.Option("--create", help="Create the variable with it where there is none.")] = False,
    dtype: Annotated[
        str | None, typer.Option("--dtype", metavar="DTYPE", help="With --create: the dtype of a new variable.")
    ] = None,
    if_version: Annotated[
        str | None,
        typer.Option("--if-version", metavar="VERSION", help="Only if it has this version, or version tag."),
    ] = None,
    non_finite: Annotated[
        bool, typer.Option("--allow-non-finite", help='Let "NaN", "Infinity" and "-Infinity" in.')
    ] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Give a variable a value."""
    if add and sub:
        fail("--add or --sub, not both", USAGE)
    if create and if_version is not None:
        fail("--create makes the first version, and --if-version wants another one; give one of them", USAGE)
    if dtype is not None and not create:
        fail("--dtype is that of a new variable; give --create with it, or leave it out", USAGE)
    value = _value(text, file)
    with asking(url, timeout_s, token_file) as client:
        if create and (created := _created(client, name, value, dtype, non_finite)):
            told = {"name": name, "version": created.version, "created": True}
        else:
            write = client.assign_add if add else client.assign_sub if sub else client.assign
            applied = write(name, value, if_version=if_version, allow_non_finite=non_finite)
            told = {"name": name, "version": applied.versions[name], "created": False, "commit": applied.commit}
    if as_json:
        print_json(told)
        return
    done = "created" if told["created"] else "added to" if add else "subtracted from" if sub else "set"
    print(f"{done} {name}: version {told['version']}")


def _created(client: ParameterClient, name: str, value: Any, dtype: str | None, non_finite: bool) -> Any:
    """The metadata of the variable if it was created; None if it was there already."""
    from paramserver_client import VariableExistsError

    try:
        return client.create_variable(name, value=value, dtype=dtype)
    except VariableExistsError:
        return None


def _value(text: str | None, file: str | None) -> Any:
    if (text is None) == (file is None):
        fail("wanted a VALUE or --from FILE, " + ("got neither" if text is None else "got both; give one"), USAGE)
    if text is not None:
        if text.startswith("--"):
            fail(f"there is no option {text}; --help lists them", USAGE)
        return _parsed(text, "VALUE")
    assert file is not None
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        fail(f"--from {file}: {error.strerror or error}", USAGE)
    if content.startswith(_NPY):
        return _loaded(content, file)
    try:
        return _parsed(content.decode(), f"--from {file}")
    except UnicodeDecodeError:
        fail(f"--from {file}: wanted a .npy file or JSON, got neither", USAGE)


def _loaded(content: bytes, file: str) -> Any:
    import numpy as np

    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        fail(f"--from {file}: this .npy file cannot be read: {error}", USAGE)


def _parsed(text: str, what: str) -> Any:
    from paramserver_wire.tensors import Untyped

    try:
        value = json.loads(text, parse_constant=_no_constant)
        if value is None or isinstance(value, dict):
            raise ValueError(f"wanted a number, true, false or lists of them, got {text.strip():.40}")
    except (ValueError, RecursionError) as error:
        fail(f"{what} does not fit: {error}; write 0.5, true or '[[1, 2], [3, 4]]'", USAGE)
    return Untyped(value)


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f'{constant} is no JSON; write "{constant}" with the quotes, and --allow-non-finite')
