"""`paramserver optimizers`: which there are, and what they keep; create and delete."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from paramserver.cli import completing
from paramserver.cli.asking import (
    DEFAULT_TIMEOUT_S,
    DEFAULT_URL,
    USAGE,
    Json,
    Timeout,
    TokenFile,
    Url,
    asking,
    fail,
)
from paramserver.cli.showing import Column, count_text, fields_of, print_fields, print_json, print_table, size_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paramserver_client import OptimizerInfo

_COLUMNS: Final = (
    Column("name"),
    Column("type"),
    Column("trains", right=True),
    Column("slots", right=True),
    Column("size", right=True),
    Column("hyper-parameters", spare=True),
)
_EXAMPLES: Final = """\b
Examples:
  paramserver optimizers                      all of them, and their slots
  paramserver optimizers create Adam adam learning_rate=0.001
  paramserver optimizers delete Adam
  paramserver optimizers --json | jq -r '.optimizers[].name'
"""
_CREATE_EXAMPLES: Final = """\b
Examples:
  paramserver optimizers create SGD gradient_descent learning_rate=0.1
  paramserver optimizers create M momentum learning_rate=0.1 momentum=0.9
  paramserver optimizers create SGD gradient_descent learning_rate=0.01
"""
_DELETE_EXAMPLES: Final = """\b
Examples:
  paramserver optimizers delete Adam          and its slots
"""


def register(app: typer.Typer) -> None:
    """Add `optimizers` to the command line."""
    group = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
    group.callback(
        help="List the optimizers of a server: their hyper-parameters, and what their slots take.",
        short_help="List optimizers; create and delete them.",
        epilog=_EXAMPLES,
    )(optimizers)
    group.command(
        "create",
        help=(
            "Create an optimizer, or change the hyper-parameters of one. TYPE is gradient_descent, momentum, adagrad, "
            "adadelta, adam, rmsprop, ftrl, proximal_gradient_descent or proximal_adagrad; the hyper-parameters have "
            "TensorFlow 1's names and defaults."
        ),
        short_help="Create an optimizer, or change its hyper-parameters.",
        epilog=_CREATE_EXAMPLES,
    )(create)
    group.command("delete", help="Delete an optimizer with its slots and scalars.", epilog=_DELETE_EXAMPLES)(delete)
    app.add_typer(group, name="optimizers")


def optimizers(
    ctx: typer.Context,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """List the optimizers of a server."""
    if ctx.invoked_subcommand is not None:
        early = [name for name in ctx.params if _given(ctx, name)]
        if early:
            fail(
                f"options stand behind the command: paramserver optimizers {ctx.invoked_subcommand} ... --url URL",
                USAGE,
            )
        return
    with asking(url, timeout_s, token_file) as client:
        found = client.optimizers()
        nbytes = {each.name: each.nbytes for each in client.list_variables()} if found else {}
    if as_json:
        print_json({"optimizers": [fields_of(each) for each in found]})
        return
    if found:
        print_table(_COLUMNS, (_row(each, nbytes) for each in found))
    total = sum(nbytes.get(name, 0) for each in found for name in _own(each))
    print(f"{count_text(len(found), 'optimizer')}, {size_text(total)}")


def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Its name.", show_default=False, autocompletion=completing.optimizers)
    ],
    type: Annotated[str, typer.Argument(metavar="TYPE", help="Its update rule.", show_default=False)],
    hyper: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Hyper-parameters.", show_default=False)
    ] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Create an optimizer, or change its hyper-parameters."""
    given = dict(_parsed(each) for each in hyper or ())
    if len(given) != len(hyper or ()):
        fail("wanted each hyper-parameter once, got one twice", USAGE)
    with asking(url, timeout_s, token_file) as client:
        made = client.create_optimizer(name, type, **given)
    if as_json:
        print_json(fields_of(made))
        return
    print(f"{made.name}: {made.type}")
    print_fields({key: _value_text(value) for key, value in made.hyper.items()})


def delete(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The optimizer.", show_default=False, autocompletion=completing.optimizers),
    ],
    url: Url = DEFAULT_URL,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
    token_file: TokenFile = None,
) -> None:
    """Delete an optimizer with its slots."""
    with asking(url, timeout_s, token_file) as client:
        client.delete_optimizer(name)
    print(f"deleted {name}")


def _given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _row(each: OptimizerInfo, nbytes: Mapping[str, int]) -> tuple[str, ...]:
    return (
        each.name,
        each.type,
        f"{len(each.slots):,}",
        f"{sum(map(len, each.slots.values())):,}",
        size_text(sum(nbytes.get(name, 0) for name in _own(each))),
        ", ".join(f"{key} {_value_text(value)}" for key, value in each.hyper.items()),
    )


def _own(each: OptimizerInfo) -> list[str]:
    """The variables that an optimizer keeps."""
    return [*each.scalars, *(name for names in each.slots.values() for name in names)]


def _parsed(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    try:
        parsed = json.loads(value)
        if not (key and sign) or not isinstance(parsed, (bool, int, float)):
            raise ValueError
    except ValueError:
        fail(f"{text}: wanted KEY=VALUE, the value a number, true or false, as in learning_rate=0.01", USAGE)
    return key, parsed


def _value_text(value: float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"
