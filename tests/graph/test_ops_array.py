"""Constants, shapes, ranges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]


def test_constants_take_tensorflows_dtypes() -> None:
    assert tf.constant(1.5).dtype == tf.float32
    assert tf.constant([1, 2]).dtype == tf.int32
    assert tf.constant(2**40).dtype == tf.int64
    assert tf.constant(True).dtype == tf.bool
    assert tf.constant(1j).dtype == tf.complex128
    assert tf.constant("a").dtype == tf.string
    assert tf.constant(np.float64([1])).dtype == tf.float64
    assert tf.constant(np.int64(1)).dtype == tf.int64
    assert tf.constant([1.0, 2]).dtype == tf.float32


def test_constants_are_padded_with_their_last_element(run: Run) -> None:
    assert run(tf.constant([1, 2, 3], shape=[2, 2])).tolist() == [[1, 2], [3, 3]]
    assert run(tf.constant(7, shape=[3])).tolist() == [7, 7, 7]
    with pytest.raises(ValueError, match=r"Too many elements provided\. Needed at most 2, but received 3"):
        tf.constant([1, 2, 3], shape=[2])
    with pytest.raises(TypeError, match="Expected Tensor's shape"):
        tf.constant([1], shape=[2], verify_shape=True)


@pytest.mark.parametrize(
    ("value", "dtype", "kind"),
    [
        (1.5, tf.int32, TypeError),
        ("a", tf.float32, TypeError),
        (True, tf.float32, TypeError),
        (1, tf.bool, TypeError),
        (300, tf.uint8, TypeError),
        (None, None, ValueError),
        ([1, None], tf.float32, ValueError),
        ([[1], [1, 2]], None, ValueError),
        (object(), None, TypeError),
    ],
)
def test_what_is_no_constant(value: Any, dtype: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        tf.constant(value, dtype)


def test_a_constant_keeps_its_value_when_the_array_changes(run: Run) -> None:
    array = np.zeros(3, np.float32)
    t = tf.constant(array)
    array[0] = 5
    assert run(t).tolist() == [0, 0, 0]


def test_fetched_constants_are_the_callers_own() -> None:
    t = tf.constant([1.0, 2.0])
    views = [t, tf.identity(t), tf.reshape(t, [2, 1])]
    with tf.Session() as sess:
        for array in sess.run(views):
            array[:] = 9
        assert [value.ravel().tolist() for value in sess.run(views)] == [[1.0, 2.0]] * 3


def test_zeros_ones_fill(run: Run) -> None:
    assert run(tf.zeros(3)).tolist() == [0, 0, 0]
    assert run(tf.ones((2, 1), tf.int64)).tolist() == [[1], [1]]
    assert run(tf.fill([2], 2.5)).dtype == np.float32
    assert run(tf.zeros([2], tf.bool)).tolist() == [False, False]
    assert run(tf.zeros([1], tf.string)).tolist() == [b""]
    assert run(tf.zeros([50, 50])).shape == (50, 50)
    assert run(tf.zeros_like(tf.constant([1, 2], tf.int8))).dtype == np.int8
    assert run(tf.ones_like([1, 2], dtype=tf.float64)).dtype == np.float64
    with pytest.raises(ValueError, match="rank 0"):
        tf.fill([2], [1, 2])


def test_shapes_may_be_tensors(run: Run) -> None:
    p = tf.placeholder(tf.float32, [None, 2])
    filled = [tf.zeros(tf.shape(p)), tf.fill(tf.shape(p), 3), tf.reshape(p, [tf.size(p)])]
    with tf.Session() as sess:
        zeros, threes, flat = sess.run(filled, {p: [[1, 2], [3, 4], [5, 6]]})
    assert (zeros.shape, threes.shape, flat.tolist()) == ((3, 2), (3, 2), [1, 2, 3, 4, 5, 6])
    assert filled[0].shape.as_list() == [None, 2]
    assert run(tf.rank(tf.zeros([1, 2, 3]))) == 3


def test_linspace(run: Run) -> None:
    assert run(tf.linspace(1.0, 2.0, 1)).tolist() == [1.0]
    assert run(tf.linspace(np.float64(0), np.float64(1), 5)).tolist() == [0, 0.25, 0.5, 0.75, 1]
    with pytest.raises(ValueError, match="Requires num > 0: 0"):
        tf.linspace(1.0, 2.0, 0)
    with pytest.raises(TypeError, match="DataType int32 not in list of allowed values"):
        tf.linspace(1, 2, 3)


def test_range(run: Run) -> None:
    assert run(tf.range(4)).tolist() == [0, 1, 2, 3]
    assert run(tf.range(3, 1, -0.5)).tolist() == [3.0, 2.5, 2.0, 1.5]
    assert run(tf.range(3, 1, -0.5)).dtype == np.float32
    assert run(tf.range(2, 2)).tolist() == []
    assert tf.range(3, 18, 3).shape.known() == (5,)
    with pytest.raises(ValueError, match="Requires delta != 0"):
        tf.range(1, 2, 0)
    with pytest.raises(ValueError, match="Requires start <= limit when delta > 0: 5/0"):
        tf.range(5, 0)
    p = tf.placeholder(tf.int32, [])
    with tf.Session() as sess:
        assert sess.run(tf.range(p), {p: 2}).tolist() == [0, 1]
        with pytest.raises(tf.errors.InvalidArgumentError, match="delta that leads"):
            sess.run(tf.range(0, p), {p: -2})


def test_reshape(run: Run) -> None:
    t = tf.reshape(tf.range(6), [-1, 3])
    assert t.shape.known() == (2, 3)
    assert run(t).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert run(tf.reshape([7], [])) == 7
    with pytest.raises(ValueError, match=r"Cannot reshape a tensor with 6 elements to shape \[4\]"):
        tf.reshape(tf.range(6), [4])
    p = tf.placeholder(tf.int32, [None])
    assert tf.reshape(p, [-1, 3]).shape.as_list() == [None, 3]
    with (
        tf.Session() as sess,
        pytest.raises(tf.errors.InvalidArgumentError, match="Input to reshape is a tensor with 4"),
    ):
        sess.run(tf.reshape(p, [-1, 3]), {p: [1, 2, 3, 4]})


def test_transpose_and_stacking(run: Run) -> None:
    x = np.arange(24).reshape(2, 3, 4)
    found = run(tf.transpose(x, [2, 0, 1]))
    for index in np.ndindex(x.shape):
        assert found[index[2], index[0], index[1]] == x[index]
    assert run(tf.transpose([[1, 2]])).tolist() == [[1], [2]]
    with pytest.raises(ValueError, match="must be a permutation"):
        tf.transpose(x, [0, 1, 1])
    assert run(tf.stack([[1, 2], [3, 4]], axis=1)).tolist() == [[1, 3], [2, 4]]
    one = tf.constant(1.0)
    assert run(one + tf.convert_to_tensor([one, 2.0])).tolist() == [2.0, 3.0]


def test_single_dimensions(run: Run) -> None:
    t = tf.zeros([2, 1, 3])
    assert tf.expand_dims(t, 0).shape.known() == (1, 2, 1, 3)
    assert tf.expand_dims(t, -1).shape.known() == (2, 1, 3, 1)
    assert tf.squeeze(t).shape.known() == run(tf.squeeze(t)).shape == (2, 3)
    assert tf.squeeze(t, [1]).shape.known() == (2, 3)
    with pytest.raises(ValueError, match="Can not squeeze dim"):
        tf.squeeze(t, 0)


def test_group_and_control_order(run: Run) -> None:
    assert run(tf.group(tf.constant(1), [tf.no_op()])) is None
    with pytest.raises(ValueError, match="Unknown keyword arguments: nme"):
        tf.group(nme="x")
    with pytest.raises(TypeError, match="not None"):
        tf.group(None)


def test_placeholder_with_default(run: Run) -> None:
    p = tf.placeholder_with_default([1.0], [None])
    assert run(p).tolist() == [1.0]
    assert run(p, {p: [1, 2]}).tolist() == [1.0, 2.0]


def test_shape_conversion_errors() -> None:
    with pytest.raises(ValueError, match="Tensor conversion requested dtype int32 for Tensor with dtype float32"):
        tf.convert_to_tensor(tf.constant(1.0), tf.int32)
    with pytest.raises(TypeError, match="Can't convert Operation"):
        tf.convert_to_tensor(tf.no_op())


def test_a_tuple_is_given_when_all_of_it_is_done() -> None:
    v = tf.Variable(1.0)
    slices = tf.IndexedSlices(tf.constant([2.0]), tf.constant([0]))
    first, nothing, rows = tf.tuple([tf.constant(3.0), None, slices], control_inputs=[v.initializer])
    assert first.name == "tuple/control_dependency:0"
    assert nothing is None
    with tf.Session() as sess:
        assert sess.run(first) == 3.0
        assert sess.run(v) == 1.0
        assert sess.run(rows).values.tolist() == [2.0]
    with pytest.raises(ValueError, match="Must have at least one Tensor"):
        tf.tuple([None])
