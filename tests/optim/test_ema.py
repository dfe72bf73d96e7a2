"""The moving average, by TensorFlow's figures."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from paramserver.optim import InvalidHyperParameters, check_decay, update_average
from paramserver.optim.blocks import BLOCK


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_averages_as_tensorflow_did(dtype: Any) -> None:
    average = np.array([10, 20], dtype)
    for value, expected in (([1, 2], [9.1, 18.2]), ([3, 4], [8.49, 16.78]), ([5, 6], [8.141, 15.702])):
        out = np.empty_like(average)
        update_average(average, np.array(value, dtype), 0.9, out)
        average = out
        np.testing.assert_allclose(average, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, BLOCK, 2 * BLOCK + 3])
def test_it_is_the_plain_formula(dtype: Any, size: int) -> None:
    numbers = np.random.default_rng(4)
    average, value = (numbers.normal(size=size).astype(dtype) for _ in range(2))
    wide = np.float64 if dtype is np.float64 else np.float32
    a, x = average.astype(wide), value.astype(wide)
    expected = (a - wide(np.float32(1) - np.float32(0.75)) * (a - x)).astype(dtype)
    out = np.empty_like(average)
    update_average(average, value, 0.75, out)
    np.testing.assert_array_equal(out.astype(np.float64), expected.astype(np.float64))
    update_average(average, value, 0.75, value)
    np.testing.assert_array_equal(out.astype(np.float64), value.astype(np.float64))


@pytest.mark.parametrize(("decay", "expected"), [(0, 5.0), (1, 3.0)])
def test_the_ends(decay: float, expected: float) -> None:
    out = np.empty(1, np.float32)
    update_average(np.float32([3]), np.float32([5]), decay, out)
    assert out.tolist() == [expected]


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan"), True, "0.9", None, [0.9]])
def test_what_is_no_decay(decay: Any) -> None:
    with pytest.raises(InvalidHyperParameters, match="decay"):
        check_decay(decay)
    out = np.ones(1, np.float32)
    with pytest.raises(InvalidHyperParameters):
        update_average(out, out, decay, np.empty(1, np.float32))


@pytest.mark.parametrize(
    ("average", "value", "told"),
    [
        (np.zeros(2, np.int32), np.zeros(2, np.int32), "dtype"),
        (np.zeros(2, np.complex64), np.zeros(2, np.complex64), "dtype"),
        (np.zeros(2, np.float32), np.zeros(3, np.float32), "shape"),
        (np.zeros(2, np.float32), np.zeros(2), "without loss"),
    ],
)
def test_what_does_not_fit(average: Any, value: Any, told: str) -> None:
    out = np.ones_like(average)
    with pytest.raises(ValueError, match=told):
        update_average(average, value, 0.5, out)
    assert (out == 1).all()
