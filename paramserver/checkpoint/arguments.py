"""What the arguments of a save or restore mean, and which of them are refused. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from paramserver.checkpoint.format import Manifest
from paramserver.store.errors import Difference, InvalidName, InvalidRequest, refuse_any
from paramserver.store.selection import Selection, no_value
from paramserver.store.snapshot import Snapshot
from paramserver.store.variables import LOCAL
from paramserver_wire.errors import WireError
from paramserver_wire.names import MAX_SLOT_NAME, check_checkpoint_id, check_name

DEFAULT_SERIES: Final = "default"
MAX_METADATA_LENGTH: Final = 1 << 16


def checked_id(id: str) -> str:
    """The id of a checkpoint to save; InvalidName if it is none."""
    try:
        return check_checkpoint_id(id)
    except WireError as error:
        raise InvalidName(str(error)) from None


def checked_series(series: str | None) -> str:
    if series is None:
        return DEFAULT_SERIES
    if not isinstance(series, str) or not 0 < len(series) <= 200 or not series.isprintable():
        raise InvalidRequest(f"series: wanted 1 to 200 printable characters, got {series!r:.60}")
    return series


def checked_count(what: str, value: int | None) -> int | None:
    if value is not None and (type(value) is not int or not 0 <= value < 2**63):
        raise InvalidRequest(f"{what}: wanted a whole number of at least 0, got {value!r:.40}")
    return value


def checked_names(names: Sequence[str] | None) -> list[str] | None:
    """The names, each once; a name that is given twice is refused, with all such names listed."""
    if names is None:
        return None
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InvalidRequest(f"names: wanted a list of names, got {names!r:.60}")
    refuse_any(
        [
            Difference(name, "invalid_request", f"variable {name!r} is named {count} times; name each variable once")
            for name, count in Counter(names).items()
            if count > 1
        ]
    )
    return list(names)


def checked_rename(rename: Mapping[str, str] | None, names: Sequence[str] | None) -> dict[str, str]:
    """Variables to the names they were saved under; a variable that is not to be restored cannot be renamed."""
    try:
        renamed = dict(rename or {})
    except (TypeError, ValueError):
        raise InvalidRequest(f"rename: wanted variables mapped to saved names, got {rename!r:.60}") from None
    try:
        for name in (*renamed.keys(), *renamed.values()):
            check_name(name, limit=MAX_SLOT_NAME)
    except WireError as error:
        raise InvalidName(f"rename: {error}") from None
    unused = [name for name in renamed if names is not None and name not in names]
    if unused:
        raise InvalidRequest(
            f"rename: {', '.join(unused[:5])} not among the names to restore; add them to names, or leave them out"
        )
    return renamed


def checked_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """A private copy of plain JSON values."""
    try:
        text = json.dumps(dict(metadata or {}), allow_nan=False)
        plain: dict[str, Any] = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"metadata: wanted an object of plain JSON values, got {error}") from None
    if len(text) > MAX_METADATA_LENGTH:
        raise InvalidRequest(f"metadata: wanted at most {MAX_METADATA_LENGTH} characters as JSON, got {len(text)}")
    return plain


def refuse_unsavable(snapshot: Snapshot, selection: Selection) -> None:
    """Refuse a choice that comes to nothing, and named variables without a value."""
    if not snapshot.variables:
        raise InvalidRequest(
            "there are no variables to save; name at least one, or a scope or collection that has some"
        )
    if selection.names is not None:
        refuse_any([no_value(name) for name, variable in snapshot.variables.items() if not variable.initialized])


def without_local(snapshot: Snapshot) -> tuple[Snapshot, bool]:
    """The snapshot without local variables, which TensorFlow does not save either, and whether no value was lost by it."""
    kept = {name: variable for name, variable in snapshot.variables.items() if LOCAL not in variable.state.collections}
    lost = any(variable.initialized for name, variable in snapshot.variables.items() if name not in kept)
    return replace(snapshot, variables=kept), not lost


def choose(
    manifest: Manifest, names: Sequence[str] | None, rename: Mapping[str, str]
) -> tuple[dict[str, str], list[Difference]]:
    """Which saved value goes to which variable, and what was asked for but is not there.

    Without names: all that was saved, each under its own name, but for what `rename` takes from elsewhere or moves.
    """
    saved = {name for name, variable in manifest.variables.items() if variable.initialized}
    if names is None:
        moved = {*rename.keys(), *rename.values()}
        wanted = {**rename, **{name: name for name in manifest.variables if name in saved and name not in moved}}
    else:
        wanted = {name: rename.get(name, name) for name in names}
    absent = [_absence(manifest, name, source) for name, source in wanted.items() if source not in saved]
    return {name: source for name, source in wanted.items() if source in saved}, absent


def _absence(manifest: Manifest, name: str, source: str) -> Difference:
    called = f"variable {name!r}" if name == source else f"variable {name!r} (saved as {source!r})"
    if source in manifest.variables:
        detail = f"{called} had no value when checkpoint {manifest.about.id!r} was saved; leave it out"
        return Difference(name, "uninitialized", detail)
    detail = f"{called} is not in checkpoint {manifest.about.id!r}; leave it out, or rename it to what was saved"
    return Difference(name, "checkpoint_incompatible", detail)
