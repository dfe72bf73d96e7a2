"""Layers as functions, each in a variable scope of its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from paramserver_client.graph import dtypes, nn
from paramserver_client.graph.control_flow import known_condition, smart_cond
from paramserver_client.graph.convert import convert_to_tensor
from paramserver_client.graph.graph import GraphKeys, add_to_collection, get_default_graph
from paramserver_client.graph.initializers import Ones, Zeros
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.offered import refuse
from paramserver_client.graph.ops_array import identity, no_op, reshape, size
from paramserver_client.graph.ops_math import cast, maximum, multiply, realdiv, subtract
from paramserver_client.graph.ops_matmul import matmul, tensordot
from paramserver_client.graph.ops_norm import batch_of_rows
from paramserver_client.graph.ops_state import assign_sub
from paramserver_client.graph.variable_scope import get_variable, variable_scope

Activation = Callable[[Any], Any] | None


@contextmanager
def _scope(name: str | None, default: str, inputs: Tensor, reuse: Any) -> Iterator[None]:
    """The variable scope of one layer. Sharing needs a name: without one it is the default."""
    with variable_scope(default if name is None and reuse else name, default, [inputs], reuse=reuse):
        yield


def _finished(outputs: Tensor, activation: Activation, activity_regularizer: Activation) -> Any:
    result = outputs if activation is None else activation(outputs)
    if activity_regularizer is not None:
        add_to_collection(GraphKeys.REGULARIZATION_LOSSES, activity_regularizer(result))
    return result


def dense(
    inputs: Any, units: int, activation: Activation = None, use_bias: bool = True, kernel_initializer: Any = None,
    bias_initializer: Any = Zeros, kernel_regularizer: Any = None, bias_regularizer: Any = None,
    activity_regularizer: Activation = None, kernel_constraint: Any = None, bias_constraint: Any = None,
    trainable: bool = True, name: str | None = None, reuse: Any = None,
) -> Any:  # fmt: skip
    """`activation(inputs @ kernel + bias)` for `inputs` `[..., n]`; the variables are `kernel` `[n, units]` and `bias`.

    Raises ValueError when the last size of `inputs` is not known, or the variables exist already and `reuse` is not
    given.

    >>> import paramserver_client.graph as tf
    >>> x = tf.placeholder(tf.float32, [None, 3])
    >>> hidden = tf.layers.dense(x, 5, activation=tf.nn.relu)
    >>> logits = tf.layers.dense(hidden, 2, name="out")
    >>> [v.op.name for v in tf.trainable_variables()], logits.shape.as_list()
    (['dense/kernel', 'dense/bias', 'out/kernel', 'out/bias'], [None, 2])
    """
    x = convert_to_tensor(inputs)
    with _scope(name, "dense", x, reuse):
        width = x.shape[-1].value if x.shape.ndims else None
        if width is None:
            raise ValueError("The last dimension of the inputs to `Dense` should be defined. Found `None`.")
        kernel = get_variable("kernel", [width, int(units)], x.dtype.base_dtype, kernel_initializer, kernel_regularizer,
                              trainable, constraint=kernel_constraint)  # fmt: skip
        outputs = matmul(x, kernel) if x.shape.ndims == 2 else tensordot(x, kernel, 1)
        if use_bias:
            bias = get_variable("bias", [int(units)], x.dtype.base_dtype, bias_initializer, bias_regularizer, trainable,
                                constraint=bias_constraint)  # fmt: skip
            outputs = nn.bias_add(outputs, bias)
        return _finished(outputs, activation, activity_regularizer)


def _pair(value: Any, what: str) -> list[int]:
    pair = [value, value] if isinstance(value, int) else [int(each) for each in value]
    if len(pair) != 2:
        raise ValueError(f"The `{what}` argument must be an integer or a pair of them. Received: {value!r}")
    return pair


def _channels_last(layer: str, data_format: str) -> None:
    if data_format != "channels_last":
        raise ValueError(f"{layer}: data_format={data_format!r} is not supported; transpose to 'channels_last'.")


def conv2d(
    inputs: Any, filters: int, kernel_size: Any, strides: Any = (1, 1), padding: str = "valid",
    data_format: str = "channels_last", dilation_rate: Any = (1, 1), activation: Activation = None,
    use_bias: bool = True, kernel_initializer: Any = None, bias_initializer: Any = Zeros,
    kernel_regularizer: Any = None, bias_regularizer: Any = None, activity_regularizer: Activation = None,
    kernel_constraint: Any = None, bias_constraint: Any = None, trainable: bool = True, name: str | None = None,
    reuse: Any = None,
) -> Any:  # fmt: skip
    """`activation(conv2d(inputs, kernel) + bias)` for images `[batch, height, width, channels]`; the variables are
    `kernel` `[*kernel_size, channels, filters]` and `bias`. `padding` is `valid` or `same`.

    Raises ValueError when the number of channels is not known.
    """
    _channels_last("conv2d", data_format)
    refuse("conv2d", dilation_rate=(_pair(dilation_rate, "dilation_rate"), [1, 1]))
    x = convert_to_tensor(inputs)
    with _scope(name, "conv2d", x, reuse):
        channels = x.shape.with_rank(4)[3].value
        if channels is None:
            raise ValueError("The channel dimension of the inputs should be defined. Found `None`.")
        sizes = [*_pair(kernel_size, "kernel_size"), channels, int(filters)]
        kernel = get_variable("kernel", sizes, x.dtype.base_dtype, kernel_initializer, kernel_regularizer, trainable,
                              constraint=kernel_constraint)  # fmt: skip
        outputs = nn.conv2d(x, kernel, [1, *_pair(strides, "strides"), 1], padding.upper())
        if use_bias:
            bias = get_variable("bias", [int(filters)], x.dtype.base_dtype, bias_initializer, bias_regularizer,
                                trainable, constraint=bias_constraint)  # fmt: skip
            outputs = nn.bias_add(outputs, bias)
        return _finished(outputs, activation, activity_regularizer)


def _pooled(
    pool: Callable[..., Tensor], default: str, inputs: Any, pool_size: Any, strides: Any, padding: str,
    data_format: str, name: str | None,
) -> Tensor:  # fmt: skip
    _channels_last(default, data_format)
    with get_default_graph().name_scope(name or default):
        window, apart = _pair(pool_size, "pool_size"), _pair(strides, "strides")
        return pool(convert_to_tensor(inputs), [1, *window, 1], [1, *apart, 1], padding.upper())


def max_pooling2d(
    inputs: Any, pool_size: Any, strides: Any, padding: str = "valid", data_format: str = "channels_last",
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """`tf.nn.max_pool` with sizes as numbers or pairs."""
    return _pooled(nn.max_pool, "max_pooling2d", inputs, pool_size, strides, padding, data_format, name)


def average_pooling2d(
    inputs: Any, pool_size: Any, strides: Any, padding: str = "valid", data_format: str = "channels_last",
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """`tf.nn.avg_pool` with sizes as numbers or pairs."""
    return _pooled(nn.avg_pool, "average_pooling2d", inputs, pool_size, strides, padding, data_format, name)


def flatten(inputs: Any, name: str | None = None, data_format: str = "channels_last") -> Tensor:
    """`inputs` `[batch, ...]` as `[batch, n]`. Raises ValueError for scalars."""
    _channels_last("flatten", data_format)
    x = convert_to_tensor(inputs)
    x.shape.with_rank_at_least(1)
    with get_default_graph().name_scope(name or "flatten"):
        return batch_of_rows(x)


def dropout(
    inputs: Any, rate: Any = 0.5, noise_shape: Any = None, seed: int | None = None, training: Any = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """`tf.nn.dropout` while `training`, a bool or a bool tensor; else `inputs`."""
    x = convert_to_tensor(inputs)
    with get_default_graph().name_scope(name or "dropout"):
        dropped: Tensor = smart_cond(
            training, lambda: nn.dropout(x, rate=rate, noise_shape=noise_shape, seed=seed), lambda: identity(x)
        )
        return dropped


def batch_normalization(
    inputs: Any, axis: Any = -1, momentum: float = 0.99, epsilon: float = 1e-3, center: bool = True,
    scale: bool = True, beta_initializer: Any = Zeros, gamma_initializer: Any = Ones,
    moving_mean_initializer: Any = Zeros, moving_variance_initializer: Any = Ones, beta_regularizer: Any = None,
    gamma_regularizer: Any = None, beta_constraint: Any = None, gamma_constraint: Any = None, training: Any = False,
    trainable: bool = True, name: str | None = None, reuse: Any = None, renorm: bool = False,
    renorm_clipping: Any = None, renorm_momentum: float = 0.99, fused: bool | None = None,
    virtual_batch_size: int | None = None, adjustment: Any = None,
) -> Tensor:  # fmt: skip
    """`gamma * (inputs - mean) / sqrt(variance + epsilon) + beta`, for each place along `axis` (one axis).

    While `training` (a bool or a bool tensor) mean and variance are those of the batch, and two operations in
    `GraphKeys.UPDATE_OPS` move `moving_mean` and `moving_variance` towards them by `1 - momentum`; run them with each
    step, or nothing is learnt about them:

        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            step = optimizer.minimize(loss)

    Otherwise they are the moving ones. The variables are `gamma`, `beta`, `moving_mean`, `moving_variance`. As in
    TensorFlow, for images (rank 4, unless `fused` is False) the variance that is kept is the unbiased one, `n / (n - 1)`
    times that of the batch. Raises ValueError when the size along `axis` is not known, and for `renorm`,
    `virtual_batch_size` and `adjustment`.
    """
    refuse("batch_normalization", renorm=(renorm, False), virtual_batch_size=(virtual_batch_size, None),
           adjustment=(adjustment, None))  # fmt: skip
    x = convert_to_tensor(inputs)
    rank = x.shape.ndims
    if rank is None:
        raise ValueError("Input has undefined rank; batch_normalization wants to know it.")
    (place,) = [each % rank for each in ([axis] if isinstance(axis, int) else axis)]
    width = x.shape[place].value
    if width is None:
        raise ValueError(f"Input has undefined `axis` dimension: {x.shape}, axis {axis}.")
    dtype = dtypes.float32 if x.dtype.base_dtype in (dtypes.float16, dtypes.bfloat16) else x.dtype.base_dtype
    unbiased = rank == 4 and fused is not False
    with _scope(name, "batch_normalization", x, reuse):
        gamma = get_variable("gamma", [width], dtype, gamma_initializer, gamma_regularizer, trainable,
                             constraint=gamma_constraint) if scale else None  # fmt: skip
        beta = get_variable("beta", [width], dtype, beta_initializer, beta_regularizer, trainable,
                            constraint=beta_constraint) if center else None  # fmt: skip
        kept_mean, kept_variance = (
            get_variable(label, [width], dtype, initializer, trainable=False)
            for label, initializer in (("moving_mean", moving_mean_initializer),
                                       ("moving_variance", moving_variance_initializer))
        )  # fmt: skip
        wide = cast(x, dtype)
        others = [each for each in range(rank) if each != place]
        mean, variance = smart_cond(
            training, lambda: nn.moments(wide, others), lambda: (identity(kept_mean), identity(kept_variance))
        )
        if known_condition(training) is not False:
            _keep(kept_mean, mean, momentum, training)
            _keep(kept_variance, _corrected(variance, wide, width) if unbiased else variance, momentum, training)
        spread = [width if each == place else 1 for each in range(rank)]
        last = place == rank - 1
        mean, variance, beta, gamma = (
            part if part is None or last else reshape(part, spread) for part in (mean, variance, beta, gamma)
        )
        return cast(nn.batch_normalization(wide, mean, variance, beta, gamma, epsilon), x.dtype)


def _corrected(variance: Tensor, x: Tensor, width: int) -> Tensor:
    """Bessel's correction: from the variance of a sample to an estimate of the whole's."""
    count = realdiv(cast(size(x), x.dtype), float(width))
    return multiply(variance, realdiv(count, maximum(count - 1.0, 1.0)))


def _keep(moving: Any, value: Tensor, momentum: float, training: Any) -> None:
    """Enter the operation that moves it a step towards the batch's value, and nothing is sent when not training."""

    def update() -> Operation:
        step = multiply(subtract(moving, value), 1.0 - momentum)
        return assign_sub(moving, step, name="AssignMovingAvg").op

    add_to_collection(GraphKeys.UPDATE_OPS, smart_cond(training, update, no_op))
