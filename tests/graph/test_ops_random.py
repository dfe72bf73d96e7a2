"""Operations that draw: distributions, shapes, dtypes, seeds, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]


def test_normal(run: Run) -> None:
    x = run(tf.random_normal([20_000], mean=3.0, stddev=2.0, seed=1))
    assert x.dtype == np.float32
    assert abs(x.mean() - 3) < 0.05
    assert abs(x.std() - 2) < 0.05


def test_truncated_normal_stays_within_two_stddev(run: Run) -> None:
    x = run(tf.truncated_normal([20_000], mean=1.0, stddev=2.0, seed=1))
    assert np.abs(x - 1).max() <= 4.0
    assert abs(x.std() - 2 * 0.8796) < 0.03


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniform_leaves_its_upper_end_out(dtype: str, run: Run) -> None:
    x = np.asarray(run(tf.random_uniform([50_000], dtype=dtype, seed=1)), np.float64)
    assert x.min() >= 0
    assert x.max() < 1
    assert abs(x.mean() - 0.5) < 0.02


def test_uniform_integers(run: Run) -> None:
    x = run(tf.random_uniform([1000], -2, 3, tf.int64, seed=1))
    assert (sorted(set(x.tolist())), x.dtype) == ([-2, -1, 0, 1, 2], np.int64)
    with pytest.raises(ValueError, match="Must specify maxval for integer dtype"):
        tf.random_uniform([1], dtype=tf.int32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Need minval < maxval, got 3 >= 3"):
        run(tf.random_uniform([1], 3, 3, tf.int32))


def test_multinomial(run: Run) -> None:
    t = tf.multinomial(np.log([[0.1, 0.9, 1e-30], [0.5, 0.25, 0.25]]), 4000, seed=3)
    assert (t.shape.known(), t.dtype) == ((2, 4000), tf.int64)
    x = run(t)
    np.testing.assert_allclose([np.mean(x[0] == 1), np.mean(x[1] == 0)], [0.9, 0.5], atol=0.03)
    assert 2 not in x[0]
    with pytest.raises(ValueError, match="Shape must be rank 2 but is rank 1"):
        tf.multinomial([1.0, 2.0], 3)


def test_gamma(run: Run) -> None:
    t = tf.random_gamma([5000], alpha=[[1.0], [4.0]], beta=[2.0, 8.0], seed=3)
    assert t.shape.known() == (5000, 2, 2)
    np.testing.assert_allclose(run(t).mean(0), [[1 / 2, 1 / 8], [4 / 2, 4 / 8]], rtol=0.1)


def test_shuffle(run: Run) -> None:
    rows = np.arange(20).reshape(10, 2)
    x = run(tf.random_shuffle(rows, seed=3))
    assert x.tolist() != rows.tolist()
    assert sorted(x.tolist()) == rows.tolist()


def test_crop_is_contiguous(run: Run) -> None:
    board = np.arange(30).reshape(5, 6)
    crop = run(tf.random_crop(board, [2, 3], seed=5))
    row, column = divmod(int(crop[0, 0]), 6)
    np.testing.assert_array_equal(crop, board[row : row + 2, column : column + 3])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Need value\.shape >= size, got"):
        run(tf.random_crop(board, [6, 1]))


def test_floats_only() -> None:
    for function in (tf.random_normal, tf.truncated_normal):
        with pytest.raises(TypeError, match="DataType int32 not in list of allowed values"):
            function([1], dtype=tf.int32)


def test_parameters_may_be_tensors_and_shapes_too() -> None:
    mean = tf.placeholder(tf.float32, [])
    sizes = tf.placeholder(tf.int32, [1])
    with tf.Session() as sess:
        x = sess.run(tf.random_normal(sizes, mean, 1e-6), {mean: 5.0, sizes: [7]})
    np.testing.assert_allclose(x, [5.0] * 7, rtol=1e-4)


def test_a_new_value_at_every_run() -> None:
    t = tf.random_normal([3])
    with tf.Session() as sess:
        assert sess.run(t).tolist() != sess.run(t).tolist()
        twice = sess.run([t, tf.identity(t)])
    assert twice[0].tolist() == twice[1].tolist()


def _two_sessions(t: tf.Tensor) -> list[list[Any]]:
    drawn = []
    for _ in range(2):
        with tf.Session() as sess:
            drawn.append([sess.run(t).tolist() for _ in range(2)])
    return drawn


def test_an_operations_seed_repeats_the_sequence_in_each_session() -> None:
    first, second = _two_sessions(tf.random_normal([3], seed=1))
    assert first == second
    assert first[0] != first[1]
    first, second = _two_sessions(tf.random_normal([3]))
    assert first != second


def test_a_graphs_seed_repeats_across_graphs_and_differs_by_operation() -> None:
    drawn = []
    for _ in range(2):
        with tf.Graph().as_default():
            tf.set_random_seed(9)
            drawn.append([_two_sessions(tf.random_normal([3]))[0] for _ in range(2)])
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[0][1]


def test_the_seeds_of_the_next_operation() -> None:
    assert tf.get_seed(None) == (None, None)
    assert tf.get_seed(5) == (87654321, 5)
    tf.set_random_seed(12)
    assert tf.get_seed(5) == (12, 5)
