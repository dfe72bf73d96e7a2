"""Gradients of what neural networks are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy as np

import paramserver_client.graph as tf
from paramserver_client.graph.convert import apply
from support.gradient_case import Case, apart, first_gradient, n, positive

LABELS = np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]])
CLASSES = np.array([2, 0])


def _a_softmax(x: Any) -> Any:
    e = anp.exp(x - anp.max(x, axis=-1, keepdims=True))
    return e / anp.sum(e, axis=-1, keepdims=True)


def _a_padding(length: int, size: int, stride: int, padding: str) -> tuple[int, int, int]:
    """TensorFlow's rule, from its documentation: windows, zeros before, zeros after."""
    if padding == "VALID":
        return -(-(length - size + 1) // stride), 0, 0
    count = -(-length // stride)
    total = max((count - 1) * stride + size - length, 0)
    return count, total // 2, total - total // 2


def a_conv(stride: list[int], padding: str) -> Callable[..., Any]:
    """The slow way: one product for each place in the kernel."""

    def build(x: Any, k: Any) -> Any:
        rows, top, bottom = _a_padding(x.shape[1], k.shape[0], stride[0], padding)
        columns, left, right = _a_padding(x.shape[2], k.shape[1], stride[1], padding)
        wide = anp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), "constant")
        total = 0.0
        for i in range(k.shape[0]):
            for j in range(k.shape[1]):
                part = wide[:, i : i + rows * stride[0] : stride[0], j : j + columns * stride[1] : stride[1]]
                total = total + anp.einsum("nhwc,co->nhwo", part[:, :rows, :columns], k[i, j])
        return total

    return build


def conv(stride: list[int], padding: str) -> Callable[..., Any]:
    return lambda x, k: tf.nn.conv2d(x, k, [1, *stride, 1], padding)


def pool(size: int, stride: int, padding: str) -> Callable[..., Any]:
    return lambda x: tf.nn.max_pool(x, [1, size, size, 1], [1, stride, stride, 1], padding)


P3 = np.array([0.0, 1.0, 0.3])


def a_lrn(x: Any) -> Any:
    edge = anp.zeros((*x.shape[:3], 1))
    squares = anp.concatenate([edge, x * x, edge], -1)
    return x / (1.5 + 0.3 * (squares[..., :-2] + squares[..., 1:-1] + squares[..., 2:])) ** 0.75


def average(size: int, stride: int, padding: str) -> Callable[..., Any]:
    return lambda x: tf.nn.avg_pool(x, [1, size, size, 1], [1, stride, stride, 1], padding)


def depthwise(stride: list[int], padding: str) -> Callable[..., Any]:
    return lambda x, k: tf.nn.depthwise_conv2d(x, k, [1, *stride, 1], padding)


def a_each(stride: list[int], padding: str) -> Callable[..., Any]:
    """Channel by channel: each is a convolution of one channel."""

    def build(x: Any, k: Any) -> Any:
        of_one = a_conv(stride, padding)
        return anp.concatenate([of_one(x[..., c : c + 1], k[:, :, c : c + 1]) for c in range(k.shape[2])], -1)

    return build


NETWORKS = [
    Case("Relu", tf.nn.relu, (apart(5),), lambda x: anp.maximum(x, 0)),
    Case("ReluGrad", first_gradient(tf.nn.relu, 0), (apart(5),)),
    Case("Softmax", tf.nn.softmax, (n(2, 3),), _a_softmax),
    Case("Softmax", lambda x: tf.nn.softmax(x, axis=0), (n(2, 3),), lambda x: _a_softmax(x.T).T),
    Case("LogSoftmax", tf.nn.log_softmax, (n(2, 3),), lambda x: anp.log(_a_softmax(x))),
    Case("L2Loss", tf.nn.l2_loss, (n(2, 3),), lambda x: anp.sum(x * x) / 2),
    Case("SoftmaxCrossEntropyWithLogits", lambda x: tf.nn.softmax_cross_entropy_with_logits(labels=LABELS, logits=x),
         (n(2, 3),), lambda x: -anp.sum(LABELS * anp.log(_a_softmax(x)), -1)),
    Case("SoftmaxCrossEntropyWithLogits", lambda x, y: tf.nn.softmax_cross_entropy_with_logits_v2(y, x),
         (n(2, 3), positive(2, 3)), None, (1,)),
    Case("SoftmaxCrossEntropyWithLogits", first_gradient(
        lambda x: tf.nn.softmax_cross_entropy_with_logits(labels=LABELS, logits=x), 0), (n(2, 3),)),
    Case("SparseSoftmaxCrossEntropyWithLogits",
         lambda x: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=CLASSES, logits=x), (n(2, 3),),
         lambda x: -anp.log(_a_softmax(x))[np.arange(2), CLASSES]),
    Case("SparseSoftmaxCrossEntropyWithLogits", first_gradient(
        lambda x: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=CLASSES, logits=x), 0), (n(2, 3),)),
    Case("Log1p", lambda x: tf.nn.sigmoid_cross_entropy_with_logits(labels=[0.0, 1.0, 0.3], logits=x), (apart(3),),
         lambda x: anp.log(1 + anp.exp(x)) - x * np.array([0.0, 1.0, 0.3])),
    Case("Conv2D", conv([1, 1], "VALID"), (n(2, 5, 4, 3), n(2, 3, 3, 2)), a_conv([1, 1], "VALID")),
    Case("Conv2D", conv([1, 1], "SAME"), (n(2, 4, 5, 1), n(3, 2, 1, 2)), a_conv([1, 1], "SAME")),
    Case("Conv2D", conv([2, 3], "SAME"), (n(1, 5, 7, 4), n(3, 3, 4, 2)), a_conv([2, 3], "SAME")),
    Case("Conv2D", conv([2, 1], "VALID"), (n(2, 6, 4, 2), n(3, 2, 2, 3)), a_conv([2, 1], "VALID")),
    Case("Conv2D", conv([3, 3], "VALID"), (n(1, 7, 8, 1), n(2, 2, 1, 2)), a_conv([3, 3], "VALID")),
    Case("Conv2DBackpropInput", first_gradient(conv([2, 1], "SAME"), 0), (n(1, 4, 3, 2), n(3, 2, 2, 2))),
    Case("Conv2DBackpropFilter", first_gradient(conv([1, 2], "VALID"), 1), (n(1, 4, 5, 2), n(2, 3, 2, 2))),
    Case("MaxPool", pool(2, 2, "VALID"), (apart(2, 4, 4, 2),)),
    Case("MaxPool", pool(3, 2, "SAME"), (apart(1, 5, 4, 2),)),
    Case("MaxPool", pool(2, 1, "VALID"), (apart(1, 3, 4, 1),)),
    Case("MaxPoolGrad", first_gradient(pool(2, 1, "SAME"), 0), (apart(1, 3, 4, 1),)),
    Case("MaxPoolGradGrad", lambda x, v: apply(
        "MaxPoolGradGrad", [x, pool(2, 2, "VALID")(x), v], "g", ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1],
        padding="VALID"), (apart(1, 4, 4, 1), n(1, 4, 4, 1)), None, (1,)),
    Case("BiasAdd", tf.nn.bias_add, (n(2, 3, 4), n(4)), anp.add),
    Case("BiasAddGrad", first_gradient(tf.nn.bias_add, 1), (n(2, 3), n(3))),
    Case("Relu6", tf.nn.relu6, (3.0 * apart(6),), lambda x: anp.clip(x, 0.0, 6.0)),
    Case("LeakyRelu", tf.nn.leaky_relu, (apart(5),), lambda x: anp.where(x > 0, x, 0.2 * x)),
    Case("Elu", tf.nn.elu, (apart(5),), lambda x: anp.where(x > 0, x, anp.expm1(x))),
    Case("Selu", tf.nn.selu, (apart(5),),
         lambda x: 1.0507009873554805 * anp.where(x > 0, x, 1.6732632423543772 * anp.expm1(x))),
    Case("Softplus", tf.nn.softplus, (n(5),), lambda x: anp.logaddexp(x, 0.0)),
    Case("Softsign", tf.nn.softsign, (apart(5),), lambda x: x / (1 + anp.abs(x))),
    Case("Relu", tf.nn.crelu, (apart(2, 3),), lambda x: anp.maximum(anp.concatenate([x, -x], -1), 0.0)),
    Case("Sigmoid", tf.nn.swish, (n(3),), lambda x: x / (1 + anp.exp(-x))),
    Case("Softplus", tf.nn.log_sigmoid, (n(3),), lambda x: -anp.logaddexp(-x, 0.0)),
    Case("Log1p", lambda x: tf.nn.weighted_cross_entropy_with_logits([0.0, 1.0, 0.3], x, 2.5), (apart(3),),
         lambda x: (1 - P3) * x + (1 + 1.5 * P3) * anp.log(1 + anp.exp(-x))),
    Case("Maximum", lambda x: tf.nn.l2_normalize(x, 1), (n(2, 3),),
         lambda x: x / anp.sqrt(anp.sum(x**2, 1, keepdims=True))),
    Case("Rsqrt", lambda x, m, v, o, s: tf.nn.batch_normalization(x, m, v, o, s, 1e-3),
         (n(4, 3), n(3), positive(3), n(3), n(3)), lambda x, m, v, o, s: s * (x - m) / anp.sqrt(v + 1e-3) + o),
    Case("SquaredDifference", lambda x: tf.nn.moments(x, [0])[1], (n(4, 3),), lambda x: anp.var(x, 0)),
    Case("AvgPool", average(2, 2, "VALID"), (n(2, 4, 4, 2),), lambda x: (
        x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4),
    Case("AvgPool", average(3, 2, "SAME"), (n(1, 5, 4, 2),)),
    Case("AvgPoolGrad", first_gradient(average(2, 1, "SAME"), 0), (n(1, 3, 4, 1),)),
    Case("DepthwiseConv2dNative", depthwise([1, 1], "SAME"), (n(2, 4, 5, 2), n(3, 2, 2, 3)), a_each([1, 1], "SAME")),
    Case("DepthwiseConv2dNative", depthwise([2, 2], "VALID"), (n(1, 5, 6, 3), n(2, 3, 3, 1)), a_each([2, 2], "VALID")),
    Case("DepthwiseConv2dNativeBackpropInput", first_gradient(depthwise([1, 1], "SAME"), 0),
         (n(1, 4, 3, 2), n(3, 2, 2, 2))),
    Case("DepthwiseConv2dNativeBackpropFilter", first_gradient(depthwise([2, 2], "VALID"), 1),
         (n(1, 4, 5, 2), n(2, 3, 2, 2))),
    Case("Conv2D", lambda x, d, p: tf.nn.separable_conv2d(x, d, p, [1, 1, 1, 1], "SAME"),
         (n(1, 3, 3, 2), n(2, 2, 2, 2), n(1, 1, 4, 3))),
    Case("Pow", lambda x: tf.nn.lrn(x, depth_radius=1, bias=1.5, alpha=0.3, beta=0.75), (n(1, 2, 1, 4),), a_lrn),
    Case("Conv2DBackpropInput", lambda x, k: tf.nn.conv2d_transpose(x, k, [1, 5, 4, 2], [1, 2, 1, 1]),
         (n(1, 3, 4, 3), n(3, 2, 2, 3))),
    Case("BiasAdd", tf.nn.xw_plus_b, (n(2, 3), n(3, 4), n(4)), lambda x, w, b: x @ w + b),
]  # fmt: skip
