"""What a save asks for, checked before anything is done. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paramserver.checkpoint.arguments import (
    checked_count,
    checked_id,
    checked_metadata,
    checked_names,
    checked_series,
)
from paramserver.checkpoint.format import About
from paramserver.checkpoint.retention import Retention
from paramserver.checkpoint.shards import MIN_SHARD_NBYTES
from paramserver.store.errors import InvalidRequest
from paramserver.store.selection import Selection


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for a save that says nothing else: how many of a series stay, and how large a file may get."""

    retention: Retention
    shard_nbytes: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A save, understood. `kind` begins its id when `about` has none."""

    selection: Selection
    about: About
    rules: Rules
    kind: str = "ckpt"


def checked_save(
    rules: Rules,
    created: float,
    id: str | None = None,
    *,
    step: int | None = None,
    names: Sequence[str] | None = None,
    prefix: str | None = None,
    collection: str | None = None,
    series: str | None = None,
    max_to_keep: int | None = None,
    keep_checkpoint_every_n_hours: float | None = None,
    shard_nbytes: int | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Asked:
    """A save on request; what is None is as the `rules` say. Raises InvalidRequest or InvalidName."""
    about = About(
        id="" if id is None else checked_id(id),
        created=created,
        series=checked_series(series),
        step=checked_count("step", step),
        metadata=checked_metadata(metadata),
    )
    count = checked_count("max_to_keep", max_to_keep)
    hours = _checked_hours(keep_checkpoint_every_n_hours)
    retention = Retention(
        rules.retention.max_to_keep if count is None else count,
        rules.retention.keep_every_n_hours if hours is None else hours,
    )
    nbytes = _checked_shard_nbytes(shard_nbytes)
    selection = Selection(checked_names(names), prefix, collection, skip_local=True)
    return Asked(selection, about, Rules(retention, rules.shard_nbytes if nbytes is None else nbytes))


def _checked_hours(hours: float | None) -> float | None:
    if hours is not None and (type(hours) not in (int, float) or not math.isfinite(hours) or hours < 0):
        raise InvalidRequest(f"keep_checkpoint_every_n_hours: wanted a number of at least 0, got {hours!r:.40}")
    return hours


def _checked_shard_nbytes(nbytes: int | None) -> int | None:
    if checked_count("shard_nbytes", nbytes) and nbytes is not None and nbytes < MIN_SHARD_NBYTES:
        raise InvalidRequest(
            f"shard_nbytes: wanted at least {MIN_SHARD_NBYTES} bytes, or 0 for one file whatever its size, got {nbytes}"
        )
    return nbytes
