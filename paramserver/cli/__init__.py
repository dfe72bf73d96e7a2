"""The `paramserver` command. Each module of this package that has a `register(app)` adds its commands to it."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import typer

_NEEDED: Final = ("fastapi", "orjson", "pydantic_settings", "rich", "typer", "uvicorn")
INSTALL_LINE: Final = "pip install 'paramserver[server]'"


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
    application()()


def application() -> typer.Typer:
    """The command line with all its commands; needs the `server` extra."""
    import typer

    app = typer.Typer(
        name="paramserver",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def root() -> None:
        """A parameter server over plain HTTP, and the commands to look after it."""

    for module in sorted(iter_modules(__path__), key=lambda module: module.name):
        if module.name != "__main__":
            register = getattr(import_module(f"{__name__}.{module.name}"), "register", None)
            if register is not None:
                register(app)
    return app
