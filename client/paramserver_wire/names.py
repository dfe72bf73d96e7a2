"""Names of variables, scopes and checkpoints: which are allowed, and how they lie inside one another.

A name is `SEG(/SEG)*`. A name never becomes a path, and could not climb out of one if it did: no segment is `.` or
`..`, none is empty, and `:`, `\\`, control characters and anything outside ASCII are refused.
"""

from __future__ import annotations

import re
from typing import Final

from paramserver_wire.errors import InvalidName

MAX_NAME: Final = 200
"""Longest name a user may give, in characters."""

MAX_SLOT_NAME: Final = 255
"""Longest name of an optimizer's slot, which is a variable's name and a tail."""

_SEGMENT: Final = r"(?!\.\.?(?:/|\Z))[A-Za-z0-9_.][A-Za-z0-9_.-]*"
_NAME: Final = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_RULE: Final = (
    "segments of letters, digits, '_', '.' and '-' (not first), joined by '/', none of them '.' or '..', "
    "at most {limit} characters"
)


def check_name(name: object, *, limit: int = MAX_NAME) -> str:
    """Return `name` if it is a legal name of at most `limit` characters, else raise `InvalidName`.

    >>> check_name("conv1/weight")
    'conv1/weight'
    """
    return _checked(name, "name", limit)


def check_checkpoint_id(checkpoint_id: object, *, limit: int = MAX_NAME) -> str:
    """Return `checkpoint_id` if a checkpoint may be called so, else raise `InvalidName`.

    The rule is that of names; besides, `latest` is reserved: it stands for the newest checkpoint.

    >>> check_checkpoint_id("run7/model-3")
    'run7/model-3'
    """
    checked = _checked(checkpoint_id, "checkpoint id", limit)
    if checked == "latest":
        raise InvalidName("checkpoint id 'latest' is reserved for the newest checkpoint; choose another id")
    return checked


def in_scope(scope: str, name: str) -> bool:
    """Tell whether `name` is the scope itself or lies below it, by whole segments; the scope `""` holds everything.

    >>> in_scope("conv1", "conv1/weight"), in_scope("conv1", "conv10/weight")
    (True, False)
    """
    return not scope or name == scope or name.startswith(scope + "/")


def ancestors(name: str) -> list[str]:
    """Return the scopes that hold `name`, outermost first.

    >>> ancestors("a/b/w")
    ['a', 'a/b']
    """
    segments = name.split("/")
    return ["/".join(segments[:count]) for count in range(1, len(segments))]


def _checked(name: object, what: str, limit: int) -> str:
    if not isinstance(name, str):
        raise InvalidName(f"a {what} is text, got {type(name).__name__}; give it as a string")
    if len(name) > limit:
        raise InvalidName(
            f"{what} {name[:40]!r}... has {len(name)} characters, at most {limit} are allowed; shorten it"
        )
    if _NAME.fullmatch(name) is None:
        raise InvalidName(f"{what} {name!r} is not allowed; use {_RULE.format(limit=limit)}")
    return name
