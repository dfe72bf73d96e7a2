"""Assertions: what holds passes, what does not fails the run, or at once where the graph knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

Run = Callable[..., Any]
PAIRS = [
    (tf.assert_equal, [1.0, 2.0], [1.0, 2.0], [1.0, 3.0]), (tf.assert_none_equal, [1.0, 2.0], [2.0, 1.0], [0.0, 2.0]),
    (tf.assert_less, [1.0, 2.0], [2.0, 3.0], [2.0, 2.0]), (tf.assert_less_equal, [1.0, 2.0], [1.0, 3.0], [1.0, 1.0]),
    (tf.assert_greater, [1.0, 2.0], [0.0, 1.0], [0.0, 2.0]), (tf.assert_greater_equal, [1.0, 2.0], [1.0, 1.0], [1.0, 3.0]),
    (tf.assert_near, [1.0, 2.0], [1.0, 2.0000001], [1.0, 2.1]),
]  # fmt: skip
SIGNS = [
    (tf.assert_positive, [1.0, 2.0], [1.0, 0.0]), (tf.assert_negative, [-1.0], [0.0]),
    (tf.assert_non_negative, [0.0, 1.0], [0.0, -1.0]), (tf.assert_non_positive, [0.0, -1.0], [1.0]),
]  # fmt: skip


@pytest.mark.parametrize(("check", "x", "good", "bad"), PAIRS, ids=lambda each: getattr(each, "__name__", ""))
def test_pairs(check: Any, x: Any, good: Any, bad: Any, run: Run) -> None:
    late = tf.placeholder(tf.float32, [2])
    assertion = check(x, late, message="my words")
    assert isinstance(assertion, tf.Operation)
    assert run(assertion, {late: good}) is None
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"assertion failed: \[my words\] \[Condition x .* y"):
        run(assertion, {late: bad})
    run(check(x, good))
    with pytest.raises(tf.errors.InvalidArgumentError, match="my words\nCondition x"):
        check(x, bad, message="my words")


@pytest.mark.parametrize(("check", "good", "bad"), SIGNS, ids=lambda each: getattr(each, "__name__", ""))
def test_signs(check: Any, good: Any, bad: Any, run: Run) -> None:
    late = tf.placeholder(tf.float32, [None])
    assertion = check(late, data=["seen", late])
    run(assertion, {late: good})
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"assertion failed: \[seen\] \[.*\]"):
        run(assertion, {late: bad})
    run(check(good))
    with pytest.raises(tf.errors.InvalidArgumentError):
        check(bad)


def test_broadcasting_and_nothing(run: Run) -> None:
    run(tf.assert_less([[1], [2]], 3))
    run(tf.assert_positive(tf.zeros([0])))
    with pytest.raises(ValueError, match="Dimensions must be equal"):
        tf.assert_equal(tf.placeholder(tf.float32, [2]), [1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="does not match type"):
        tf.assert_equal(tf.placeholder(tf.float32), tf.constant(1))


def test_assert_orders_what_waits_for_it(run: Run) -> None:
    late = tf.placeholder(tf.float32, [4])
    with tf.control_dependencies([tf.Assert(tf.reduce_all(late < 5.0), [late, "too large"], summarize=2)]):
        double = late * 2.0
    assert run(double, {late: [1, 2, 3, 4]}).tolist() == [2, 4, 6, 8]
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"assertion failed: \[1.0 2.0...\] \[too large\]"
    ) as failed:
        run(double, {late: [1, 2, 3, 9]})
    assert failed.value.op.type == "Assert"
    with pytest.raises(ValueError, match="requested dtype bool"):
        tf.Assert(late, [])
    vector = tf.placeholder(tf.bool)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be a bool scalar"):
        run(tf.Assert(vector, []), {vector: [True]})


@pytest.mark.parametrize(
    ("check", "wanted", "good", "bad"),
    [
        (tf.assert_rank, 1, [2], [2, 2]),
        (tf.assert_rank_at_least, 2, [1, 1, 1], [2]),
        (tf.assert_rank_in, [0, 2], [1, 1], [3]),
    ],
    ids=["rank", "at_least", "in"],
)
def test_ranks(check: Any, wanted: Any, good: list[int], bad: list[int], run: Run) -> None:
    run(check(tf.ones(good), wanted))
    with pytest.raises(ValueError, match=f"mine. Tensor .* must have rank .* Received rank {len(bad)}"):
        check(tf.ones(bad), wanted, message="mine")
    late = tf.placeholder(tf.float32)
    assertion = check(late, wanted, message="mine")
    run(assertion, {late: np.ones(good)})
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"mine\. Tensor Placeholder:0 must have rank"):
        run(assertion, {late: np.ones(bad)})


def test_types_and_scalars(run: Run) -> None:
    run([tf.assert_type(tf.ones([1]), tf.float32), tf.assert_integer(tf.constant(1))])
    with pytest.raises(TypeError, match=r"must be of type tf\.int32"):
        tf.assert_type(tf.ones([1]), tf.int32)
    with pytest.raises(TypeError, match="to be integer type"):
        tf.assert_integer(tf.ones([1]))
    assert run(tf.assert_scalar(3)) == 3
    with pytest.raises(ValueError, match="Expected scalar shape"):
        tf.assert_scalar([1])
