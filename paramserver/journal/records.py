"""Entries of the store as payloads of records, and back. Pure.

Fields that say nothing are left out. `work` is a map with the name of its kind beside its fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from paramserver.journal.packing import Parts, pack, unpack
from paramserver.store.entries import Asked, Entry, FirstValues, Gradients, Made, Updates, Values, Work
from paramserver.store.gradients import Gradient, GradientPush
from paramserver.store.optimizers import OptimizerState
from paramserver.store.requests import Digest
from paramserver.store.updates import Update
from paramserver_wire.dtypes import dtype_named, name_of


def encode_entry(entry: Entry, head_nbytes: int | None = None) -> Parts:
    """The payload of an entry, but for its kind and commit, which stand in the record's header; `head_nbytes` as in `pack`."""
    tree: dict[str, Any] = {"at": entry.at}
    if entry.made:
        tree["made"] = [_made_row(made) for made in entry.made]
    if entry.deleted:
        tree["deleted"] = list(entry.deleted)
    if entry.regrouped:
        tree["regrouped"] = {name: [trainable, list(keys)] for name, (trainable, keys) in entry.regrouped.items()}
    if entry.scopes:
        tree["scopes"] = dict(entry.scopes)
    if entry.optimizers:
        tree["optimizers"] = {name: state and state.row() for name, state in entry.optimizers.items()}
    if entry.work is not None:
        tree["work"] = _work_row(entry.work)
    if entry.asked is not None:
        tree["asked"] = [entry.asked.client, entry.asked.seq, *entry.asked.digest]
        if entry.asked.holder:
            tree["holder"] = entry.asked.holder
        tree["answer"] = entry.answer
    return pack(tree, head_nbytes)


def decode_entry(kind: str, commit: int, payload: memoryview) -> Entry:
    """The entry again; its arrays are views of the payload. Raises KeyError, TypeError or ValueError for no payload."""
    tree = unpack(payload)
    asked = tree.get("asked")
    return Entry(
        kind=kind,
        commit=commit,
        at=tree["at"],
        made=[_made_of(row) for row in tree.get("made", ())],
        deleted=tree.get("deleted", ()),
        regrouped={name: (trainable, tuple(keys)) for name, (trainable, keys) in tree.get("regrouped", {}).items()},
        scopes=tree.get("scopes", {}),
        optimizers={name: row and OptimizerState.of_row(row) for name, row in tree.get("optimizers", {}).items()},
        work=None if "work" not in tree else _work_of(tree["work"]),
        asked=None if asked is None else Asked(asked[0], asked[1], Digest(asked[2], asked[3]), tree.get("holder", "")),
        answer=tree.get("answer"),
    )


def _made_row(made: Made) -> list[Any]:
    return [
        made.name,
        list(made.shape),
        name_of(made.dtype),
        made.incarnation,
        None if made.initializer is None else dict(made.initializer),
        made.trainable,
        list(made.collections),
        made.updated_at,
    ]


def _made_of(row: list[Any]) -> Made:
    name, shape, dtype, incarnation, initializer, trainable, collections, updated_at = row
    return Made(
        name, tuple(shape), dtype_named(dtype), incarnation, initializer, trainable, tuple(collections), updated_at
    )


def _work_row(work: Work) -> dict[str, Any]:
    match work:
        case Updates(updates):
            return {"type": "updates", "updates": [_update_row(update) for update in updates]}
        case FirstValues(names, seed, drawn):
            return {"type": "first_values", "names": list(names), "seed": seed, "drawn": drawn}
        case Values(values):
            return {"type": "values", "values": {name: np.asarray(value) for name, value in values.items()}}
        case Gradients(push, spec):
            return {
                "type": "gradients",
                "optimizer": push.optimizer,
                "spec": dict(spec),
                "gradients": [[each.name, np.asarray(each.value), each.indices] for each in push.gradients],
                "hyper": dict(push.hyper),
                "global_step": push.global_step,
                "then": [_update_row(update) for update in push.then],
            }


def _work_of(row: Mapping[str, Any]) -> Work:
    match row["type"]:
        case "updates":
            return Updates([_update_of(each) for each in row["updates"]])
        case "first_values":
            return FirstValues(row["names"], row["seed"], row["drawn"])
        case "values":
            return Values(row["values"])
        case "gradients":
            push = GradientPush(
                row["optimizer"],
                [Gradient(name, value, indices) for name, value, indices in row["gradients"]],
                row["hyper"],
                row["global_step"],
                [_update_of(each) for each in row["then"]],
                allow_non_finite=True,
            )
            return Gradients(push, row["spec"])
    raise ValueError(f"a record holds no work of type {row['type']!r}")


def _update_row(update: Update) -> dict[str, Any]:
    fields = {
        "value": None if update.value is None else np.asarray(update.value),
        "indices": update.indices,
        "source": update.source,
        "decay": update.decay,
    }
    return {"name": update.name, "op": update.op} | {key: value for key, value in fields.items() if value is not None}


def _update_of(row: Mapping[str, Any]) -> Update:
    return Update(
        row["name"],
        row["op"],
        row.get("value"),
        indices=row.get("indices"),
        source=row.get("source"),
        decay=row.get("decay"),
    )
