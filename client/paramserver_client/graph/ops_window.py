"""Windows without a product of matrices: average pooling, convolution channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paramserver_client.graph import windows
from paramserver_client.graph.convert import apply, convert_to_tensor, op_scope, same_type
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_array import zeros
from paramserver_client.graph.ops_nn import (
    REAL_FLOATS,
    checked_padding,
    conv2d,
    four_sizes,
    only_nhwc,
    pool_attrs,
    pool_shape,
    window_attrs,
    window_axes,
    window_shape,
)
from paramserver_client.graph.ops_state import check_allowed
from paramserver_client.graph.registry import define
from paramserver_client.graph.shapes import TensorShape


def _average_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [apply("AvgPoolGrad", [op.inputs[0], grad], "AvgPoolGrad", **pool_attrs(op))]


@define("AvgPool", shape=pool_shape, gradient=_average_gradient)
def _avg_pool(images: Array, *, ksize: list[int], strides: list[int], padding: str) -> Array:
    return windows.average(images, *window_axes(images, ksize[1:3], strides, padding))


def _average_grad_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [None, apply("AvgPool", [grad], "AvgPool", **pool_attrs(op))]


@define("AvgPoolGrad", gradient=_average_grad_gradient)
def _avg_pool_grad(images: Array, grad: Array, *, ksize: list[int], strides: list[int], padding: str) -> Array:
    return windows.average_gradient(grad, *window_axes(images, ksize[1:3], strides, padding))


def _depthwise_shape(op: Operation) -> TensorShape:
    channels = op.inputs[0].shape.with_rank(4).as_list()[3]
    height, width, inner, times = op.inputs[1].shape.with_rank(4).as_list()
    if channels is not None and inner is not None and channels != inner:
        raise ValueError(f"Dimensions must be equal, but are {channels} and {inner}")
    depth = channels if inner is None else inner
    return window_shape(op, (height, width), None if depth is None or times is None else depth * times)


def _depthwise(images: Tensor, kernel: Tensor, op: Operation) -> Tensor:
    return apply("DepthwiseConv2dNative", [images, kernel], "DepthwiseConv2dNative", **window_attrs(op))


def _to_images(like: Tensor, kernel: Tensor, grad: Tensor, op: Operation) -> Tensor:
    name = "DepthwiseConv2dNativeBackpropInput"
    return apply(name, [like, kernel, grad], name, **window_attrs(op))


def _to_kernel(images: Tensor, like: Tensor, grad: Tensor, op: Operation) -> Tensor:
    name = "DepthwiseConv2dNativeBackpropFilter"
    return apply(name, [images, like, grad], name, **window_attrs(op))


def _depthwise_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    images, kernel = op.inputs
    return [_to_images(images, kernel, grad, op), _to_kernel(images, kernel, grad, op)]


@define("DepthwiseConv2dNative", shape=_depthwise_shape, gradient=_depthwise_gradient)
def _depthwise_conv(images: Array, kernel: Array, *, strides: list[int], padding: str) -> Array:
    if images.ndim != 4 or kernel.ndim != 4 or images.shape[3] != kernel.shape[2]:
        raise InvalidArgumentError(
            f"input and filter must have the same depth: {list(images.shape)} vs {list(kernel.shape)}"
        )
    return windows.convolve_each(images, kernel, *window_axes(images, kernel.shape, strides, padding))


def _to_images_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    _, kernel, outer = op.inputs
    return [None, _to_kernel(grad, kernel, outer, op), _depthwise(grad, kernel, op)]


@define("DepthwiseConv2dNativeBackpropInput", shape=lambda op: op.inputs[0].shape, gradient=_to_images_gradient)
def _depthwise_to_images(like: Array, kernel: Array, grad: Array, *, strides: list[int], padding: str) -> Array:
    return windows.image_gradient_each(kernel, grad, *window_axes(like, kernel.shape, strides, padding))


def _to_kernel_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    images, _, outer = op.inputs
    return [_to_images(images, grad, outer, op), None, _depthwise(images, grad, op)]


@define("DepthwiseConv2dNativeBackpropFilter", shape=lambda op: op.inputs[1].shape, gradient=_to_kernel_gradient)
def _depthwise_to_kernel(images: Array, like: Array, grad: Array, *, strides: list[int], padding: str) -> Array:
    return windows.kernel_gradient_each(images, grad, *window_axes(images, like.shape, strides, padding))


# What users call


def avg_pool(
    value: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = "NHWC", name: str | None = None,
    input: Any = None,
) -> Tensor:  # fmt: skip
    """The mean of each window of images `[batch, height, width, channels]`; windows are `ksize` large and `strides`
    apart. Elements that `SAME` puts around do not count."""
    only_nhwc(data_format)
    with op_scope(name, "AvgPool", [value]) as scope:
        images = convert_to_tensor(input if value is None else value, name="value")
        check_allowed("value", images.dtype, REAL_FLOATS)
        attrs = {"ksize": four_sizes(ksize, "ksize"), "strides": four_sizes(strides, "strides"),
                 "padding": checked_padding(padding)}  # fmt: skip
        return apply("AvgPool", [images], scope, **attrs)


def depthwise_conv2d(
    input: Any, filter: Any, strides: Any, padding: Any, rate: Any = None, name: str | None = None,
    data_format: str | None = None, dilations: Any = None,
) -> Tensor:  # fmt: skip
    """Each channel of images `[batch, height, width, in]` convolved by itself with `filter`
    `[height, width, in, multiplier]`: channel `k * multiplier + q` comes from channel `k`.

    `padding` is `SAME` or `VALID`, `strides` `[1, down, across, 1]`. Raises ValueError when the depths differ.
    """
    for what, spread in (("rate", rate), ("dilations", dilations)):
        if spread is not None and list(spread) != [1, 1]:
            raise ValueError(f"depthwise_conv2d: {what}={spread!r} is not supported; leave it at [1, 1].")
    only_nhwc(data_format)
    with op_scope(name, "depthwise", [input, filter]) as scope:
        tensors = same_type("DepthwiseConv2dNative", input=input, filter=filter)
        check_allowed("input", tensors[0].dtype, REAL_FLOATS)
        attrs = {"strides": four_sizes(strides, "strides"), "padding": checked_padding(padding)}
        return apply("DepthwiseConv2dNative", tensors, scope, **attrs)


def separable_conv2d(
    input: Any, depthwise_filter: Any, pointwise_filter: Any, strides: Any, padding: Any, rate: Any = None,
    name: str | None = None, data_format: str | None = None, dilations: Any = None,
) -> Tensor:  # fmt: skip
    """`depthwise_conv2d`, and then a convolution with `pointwise_filter` `[1, 1, in * multiplier, out]`.

    Raises ValueError when the depths differ or the second filter is not 1 by 1.
    """
    with op_scope(name, "separable_conv2d", [input, depthwise_filter, pointwise_filter]) as scope:
        pointwise = convert_to_tensor(pointwise_filter, name="pointwise_filter")
        pointwise.shape[:2].assert_is_compatible_with([1, 1])
        each = depthwise_conv2d(input, depthwise_filter, strides, padding, rate, "depthwise", data_format, dilations)
        return conv2d(each, pointwise, [1, 1, 1, 1], "VALID", name=scope)


def conv2d_transpose(
    value: Any, filter: Any, output_shape: Any, strides: Any, padding: Any = "SAME", data_format: str | None = "NHWC",
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """The transpose of `conv2d`, that is its gradient: from `value` `[batch, height, width, in]` to images of
    `output_shape` `[batch, height, width, out]`, with `filter` `[height, width, out, in]`.

    Raises ValueError when the depths, or the sizes, are known to differ.
    """
    only_nhwc(data_format)
    with op_scope(name, "conv2d_transpose", [value, filter]) as scope:
        images, kernel = same_type("Conv2DBackpropInput", value=value, filter=filter)
        like = zeros(output_shape, images.dtype.base_dtype)
        attrs = {"strides": four_sizes(strides, "strides"), "padding": checked_padding(padding)}
        result = apply("Conv2DBackpropInput", [like, kernel, images], scope, **attrs)
        result.set_shape([None, None, None, kernel.shape.with_rank(4)[2]])
        forth = window_shape(result.op, kernel.shape.as_list()[:2], kernel.shape.as_list()[3])
        images.shape.assert_is_compatible_with(forth)
        return result
