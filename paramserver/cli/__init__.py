"""The `paramserver` command. Each of its modules with a `register(app)` adds its commands to it."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import typer

_NEEDED: Final = ("fastapi", "orjson", "pydantic_settings", "rich", "typer", "uvicorn")
INSTALL_LINE: Final = "pip install 'paramserver[server]'"
# Not whatever is found in this package: what only some commands need is imported when they run.
_MODULES: Final = (
    *("configuring", "doctor", "inspecting", "journal", "offline", "optimizers"),
    *("saving", "serve", "setting", "tokens", "transferring", "tree"),
)
_EXAMPLES: Final = """\b
Examples:
  paramserver serve --data-dir data           run a server on 127.0.0.1:8080
  paramserver tree                            what it holds
  paramserver get conv1/weight                one variable and its value
  paramserver export model.safetensors        all values, as a file
  paramserver doctor                          what is wrong, and what to do
  paramserver COMMAND --help                  examples of each command
"""


def main() -> None:
    """Run the command line. Without the `server` extra it says how to install it and exits with status 1."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        print(
            f"the paramserver command needs {', '.join(missing)}, which a worker's install leaves out; install with: "
            f"{INSTALL_LINE}",
            file=sys.stderr,
        )
        raise SystemExit(1)
    application()(prog_name="paramserver")


def application() -> typer.Typer:
    """The command line with all its commands; needs the `server` extra."""
    import typer

    from paramserver.cli.sections import Sections

    app = typer.Typer(
        name="paramserver",
        cls=Sections,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
        epilog=_EXAMPLES,
    )

    @app.callback()
    def root(
        version: bool = typer.Option(
            False, "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ) -> None:
        """A parameter server over plain HTTP, and the commands to look after it."""

    for name in _MODULES:
        import_module(f"{__name__}.{name}").register(app)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        import typer

        from paramserver import VERSION

        print(f"paramserver {VERSION}")
        raise typer.Exit
