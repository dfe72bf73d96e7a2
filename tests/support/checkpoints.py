"""Stores worth saving, managers with clocks and randomness of the test's own, and how to compare what came back."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

from paramserver.checkpoint import CheckpointManager
from paramserver.store import Gradient, GradientPush, NewVariable, Selection, Snapshot, Store, Update
from paramserver.store.requests import Claim, Digest
from paramserver_wire.dtypes import DTYPES
from support.arrays import same_bits
from support.stores import seeded_store


class ManualClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def opened(directory: Path, store: Store | None = None, **options: Any) -> CheckpointManager:
    """A manager that is not started yet, with automatic saves off unless asked for."""
    given: dict[str, Any] = {"clock": ManualClock(), "every_s": 0.0, "entropy": random.Random(7).randbytes, **options}
    return CheckpointManager(store or seeded_store(), directory, **given)


def store_with(**values: float) -> Store:
    """A store of float32 vectors [value, value]."""
    store = seeded_store(11)
    for name, value in values.items():
        store.create(NewVariable(name, value=vector(value)))
    return store


def vector(value: float) -> np.ndarray[Any, Any]:
    return np.full(2, value, np.float32)


def put(store: Store, name: str, value: float) -> None:
    store.push([Update(name, "assign", vector(value))])


def value_of(store: Store, name: str = "w") -> float:
    value = store.get(name).value
    assert value is not None
    assert value[0] == value[1]
    return float(value[0])


def rich_store() -> Store:
    """One of everything a checkpoint has to remember: all dtypes, 0-d and empty ones, scopes, collections, requests."""
    store = seeded_store(5)
    store.set_scope("conv1", {"initializer": {"type": "random_normal", "stddev": 0.5}, "dtype": "float16"})
    numbers = random.Random(3)
    for name, dtype in DTYPES.items():
        for shape in ((2, 3), (), (0, 2)):
            raw = np.frombuffer(numbers.randbytes(int(np.prod(shape)) * dtype.itemsize), np.uint8)
            value = (raw & 1 if name == "bool" else raw).view(dtype).reshape(shape)
            new = NewVariable(f"{name}/v{len(shape)}{min(shape, default=1)}", value=value, allow_non_finite=True)
            store.create(new)
    store.create(NewVariable("conv1/weight", shape=(3, 2)), initialize=True, seed=4)
    store.create(NewVariable("conv1/bias", shape=(2,), trainable=False, collections=["model_variables", "own"]))
    store.create(NewVariable("deep", value=np.ones((1, 2, 1, 2, 1, 1, 1, 2), np.complex128)))
    claim = store.requests.claim("client-a-1", Digest(10, 20))
    assert isinstance(claim, Claim)
    store.push(
        [Update("float32/v22", "assign", np.zeros((2, 3), np.float32))],
        claim=claim,
        answer=lambda receipt: [200, {"commit": receipt.commit}],
    )
    return store


def trained_store() -> Store:
    """Two optimizers with slots, scalars and a hyper-parameter that was changed."""
    store = seeded_store(6)
    for name, dtype in (("net/w", np.float32), ("b", np.float64)):
        store.create(NewVariable(name, value=np.arange(4, dtype=dtype).reshape(2, 2)))
    store.set_optimizer("net/Adam", {"type": "adam", "learning_rate": 0.5})
    store.set_optimizer("M", {"type": "momentum", "learning_rate": 1.0, "momentum": 0.5, "use_nesterov": True})
    store.set_optimizer("unused", {"type": "ftrl", "learning_rate": 0.25})
    rows = Gradient("b", np.ones((1, 2)), np.array([1]))
    for name in ("net/Adam", "M"):
        store.apply_gradients(GradientPush(name, [Gradient("net/w", np.ones((2, 2), np.float32)), rows]))
    store.set_optimizer("net/Adam", {"type": "adam", "learning_rate": 0.125})
    return store


def assert_same(left: Snapshot, right: Snapshot, *, incarnations: bool = True, times: bool = True) -> None:
    """Two cuts hold the same, bit by bit, in the same order; incarnations are all the same, or all others."""
    assert left.commit == right.commit
    assert list(left.variables) == list(right.variables)
    assert left.scopes == right.scopes
    assert left.optimizers == right.optimizers
    assert [dict(row) for row in left.requests] == [dict(row) for row in right.requests]
    for name, one in left.variables.items():
        other = right.variables[name]
        assert (one.shape, one.dtype, one.version) == (other.shape, other.dtype, other.version)
        assert (one.incarnation == other.incarnation) is incarnations
        assert one.state.trainable == other.state.trainable
        assert one.state.collections == other.state.collections
        assert one.state.initializer == other.state.initializer
        assert one.state.updated_at == other.state.updated_at or not times
        assert (one.value is None) == (other.value is None)
        if one.value is not None and other.value is not None:
            assert same_bits(one.value, other.value), name


def cut(store: Store) -> Snapshot:
    return store.snapshot(Selection(), with_requests=True)
