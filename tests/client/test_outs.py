"""What is known of the caller's arrays before anything is sent, and by the header of the answer."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import paramserver_client as ps
from paramserver_client.outs import check_fitting, check_given
from paramserver_wire.dtypes import DTYPES


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


def details(error: ps.InvalidRequestError) -> list[str]:
    return [each["detail"] for each in error.errors]


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_every_dtype_may_be_filled(dtype: Any) -> None:
    check_given({"w": np.zeros((2, 3), dtype), "empty": np.zeros((0, 3), dtype), "s": np.zeros((), dtype)}, None, None)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        ([0.0], "out: wanted a writable array, got list. Give a numpy array, such as np.empty(shape, dtype)."),
        (np.float32(1), "out: wanted a writable array, got float32"),
        (np.ma.zeros(3, np.float32), "out: wanted a writable array, got MaskedArray"),
        (read_only(np.zeros(3)), "out: wanted a writable array, got one that is read-only. Give a copy of it."),
        (np.zeros(3, ">f4"), "out: wanted dtype float32 in little-endian byte order, got dtype >f4. Give an array"),
        (np.zeros(3, object), "out: wanted a dtype that variables can have, got dtype object. Give one of bool, "),
    ],
)
def test_what_can_never_be_filled(array: Any, told: str) -> None:
    with pytest.raises(ps.InvalidRequestError, match=r"Nothing was sent\.$") as raised:
        check_given({"": array}, None, None)
    (detail,) = details(raised.value)
    assert detail.startswith(told)


def test_all_differences_are_told() -> None:
    out = {"a": read_only(np.zeros(3, ">f8")), "b": np.zeros(2, np.float64), "c": 1}
    with pytest.raises(ps.InvalidRequestError) as raised:
        check_given(out, ["a", "b"], "float32")
    assert [(each["name"], each["code"]) for each in raised.value.errors] == [
        (name, "invalid_request") for name in ("a", "a", "b", "c", "c")
    ]
    assert "wanted dtype float32 as asked for, got dtype float64" in details(raised.value)[2]
    assert "wanted a name that is asked for" in details(raised.value)[3]


def test_bfloat16_as_asked_for() -> None:
    check_given({"": np.zeros(3, ml_dtypes.bfloat16)}, None, "bfloat16")
    with pytest.raises(ps.InvalidRequestError, match="wanted dtype bfloat16 as asked for, got dtype float16"):
        check_given({"": np.zeros(3, np.float16)}, None, "bfloat16")


def test_what_is_no_dtype_is_left_to_the_server() -> None:
    check_given({"": np.zeros(3)}, None, "float")


@pytest.mark.parametrize("out", [5, [1], np.zeros(3), {1}])
def test_what_is_no_mapping(out: Any) -> None:
    with pytest.raises(ps.InvalidRequestError, match="Wanted out= to map names to arrays"):
        check_given(out, None, None)


def test_memory_that_two_share() -> None:
    whole = np.zeros(100, np.float32)
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"a": whole[:50], "b": whole[50:]}, []),
        ({"a": whole[::2], "b": whole[1::2]}, []),
        ({"a": whole, "b": whole[10:20], "c": whole[50:60]}, ["b", "c"]),
        ({"a": whole[::2], "b": whole[1:10:2], "c": whole[50:60]}, ["c"]),
        ({"a": whole, "b": whole}, ["b"]),
        ({"a": whole, "b": whole[:0]}, []),
    ]
    for out, wanted in cases:
        if not wanted:
            check_given(out, None, None)
            continue
        with pytest.raises(ps.InvalidRequestError, match="wanted memory of its own") as raised:
            check_given(out, None, None)
        assert [each["name"] for each in raised.value.errors] == wanted


def test_shape_and_dtype_are_those_of_the_value() -> None:
    tensors = {name: np.ones(2, np.float32) for name in "abc"}
    out = {"a": np.zeros(2, np.float32), "b": np.zeros(3, np.float64), "c": np.zeros((1, 2), np.float32)}
    with pytest.raises(ps.InvalidRequestError, match=r"out\['b'\]: wanted shape \[2\] as of the value") as raised:
        check_fitting(out, tensors)
    assert [each["name"] for each in raised.value.errors] == ["b", "b", "c"]
    check_fitting({"a": out["a"], "other": out["b"]}, tensors)
