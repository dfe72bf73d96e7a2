"""What the holder of a token may do, and with which names. Pure.

Roles contain each other: `admin` may all that `write` may, and `write` all that `read` may. Each is given for names:

    *            every name
    model/*      the scope `model`: `model` itself and whatever is below it, by whole segments (never `model2`)
    model/step   this one name
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from paramserver_wire.errors import InvalidName
from paramserver_wire.names import MAX_SLOT_NAME, check_name

Role = Literal["read", "write", "admin"]
ROLES: Final[tuple[Role, ...]] = ("read", "write", "admin")


class Need(NamedTuple):
    """A right that a request takes: a role for one name, or, with `below`, for a whole scope ('' is everything)."""

    role: Role
    name: str
    below: bool = False

    def __str__(self) -> str:
        if not self.below:
            return f"{self.role}:{self.name}"
        return f"{self.role}:{self.name}/*" if self.name else f"{self.role}:*"


class Grant(NamedTuple):
    """Who it is, and the rights that were given: each a role for a name or a scope."""

    holder: str
    rights: tuple[Need, ...]

    @property
    def unlimited(self) -> bool:
        """Whether it allows everything."""
        return ALL in self.rights

    def allows(self, need: Need) -> bool:
        """Whether one of the rights covers what is needed."""
        return any(_covers(right, need) for right in self.rights)

    def holds(self, role: Role) -> bool:
        """Whether it allows that role for any name at all."""
        return any(ROLES.index(right.role) >= ROLES.index(role) for right in self.rights)

    def sees(self, name: str, below: bool = False) -> bool:
        """Whether the name may be read; with `below`, the scope of that name and all there is in it."""
        return self.allows(Need("read", name, below))


ALL: Final = Need("admin", "", True)
EVERYTHING: Final = Grant("everybody", (ALL,))


def grant_of(holder: str, scopes: str) -> Grant:
    """The grant of `read:model/*,write:model/*`. Raises `ValueError`, saying what was wanted.

    >>> grant_of("worker", "write:model/*").allows(Need("read", "model/conv1/weight"))
    True
    """
    return Grant(holder, tuple(_right_of(text.strip()) for text in scopes.split(",")))


def refused(grant: Grant, needs: Iterable[Need]) -> list[Need]:
    """Those needs that the grant does not cover."""
    return [need for need in dict.fromkeys(needs) if not grant.allows(need)]


def _covers(right: Need, need: Need) -> bool:
    if ROLES.index(right.role) < ROLES.index(need.role):
        return False
    if not right.below:
        return not need.below and right.name == need.name
    return not right.name or need.name == right.name or need.name.startswith(f"{right.name}/")


def _right_of(text: str) -> Need:
    role, colon, pattern = text.partition(":")
    if role not in ROLES or not colon:
        raise ValueError(f"a right is read, write or admin, a colon and names, as in write:model/*; got {text[:80]!r}")
    if pattern == "*":
        return Need(role, "", True)
    name = pattern.removesuffix("/*")
    try:
        check_name(name, limit=MAX_SLOT_NAME)
    except InvalidName as error:
        raise ValueError(
            f"names are *, a scope as in model/*, or one name; got {pattern[:80]!r}: {error.detail}"
        ) from None
    return Need(role, name, pattern.endswith("/*"))
