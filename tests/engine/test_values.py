"""Slices, dtypes of reads, timestamps, and numbers that fill a shape."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramserver.engine import Engine, values
from paramserver.store.errors import DtypeMismatch, IndexOutOfRange, InvalidRequest, MemoryLimitExceeded, NonFinite
from paramserver_wire.dtypes import DTYPES
from paramserver_wire.messages import Message
from paramserver_wire.tensors import Untyped
from support.stores import seeded_store

CUBE = np.arange(60).reshape(3, 4, 5)
INDEX = st.integers(-6, 6).map(str)
RANGE = st.lists(st.just("") | INDEX, min_size=2, max_size=3).map(":".join).filter(lambda text: not text.endswith(":0"))


@given(st.lists(INDEX | RANGE | st.just("..."), min_size=1, max_size=5))
def test_slices_are_numpys(parts: list[str]) -> None:
    text = ",".join(parts)
    try:
        wanted = eval(f"CUBE[{text}]", {"CUBE": CUBE})  # noqa: S307 - numpy itself says what is right
    except (IndexError, ValueError):
        with pytest.raises((InvalidRequest, IndexOutOfRange), match="'w'"):
            values.sliced("w", CUBE, text)
    else:
        np.testing.assert_array_equal(values.sliced("w", CUBE, text), wanted)


@pytest.mark.parametrize(
    "text",
    ["", "a", "1.5", "1:2:3:4", "None", "[0]", "0;1", "__import__('os')", ":" * 300, "...,...", "1,1,1,1", "0::0"],
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises((InvalidRequest, IndexOutOfRange), match="'w'"):
        values.sliced("w", CUBE, text)


@pytest.mark.parametrize("held", DTYPES)
@pytest.mark.parametrize("wanted", DTYPES)
def test_a_reader_may_lose_precision_but_never_an_imaginary_part_or_a_fraction(held: str, wanted: str) -> None:
    value = np.ones(3, DTYPES[held])
    kinds = {"float": ("float16", "bfloat16", "float32", "float64"), "complex": ("complex64", "complex128")}
    kind = {name: kind for kind, names in kinds.items() for name in names}
    lossy = (kind.get(held) == "complex" and kind.get(wanted) != "complex") or (
        kind.get(held) == "float" and kind.get(wanted) is None
    )
    if lossy or (wanted == "bool" and held != "bool"):
        with pytest.raises(DtypeMismatch, match="'w'"):
            values.in_dtype("w", value, wanted)
        return
    try:
        got = values.in_dtype("w", value, wanted)
    except DtypeMismatch:
        assert kind.get(held) is None
    else:
        assert got.dtype == DTYPES[wanted]
        assert got.astype(np.complex128).tolist() == [1, 1, 1]


def test_timestamps_are_rfc_3339() -> None:
    assert values.timestamp(0.5) == "1970-01-01T00:00:00.500000Z"


def peak_of(run: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_numbers_that_fill_a_variable_take_no_memory_before_they_are_written() -> None:
    engine = Engine(seeded_store())
    engine.perform(Message("create_variable", {"name": "w", "value": np.zeros(1_000_000, np.float32)}))
    fill: list[dict[str, Any]] = [{"name": "w", "op": "assign", "value": Untyped(number)} for number in range(20)]
    assert peak_of(lambda: engine.perform(Message("push", {"updates": fill}))) < 4 * 4_000_000
    assert engine.store.get("w").value[-1] == 19
    assert engine.store.get("w").value.flags.c_contiguous


def test_a_number_that_fills_a_new_variable_is_refused_before_memory_is_taken() -> None:
    engine = Engine(seeded_store(memory_limit_nbytes=1_000_000))
    create = {"name": "w", "shape": [2_000_000], "dtype": "float16", "value": Untyped(1000)}

    def refused() -> None:
        with pytest.raises(MemoryLimitExceeded):
            engine.perform(Message("create_variable", create))

    assert peak_of(refused) < 500_000
    engine.perform(Message("create_variable", {**create, "shape": [2, 3], "initialize": True}))
    value = engine.store.get("w").value
    assert (value.tolist(), value.flags.c_contiguous) == ([[1000] * 3] * 2, True)


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_a_number_that_fills_a_variable_must_be_finite(value: str) -> None:
    engine = Engine(seeded_store())
    engine.perform(Message("create_variable", {"name": "w", "value": np.zeros((2, 3), np.float32)}))
    for number in (value, 1e39):
        with pytest.raises(NonFinite):
            engine.perform(Message("assign", {"name": "w", "value": Untyped(number)}))
    arguments = {"name": "w", "value": Untyped(value), "allow_non_finite": True}
    engine.perform(Message("assign", arguments))
    assert str(engine.store.get("w").value[1, 2]) in ("nan", "inf")
