"""Shapes and element types as TensorFlow 1's own tests exercise them: algebra, comparison, writing, pickling."""

from __future__ import annotations

import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from paramserver_client.graph.shapes import unknown_shape

TWELVE, UNKNOWN = tf.Dimension(12), tf.Dimension(None)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (TWELVE + 3, 15), (3 + TWELVE, 15), (TWELVE - 3, 9), (13 - TWELVE, 1), (TWELVE * 2, 24), (2 * TWELVE, 24),
        (TWELVE // 2, 6), (2 // TWELVE, 0), (TWELVE % 5, 2), (5 % TWELVE, 5), (TWELVE.merge_with(12), 12),
        (TWELVE + UNKNOWN, None), (UNKNOWN - TWELVE, None), (UNKNOWN * 2, None), (3 // UNKNOWN, None),
        (UNKNOWN.merge_with(TWELVE), 12),
    ],
)  # fmt: skip
def test_dimensions_calculate(found: tf.Dimension, wanted: int | None) -> None:
    assert found.value == wanted
    assert tf.dimension_value(found) == wanted


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne])
def test_dimensions_compare_and_do_not_know_with_an_unknown(compare: Callable[[Any, Any], Any]) -> None:
    assert compare(TWELVE, tf.Dimension(13)) == compare(12, 13)
    assert compare(TWELVE, 12) == compare(12, 12)
    assert compare(TWELVE, UNKNOWN) is None
    assert compare(UNKNOWN, UNKNOWN) is None


def test_dimensions_and_other_things() -> None:
    assert TWELVE == "12"
    assert TWELVE == 24.0 / 2
    assert TWELVE != "_"
    assert TWELVE != (12,)
    assert UNKNOWN != 12.99
    assert [4] * TWELVE == [4] * 12
    assert list(range(20))[:TWELVE] == list(range(12))  # type: ignore[misc]
    assert (repr(TWELVE), str(TWELVE), repr(UNKNOWN), str(UNKNOWN)) == ("Dimension(12)", "12", "Dimension(None)", "?")
    assert pickle.loads(pickle.dumps(TWELVE)) == 12  # noqa: S301
    for bad, error in ((tf.string, TypeError), (-1, ValueError), (1.5, ValueError)):
        with pytest.raises(error):
            tf.Dimension(bad)
    with pytest.raises(ValueError, match="Dimensions 12 and 13 are not compatible"):
        TWELVE.merge_with(13)
    for left, right, words in ((TWELVE, TWELVE, "'Dimension' and 'Dimension'"), (6, TWELVE, "'int' and 'Dimension'")):
        with pytest.raises(TypeError, match=f"for /: {words}, please use // instead"):
            left / right  # type: ignore[operator]


def test_shapes_of_known_rank() -> None:
    shape = tf.TensorShape([3, None, 7])
    assert (shape.ndims, len(shape), bool(shape), shape.is_fully_defined()) == (3, 3, True, False)
    assert [each.value for each in shape] == [3, None, 7]
    assert shape.as_list() == [3, None, 7]
    assert shape[0] == 3
    assert tf.dimension_at_index(shape, 1).value is None
    shape.assert_has_rank(3)
    shape.assert_same_rank([6, 3, 7])
    with pytest.raises(ValueError, match="is not fully defined"):
        shape.assert_is_fully_defined()
    for refuse, words in (
        (lambda: shape.assert_has_rank(2), "must have rank 2"),
        (lambda: shape.assert_same_rank([1]), "must have the same rank"),
        (lambda: shape.with_rank_at_least(4), "must have rank at least 4"),
        (lambda: shape.with_rank_at_most(2), "must have rank at most 2"),
        (lambda: shape.with_rank(2), "must have rank 2"),
        (lambda: shape.assert_is_compatible_with([3]), "are incompatible"),
        (lambda: shape.merge_with([4, 1, 7]), "are not compatible"),
    ):
        with pytest.raises(ValueError, match=words):
            refuse()


def test_shapes_of_unknown_rank() -> None:
    unknown = tf.TensorShape(None)
    assert (unknown.dims, unknown.rank, bool(unknown), unknown.num_elements()) == (None, None, False, None)
    assert unknown[1:4].as_list() == [None] * 3
    assert unknown[2].value is None
    assert unknown[1:].ndims is None
    assert unknown.merge_with([3, 4]).as_list() == [3, 4]
    for refuse in (lambda: len(unknown), lambda: list(unknown), unknown.as_list, lambda: unknown[::2]):
        with pytest.raises(ValueError):
            refuse()


def test_shapes_add_up() -> None:
    shape = tf.TensorShape([1, 2])
    for found in (shape + [3], shape + (3,), shape + tf.Dimension(3)):  # noqa: RUF005
        assert found.as_list() == [1, 2, 3]
    for found in ([0] + shape, (0,) + shape):  # noqa: RUF005
        assert found.as_list() == [0, 1, 2]
    assert (shape + tf.TensorShape(None)).ndims is None


def test_shapes_are_equal_when_they_are_known_to_be() -> None:
    a, partial, unknown = tf.TensorShape([3, 4]), tf.TensorShape([3, None]), tf.TensorShape(None)
    assert a == [3, 4]
    assert [3, 4] == a  # noqa: SIM300
    assert a == ["3", "4"]
    assert a != partial
    assert partial == partial
    assert tf.TensorShape([None]) != tf.TensorShape([None])
    assert (a == "a string", a != "a string", a == 5.5) == (False, True, False)
    assert (unknown == tf.TensorShape(None), unknown == a, a == unknown) == (True, False, False)
    for left, right in ((a, unknown), (unknown, a), (unknown, unknown)):
        with pytest.raises(ValueError, match=r"The inequality of unknown TensorShapes is undefined."):
            left != right  # noqa: B015
    assert pickle.loads(pickle.dumps(a)) == a  # noqa: S301


@pytest.mark.parametrize(
    ("left", "right", "wanted"),
    [([1, 2], None, None), (None, [1], None), ([1, 2], [1, 2, 3], None), ([1, 2], [1, 2], [1, 2]),
     ([None, 2, 3], [1, 1, 3], [None, None, 3])],
)  # fmt: skip
def test_the_narrowest_common_shape(left: Any, right: Any, wanted: Any) -> None:
    found = tf.TensorShape(left).most_specific_compatible_shape(right)
    assert (found.dims if wanted is None else found.as_list()) == wanted


def test_how_shapes_are_written_and_read() -> None:
    assert str(unknown_shape()) == "<unknown>"
    assert str(unknown_shape(rank=2)) == "(?, ?)"
    assert [str(tf.TensorShape(each)) for each in ([], [7], [3, 8])] == ["()", "(7,)", "(3, 8)"]
    with pytest.raises(TypeError, match="A string has ambiguous TensorShape"):
        tf.TensorShape("32")


def test_every_type_by_name_number_and_reference() -> None:
    for number in range(1, 24):
        for enum in (number, number + 100):
            dtype = tf.as_dtype(enum)
            assert dtype.as_datatype_enum == enum
            assert tf.DType(enum) is dtype
            assert tf.as_dtype(dtype.name) is dtype
            assert pickle.loads(pickle.dumps(dtype)) is dtype  # noqa: S301
            assert dtype._is_ref_dtype is (enum > 100)
            assert repr(dtype) == f"tf.{dtype.name}"
        assert np.empty((1, 1), dtype.as_numpy_dtype).shape == (1, 1)
        if dtype.is_numpy_compatible:
            assert tf.as_dtype(dtype.as_numpy_dtype) == dtype.base_dtype
    assert tf.qint8.is_quantized
    assert not tf.qint8.is_integer
    assert not tf.int8.is_quantized
    assert (tf.uint8.limits(), tf.float32.limits(False), tf.bool.limits()) == ((0, 255), (-1, 1), (False, True))
    with pytest.raises(KeyError):
        tf.complex64.limits()
