"""`tf.contrib.layers`: layer normalization, and regularizers for `get_variable`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paramserver_client.graph import dtypes, nn
from paramserver_client.graph.convert import convert_to_tensor
from paramserver_client.graph.graph import add_to_collections, get_default_graph
from paramserver_client.graph.initializers import Ones, Zeros
from paramserver_client.graph.node import Tensor
from paramserver_client.graph.ops_math import abs as magnitude
from paramserver_client.graph.ops_math import multiply
from paramserver_client.graph.ops_reduce import reduce_sum
from paramserver_client.graph.variable_scope import get_variable, variable_scope

__all__ = ["l1_regularizer", "l2_regularizer", "layer_norm"]


def layer_norm(
    inputs: Any, center: bool = True, scale: bool = True, activation_fn: Callable[[Any], Any] | None = None,
    reuse: Any = None, variables_collections: Any = None, outputs_collections: Any = None, trainable: bool = True,
    begin_norm_axis: int = 1, begin_params_axis: int = -1, scope: Any = None,
) -> Any:  # fmt: skip
    """`gamma * (inputs - mean) / sqrt(variance + 1e-12) + beta`, with the mean and variance of each element of the batch
    over the axes from `begin_norm_axis` on (Ba et al., Layer Normalization, 2016).

    `beta` and `gamma` have the sizes of the axes from `begin_params_axis` on. For float16 the constant is 1e-3. Raises
    ValueError when the rank, or those sizes, are not known or there are no such axes.
    """
    x = convert_to_tensor(inputs)
    with variable_scope(scope, "LayerNorm", [x], reuse=reuse):
        rank = x.shape.ndims
        if rank is None:
            raise ValueError(f"Inputs {x.name} has undefined rank.")
        first = begin_norm_axis + rank if begin_norm_axis < 0 else begin_norm_axis
        if first >= rank or begin_params_axis >= rank:
            raise ValueError(
                f"begin_params_axis ({begin_params_axis}) and begin_norm_axis ({begin_norm_axis}) must be < rank(inputs) "
                f"({rank})"
            )
        sizes = x.shape[begin_params_axis:]
        if not sizes.is_fully_defined():
            raise ValueError(f"Inputs {x.name}: shape(inputs)[{begin_params_axis}:] is not fully defined: {x.shape}")
        beta, gamma = (
            get_variable(name, sizes, x.dtype.base_dtype, initializer, trainable=trainable,
                         collections=variables_collections) if wanted else None
            for name, initializer, wanted in (("beta", Zeros, center), ("gamma", Ones, scale))
        )  # fmt: skip
        mean, variance = nn.moments(x, list(range(first, rank)), keepdims=True)
        smallest = 1e-3 if x.dtype.base_dtype == dtypes.float16 else 1e-12
        outputs = nn.batch_normalization(x, mean, variance, beta, gamma, smallest)
        outputs.set_shape(x.shape)
        result = outputs if activation_fn is None else activation_fn(outputs)
        if outputs_collections:
            add_to_collections(outputs_collections, result)
        return result


def l2_regularizer(scale: float, scope: str | None = None) -> Callable[[Any], Tensor | None]:
    """A regularizer that gives `scale` times half the sum of squares. Raises ValueError for a negative `scale`."""
    return _regularizer("l2_regularizer", scale, scope, nn.l2_loss)


def l1_regularizer(scale: float, scope: str | None = None) -> Callable[[Any], Tensor | None]:
    """A regularizer that gives `scale` times the sum of the absolute values. Raises ValueError for a negative `scale`."""
    return _regularizer("l1_regularizer", scale, scope, lambda weights: reduce_sum(magnitude(weights)))


def _regularizer(
    name: str, scale: float, scope: str | None, size: Callable[[Any], Tensor]
) -> Callable[[Any], Tensor | None]:
    if isinstance(scale, int):
        raise ValueError(f"scale cannot be an integer: {scale}")
    if scale < 0.0:
        raise ValueError(f"Setting a scale less than 0 on a regularizer: {scale}")

    def regularize(weights: Any) -> Tensor | None:
        if scale == 0.0:
            return None
        with get_default_graph().name_scope(scope or name) as own:
            tensor = convert_to_tensor(weights)
            return multiply(convert_to_tensor(scale, tensor.dtype.base_dtype, name="scale"), size(tensor), name=own)

    return regularize
