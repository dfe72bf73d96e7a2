"""`paramserver serve`: one flag for each setting, then the server."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Mapping
from typing import Any, Final

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from paramserver.settings import ENVIRONMENT_PREFIX, Settings

_METAVARS: Final[Mapping[Any, str]] = {int: "N", float: "SECONDS"}


def register(app: typer.Typer) -> None:
    """Add `serve` to the command line."""
    app.command("serve", help=_HELP)(_with_a_flag_for_each_setting(_serve))


_HELP: Final = (
    "Serve variables over HTTP until SIGTERM or Ctrl-C; then finish what runs, save a final checkpoint and exit 0. "
    "A flag wins over the environment, which wins over the default."
)


def _serve(workers: str, **flags: Any) -> None:
    if workers != "1":
        _fail(
            f"--workers {workers}: the variables live in one process, and workers would each have their own; "
            "run one server (its threads use all cores), or several servers as shards",
            2,
        )
    try:
        settings = Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        _fail("\n".join(_flag_problems(error)), 2)
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    if settings.log_level != "debug":
        # Its warnings are about what clients send, one line for each: anybody could fill the disk with them.
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
    # Here, because the other commands need neither the web framework nor the store.
    from paramserver.checkpoint import CheckpointError
    from paramserver.http.serve import CannotServe, serve

    try:
        serve(settings, lambda line: print(line, flush=True))
    except CannotServe as error:
        _fail(str(error), error.exit_code)
    except CheckpointError as error:
        _fail(f"data directory {settings.data_dir}: {error}", 1)


def _with_a_flag_for_each_setting(function: Any) -> Any:
    """Give `function` the signature from which typer draws the flags. All are text: the settings check them, once."""

    def command(**flags: Any) -> None:
        function(**flags)

    parameters = [_parameter(name, field) for name, field in Settings.model_fields.items()]
    parameters.append(
        inspect.Parameter(
            "workers",
            inspect.Parameter.KEYWORD_ONLY,
            default=typer.Option("1", metavar="N", help="Must be 1: the variables live in one process."),
            annotation=str,
        )
    )
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    flag = "--" + name.replace("_", "-")
    default = "" if field.default is None else f" [default: {field.default}]"
    text = f"{field.description} [{ENVIRONMENT_PREFIX}{name.upper()}]{default}"
    kind: Any = bool | None if field.annotation is bool else str | None
    option = (
        typer.Option(None, flag, help=text)
        if field.annotation is bool
        else typer.Option(None, flag, help=text, metavar=_METAVARS.get(field.annotation, "VALUE"))
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind)


def _flag_problems(error: ValidationError) -> list[str]:
    return [
        f"--{str(entry['loc'][0]).replace('_', '-')} ({ENVIRONMENT_PREFIX}{str(entry['loc'][0]).upper()}): "
        f"{entry['msg']}, got {str(entry['input'])[:80]!r}"
        for entry in error.errors(include_url=False)
    ]


def _fail(reason: str, exit_code: int) -> Any:
    print(f"paramserver serve: {reason}", file=sys.stderr)
    raise typer.Exit(exit_code)
