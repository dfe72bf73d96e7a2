"""What turns, repeats, pads and picks, against numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]
X = np.arange(6).reshape(2, 3)


def test_tile(run: Run) -> None:
    tensor = tf.tile(X, [2, 3])
    assert run(tensor).tolist() == np.tile(X, [2, 3]).tolist()
    assert tensor.shape.as_list() == [4, 9]
    assert run(tf.tile(X, [0, 1])).shape == (0, 3)
    times = tf.placeholder(tf.int32, [2])
    assert tf.tile(X, times).shape.as_list() == [None, None]
    assert run(tf.tile(X, times), {times: [1, 2]}).shape == (2, 6)
    with pytest.raises(ValueError, match="Shape must be rank 1 but is rank 2"):
        tf.tile(X, [2])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Expected multiples of at least 0.* got \[1, -1\]"):
        run(tf.tile(X, times), {times: [1, -1]})


@pytest.mark.parametrize("mode", ["constant", "reflect", "symmetric"])
def test_pad(mode: str, run: Run) -> None:
    around = [[1, 0], [2, 1]]
    tensor = tf.pad(X, around, mode.upper())
    assert run(tensor).tolist() == np.pad(X, around, mode=mode).tolist()  # type: ignore[call-overload]
    assert tensor.shape.as_list() == [3, 6]
    late = tf.placeholder(tf.int32, [2, 2])
    assert run(tf.pad(X, late, mode), {late: around}).shape == (3, 6)
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(tf.pad(X, late, mode), {late: [[-1, 0], [0, 0]]})


def test_pad_refuses(run: Run) -> None:
    assert run(tf.pad([1.0], [[1, 1]], constant_values=9)).tolist() == [9.0, 1.0, 9.0]
    with pytest.raises(ValueError, match="Unknown padding mode: WRAP"):
        tf.pad(X, [[0, 0], [0, 0]], "WRAP")
    with pytest.raises(ValueError, match=r"paddings want the shape \[2, 2\], got \[1, 2\]"):
        tf.pad(X, [[1, 1]])
    with pytest.raises(ValueError, match="Paddings must be non-negative"):
        tf.pad(X, [[-1, 0], [0, 0]])
    with pytest.raises(TypeError, match="'paddings' has DataType float32"):
        tf.pad(X, [[0.0, 0.0], [0.0, 0.0]])
    for mode, most in (("REFLECT", 2), ("SYMMETRIC", 3)):
        run(tf.pad(X, [[0, 0], [most, 0]], mode))
        with pytest.raises(tf.errors.InvalidArgumentError, match="no greater than the dimension size"):
            run(tf.pad(X, [[0, 0], [most + 1, 0]], mode))


def test_reverse(run: Run) -> None:
    assert run(tf.reverse(X, [1])).tolist() == X[:, ::-1].tolist()
    assert run(tf.reverse(X, [-2, 1])).tolist() == X[::-1, ::-1].tolist()
    assert run(tf.reverse(X, 0)).tolist() == X[::-1].tolist()
    with pytest.raises(ValueError, match=r"expected an axis in the range \[-2, 2\), but got 2"):
        tf.reverse(X, [2])
    with pytest.raises(TypeError, match="wants the numbers of axes, got"):
        tf.reverse(X, [True, False])  # The argument of before TensorFlow 1.
    with pytest.raises(ValueError, match="specified more than once"):
        tf.reverse(X, [0, -2])


def test_unstack(run: Run) -> None:
    assert [each.tolist() for each in run(tf.unstack(X))] == X.tolist()
    columns = tf.unstack(X, axis=-1)
    assert [each.tolist() for each in run(columns)] == X.T.tolist()
    assert [each.shape.as_list() for each in columns] == [[2]] * 3
    assert [each.name for each in tf.unstack(X, name="u")] == ["u:0", "u:1"]
    assert run(tf.unstack([[5]])[0]).tolist() == [5]
    assert tf.unstack(tf.zeros([0, 2])) == []
    late = tf.placeholder(tf.int32)
    with pytest.raises(ValueError, match="Cannot infer num from shape <unknown>"):
        tf.unstack(late)
    with pytest.raises(ValueError, match="Dimension must be 3 but is 2"):
        tf.unstack(X, 3)
    assert run(tf.unstack(late, 2)[1], {late: X}).tolist() == [3, 4, 5]
    with pytest.raises(tf.errors.InvalidArgumentError, match="axis 0 must equal 3"):
        run(tf.unstack(late, 3), {late: X})


def test_one_hot(run: Run) -> None:
    tensor = tf.one_hot([0, 2, -1, 5], 3)
    assert run(tensor).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert (tensor.dtype, tensor.shape.as_list()) == (tf.float32, [4, 3])
    assert run(tf.one_hot([0, 1], 3, on_value=5, off_value=-1, axis=0)).tolist() == [[5, -1], [-1, 5], [-1, -1]]
    assert tf.one_hot([0], 2, on_value=1, off_value=0).dtype == tf.int32
    assert tf.one_hot([[0]], 2, dtype=tf.bool).shape.as_list() == [1, 1, 2]
    assert run(tf.one_hot([[1], [0]], 2, axis=1)).tolist() == [[[0], [1]], [[1], [0]]]
    assert run(tf.one_hot([1], 2, True, False)).tolist() == [[False, True]]
    with pytest.raises(TypeError, match="must be equal"):
        tf.one_hot([0], 2, on_value=1, off_value=0.0)
    with pytest.raises(TypeError, match="'indices' has DataType float32"):
        tf.one_hot([0.0], 2)
    with pytest.raises(ValueError, match="expected an axis in the range"):
        tf.one_hot([0], 2, axis=2)
    depth = tf.placeholder(tf.int32, [])
    assert tf.one_hot([0], depth).shape.as_list() == [1, None]
    with pytest.raises(tf.errors.InvalidArgumentError, match="depth must be non-negative, got: -1"):
        run(tf.one_hot([0], depth), {depth: -1})


def test_broadcast_to(run: Run) -> None:
    assert run(tf.broadcast_to([1, 2, 3], [2, 3])).tolist() == [[1, 2, 3], [1, 2, 3]]
    with pytest.raises(ValueError, match="Dimensions must be equal, but are 3 and 2"):
        tf.broadcast_to([1, 2, 3], [3, 2])
    with pytest.raises(ValueError, match="Incompatible shapes"):
        tf.broadcast_to([[1], [2]], [2])
    sizes = tf.placeholder(tf.int32, [2])
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(tf.broadcast_to([1, 2, 3], sizes), {sizes: [3, 2]})


def test_where_finds_places(run: Run) -> None:
    tensor = tf.where([[True, False], [True, True]])
    assert run(tensor).tolist() == [[0, 0], [1, 0], [1, 1]]
    assert (tensor.dtype, tensor.shape.as_list()) == (tf.int64, [None, 2])
    assert run(tf.where([0.0, 2.0])).tolist() == [[1]]
    with pytest.raises(ValueError, match="x and y must both be non-None or both be None"):
        tf.where([True], [1.0])


def test_boolean_mask(run: Run) -> None:
    x = np.arange(24).reshape(2, 3, 4)
    for mask, axis in (([True, False], 0), ([[True, False, True], [False, True, False]], 0), ([False, True, True], 1)):
        chosen = np.array(mask)
        wanted = x[:, chosen] if axis else x[chosen]
        assert run(tf.boolean_mask(x, mask, axis=axis)).tolist() == wanted.tolist()
    with pytest.raises(ValueError, match=r"Shapes \(2,\) and \(3,\) are incompatible"):
        tf.boolean_mask(x, [True, False, True])
    with pytest.raises(ValueError, match="mask cannot be a scalar"):
        tf.boolean_mask(x, tf.placeholder(tf.bool))


def test_sequence_mask(run: Run) -> None:
    assert run(tf.sequence_mask([1, 0, 2])).tolist() == [[True, False], [False, False], [True, True]]
    assert run(tf.sequence_mask([[1], [2]], 3, tf.float32)).tolist() == [[[1, 0, 0]], [[1, 1, 0]]]


def test_gather_along_an_axis(run: Run) -> None:
    x = np.arange(24).reshape(2, 3, 4)
    for axis in (0, 1, 2, -1, -3):
        for picked in (1, [1, 0, 1], [[0, 1], [1, 1]]):
            tensor = tf.gather(x, picked, axis=axis)
            wanted = np.take(x, picked, axis)
            assert run(tensor).tolist() == wanted.tolist()
            assert tensor.shape.as_list() == list(wanted.shape)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"indices\[1\] = 3 is not in \[0, 3\)"):
        run(tf.gather(x, [0, 3], axis=1))
    with pytest.raises(ValueError, match="expected an axis in the range"):
        tf.gather(x, [0], axis=3)


def test_strided_slice(run: Run) -> None:
    x = np.arange(24).reshape(2, 3, 4)
    assert run(tf.strided_slice(x, [0, 1], [2, 3])).tolist() == x[0:2, 1:3].tolist()
    assert run(tf.strided_slice(x, [1, -1], [0, -4], [-1, -2], end_mask=1)).tolist() == x[1::-1, -1:-4:-2].tolist()
    masked = tf.strided_slice(x, [0, 0, 0, 1], [0, 0, 0, 9], new_axis_mask=1, ellipsis_mask=2, shrink_axis_mask=4)
    assert run(masked).tolist() == x[None, ..., 0, 1:9].tolist()
    assert run(tf.strided_slice(x, [1], [1], begin_mask=1)).tolist() == x[:1].tolist()
    with pytest.raises(ValueError, match=r"var=.* is not supported"):
        tf.strided_slice(x, [0], [1], var=1)


def test_matrices(run: Run) -> None:
    assert run(tf.eye(2, 3)).tolist() == np.eye(2, 3).tolist()
    assert run(tf.eye(2, batch_shape=[3], dtype=tf.int32)).tolist() == [np.eye(2).tolist()] * 3
    x = np.arange(24).reshape(2, 3, 4)
    assert run(tf.matrix_transpose(x)).tolist() == x.swapaxes(1, 2).tolist()
    with pytest.raises(ValueError, match=r"rank >= 2\. Found: <unknown>"):
        tf.matrix_transpose(tf.placeholder(tf.float32))


def test_nothing_to_put_together() -> None:
    for join in (tf.stack, lambda parts: tf.concat(parts, 0)):
        with pytest.raises(ValueError, match="wants at least one tensor, got an empty list"):
            join([])
