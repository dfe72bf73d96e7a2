"""A store with a journal in a directory, in process: written, killed, read again."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from paramserver.disk import Disk
from paramserver.journal import Journal, JournalReport, Shelf, recover
from paramserver.store import Digest, Gradient, GradientPush, NewVariable, Selection, Snapshot, Store, Update
from paramserver.store.requests import Claim
from support.stores import seeded_store

SERVER = "0123456789abcdef"
ONE = np.ones(2, np.float32)
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


def claimed(store: Store, request_id: str, digest: Digest = Digest(1, 2)) -> Claim:  # noqa: B008
    claim = store.requests.claim(request_id, digest)
    assert isinstance(claim, Claim)
    return claim


def live(store: Store) -> None:
    """One of everything that changes a store."""
    store.set_scope("net", {"dtype": "float64", "initializer": {"type": "ones"}})
    store.create(
        NewVariable("w", value=np.zeros(3, np.float32)), claim=claimed(store, "c-1"), answer=lambda *_: [201, 7]
    )
    store.create(NewVariable("net/deep", shape=(2, 2)), initialize=True)
    store.create(NewVariable("r", shape=(4,), initializer={"type": "random_normal"}, trainable=False))
    store.create(NewVariable("big", value=np.int64(3), collections=["mine"]))
    store.create(NewVariable("b", value=np.ones((3, 2), "bfloat16")))
    store.create(NewVariable("c", value=np.array([1 + 2j, 3], np.complex64)[::-1]))
    store.initialize(Selection())
    store.initialize(Selection(names=["r"]), only_uninitialized=False, seed=2**70)
    store.push(
        [
            Update("w", "assign", np.arange(3, dtype=np.float32), donated=True),
            Update("w", "assign_add", np.ones(3, np.int8)),
        ]
    )
    store.push(
        [Update("b", "scatter_add", np.ones((2, 2), "bfloat16"), indices=np.array([2, 2]))], claim=claimed(store, "c-2")
    )
    store.push([Update("w", "assign", lambda dtype, shape: np.broadcast_to(np.asarray(5, dtype), shape))])
    store.push([Update("net/deep", "assign_sub", np.full((2, 2), 0.1))], allow_non_finite=True)
    store.push([Update("net/deep", "assign_sub", np.full((2, 2), np.nan))], allow_non_finite=True)
    store.create(NewVariable("average", value=np.zeros(3, np.float32), trainable=False))
    store.push([Update("average", "ema", source="w", decay=0.9)])
    store.set_optimizer("Adam", {"type": "adam", "learning_rate": 0.1})
    store.set_optimizer("F", {"type": "ftrl", "learning_rate": 0.1})
    store.create(NewVariable("step", value=np.int64(0), trainable=False))
    for rate in (0.1, 0.2):
        gradients = [Gradient("w", np.full(3, rate, np.float32), donated=True), Gradient("r", ONE, np.array([0, 3]))]
        store.apply_gradients(
            GradientPush(
                "Adam", gradients, {"learning_rate": rate}, "step", [Update("average", "ema", source="w", decay=0.5)]
            ),
            claim=claimed(store, f"w-{int(rate * 10)}"),
            answer=lambda receipt: [200, {"commit": receipt.commit}],
        )
    store.apply_gradients(GradientPush("F", [Gradient("net/deep", np.ones((2, 2)))], allow_non_finite=True))
    store.set_optimizer("Adam", {"type": "adam", "learning_rate": 0.01})
    store.change("w", trainable=False)
    store.change("w", trainable=True, collections=["own"])
    store.regroup("mine", ["w", "b"], add=True)
    store.regroup("mine", ["big"], add=False)
    store.restore(store.snapshot(Selection(names=["w", "b"])).variables)
    store.import_values({"imported": np.ones(3, np.float16), "w": np.array([1, 2, 3], np.int16)})
    store.remember(claimed(store, "saver-1"), [201, {"id": "m", "text": "\ud800"}])
    store.create(NewVariable("w"), reuse=True, claim=claimed(store, "again-1"), answer=lambda *_: [200, 1])
    store.delete_optimizer("F")
    store.delete(Selection(names=["big", "w"]))
    store.set_scope("net", {})
    store.delete_scope("net")
    store.create(NewVariable("w", value=ONE))
