"""Slices, dtypes of reads, and timestamps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramserver.engine import values
from paramserver.store.errors import DtypeMismatch, IndexOutOfRange, InvalidRequest
from paramserver_wire.dtypes import DTYPES

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
