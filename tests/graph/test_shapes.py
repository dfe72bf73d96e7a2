"""Static shapes: what is known, how it merges, how it is written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import paramserver_client.graph as tf
from paramserver_client.graph.shapes import brackets, broadcast, merge_for_assign


def test_how_shapes_are_written() -> None:
    assert str(tf.TensorShape([1, 4])) == "(1, 4)"
    assert str(tf.TensorShape([3])) == "(3,)"
    assert str(tf.TensorShape([])) == "()"
    assert str(tf.TensorShape([None, 3])) == "(?, 3)"
    assert str(tf.TensorShape(None)) == "<unknown>"
    assert repr(tf.TensorShape([1])) == "TensorShape([Dimension(1)])"
    assert brackets(tf.TensorShape([2, None])) == "[2,?]"


def test_a_lone_number_is_a_vector() -> None:
    assert tf.TensorShape(4).as_list() == [4]


def test_merging_keeps_what_either_knows() -> None:
    assert tf.TensorShape([None, 3]).merge_with([2, None]).as_list() == [2, 3]
    assert tf.TensorShape(None).merge_with([2]).as_list() == [2]
    with pytest.raises(ValueError, match=r"Shapes \(2,\) and \(3,\) are not compatible"):
        tf.TensorShape([2]).merge_with([3])


def test_unknown_shapes_refuse_what_needs_knowledge() -> None:
    unknown = tf.TensorShape(None)
    with pytest.raises(ValueError, match="unknown TensorShape"):
        unknown.as_list()
    with pytest.raises(ValueError, match="unknown rank"):
        len(unknown)
    assert not unknown
    assert unknown.num_elements() is None
    assert unknown.concatenate([1]).ndims is None


def test_slices_and_items() -> None:
    shape = tf.TensorShape([2, None, 4])
    assert shape[0] == 2
    assert shape[1].value is None
    assert shape[1:].as_list() == [None, 4]
    assert shape.num_elements() is None
    assert tf.TensorShape([2, 3]).num_elements() == 6


def test_dimensions_calculate() -> None:
    four = tf.Dimension(4)
    assert (four + 1).value == 5
    assert (2 * four).value == 8
    assert (four // 3).value == 1
    assert (four - tf.Dimension(None)).value is None
    assert four == 4
    assert (four == tf.Dimension(None)) is None
    with pytest.raises(ValueError, match="must be >= 0"):
        tf.Dimension(-1)
    with pytest.raises(ValueError, match="Ambiguous"):
        tf.Dimension(1.5)


def test_assignments_never_broadcast() -> None:
    with pytest.raises(ValueError, match=r"Dimension 0 in both shapes must be equal, but are 2 and 3\. Shapes are"):
        merge_for_assign(tf.TensorShape([2]), tf.TensorShape([3]))
    with pytest.raises(ValueError, match="Shapes must be equal rank, but are 1 and 0"):
        merge_for_assign(tf.TensorShape([2]), tf.TensorShape([]))


sizes = st.lists(st.integers(1, 3), max_size=4)


@given(sizes, sizes)
def test_broadcasting_agrees_with_numpy(a: list[int], b: list[int]) -> None:
    try:
        wanted = np.broadcast_shapes(tuple(a), tuple(b))
    except ValueError:
        with pytest.raises(ValueError, match="Dimensions must be equal"):
            broadcast(tf.TensorShape(a), tf.TensorShape(b))
        return
    assert broadcast(tf.TensorShape(a), tf.TensorShape(b)).known() == wanted


@given(st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=3), sizes)
def test_an_unknown_size_never_contradicts(a: list[int | None], b: list[int]) -> None:
    merged = len(a) == len(b) and all(x is None or x == y for x, y in zip(a, b, strict=True))
    assert tf.TensorShape(a).is_compatible_with(b) is merged
