"""Activations, cross-entropies, convolution and pooling against the slow way."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import paramserver_client.graph as tf
from paramserver_client.graph import windows

Run = Callable[..., Any]
rng = np.random.default_rng(5)
logits = rng.standard_normal((4, 3)) * 3


def slow_windows(length: int, size: int, stride: int, padding: str) -> list[list[int]]:
    """For each window the places it covers, as TensorFlow's documentation has it; places outside are padding."""
    if padding == "VALID":
        return [list(range(at, at + size)) for at in range(0, length - size + 1, stride)]
    count = math.ceil(length / stride)
    before = max((count - 1) * stride + size - length, 0) // 2
    return [list(range(at * stride - before, at * stride - before + size)) for at in range(count)]


def slow_conv(x: Any, k: Any, strides: list[int], padding: str) -> Any:
    rows = slow_windows(x.shape[1], k.shape[0], strides[0], padding)
    columns = slow_windows(x.shape[2], k.shape[1], strides[1], padding)
    out = np.zeros((x.shape[0], len(rows), len(columns), k.shape[3]))
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            for i, y in enumerate(row):
                for j, z in enumerate(column):
                    if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
                        out[:, r, c] += x[:, y, z] @ k[i, j]
    return out


size = st.integers(1, 3)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(3, 6),
    st.integers(3, 6),
    size,
    size,
    size,
    size,
    st.sampled_from([1, 2, 5]),
    st.sampled_from(["SAME", "VALID"]),
)
def test_conv2d(h: int, w: int, kh: int, kw: int, sh: int, sw: int, channels: int, padding: str) -> None:
    x, k = rng.standard_normal((2, h, w, channels)), rng.standard_normal((kh, kw, channels, 2))
    with tf.Graph().as_default(), tf.Session() as sess:
        y = tf.nn.conv2d(x, k, [1, sh, sw, 1], padding)
        wanted = slow_conv(x, k, [sh, sw], padding)
        assert y.shape.known() == wanted.shape
        np.testing.assert_allclose(sess.run(y), wanted, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(st.integers(3, 6), st.integers(3, 6), size, size, size, st.sampled_from(["SAME", "VALID"]))
def test_max_pool(h: int, w: int, kh: int, kw: int, stride: int, padding: str) -> None:
    x = rng.standard_normal((2, h, w, 2)) - 5
    rows, columns = slow_windows(h, kh, stride, padding), slow_windows(w, kw, stride, padding)
    wanted = np.array([[
        x[:, [y for y in row if 0 <= y < h]][:, :, [z for z in column if 0 <= z < w]].max((1, 2)) for column in columns
    ] for row in rows]).transpose(2, 0, 1, 3)  # fmt: skip
    with tf.Graph().as_default(), tf.Session() as sess:
        y = tf.nn.max_pool(x, [1, kh, kw, 1], [1, stride, stride, 1], padding)
        assert y.shape.known() == wanted.shape
        np.testing.assert_array_equal(sess.run(y), wanted)


def test_convolution_of_float32_stays_float32(run: Run) -> None:
    x, k = np.ones((1, 4, 4, 1), np.float32), np.ones((3, 3, 1, 2), np.float32)
    assert run(tf.nn.conv2d(x, k, [1, 1, 1, 1], "SAME")).dtype == np.float32


def test_what_conv2d_refuses() -> None:
    x, k = tf.zeros([1, 4, 4, 3]), tf.zeros([2, 2, 1, 1])
    with pytest.raises(ValueError, match=r"Dimensions must be equal, but are 3 and 1 for 'Conv2D'"):
        tf.nn.conv2d(x, k, [1, 1, 1, 1], "SAME")
    k = tf.zeros([5, 2, 3, 1])
    with pytest.raises(ValueError, match="Negative dimension size caused by subtracting 5 from 4"):
        tf.nn.conv2d(x, k, [1, 1, 1, 1], "VALID")
    with pytest.raises(ValueError, match="padding wants 'SAME' or 'VALID', got 'FULL'"):
        tf.nn.conv2d(x, k, [1, 1, 1, 1], "FULL")
    with pytest.raises(ValueError, match="strides wants 4 positive integers"):
        tf.nn.conv2d(x, k, [1, 1, 1], "SAME")
    with pytest.raises(ValueError, match="1 for batch and channels"):
        tf.nn.conv2d(x, k, [2, 1, 1, 1], "SAME")
    with pytest.raises(ValueError, match="'NCHW' is not supported"):
        tf.nn.conv2d(x, k, [1, 1, 1, 1], "SAME", data_format="NCHW")
    with pytest.raises(ValueError, match="dilations"):
        tf.nn.conv2d(x, k, [1, 1, 1, 1], "SAME", dilations=[1, 2, 2, 1])
    with pytest.raises(ValueError, match="wants filter, strides and padding"):
        tf.nn.conv2d(x)
    p = tf.placeholder(tf.float32)
    with tf.Session() as sess, pytest.raises(tf.errors.InvalidArgumentError, match="must have the same depth"):
        sess.run(tf.nn.conv2d(p, tf.zeros([2, 2, 1, 1]), [1, 1, 1, 1], "SAME"), {p: np.zeros((1, 4, 4, 3))})


def test_relu(run: Run) -> None:
    assert run(tf.nn.relu([-1.0, 0.0, 2.0])).tolist() == [0.0, 0.0, 2.0]
    assert run(tf.nn.relu([-1, 3])).dtype == np.int32


def _softmax(row: Any) -> list[float]:
    total = sum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


def test_softmax(run: Run) -> None:
    np.testing.assert_allclose(run(tf.nn.softmax(logits)), [_softmax(row) for row in logits])
    np.testing.assert_allclose(run(tf.nn.softmax(logits, axis=0)).T, [_softmax(row) for row in logits.T])
    np.testing.assert_allclose(run(tf.nn.log_softmax(logits)), np.log([_softmax(row) for row in logits]))
    assert run(tf.nn.softmax([1e4, 0.0])).tolist() == [1.0, 0.0]
    assert run(tf.nn.log_softmax([0.0, -1e4])).tolist() == [0.0, -1e4]


def test_softmax_cross_entropy(run: Run) -> None:
    labels = np.array([[0.1, 0.2, 0.7], [1, 0, 0], [0, 0, 1], [0.5, 0.5, 0]])
    wanted = [
        -sum(p * math.log(q) for p, q in zip(row, _softmax(x), strict=True))
        for row, x in zip(labels, logits, strict=True)
    ]
    for function in (tf.nn.softmax_cross_entropy_with_logits, tf.nn.softmax_cross_entropy_with_logits_v2):
        np.testing.assert_allclose(run(function(labels=labels, logits=logits)), wanted)
    turned = tf.nn.softmax_cross_entropy_with_logits(labels=labels.T, logits=logits.T, dim=0)
    np.testing.assert_allclose(run(turned), wanted)


def test_sparse_softmax_cross_entropy(run: Run) -> None:
    classes = [2, 0, 1, 1]
    wanted = [-math.log(_softmax(row)[label]) for row, label in zip(logits, classes, strict=True)]
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=logits)
    np.testing.assert_allclose(run(loss), wanted)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="Received a label value of 3 which is outside the valid range"
    ):
        run(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[3, 0, 0, 0], logits=logits))
    with pytest.raises(ValueError, match="Rank mismatch: Rank of labels"):
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[[1]], logits=logits)
    with pytest.raises(TypeError, match="wants integers"):
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[1.0], logits=logits)


def test_sigmoid_cross_entropy(run: Run) -> None:
    scores, chances = np.array([-3.0, 0.0, 2.0, 500.0, -500.0]), np.array([0.2, 1.0, 0.0, 1.0, 0.0])
    found = run(tf.nn.sigmoid_cross_entropy_with_logits(labels=chances, logits=scores))
    for x, z, loss in list(zip(scores, chances, found, strict=True))[:3]:
        p = 1 / (1 + math.exp(-x))
        assert loss == pytest.approx(-z * math.log(p) - (1 - z) * math.log(1 - p))
    assert found[3:].max() < 1e-200
    with pytest.raises(ValueError, match="must have the same shape"):
        tf.nn.sigmoid_cross_entropy_with_logits(labels=[1.0], logits=[1.0, 2.0])


@pytest.mark.parametrize("name", ["softmax", "sparse_softmax", "sigmoid"])
def test_cross_entropies_want_their_arguments_by_name(name: str) -> None:
    function = getattr(tf.nn, f"{name}_cross_entropy_with_logits")
    with pytest.raises(ValueError, match="with named arguments"):
        function([1.0], [1.0])
    with pytest.raises(ValueError, match="Both labels and logits must be provided"):
        function(labels=[1.0])


def test_bias_add(run: Run) -> None:
    found = run(tf.nn.bias_add(np.zeros((2, 2, 3), np.float32), [1.0, 2.0, 3.0]))
    assert found.tolist() == [[[1, 2, 3]] * 2] * 2
    with pytest.raises(ValueError, match="Dimensions must be equal, but are 3 and 2"):
        tf.nn.bias_add(np.zeros((2, 3), np.float32), [1.0, 2.0])


def test_half_the_sum_of_squares(run: Callable[..., Any]) -> None:
    x = tf.constant([[3.0, 4.0]])
    loss = tf.nn.l2_loss(x, name="l2")
    assert (loss.name, loss.shape) == ("l2:0", ())
    assert run(loss) == 12.5
    assert run(tf.gradients(2.0 * loss, x)[0]).tolist() == [[6.0, 8.0]]
    with pytest.raises(TypeError, match="give floats"):
        tf.nn.l2_loss([1, 2])


def test_integers_are_refused_where_only_floats_make_sense() -> None:
    images, kernel = tf.ones([1, 4, 4, 1], tf.int32), tf.ones([2, 2, 1, 1], tf.int32)
    for build in (
        lambda: tf.nn.softmax([1]), lambda: tf.nn.log_softmax([1]), lambda: tf.nn.conv2d(images, kernel, 1, "SAME"),
        lambda: tf.nn.depthwise_conv2d(images, kernel, 1, "SAME"), lambda: tf.nn.avg_pool(images, 2, 2, "SAME"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match="has DataType int32 not in list of allowed values: bfloat16, float16"):
            build()
    assert tf.nn.relu([1]).dtype == tf.nn.max_pool(images, 2, 2, "SAME").dtype == tf.int32
    assert tf.nn.max_pool(images, [2, 1], [2], "SAME").shape.as_list() == [1, 2, 2, 1]
    with pytest.raises(TypeError, match="'features' has DataType bool"):
        tf.nn.relu([True])


@pytest.mark.parametrize("channels", [1, 5])
def test_a_convolution_in_portions_is_the_same(channels: int, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    x, k = tf.constant(rng.standard_normal((7, 6, 5, channels))), tf.constant(rng.standard_normal((3, 3, channels, 2)))
    y = tf.nn.conv2d(x, k, [1, 2, 1, 1], "SAME")
    tensors = [y, *tf.gradients(tf.square(y), [x, k])]
    whole = run(tensors)
    monkeypatch.setattr(windows, "MATRIX_ELEMENTS", 3 * 3 * 5 * 9 * channels)  # Three images; the last portion has one.
    for got, wanted in zip(run(tensors), whole, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
