from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from paramserver_client import errors, values
from paramserver_wire.tensors import Untyped


class Foreign:
    """An array of another library."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.arange(3, dtype=np.int16)


@pytest.mark.parametrize("value", [1, 1.5, True, [1, 2], (1, [2.0]), []])
def test_numbers_and_lists_wait_for_the_variables_dtype(value: Any) -> None:
    assert values.value_of(value) == Untyped(value)


@pytest.mark.parametrize("value", [np.float64(1), np.int8(3), np.ones(2, np.float16), Foreign()])
def test_arrays_are_typed(value: Any) -> None:
    found = values.value_of(value)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.asarray(value).dtype
    np.testing.assert_array_equal(found, np.asarray(value))


def test_an_array_is_not_copied() -> None:
    array = np.ones(3)
    assert values.value_of(array) is array


def test_untyped_stays() -> None:
    untyped = Untyped([], "float32", (0, 3))
    assert values.value_of(untyped) is untyped


@pytest.mark.parametrize("value", ["1", None, object(), {1: 2}, 1j])
def test_what_is_no_value(value: Any) -> None:
    with pytest.raises(errors.InvalidRequestError, match=f"got {type(value).__name__}"):
        values.value_of(value)


def test_a_mask_would_be_lost() -> None:
    with pytest.raises(errors.InvalidRequestError, match="masked"):
        values.value_of(np.ma.masked_array([1, 2], [True, False]))


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (None, None),
        ("bogus", "bogus"),
        (np.float32, "float32"),
        (np.dtype(">i8"), "int64"),
        (ml_dtypes.bfloat16, "bfloat16"),
        (float, "float64"),
    ],
)
def test_dtypes(dtype: Any, name: str | None) -> None:
    assert values.dtype_of(dtype) == name


def test_a_dtype_that_no_variable_has() -> None:
    with pytest.raises(errors.DtypeMismatchError, match="datetime64"):
        values.dtype_of(np.dtype("datetime64[s]"))


@pytest.mark.parametrize(
    ("shape", "listed"),
    [(None, None), (3, [3]), (np.int64(3), [3]), ((), []), ((np.int64(2), 3), [2, 3]), ([-1, None], [-1, None])],
)
def test_shapes(shape: Any, listed: Any) -> None:
    assert values.shape_of(shape) == listed


def test_initializers() -> None:
    assert values.initializer_of(None) is None
    assert values.initializer_of("zeros") == {"type": "zeros"}
    assert values.initializer_of({"type": "constant", "value": 2}) == {"type": "constant", "value": 2}
    with pytest.raises(errors.InvalidRequestError, match="got int"):
        values.initializer_of(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (None, None),
        ("0:10,:,3", "0:10,:,3"),
        (np.s_[0:10, :, 3], "0:10,:,3"),
        (np.s_[..., ::-2], "...,::-2"),
        (np.s_[-1], "-1"),
        (np.s_[np.int64(2) :], "2:"),
        ((), ""),
    ],
)
def test_slices(index: Any, text: str | None) -> None:
    assert values.index_of(index) == text


def test_what_is_no_slice() -> None:
    with pytest.raises(TypeError):
        values.index_of(1.5)  # type: ignore[arg-type]


def test_names_and_tags() -> None:
    assert values.names_of(None) is None
    assert values.names_of("w") == ["w"]
    assert values.names_of(name for name in ("a", "b")) == ["a", "b"]
    assert values.tags_of(None) is None
    assert values.tags_of({"a": 3, "b": "x-4"}) == {"a": "3", "b": "x-4"}
    assert values.text_of(None) is None
    assert values.text_of(3) == "3"
