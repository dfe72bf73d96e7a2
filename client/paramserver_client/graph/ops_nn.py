"""Neural-network operations: activations, cross-entropies, convolution, pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from paramserver_client.graph import windows
from paramserver_client.graph.convert import apply, convert_to_tensor, op_scope, same_type, static_axis
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_array import expand_dims, stop_gradient, transpose
from paramserver_client.graph.ops_math import (
    cast,
    exp,
    greater_equal,
    log1p,
    multiply,
    negative,
    where,
    zeros_like,
)
from paramserver_client.graph.ops_reduce import reduce_sum
from paramserver_client.graph.ops_state import check_allowed
from paramserver_client.graph.registry import define
from paramserver_client.graph.shapes import TensorShape


def _relu_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [apply("ReluGrad", [grad, op.outputs[0]], "ReluGrad")]


@define("Relu", gradient=_relu_gradient)
def _relu(x: Array) -> Array:
    return np.asarray(np.maximum(x, x.dtype.type(0)))


@define("ReluGrad", gradient=lambda op, grad: [apply("ReluGrad", [grad, op.inputs[1]], "ReluGrad"), None])
def _relu_grad(grad: Array, y: Array) -> Array:
    return np.asarray(grad * (y > 0))


@define("L2Loss", shape=lambda op: TensorShape([]), gradient=lambda op, grad: [multiply(op.inputs[0], grad)])
def _l2_loss(x: Array) -> Array:
    return np.asarray(np.square(x).sum() / 2, dtype=x.dtype)


def _softmax_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    y, axis = op.outputs[0], op.attrs["axis"]
    return [(grad - reduce_sum(grad * y, axis, keepdims=True)) * y]


@define("Softmax", gradient=_softmax_gradient)
def _softmax(x: Array, *, axis: int) -> Array:
    out: Array = np.exp(x - x.max(axis=axis, keepdims=True))
    out /= out.sum(axis=axis, keepdims=True)
    return out


def _log_softmax_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    axis = op.attrs["axis"]
    return [grad - reduce_sum(grad, axis, keepdims=True) * exp(op.outputs[0])]


@define("LogSoftmax", gradient=_log_softmax_gradient)
def _log_softmax(x: Array, *, axis: int) -> Array:
    low = x - x.max(axis=axis, keepdims=True)
    return np.asarray(low - np.log(np.exp(low).sum(axis=axis, keepdims=True)))


def _cross_entropy_shape(op: Operation) -> Sequence[TensorShape]:
    logits = op.inputs[0].shape.with_rank_at_least(1)
    if op.type == "SoftmaxCrossEntropyWithLogits":
        logits = logits.merge_with(op.inputs[1].shape)
    return [logits[:-1], logits]


def _through_logits(op: Operation, grad: Tensor | None, backprop_grad: Tensor | None) -> Tensor | None:
    """Both cross-entropies: the loss depends on the logits as `backprop` says, and `backprop` as softmax does."""
    total = None if grad is None else multiply(expand_dims(grad, -1), op.outputs[1])
    if backprop_grad is not None:
        probabilities = softmax(op.inputs[0])
        inner = reduce_sum(backprop_grad * probabilities, -1, keepdims=True)
        second = (backprop_grad - inner) * probabilities
        total = second if total is None else total + second
    return total


def _cross_entropy_gradient(
    op: Operation, grad: Tensor | None, backprop_grad: Tensor | None
) -> Sequence[Tensor | None]:
    to_labels = None if grad is None else negative(multiply(expand_dims(grad, -1), log_softmax(op.inputs[0])))
    if backprop_grad is not None:
        to_labels = negative(backprop_grad) if to_labels is None else to_labels - backprop_grad
    return [_through_logits(op, grad, backprop_grad), to_labels]


@define("SoftmaxCrossEntropyWithLogits", shape=_cross_entropy_shape, gradient=_cross_entropy_gradient)
def _cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    if logits.shape != labels.shape:
        raise InvalidArgumentError(
            f"logits and labels must be of one shape: logits_size={list(logits.shape)} labels_size={list(labels.shape)}"
        )
    log_probabilities = _log_softmax(logits, axis=-1)
    loss = -(labels * log_probabilities).sum(axis=-1, dtype=logits.dtype)
    return np.asarray(loss), np.exp(log_probabilities) - labels


@define("SparseSoftmaxCrossEntropyWithLogits", shape=_cross_entropy_shape,
        gradient=lambda op, grad, backprop_grad: [_through_logits(op, grad, backprop_grad), None])  # fmt: skip
def _sparse_cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    classes = logits.shape[-1]
    if logits.shape[:-1] != labels.shape:
        raise InvalidArgumentError(
            f"logits and labels must have the same first dimension, got logits shape {list(logits.shape)} and labels "
            f"shape {list(labels.shape)}"
        )
    outside = labels[(labels < 0) | (labels >= classes)]
    if outside.size:
        raise InvalidArgumentError(
            f"Received a label value of {outside[0]} which is outside the valid range of [0, {classes}).  "
            f"Label values: {' '.join(map(str, labels.ravel()[:20]))}"
        )
    flat = logits.reshape(-1, classes)
    low = flat - flat.max(axis=1, keepdims=True)
    backprop: Array = np.exp(low)
    sums = backprop.sum(axis=1)
    rows, chosen = np.arange(len(flat)), labels.reshape(-1)
    loss = np.log(sums) - low[rows, chosen]
    backprop /= sums[:, None]
    backprop[rows, chosen] -= backprop.dtype.type(1)
    return loss.reshape(labels.shape), backprop.reshape(logits.shape)


def window_axes(
    images: Array, kernel: Sequence[int], strides: Sequence[int], padding: str
) -> tuple[windows.Axis, windows.Axis]:
    _, height, width, _ = images.shape
    return windows.axis(height, kernel[0], strides[1], padding), windows.axis(width, kernel[1], strides[2], padding)


def window_shape(op: Operation, kernel: Sequence[int | None], channels: int | None) -> TensorShape:
    batch, height, width, _ = op.inputs[0].shape.with_rank(4).as_list()
    counts: list[int | None] = []
    for length, size, stride in zip((height, width), kernel, op.attrs["strides"][1:3], strict=True):
        if length is None or size is None:
            counts.append(None)
            continue
        if op.attrs["padding"] == "VALID" and size > length:
            raise ValueError(f"Negative dimension size caused by subtracting {size} from {length}")
        counts.append(windows.axis(length, size, stride, op.attrs["padding"]).count)
    return TensorShape([batch, *counts, channels])


def _conv_shape(op: Operation) -> TensorShape:
    channels = op.inputs[0].shape.with_rank(4).as_list()[3]
    height, width, inner, outer = op.inputs[1].shape.with_rank(4).as_list()
    if channels is not None and inner is not None and channels != inner:
        raise ValueError(f"Dimensions must be equal, but are {channels} and {inner}")
    return window_shape(op, (height, width), outer)


def window_attrs(op: Operation) -> dict[str, Any]:
    return {"strides": op.attrs["strides"], "padding": op.attrs["padding"]}


def _conv(images: Tensor, kernel: Tensor, op: Operation) -> Tensor:
    return apply("Conv2D", [images, kernel], "Conv2D", **window_attrs(op))


def _to_images(like: Tensor, kernel: Tensor, grad: Tensor, op: Operation) -> Tensor:
    return apply("Conv2DBackpropInput", [like, kernel, grad], "Conv2DBackpropInput", **window_attrs(op))


def _to_kernel(images: Tensor, like: Tensor, grad: Tensor, op: Operation) -> Tensor:
    return apply("Conv2DBackpropFilter", [images, like, grad], "Conv2DBackpropFilter", **window_attrs(op))


def _conv_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    images, kernel = op.inputs
    return [_to_images(images, kernel, grad, op), _to_kernel(images, kernel, grad, op)]


@define("Conv2D", shape=_conv_shape, gradient=_conv_gradient)
def _conv2d(images: Array, kernel: Array, *, strides: list[int], padding: str) -> Array:
    if images.ndim != 4 or kernel.ndim != 4 or images.shape[3] != kernel.shape[2]:
        raise InvalidArgumentError(
            f"input and filter must have the same depth: {list(images.shape)} vs {list(kernel.shape)}"
        )
    return windows.convolve(images, kernel, *window_axes(images, kernel.shape, strides, padding))


def _to_images_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    _, kernel, outer = op.inputs
    return [None, _to_kernel(grad, kernel, outer, op), _conv(grad, kernel, op)]


@define("Conv2DBackpropInput", shape=lambda op: op.inputs[0].shape, gradient=_to_images_gradient)
def _conv2d_to_images(like: Array, kernel: Array, grad: Array, *, strides: list[int], padding: str) -> Array:
    return windows.image_gradient(kernel, grad, *window_axes(like, kernel.shape, strides, padding))


def _to_kernel_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    images, _, outer = op.inputs
    return [_to_images(images, grad, outer, op), None, _conv(images, grad, op)]


@define("Conv2DBackpropFilter", shape=lambda op: op.inputs[1].shape, gradient=_to_kernel_gradient)
def _conv2d_to_kernel(images: Array, like: Array, grad: Array, *, strides: list[int], padding: str) -> Array:
    return windows.kernel_gradient(images, grad, *window_axes(images, like.shape, strides, padding))


def pool_shape(op: Operation) -> TensorShape:
    return window_shape(op, op.attrs["ksize"][1:3], op.inputs[0].shape.with_rank(4).as_list()[3])


def pool_attrs(op: Operation) -> dict[str, Any]:
    return {"ksize": op.attrs["ksize"], **window_attrs(op)}


def _pool_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [apply("MaxPoolGrad", [op.inputs[0], op.outputs[0], grad], "MaxPoolGrad", **pool_attrs(op))]


@define("MaxPool", shape=pool_shape, gradient=_pool_gradient)
def _max_pool(images: Array, *, ksize: list[int], strides: list[int], padding: str) -> Array:
    return windows.largest(images, *window_axes(images, ksize[1:3], strides, padding))


def _pool_grad_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    picked = apply("MaxPoolGradGrad", [op.inputs[0], op.inputs[1], grad], "MaxPoolGradGrad", **pool_attrs(op))
    return [None, None, picked]


@define("MaxPoolGrad", gradient=_pool_grad_gradient)
def _max_pool_grad(
    images: Array, outputs: Array, grad: Array, *, ksize: list[int], strides: list[int], padding: str
) -> Array:
    return windows.to_largest(images, outputs, grad, *window_axes(images, ksize[1:3], strides, padding))


def _pool_grad_grad_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [None, None, apply("MaxPoolGrad", [*op.inputs[:2], grad], "MaxPoolGrad", **pool_attrs(op))]


@define("MaxPoolGradGrad", shape=lambda op: op.inputs[1].shape, gradient=_pool_grad_grad_gradient)
def _max_pool_grad_grad(
    images: Array, outputs: Array, grad: Array, *, ksize: list[int], strides: list[int], padding: str
) -> Array:
    return windows.from_largest(images, outputs, grad, *window_axes(images, ksize[1:3], strides, padding))


def _bias_shape(op: Operation) -> TensorShape:
    value, bias = op.inputs[0].shape.with_rank_at_least(2), op.inputs[1].shape.with_rank(1)
    if value.sizes is None:
        return value
    last, own = value.sizes[-1], bias.as_list()[0]
    if last is not None and own is not None and last != own:
        raise ValueError(f"Dimensions must be equal, but are {last} and {own}")
    return TensorShape([*value.sizes[:-1], own if last is None else last])


def _bias_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [grad, apply("BiasAddGrad", [grad], "BiasAddGrad")]


@define("BiasAdd", shape=_bias_shape, gradient=_bias_gradient)
def _bias_add(value: Array, bias: Array) -> Array:
    if value.shape[-1:] != bias.shape:
        raise InvalidArgumentError(
            f"Must provide as many biases as the last dimension of the input tensor: {list(bias.shape)} vs. "
            f"{list(value.shape)}"
        )
    return np.add(value, bias)


def _bias_grad_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [apply("BroadcastToShapeOf", [grad, op.inputs[0]], "BroadcastToShapeOf")]


@define("BiasAddGrad", shape=lambda op: op.inputs[0].shape[-1:], gradient=_bias_grad_gradient)
def _bias_add_grad(grad: Array) -> Array:
    flat = grad.reshape(-1, grad.shape[-1])
    if grad.dtype.char not in "fd":
        return np.asarray(flat.sum(axis=0, dtype=grad.dtype))
    # As a product with ones BLAS does it: 0.03 ms instead of 0.8 for [39200, 8].
    return np.ones(len(flat), dtype=grad.dtype) @ flat


# What users call


REAL_FLOATS: Final = "bfloat16, float16, float32, float64"
REAL_NUMBERS: Final = "float32, float64, int32, uint8, int16, int8, int64, bfloat16, uint16, float16, uint32, uint64"


def _activation(op_type: str, features: Any, name: str | None, allowed: str, **attrs: Any) -> Tensor:
    with op_scope(name, op_type, [features]) as scope:
        tensor = convert_to_tensor(features, name="features")
        check_allowed("features", tensor.dtype, allowed)
        return apply(op_type, [tensor], scope, **attrs)


def relu(features: Any, name: str | None = None) -> Tensor:
    """`max(features, 0)`; the gradient at 0 is 0."""
    return _activation("Relu", features, name, REAL_NUMBERS)


def l2_loss(t: Any, name: str | None = None) -> Tensor:
    """Half the sum of the squares of `t`, a scalar. Raises TypeError for integers."""
    with op_scope(name, "L2Loss", [t]) as scope:
        tensor = convert_to_tensor(t, name="t")
        if not tensor.dtype.is_floating:
            raise TypeError(f"Value passed to parameter 't' has DataType {tensor.dtype.base_dtype.name}; give floats.")
        return apply("L2Loss", [tensor], scope)


def softmax(logits: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """`exp(logits)` divided by its sum along `axis`, the last one unless given."""
    return _activation("Softmax", logits, name, REAL_FLOATS, axis=_one_axis(axis, dim))


def log_softmax(logits: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """The logarithm of `softmax`, exact where that underflows."""
    return _activation("LogSoftmax", logits, name, REAL_FLOATS, axis=_one_axis(axis, dim))


def _one_axis(axis: Any, dim: Any) -> int:
    if axis is not None and dim is not None:
        raise ValueError("Cannot specify both 'axis' and 'dim'.")
    found = static_axis(dim if axis is None else axis, "The axis")
    return -1 if found is None else int(found)


def _named_only(function: str, sentinel: Any, labels: Any, logits: Any) -> None:
    if sentinel is not None:
        raise ValueError(f"Only call `{function}` with named arguments (labels=..., logits=..., ...)")
    if labels is None or logits is None:
        raise ValueError("Both labels and logits must be provided.")


def softmax_cross_entropy_with_logits_v2(
    labels: Any, logits: Any, axis: Any = None, name: str | None = None, dim: Any = None
) -> Tensor:
    """For each row `-sum(labels * log(softmax(logits)))`; gradients flow to the labels too.

    `labels` and `logits` are of one shape `[..., classes]`; the result is `[...]`.
    """
    along = _one_axis(axis, dim)
    with op_scope(name, "softmax_cross_entropy_with_logits", [logits, labels]) as scope:
        scores, chances = convert_to_tensor(logits, name="logits"), convert_to_tensor(labels, name="labels")
        if chances.dtype.base_dtype != scores.dtype.base_dtype:
            chances = cast(chances, scores.dtype.base_dtype)
        rank = scores.shape.ndims
        if rank is not None and along % rank != rank - 1:
            order = [i for i in range(rank) if i != along % rank] + [along % rank]
            scores, chances = transpose(scores, order), transpose(chances, order)
        return apply("SoftmaxCrossEntropyWithLogits", [scores, chances], scope)


def softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, dim: Any = -1, name: str | None = None,
    axis: Any = None,
) -> Tensor:  # fmt: skip
    """As `softmax_cross_entropy_with_logits_v2`, but labels are taken as given: no gradient flows to them."""
    _named_only("softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    with op_scope(name, "softmax_cross_entropy_with_logits_sg", [logits, labels]) as scope:
        fixed = stop_gradient(convert_to_tensor(labels), name="labels_stop_gradient")
        return softmax_cross_entropy_with_logits_v2(fixed, logits, axis=dim if axis is None else axis, name=scope)


def sparse_softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """For each row `-log(softmax(logits)[label])`, with `labels` the integer classes `[...]` of `logits`
    `[..., classes]`. A label outside fails the run: InvalidArgumentError."""
    _named_only("sparse_softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    with op_scope(name, "SparseSoftmaxCrossEntropyWithLogits", [labels, logits]) as scope:
        scores, classes = convert_to_tensor(logits), convert_to_tensor(labels)
        if not classes.dtype.is_integer:
            raise TypeError(f"labels wants integers, got {classes.dtype.base_dtype.name}; cast them first.")
        ranks = (classes.shape.ndims, scores.shape.ndims)
        if ranks[1] == 0:
            raise ValueError(f"Logits cannot be scalars - received shape {scores.shape}.")
        if None not in ranks and ranks[0] != (ranks[1] or 0) - 1:
            raise ValueError(
                f"Rank mismatch: Rank of labels (received {ranks[0]}) should equal rank of logits minus 1 "
                f"(received {ranks[1]})."
            )
        return apply("SparseSoftmaxCrossEntropyWithLogits", [scores, classes], scope)


def sigmoid_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """`-labels * log(sigmoid(logits)) - (1 - labels) * log(1 - sigmoid(logits))`, element-wise, without overflow."""
    _named_only("sigmoid_cross_entropy_with_logits", _sentinel, labels, logits)
    with op_scope(name, "logistic_loss", [logits, labels]) as scope:
        scores, chances = same_type("Sub", logits=logits, labels=labels)
        if not scores.shape.is_compatible_with(chances.shape):
            raise ValueError(f"logits and labels must have the same shape ({scores.shape} vs {chances.shape})")
        zeros = zeros_like(scores)
        above = greater_equal(scores, zeros)
        positive, shrunk = where(above, scores, zeros), where(above, negative(scores), scores)
        return apply("Add", [positive - scores * chances, log1p(exp(shrunk))], scope)


def four_sizes(value: Any, what: str) -> list[int]:
    """Sizes as `[1, down, across, 1]`; a number, or one or two of them, is taken as those in the middle."""
    given = [value] if isinstance(value, int) else list(value) if isinstance(value, list | tuple | np.ndarray) else []
    sizes = [int(each) for each in given]
    if len(sizes) in (1, 2):
        sizes = [1, sizes[0], sizes[-1], 1]
    if len(sizes) != 4 or min(sizes) < 1:
        raise ValueError(f"{what} wants 4 positive integers [batch, height, width, channels], got {value!r}")
    if sizes[0] != 1 or sizes[3] != 1:
        raise ValueError(f"{what} wants 1 for batch and channels, got {value!r}")
    return sizes


def checked_padding(value: Any) -> str:
    if value not in ("SAME", "VALID"):
        raise ValueError(f"padding wants 'SAME' or 'VALID', got {value!r}")
    return str(value)


def only_nhwc(data_format: Any) -> None:
    if data_format not in (None, "NHWC"):
        raise ValueError(f"data_format {data_format!r} is not supported; transpose to 'NHWC'.")


def conv2d(
    input: Any, filter: Any = None, strides: Any = None, padding: Any = None, use_cudnn_on_gpu: bool = True,
    data_format: str | None = "NHWC", dilations: Any = (1, 1, 1, 1), name: str | None = None, filters: Any = None,
) -> Tensor:  # fmt: skip
    """The convolution of images `[batch, height, width, in]` with a kernel `[height, width, in, out]`.

    `padding` is `SAME` or `VALID`; `strides` is `[1, down, across, 1]`, or what is in the middle of it. Raises ValueError when the depths differ.
    """
    kernel = filters if filter is None else filter
    if kernel is None or strides is None or padding is None:
        raise ValueError("conv2d wants filter, strides and padding.")
    only_nhwc(data_format)
    if four_sizes(dilations, "dilations") != [1, 1, 1, 1]:
        raise ValueError(f"dilations {dilations!r} are not supported; only [1, 1, 1, 1] is.")
    with op_scope(name, "Conv2D", [input, kernel]) as scope:
        tensors = same_type("Conv2D", input=input, filter=kernel)
        check_allowed("input", tensors[0].dtype, REAL_FLOATS)
        return apply("Conv2D", tensors, scope, strides=four_sizes(strides, "strides"), padding=checked_padding(padding))


def max_pool(
    value: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = "NHWC", name: str | None = None,
    input: Any = None,
) -> Tensor:  # fmt: skip
    """The largest element of each window of images `[batch, height, width, channels]`; windows are `ksize` large and
    `strides` apart."""
    only_nhwc(data_format)
    with op_scope(name, "MaxPool", [value]) as scope:
        images = convert_to_tensor(input if value is None else value, name="input")
        attrs = {
            "ksize": four_sizes(ksize, "ksize"),
            "strides": four_sizes(strides, "strides"),
            "padding": checked_padding(padding),
        }
        return apply("MaxPool", [images], scope, **attrs)


def bias_add(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Tensor:
    """`value` `[..., channels]` plus a bias `[channels]`. Raises ValueError when the sizes differ."""
    only_nhwc(data_format)
    with op_scope(name, "BiasAdd", [value, bias]) as scope:
        return apply("BiasAdd", same_type("BiasAdd", value=value, bias=bias), scope)
