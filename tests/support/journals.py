"""A store with a journal in a directory, in process: written, killed, read again."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paramserver.disk import Disk
from paramserver.journal import Journal, JournalReport, Shelf, recover
from paramserver.store import Snapshot, Store
from support.stores import seeded_store

SERVER = "0123456789abcdef"
BUILDS = {"paramserver": "1", "numpy": "2"}


class JournalledStore:
    """`store` writes ahead into `directory`, after doing again what is there."""

    def __init__(
        self,
        directory: Path,
        *,
        always: bool = True,
        segment_nbytes: int = 1 << 16,
        truncate: bool = False,
        disk: Disk | None = None,
        **options: object,
    ) -> None:
        directory.mkdir(exist_ok=True)
        ticks = itertools.count(2_000_000)
        disk = disk or Disk()
        shelf = Shelf(directory, disk, segment_nbytes)
        self.journal = Journal(
            shelf,
            always=always,
            clock=lambda: float(next(ticks)),
            entropy=random.Random(len(list(directory.iterdir()))).randbytes,
            builds=BUILDS,
            **options,  # type: ignore[arg-type]
        )
        self.store = seeded_store(publisher=self.journal)
        self.report: JournalReport = recover(
            directory, self.store, disk, server=SERVER, builds=BUILDS, truncate=truncate
        )
        shelf.open()
        self.journal.begin(SERVER, self.store.commit, self.report.segments)


@contextmanager
def journalled(directory: Path, **options: object) -> Iterator[JournalledStore]:
    """A store that is closed in the end, as at a clean stop; what was left before that is what a kill leaves."""
    opened = JournalledStore(directory, **options)  # type: ignore[arg-type]
    try:
        yield opened
    finally:
        opened.journal.close()


def contents(store: Store) -> tuple[Snapshot, list[object]]:
    """All there is to a store, in a form that compares bit by bit: its cut, and each value's bytes."""
    cut = store.snapshot(with_requests=True)
    raw: list[object] = [
        None if variable.value is None else variable.value.tobytes() for variable in cut.variables.values()
    ]
    return cut, raw


def assert_same(one: Store, other: Store) -> None:
    """The two are bit-equal: values, versions, incarnations, times, orders, scopes, optimizers, requests."""
    (cut, raw), (other_cut, other_raw) = contents(one), contents(other)
    assert raw == other_raw
    assert list(cut.variables) == list(other_cut.variables)
    for name, variable in cut.variables.items():
        twin = other_cut.variables[name]
        assert variable._replace(state=variable.state._replace(value=None)) == twin._replace(
            state=twin.state._replace(value=None)
        )
    assert (cut.commit, cut.scopes, cut.orders, cut.optimizers) == (
        other_cut.commit,
        other_cut.scopes,
        other_cut.orders,
        other_cut.optimizers,
    )
    rows, other_rows = ({row["client"]: row for row in each.requests} for each in (cut, other_cut))
    assert rows == other_rows
