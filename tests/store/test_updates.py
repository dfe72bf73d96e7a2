"""Rows written into a copy, against the same done one row after the other."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramserver.store import Gradient, GradientPush, NewVariable, Update
from paramserver.store.errors import ShapeMismatch
from paramserver.store.updates import is_finite, scatter
from support.arrays import QUICK
from support.stores import seeded_store

OPS = ["scatter_update", "scatter_add", "scatter_sub"]
ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), max_size=12)


@given(op=st.sampled_from(OPS), rows=ROWS, dtype=st.sampled_from(["int8", "float16", "float32", "float64", "int64"]))
@QUICK
def test_rows_one_after_the_other(op: str, rows: list[tuple[int, int]], dtype: str) -> None:
    base = np.arange(10).reshape(5, 2).astype(dtype)
    slow = base.copy()
    values = np.array([[number, number + 1] for _, number in rows], dtype).reshape(-1, 2)
    for (row, _), change in zip(rows, values, strict=True):
        slow[row] = {"update": change, "add": slow[row] + change, "sub": slow[row] - change}[op[8:]]
    scatter(op, base, np.array([row for row, _ in rows], np.int64), values)
    np.testing.assert_array_equal(base, slow)


def test_bfloat16_sums_wide_and_rounds_once() -> None:
    base = np.full(1, 256, ml_dtypes.bfloat16)
    scatter("scatter_add", base, np.zeros(4, np.int64), np.full(4, 0.5, ml_dtypes.bfloat16))
    assert float(base[0]) == 258


def test_a_narrow_value_is_summed_in_the_variables_dtype() -> None:
    base = np.zeros(1, np.int64)
    scatter("scatter_add", base, np.zeros(2, np.int64), np.full(2, 127, np.int8))
    assert base.tolist() == [254]


@pytest.mark.parametrize("op", OPS)
def test_the_published_array_stays_and_the_givers_too(op: str) -> None:
    store = seeded_store()
    store.create(NewVariable("w", value=np.zeros((3, 2), np.float32)))
    published = store.get("w").value
    mine: Any = np.ones((2, 2), np.float32)
    store.push([Update("w", op, mine, donated=True, indices=np.array([0, 2]))] * 2)
    assert published is not None
    assert not published.any()
    assert mine.tolist() == [[1, 1], [1, 1]]
    assert store.budget.used_nbytes == 24


def test_several_scatters_share_one_copy() -> None:
    store = seeded_store(memory_limit_nbytes=3 * 400_000)
    store.create(NewVariable("w", value=np.zeros(100_000, np.float32)))
    one = np.ones(1, np.float32)
    store.push([Update("w", "scatter_add", one, indices=np.array([row])) for row in range(50)])
    value = store.get("w").value
    assert value is not None
    assert (value[:50].tolist(), value[50:].any()) == ([1] * 50, False)
    assert store.get("w").version == 51


def test_a_refusal_of_rows_asks_for_rows() -> None:
    store = seeded_store()
    store.create(NewVariable("w", value=np.zeros((3, 2), np.float32)))
    store.set_optimizer("o", {"type": "gradient_descent", "learning_rate": 1.0})
    rows: Any = np.zeros((1, 2), np.float32), np.array([0, 2])
    with pytest.raises(ShapeMismatch, match=r"wants shape \[2, 2\], got \[1, 2\]; send one row for each index"):
        store.push([Update("w", "scatter_add", rows[0], indices=rows[1])])
    with pytest.raises(ShapeMismatch, match="send one row for each index"):
        store.apply_gradients(GradientPush("o", [Gradient("w", *rows)]))
    with pytest.raises(ShapeMismatch, match="send the whole variable in its own shape"):
        store.push([Update("w", "assign_add", rows[0])])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("count", [1, 100, 70_000])
def test_one_odd_number_among_many_is_found(dtype: str, count: int) -> None:
    array = np.ones(count, dtype if dtype != "bfloat16" else ml_dtypes.bfloat16)
    assert is_finite(array)
    for odd in (np.nan, np.inf, -np.inf):
        array[count // 2] = odd
        assert not is_finite(array)
        assert not is_finite(array.reshape(1, -1)[:, ::-1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_whose_squares_are_too_large_are_finite(dtype: str) -> None:
    largest = np.full(70_000, np.finfo(dtype).max, dtype)
    assert is_finite(largest)
    assert is_finite(-largest)
    largest[0], largest[1] = np.inf, -np.inf
    assert not is_finite(largest)
