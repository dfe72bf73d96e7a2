"""Arrays of every dtype, shape and layout for Hypothesis, and how to compare them bit by bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from paramserver_wire.dtypes import DTYPES

Array = np.ndarray[Any, np.dtype[Any]]

QUICK = settings(max_examples=80, deadline=None, derandomize=True)
"""For every property test of the quick run: the same cases each time."""

NAMES = st.sampled_from(list(DTYPES))

SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)


def _laid_out(array: Array, layout: str) -> Array:
    """Return the same values, stored in another way."""
    if layout == "fortran":
        return np.asfortranarray(array).reshape(array.shape, order="F")
    if layout == "swapped":
        return array.astype(array.dtype.newbyteorder(">"))
    if layout == "strided" and array.ndim:
        return np.repeat(array, 2, axis=0)[::2]
    return array


@st.composite
def arrays(draw: st.DrawFn, names: st.SearchStrategy[str] = NAMES) -> Array:
    """Any bits of any dtype (NaNs with payloads too; a bool only 0 and 1), in any layout."""
    dtype = DTYPES[draw(names)]
    shape = draw(SHAPES)
    nbytes = math.prod(shape) * dtype.itemsize
    raw = np.frombuffer(draw(st.binary(min_size=nbytes, max_size=nbytes)), np.uint8)
    array = (raw & 1 if dtype.kind == "b" else raw).view(dtype).reshape(shape)
    return _laid_out(array, draw(st.sampled_from(["plain", "fortran", "swapped", "strided"])))


def same_bits(left: Array, right: Array) -> bool:
    """Tell whether two arrays have the same shape, dtype but for byte order, and bits."""
    first, second = (array.astype(array.dtype.newbyteorder("="), order="C") for array in (left, right))
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()
