"""Which variables a request means: by names, or by scope and collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from paramserver.store.directory import Directory
from paramserver.store.errors import CollectionNotFound, Difference, InvalidRequest, refuse_any
from paramserver.store.variables import LOCAL, TRAINABLE, VARIABLES, Variable, canonical
from paramserver_wire.errors import InvalidName
from paramserver_wire.names import MAX_SLOT_NAME, check_name, in_scope

WELL_KNOWN: Final = (VARIABLES, LOCAL, "model_variables", TRAINABLE, "moving_average_variables")


@dataclass(frozen=True, slots=True)
class Selection:
    """Variables by `names`, or all in scope `prefix` that are in `collection`; nothing given means all.

    With `skip_local`, an unnamed choice leaves the collection `local_variables` out, as TensorFlow does for
    initializing, saving and reporting, unless that collection is asked for.
    """

    names: Sequence[str] | None = None
    prefix: str | None = None
    collection: str | None = None
    skip_local: bool = False

    @property
    def whole(self) -> bool:
        """Whether nothing narrows the choice."""
        return self.names is None and not self.prefix and self.collection is None


def missing(name: str) -> Difference:
    """The difference every operation reports for a name it does not find, or that could not be one."""
    try:
        check_name(name, limit=MAX_SLOT_NAME)
    except InvalidName as error:
        return Difference(name, InvalidName.code, error.detail)
    return Difference(
        name,
        "variable_not_found",
        f"variable {name!r} does not exist; create it with PUT /v1/variables/{name}, or list what there is",
    )


def no_value(name: str) -> Difference:
    """The difference every operation reports that needs the value of an uninitialized variable."""
    return Difference(
        name, "uninitialized", f"variable {name!r} has no value yet; initialize, assign or restore it first"
    )


def select(directory: Directory, selection: Selection) -> list[Variable]:
    """The variables that are meant, each once: names in the order given, a collection in its own order, else by name.

    Raises `VariableNotFound` listing every unknown name, `CollectionNotFound`, or `InvalidRequest` when names are
    given together with a scope or a collection.
    """
    if selection.names is not None:
        if selection.prefix or selection.collection is not None:
            raise InvalidRequest("names were given together with prefix or collection; give one or the other")
        return _named(directory.variables, selection.names)
    names = directory.in_name_order(selection.prefix or "")
    if selection.collection is not None:
        names = [name for name in members(directory, selection.collection) if in_scope(selection.prefix or "", name)]
    chosen = [directory.variables[name] for name in names]
    if selection.skip_local and canonical(selection.collection or "") != LOCAL:
        local = set(directory.members(LOCAL) or ())
        chosen = [variable for variable in chosen if variable.name not in local]
    return chosen


def _named(variables: Mapping[str, Variable], names: Sequence[str]) -> list[Variable]:
    wanted = list(dict.fromkeys(names))
    refuse_any([missing(name) for name in wanted if name not in variables])
    return [variables[name] for name in wanted]


def no_collection(key: str) -> CollectionNotFound:
    """What is told about a collection that is not there."""
    return CollectionNotFound(f"collection {key!r} does not exist; no variable is in it", name=key)


def members(directory: Directory, key: str) -> list[str]:
    """The names in a collection; a well-known one may be empty. Raises `CollectionNotFound`."""
    found = directory.members(key)
    if found is None:
        if canonical(key) not in WELL_KNOWN:
            raise no_collection(key)
        return []
    return found
