"""A Saver's checkpoints on a server's disk: what stands where is noted with each, so that any session restores them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from paramserver_client.errors import CheckpointIncompatibleError
from paramserver_client.graph import checkpoint_state as state
from paramserver_client.graph.changes import Change
from paramserver_client.graph.errors import InvalidArgumentError, NotFoundError
from paramserver_client.graph.saveables import Saved
from paramserver_client.graph.session import BaseSession

_SHAPES: Final = re.compile(r"has shape \[(.*?)\], the checkpoint holds \[(.*?)\]")
_DTYPES: Final = re.compile(r"has dtype (\w+), the checkpoint holds (\w+)")


def save(sess: BaseSession, prefix: str, step: int | None, saved: Sequence[Saved], series: str) -> None:
    """Have the server save. Raises ValueError for variables that live in the session, and what the server refuses."""
    for entry in saved:
        if entry.is_local:
            raise ValueError(
                f"Variable {entry.name!r} lives in the session and cannot be saved on a server; leave it out."
            )
    scope = f"{sess.container}/" if sess.container else ""
    inside = {
        entry.name: [sess.variables.name(each).removeprefix(scope) for each in entry.variables] for entry in saved
    }
    note = {
        "container": sess.container,
        "dtypes": {entry.name: entry.variables[0].dtype.base_dtype.name for entry in saved},
        "saved_as": {entry.name: inside[entry.name][0] for entry in saved if entry.is_whole},
        "parts": {
            entry.name: [list(entry.shape or ()), list(zip(inside[entry.name], entry.offsets(), strict=True))]
            for entry in saved
            if not entry.is_whole
        },
    }
    names = [sess.variables.name(variable) for entry in saved for variable in entry.variables]
    # The Saver itself deletes what is too old, as TensorFlow's does.
    sess.client.save(
        state.checkpoint_id(prefix),
        step=step,
        names=names,
        series=series,
        max_to_keep=0,
        metadata={state.SAVED_BY: note},
    )


def restore(sess: BaseSession, checkpoint: str, saved: Sequence[Saved], reshape: bool) -> None:
    """Restore from the server's disk, in one transaction there, whenever variables and saved parts are cut alike.

    Otherwise the values come here, are put together, cut anew and pushed, in one transaction too. Raises
    `CheckpointNotFoundError`, NotFoundError, InvalidArgumentError; nothing was changed.
    """
    note = sess.client.get_checkpoint(checkpoint).metadata.get(state.SAVED_BY) or {}
    container = note.get("container", sess.container)
    scope = f"{container}/" if container else ""
    rename: dict[str, str] = {}
    for entry in saved:
        there = places(note, entry.name)
        offsets = [[]] if entry.is_whole else entry.offsets()
        if entry.is_local or [offset for _, offset in there] != offsets:
            _restore_cut_anew(sess, checkpoint, saved, note, scope, reshape)
            return
        for variable, (name, _) in zip(entry.variables, there, strict=True):
            rename[sess.variables.name(variable)] = f"{scope}{name}"
    try:
        sess.client.restore(checkpoint, names=list(rename), rename=rename, reshape=reshape)
    except CheckpointIncompatibleError as error:
        raise _misfit(error, sess, saved) from error


def places(note: Mapping[str, Any], name: str) -> list[tuple[str, list[int]]]:
    """Under which names, below the container, the parts of a saved value are, and where each begins."""
    if name in note.get("parts", {}):
        return [(part, list(offset)) for part, offset in note["parts"][name][1]]
    return [(note.get("saved_as", {}).get(name, name), [])]


def _restore_cut_anew(
    sess: BaseSession, checkpoint: str, saved: Sequence[Saved], note: Mapping[str, Any], scope: str, reshape: bool
) -> None:
    room = f"restoring-{uuid.uuid4().hex}"
    there = {entry.name: places(note, entry.name) for entry in saved}
    rename = {f"{room}/{name}": f"{scope}{name}" for each in there.values() for name, _ in each}
    try:
        sess.client.restore(checkpoint, names=list(rename), rename=rename)
        values = sess.client.pull(prefix=room)
    except CheckpointIncompatibleError as error:
        missing = {each["name"].removeprefix(f"{room}/") for each in error.errors}
        lost = [name for name, each in there.items() if any(part in missing for part, _ in each)]
        raise NotFoundError(f"Key {lost[0] if lost else checkpoint} not found in checkpoint") from error
    finally:
        sess.client.delete_variables(prefix=room, confirm=True)
    changes = []
    for entry in saved:
        parts = [(values[f"{room}/{name}"], offset) for name, offset in there[entry.name]]
        whole = parts[0][0] if not parts[0][1] else together(note["parts"][entry.name][0], parts)
        for variable, value in entry.cut(whole, reshape):
            changes.append(Change(variable, "assign", value))
    sess.variables.write(changes, [])


def together(shape: Sequence[int], parts: Sequence[tuple[Any, Sequence[int]]]) -> Any:
    whole = np.empty(tuple(shape), parts[0][0].dtype)
    for value, offset in parts:
        whole[tuple(slice(start, start + size) for start, size in zip(offset, value.shape, strict=True))] = value
    return whole


def _misfit(error: CheckpointIncompatibleError, sess: BaseSession, saved: Sequence[Saved]) -> Exception:
    """The first difference in TensorFlow's words; a missing key goes before a shape, as there."""
    saved_names = {sess.variables.name(variable): entry.name for entry in saved for variable in entry.variables}
    fitting = [each for each in error.errors if each.get("name") in saved_names]
    absent = [each for each in fitting if not _SHAPES.search(each["detail"]) and not _DTYPES.search(each["detail"])]
    if absent:
        return NotFoundError(f"Key {saved_names[absent[0]['name']]} not found in checkpoint", errors=error.errors)
    for each in fitting:
        name = saved_names[each["name"]]
        if shape := _SHAPES.search(each["detail"]):
            ours, theirs = (text.replace(" ", "") for text in shape.groups())
            text = f"Assign requires shapes of both tensors to match. lhs shape= [{ours}] rhs shape= [{theirs}]"
            return InvalidArgumentError(f"{text} (variable {name})", errors=error.errors)
        if dtype := _DTYPES.search(each["detail"]):
            text = f"tensor_name = {name}; expected dtype {dtype[1]} does not equal original dtype {dtype[2]}"
            return InvalidArgumentError(text, errors=error.errors)
    return error
