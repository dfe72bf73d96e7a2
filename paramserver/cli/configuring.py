"""`paramserver config`: every setting, its value, and where that came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import typer

from paramserver.cli.asking import Json
from paramserver.cli.settings_flags import WithSettings, flag_of, settings_of
from paramserver.cli.showing import Column, print_json, print_table

_COLUMNS: Final = (Column("setting"), Column("value"), Column("from"))
_EXAMPLES: Final = """\b
Examples:
  paramserver config                          what `serve` would run with here
  paramserver config --config paramserver.toml --port 9000
  paramserver config --json | jq '.settings[] | select(.source != "default")'
"""


def register(app: typer.Typer) -> None:
    """Add `config` to the command line."""
    app.command(
        "config",
        cls=WithSettings,
        help=(
            "Show every setting of `paramserver serve`: its value, and whether that came from a flag, the environment, "
            "the file of settings, or is the default. Nothing is started. Secrets are not shown."
        ),
        short_help="Show every setting, its value and where that came from.",
        epilog=_EXAMPLES,
    )(lambda: config)


def config(flags: Mapping[str, Any], as_json: Json = False) -> None:
    """Show every setting."""
    from paramserver.settings import ENVIRONMENT_PREFIX, SECRET, source_of

    settings = settings_of(flags)
    # In this form a secret is a row of asterisks.
    values = settings.model_dump(mode="json")
    if as_json:
        print_json(
            {
                "settings": [
                    {
                        "name": name,
                        "value": value,
                        "source": source_of(name, flags, settings.config),
                        "flag": None if name in SECRET else flag_of(name),
                        "environment": ENVIRONMENT_PREFIX + name.upper(),
                    }
                    for name, value in values.items()
                ]
            }
        )
        return
    places = {
        name: {
            "flag": flag_of(name),
            "environment": ENVIRONMENT_PREFIX + name.upper(),
            "file": str(settings.config),
            "default": "default",
        }[source_of(name, flags, settings.config)]
        for name in values
    }
    print_table(_COLUMNS, ((name, _text(value), places[name]) for name, value in values.items()))


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
