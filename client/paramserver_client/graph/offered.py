"""Arguments of TensorFlow's functions that are taken at their default only, and say so."""

from __future__ import annotations

from typing import Any


def refuse(function: str, **arguments: tuple[Any, Any]) -> None:
    """Raise ValueError for an argument (`name=(given, only supported value)`) whose behaviour is not offered."""
    for name, (given, only) in arguments.items():
        if given is not only and given != only:
            raise ValueError(f"{function}: {name}={given!r} is not supported; leave it at {only!r}.")
