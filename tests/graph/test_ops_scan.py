"""Running sums and products, and the best of each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import paramserver_client.graph as tf

Run = Callable[..., Any]


def _slow(x: Any, exclusive: bool, reverse: bool, start: float, step: Callable[[Any, Any], Any]) -> Any:
    out, total = [], start
    for each in reversed(x) if reverse else x:
        before, total = total, step(total, each)
        out.append(before if exclusive else total)
    return out[::-1] if reverse else out


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(-5, 5), max_size=6), st.booleans(), st.booleans())
def test_scans(values: list[int], exclusive: bool, reverse: bool) -> None:
    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.constant(values, tf.int32, shape=[len(values)]) if values else tf.zeros([0], tf.int32)
        sums, products = sess.run([f(x, exclusive=exclusive, reverse=reverse) for f in (tf.cumsum, tf.cumprod)])
    assert sums.tolist() == _slow(values, exclusive, reverse, 0, lambda a, b: a + b)
    assert products.tolist() == _slow(values, exclusive, reverse, 1, lambda a, b: a * b)
    assert sums.dtype == products.dtype == np.int32


def test_an_axis_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"Expected scan axis in the range \[-1, 1\), but got 1"):
        tf.cumsum([1.0], axis=1)


def test_top_k_takes_the_lower_index_first(run: Run) -> None:
    values, indices = run(tf.nn.top_k([[1.0, 3.0, 3.0, 2.0], [5.0, 5.0, 5.0, 5.0]], k=3))
    assert values.tolist() == [[3.0, 3.0, 2.0], [5.0, 5.0, 5.0]]
    assert indices.tolist() == [[1, 2, 3], [0, 1, 2]]
    assert indices.dtype == np.int32
    one = run(tf.nn.top_k([4, 9]))
    assert (one.values.tolist(), one.indices.tolist()) == ([9], [1])
    assert [each.shape.as_list() for each in tf.nn.top_k(tf.placeholder(tf.float32, [None, 5]), 2)] == [[None, 2]] * 2


def test_top_k_wants_long_rows(run: Run) -> None:
    with pytest.raises(ValueError, match="input must have last dimension >= k = 3 but is 2"):
        tf.nn.top_k([1.0, 2.0], 3)
    with pytest.raises(ValueError, match="Need k >= 0, got -1"):
        tf.nn.top_k([1.0, 2.0], -1)
    x = tf.placeholder(tf.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"at least k columns\. Had 2, needed 3"):
        run(tf.nn.top_k(x, 3), {x: [1.0, 2.0]})


def test_in_top_k(run: Run) -> None:
    scores = [[0.1, 0.3, 0.2, 0.4]] * 3 + [[0.5, 0.5, 0.5, 0.1], [np.nan, 1.0, 0.0, 0.0], [np.inf, 1.0, 0.0, 0.0]]
    wanted = [True, False, False, True, False, False]
    assert run(tf.nn.in_top_k(scores, [1, 2, 9, 2, 1, 1], 2)).tolist() == wanted
    p, t = tf.placeholder(tf.float32, [None, 2]), tf.placeholder(tf.int64)
    assert tf.nn.in_top_k(p, t, 1).shape.as_list() == [None]
    with pytest.raises(tf.errors.InvalidArgumentError, match="must match length of targets 1"):
        run(tf.nn.in_top_k(p, t, 1), {p: np.zeros([2, 2]), t: [0]})
