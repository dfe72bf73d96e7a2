"""The parameters a spec may have: what each takes, and how it is written back as plain JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from .values import Fault, Values, read_integer, read_number, read_values, shorten

Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """How one parameter is read (`read` raises Fault), and its `default`; a `required` one has none."""

    read: Callable[[object], Any]
    default: Any = None
    required: bool = False


def number(default: float | None = None) -> Parameter:
    return Parameter(read_number, default, required=default is None)


def optional_number() -> Parameter:
    return Parameter(read_number)


def at_least_zero(default: float) -> Parameter:
    def read(value: object) -> int | float:
        result = read_number(value)
        if result < 0:
            raise Fault(f"wanted a number of at least 0, got {result!r}")
        return result

    return Parameter(read, default)


def above_zero(default: float) -> Parameter:
    def read(value: object) -> int | float:
        result = read_number(value)
        if result <= 0:
            raise Fault(f"wanted a number above 0, got {result!r}")
        return result

    return Parameter(read, default)


def count(*, least: int) -> Parameter:
    def read(value: object) -> int:
        result = read_integer(value)
        if result < least:
            raise Fault(f"wanted a whole number of at least {least}, got {result}")
        return result

    return Parameter(read, required=True)


def tensor() -> Parameter:
    return Parameter(read_values, required=True)


def scalar() -> Parameter:
    def read(value: object) -> Values:
        values = read_values(value)
        own_axes = len(values.shape) - (values.dtype is not None and values.dtype.kind == "c")
        if own_axes > 0 and values.shape != (2,):
            raise Fault(f"wanted one number, got shape {list(values.shape)}")
        return values

    return Parameter(read, required=True)


def positive_tensor(default: float | None = None) -> Parameter:
    def read(value: object) -> Values:
        values = read_values(value)
        if any(isinstance(item, bool) or item <= 0 for item in values.numbers):
            raise Fault("wanted numbers above 0, got others")
        return values

    return Parameter(read, None if default is None else read(default), required=default is None)


def sizes() -> Parameter:
    def read(value: object) -> tuple[int, ...]:
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if not isinstance(value, (list, tuple)):
            raise Fault(f"wanted a list of sizes, one an axis, got {shorten(value)}")
        result = tuple(read_integer(size) for size in value)
        if any(size < 0 for size in result):
            raise Fault(f"wanted sizes of at least 0, got {list(result)}")
        return result

    return Parameter(read, required=True)


def choice(options: Mapping[str, str], default: str) -> Parameter:
    """One of `options`, which maps what may be written to what is meant."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in options:
            raise Fault(f"wanted one of {', '.join(options)}, got {shorten(value)}")
        return options[value]

    return Parameter(read, default)


def _variable_name(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Fault(f"wanted the name of a variable, got {shorten(value)}")
    return value


LIKE: Final = Parameter(_variable_name, required=True)
SEED: Final = Parameter(read_integer)


def read_arguments(parameters: Mapping[str, Parameter], given: Mapping[str, Any]) -> Arguments:
    """All parameters read, defaults filled in. Raises one Fault that lists every unknown, missing and wrong one."""
    faults = [
        f"{name}: no such parameter; it takes {', '.join(parameters) or 'none'}"
        for name in given
        if name not in parameters
    ]
    arguments: dict[str, Any] = {}
    for name, parameter in parameters.items():
        value = given.get(name)
        if value is None:
            if parameter.required:
                faults.append(f"{name}: wanted, but missing")
            arguments[name] = parameter.default
            continue
        try:
            arguments[name] = parameter.read(value)
        except Fault as fault:
            faults.extend(f"{name}: {message}" for message in fault.args)
    if faults:
        raise Fault(*faults)
    return MappingProxyType(arguments)


def as_json(arguments: Arguments) -> dict[str, Any]:
    """The arguments as plain JSON values, those without a value left out."""
    return {name: _plain(value) for name, value in arguments.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Values):
        return value.as_json()
    return list(value) if isinstance(value, tuple) else value
