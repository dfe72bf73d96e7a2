from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramserver_wire.dtypes import DTYPES, can_cast, dtype_named, name_of, nbytes_of
from paramserver_wire.errors import DtypeMismatch, ShapeMismatch
from support.arrays import QUICK

FLOAT32 = DTYPES["float32"]
WIDER = {
    "bfloat16": {"bfloat16", "float32", "float64", "complex64", "complex128"},
    "float16": {"float16", "float32", "float64", "complex64", "complex128"},
    "complex64": {"complex64", "complex128"},
    "uint64": {"uint64", "float64", "complex128"},
}


def test_there_are_fifteen_and_they_go_both_ways() -> None:
    assert len(DTYPES) == 15
    for name, dtype in DTYPES.items():
        assert dtype_named(name) is dtype
        assert name_of(dtype) == name
        assert name_of(dtype.newbyteorder(">")) == name


@pytest.mark.parametrize("name", ["float", "f4", "<f4", "object", "str", "", "Float32", "float32\0", "é" * 999])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(DtypeMismatch, match="use one of bool, int8") as refusal:
        dtype_named(name)
    assert len(refusal.value.detail) < 300


@pytest.mark.parametrize("name", [None, 3, [], {}, np.dtype("f4")])
def test_a_dtype_is_named_by_text(name: object) -> None:
    with pytest.raises(DtypeMismatch):
        dtype_named(name)


@pytest.mark.parametrize(
    "dtype",
    ["O", "U3", "S3", "M8[s]", "m8", "V4", [("a", "f4")], ml_dtypes.float8_e5m2, ml_dtypes.int4, ("f4", (2,))],
)
def test_dtypes_that_variables_cannot_have_are_refused(dtype: object) -> None:
    with pytest.raises(DtypeMismatch, match="use one of"):
        name_of(np.dtype(dtype))  # type: ignore[call-overload]


def test_aliases_of_the_same_dtype_have_its_name() -> None:
    assert name_of(np.dtype(np.longlong)) == "int64"
    assert name_of(np.dtype("f4", metadata={"a": 1})) == "float32"


@pytest.mark.parametrize("source", WIDER)
def test_safe_casts(source: str) -> None:
    assert {target for target in DTYPES if can_cast(DTYPES[source], DTYPES[target])} == WIDER[source]


def test_what_may_become_bfloat16() -> None:
    sources = {source for source in DTYPES if can_cast(DTYPES[source], DTYPES["bfloat16"])}
    assert sources == {"bool", "int8", "uint8", "bfloat16"}


@pytest.mark.parametrize("source", ["bool", "int8", "uint8"])
def test_what_may_become_bfloat16_loses_nothing(source: str) -> None:
    every = np.arange(2 if source == "bool" else 256).astype(np.uint8).view(DTYPES[source])
    assert (every.astype(DTYPES["bfloat16"]).astype(every.dtype) == every).all()


@QUICK
@given(st.lists(st.integers(0, 2**9), max_size=8), st.sampled_from(list(DTYPES)))
def test_nbytes_is_the_product(shape: list[int], name: str) -> None:
    dtype = DTYPES[name]
    try:
        assert nbytes_of(shape, dtype) == nbytes_of(tuple(shape), dtype) == math.prod(shape) * dtype.itemsize
    except ShapeMismatch:
        assert math.prod(max(1, length) for length in shape) * dtype.itemsize >= 2**63


@pytest.mark.parametrize(
    "shape",
    [
        [2**32, 2**32],
        [2**32, 2**32, 0],
        [2**61],
        [0, 2**63],
        [10**5000],
        [-(10**5000)],
        [-1, 3],
        [-1],
        [1] * 9,
        [True],
        [2.0],
        ["2"],
        [None],
        [[2]],
        "23",
        3,
        None,
        {},
        {2: 2},
        range(3),
        np.array([2]),
        [np.int64(2)],
        [float("nan")],
    ],
)
def test_impossible_shapes_are_refused(shape: object) -> None:
    with pytest.raises(ShapeMismatch) as refusal:
        nbytes_of(shape, FLOAT32)
    assert len(refusal.value.detail) < 200


def test_the_limit_itself_is_allowed() -> None:
    assert nbytes_of([2**63 - 1], DTYPES["int8"]) == 2**63 - 1
    with pytest.raises(ShapeMismatch, match=r"2\*\*63"):
        nbytes_of([2**63], DTYPES["int8"])


def test_a_scalar_takes_one_item_and_an_empty_one_nothing() -> None:
    assert nbytes_of((), FLOAT32) == 4
    assert nbytes_of((0, 3), FLOAT32) == 0
