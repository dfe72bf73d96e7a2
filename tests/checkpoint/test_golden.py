"""A checkpoint written once by the first version: it must load for ever, with the same values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from paramserver.checkpoint import About, read_checkpoint, verify, write_checkpoint
from paramserver.checkpoint.shards import MODEL
from paramserver.store import Gradient, GradientPush
from support.arrays import same_bits
from support.checkpoints import assert_same, cut, rich_store, trained_store
from support.stores import seeded_store

GOLDEN = Path(__file__).parent.parent / "golden" / "checkpoint-v1"
ABOUT = About(
    "golden/m-3",
    1_790_000_000.25,
    full=True,
    series="mine",
    step=3,
    metadata={"loss": 0.5},
    sequence=9,
    server="5" * 16,
)


def test_a_checkpoint_of_format_1_loads() -> None:
    checkpoint = read_checkpoint(GOLDEN)
    assert checkpoint.manifest.about == ABOUT
    first = checkpoint.snapshot.variables["bool/v22"]
    assert (first.incarnation, first.state.updated_at) == ("457c769f39d86441", 1_000_002.0)
    now = cut(rich_store())
    restamped = {name: one._replace(incarnation=f"{0:016x}") for name, one in now.variables.items()}
    assert_same(checkpoint.snapshot, replace(now, variables=restamped), incarnations=False, times=False)


def test_a_checkpoint_of_format_2_loads() -> None:
    """In several files, with their index."""
    checkpoint = read_checkpoint(GOLDEN.parent / "checkpoint-v2")
    assert len(checkpoint.manifest.model_files) == 3
    assert checkpoint.manifest.about == ABOUT
    assert_same(checkpoint.snapshot, read_checkpoint(GOLDEN).snapshot)
    assert not verify(GOLDEN.parent / "checkpoint-v2")


def test_values_are_still_written_so(tmp_path: Path) -> None:
    """Who reads our files may rely on their bytes: a change of them is a change of format."""
    write_checkpoint(tmp_path / "c", read_checkpoint(GOLDEN).snapshot, ABOUT)
    assert (tmp_path / "c" / MODEL).read_bytes() == (GOLDEN / MODEL).read_bytes()


def test_a_checkpoint_with_optimizers_loads_and_goes_on() -> None:
    checkpoint = read_checkpoint(GOLDEN.parent / "checkpoint-optimizers")
    now = cut(trained_store())
    restamped = {name: one._replace(incarnation=f"{0:016x}") for name, one in now.variables.items()}
    assert_same(checkpoint.snapshot, replace(now, variables=restamped), incarnations=False, times=False)
    store = seeded_store()
    store.load(checkpoint.snapshot)
    store.renew_incarnations()
    push = GradientPush("net/Adam", [Gradient("net/w", np.ones((2, 2), np.float32))])
    expected = trained_store()
    for each in (store, expected):
        each.apply_gradients(push)
    assert same_bits(store.get("net/w").value, expected.get("net/w").value)
    assert store.optimizers() == expected.optimizers()


def test_a_checkpoint_from_before_optimizers_has_none() -> None:
    assert read_checkpoint(GOLDEN).snapshot.optimizers == {}
