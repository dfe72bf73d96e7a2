"""Average pooling and convolution channel by channel against the slow way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import paramserver_client.graph as tf

rng = np.random.default_rng(11)
small = st.integers(1, 3)


def slow_windows(length: int, size: int, stride: int, padding: str) -> list[list[int]]:
    """For each window the places inside that it covers, with their number in the window, from TensorFlow's text."""
    if padding == "VALID":
        return [list(range(at, at + size)) for at in range(0, length - size + 1, stride)]
    count = math.ceil(length / stride)
    before = max((count - 1) * stride + size - length, 0) // 2
    return [list(range(at * stride - before, at * stride - before + size)) for at in range(count)]


@settings(deadline=None, max_examples=60)
@given(st.integers(3, 6), st.integers(3, 6), small, small, small, small, st.sampled_from(["SAME", "VALID"]), small)
def test_both(h: int, w: int, kh: int, kw: int, sh: int, sw: int, padding: str, times: int) -> None:
    x, k = rng.standard_normal((2, h, w, 3)), rng.standard_normal((kh, kw, 3, times))
    rows, columns = slow_windows(h, kh, sh, padding), slow_windows(w, kw, sw, padding)
    means, products = np.zeros((2, len(rows), len(columns), 3)), np.zeros((2, len(rows), len(columns), 3 * times))
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            inside = [
                (i, j, y, z) for i, y in enumerate(row) for j, z in enumerate(column) if 0 <= y < h and 0 <= z < w
            ]
            means[:, r, c] = np.mean([x[:, y, z] for _, _, y, z in inside], axis=0)
            for i, j, y, z in inside:
                products[:, r, c] += (x[:, y, z, :, None] * k[i, j]).reshape(2, -1)
    with tf.Graph().as_default(), tf.Session() as sess:
        average = tf.nn.avg_pool(x, [1, kh, kw, 1], [1, sh, sw, 1], padding)
        each = tf.nn.depthwise_conv2d(x, k, [1, sh, sw, 1], padding)
        for tensor, wanted in ((average, means), (each, products)):
            got = sess.run(tensor)
            np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)
            assert tensor.shape.as_list() == list(got.shape)


def test_separable_is_both_steps() -> None:
    x, d, p = (rng.standard_normal(shape) for shape in ((1, 5, 5, 2), (3, 3, 2, 2), (1, 1, 4, 3)))
    with tf.Session() as sess:
        one = tf.nn.separable_conv2d(x, d, p, [1, 2, 2, 1], "SAME")
        two = tf.nn.conv2d(tf.nn.depthwise_conv2d(x, d, [1, 2, 2, 1], "SAME"), p, [1, 1, 1, 1], "VALID")
        np.testing.assert_allclose(*sess.run([one, two]))
    assert one.shape.as_list() == [1, 3, 3, 3]


def test_unknown_sizes() -> None:
    images = tf.placeholder(tf.float32, [None, None, 8, 2])
    assert tf.nn.avg_pool(images, [1, 2, 2, 1], [1, 2, 2, 1], "VALID").shape.as_list() == [None, None, 4, 2]
    kernel = tf.placeholder(tf.float32, [3, 3, 2, 5])
    assert tf.nn.depthwise_conv2d(images, kernel, [1, 1, 1, 1], "SAME").shape.as_list() == [None, None, 8, 10]


def test_what_is_refused() -> None:
    images, kernel = tf.ones([1, 4, 4, 2]), tf.ones([2, 2, 3, 1])
    with pytest.raises(ValueError, match="Dimensions must be equal, but are 2 and 3"):
        tf.nn.depthwise_conv2d(images, kernel, [1, 1, 1, 1], "SAME")
    for argument in ("rate", "dilations"):
        arguments: dict[str, Any] = {argument: [2, 2]}
        with pytest.raises(ValueError, match=rf"{argument}=\[2, 2\] is not supported"):
            tf.nn.depthwise_conv2d(images, kernel, [1, 1, 1, 1], "SAME", **arguments)
    with pytest.raises(ValueError, match="Negative dimension size"):
        tf.nn.avg_pool(images, [1, 5, 5, 1], [1, 1, 1, 1], "VALID")
    with pytest.raises(ValueError, match="NCHW"):
        tf.nn.avg_pool(images, [1, 2, 2, 1], [1, 1, 1, 1], "SAME", data_format="NCHW")
    with pytest.raises(ValueError, match="incompatible"):
        tf.nn.separable_conv2d(images, tf.ones([2, 2, 2, 1]), tf.ones([2, 1, 2, 1]), [1, 1, 1, 1], "SAME")
    late = tf.placeholder(tf.float32)
    product = tf.nn.depthwise_conv2d(images, late, [1, 1, 1, 1], "SAME")
    with tf.Session() as sess, pytest.raises(tf.errors.InvalidArgumentError, match="must have the same depth"):
        sess.run(product, {late: np.ones([2, 2, 3, 1])})


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_the_transpose_of_a_convolution_is_its_gradient(padding: str) -> None:
    images, kernel = tf.constant(rng.standard_normal((2, 7, 6, 3))), tf.constant(rng.standard_normal((3, 2, 3, 4)))
    forth = tf.nn.conv2d(images, kernel, [1, 2, 1, 1], padding)
    value = tf.constant(rng.standard_normal(forth.shape.known()))
    back = tf.nn.conv2d_transpose(value, kernel, images.shape, [1, 2, 1, 1], padding)
    with tf.Session() as sess:
        np.testing.assert_allclose(*sess.run([back, tf.gradients(forth, images, value)[0]]), rtol=1e-10)
    assert back.shape.as_list() == [2, 7, 6, 3]
    with pytest.raises(ValueError, match="incompatible"):
        tf.nn.conv2d_transpose(value, kernel, [2, 9, 6, 3], [1, 2, 1, 1], padding)
    with pytest.raises(ValueError, match="not compatible"):
        tf.nn.conv2d_transpose(value, kernel, [2, 7, 6, 5], [1, 2, 1, 1], padding)
