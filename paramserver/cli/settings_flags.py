"""A flag for each setting, for the commands that run with settings.

The settings are made of pydantic, which takes longer to import than all the rest of the command line together. So such a
command is drawn up only when it is called for: `paramserver --help` lists it without.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperCommand
from typer.main import get_command

from paramserver.cli.asking import USAGE, fail

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo

    from paramserver.settings import Settings

_METAVARS: Final[Mapping[str, str]] = {"s": "SECONDS", "hours": "HOURS", "nbytes": "BYTES"}


class WithSettings(TyperCommand):
    """A command with a flag for each setting. It is registered with a function that gives its own function, which takes
    `flags`, the settings that were given as flags, beside its own options."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the real command, which has all the flags."""
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        assert self.callback is not None
        app.command(self.name, help=self.help, epilog=self.epilog)(_with_flags(self.callback()))
        return get_command(app).make_context(info_name, args, parent, **extra)


def settings_of(flags: Mapping[str, Any]) -> Settings:
    """The settings. When they do not fit, all that is wrong is told on standard error, and the command ends with 2."""
    settings, wrong = checked_settings(flags)
    if settings is None:
        fail("\n  ".join(["these settings do not fit:", *wrong]), USAGE)
    return settings


def checked_settings(flags: Mapping[str, Any]) -> tuple[Settings | None, list[str]]:
    """The settings, or None and all that is wrong with them, each with the place it comes from."""
    from pydantic import ValidationError

    from paramserver.settings import Settings

    try:
        return Settings(**flags), []
    except ValidationError as error:
        return None, _told(error, flags)


def _with_flags(function: Callable[..., None]) -> Callable[..., None]:
    """`function` with the signature from which typer draws the flags. All are text: the settings check them, once."""
    from paramserver.settings import SECRET, Settings

    own = [each for each in inspect.signature(function, eval_str=True).parameters.values() if each.name != "flags"]

    def command(**given: Any) -> None:
        named = {each.name: given.pop(each.name) for each in own}
        function(flags={name: value for name, value in given.items() if value is not None}, **named)

    parameters = [_parameter(name, field) for name, field in Settings.model_fields.items() if name not in SECRET]
    parameters += [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    from paramserver.settings import ENVIRONMENT_PREFIX

    default = "" if field.default is None else f" [default: {field.default}]"
    text = f"{field.description} [{ENVIRONMENT_PREFIX}{name.upper()}]{default}"
    kind: Any = bool | None if field.annotation is bool else str | None
    option = (
        typer.Option(None, flag_of(name), help=text)
        if field.annotation is bool
        else typer.Option(None, flag_of(name), help=text, metavar=_metavar(name, field.annotation))
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind)


def _metavar(name: str, annotation: Any) -> str:
    """A setting's unit, which is in its name."""
    return _METAVARS.get(name.rpartition("_")[2]) or ("N" if annotation is int else "VALUE")


def flag_of(name: str) -> str:
    """The flag of a setting.

    >>> flag_of("data_dir")
    '--data-dir'
    """
    return "--" + name.replace("_", "-")


def _told(error: ValidationError, flags: Mapping[str, Any]) -> list[str]:
    from paramserver.settings import ENVIRONMENT_PREFIX, SECRET, Settings, config_file, source_of

    path = config_file(flags)
    lines = []
    for entry in error.errors(include_url=False):
        name = str(entry["loc"][0])
        if entry["type"] == "extra_forbidden":
            near = get_close_matches(name, Settings.model_fields, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; `paramserver config` lists all"
            lines.append(f"{name} in {path}: there is no such setting{hint}")
            continue
        place = f" in {path}" if source_of(name, flags, path) == "file" else ""
        message = entry["msg"].removeprefix("Value error, ")
        if name in SECRET:
            lines.append(f"{ENVIRONMENT_PREFIX}{name.upper()}{place}: {message}")
            continue
        lines.append(
            f"{flag_of(name)} ({ENVIRONMENT_PREFIX}{name.upper()}){place}: {message}, got {str(entry['input'])[:80]!r}"
        )
    return lines
