"""Activations: the relu family, softplus and its kin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from paramserver_client.graph.convert import apply, convert_to_tensor, op_scope
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_join import concat
from paramserver_client.graph.ops_math import (
    abs,
    cast,
    greater,
    less,
    logical_and,
    multiply,
    negative,
    realdiv,
    sigmoid,
    square,
    where,
    zeros_like,
)
from paramserver_client.graph.ops_nn import REAL_FLOATS, REAL_NUMBERS, relu
from paramserver_client.graph.ops_state import check_allowed
from paramserver_client.graph.registry import define

# Klambauer et al., Self-Normalizing Neural Networks, 2017: with these the activations keep mean 0 and variance 1.
_SELU_SCALE: Final = 1.0507009873554804934193349852946
_SELU_SCALE_ALPHA: Final = 1.7580993408473768599402175208123


def _relu6_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    x = op.inputs[0]
    return [multiply(grad, cast(logical_and(greater(x, 0), less(x, 6)), grad.dtype))]


@define("Relu6", gradient=_relu6_gradient)
def _relu6(x: Array) -> Array:
    return np.asarray(np.minimum(np.maximum(x, x.dtype.type(0)), x.dtype.type(6)))


def _leaky_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [where(greater(op.inputs[0], 0), grad, multiply(grad, op.attrs["alpha"]))]


@define("LeakyRelu", gradient=_leaky_gradient)
def _leaky_relu(x: Array, *, alpha: float) -> Array:
    return np.where(x > 0, x, x * x.dtype.type(alpha))


def _below_zero(op: Operation, at_zero: float, above: float, grad: Tensor) -> Sequence[Tensor | None]:
    """Both exponential units: below 0 the derivative is the output less its limit, above it is one number."""
    y = op.outputs[0]
    return [where(less(y, zeros_like(y)), multiply(grad, y + at_zero), multiply(grad, above))]


@define("Elu", gradient=lambda op, grad: _below_zero(op, 1.0, 1.0, grad))
def _elu(x: Array) -> Array:
    return np.where(x < 0, np.expm1(x), x)


@define("Selu", gradient=lambda op, grad: _below_zero(op, _SELU_SCALE_ALPHA, _SELU_SCALE, grad))
def _selu(x: Array) -> Array:
    of = x.dtype.type
    return np.asarray(np.where(x < 0, of(_SELU_SCALE_ALPHA) * np.expm1(x), of(_SELU_SCALE) * x))


@define("Softplus", gradient=lambda op, grad: [multiply(grad, sigmoid(op.inputs[0]))])
def _softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(x, x.dtype.type(0)))


@define("Softsign", gradient=lambda op, grad: [realdiv(grad, square(1.0 + abs(op.inputs[0])))])
def _softsign(x: Array) -> Array:
    return np.asarray(x / (x.dtype.type(1) + np.abs(x)))


# What users call


def _activation(op_type: str, features: Any, name: str | None, allowed: str = REAL_FLOATS, **attrs: Any) -> Tensor:
    with op_scope(name, op_type, [features]) as scope:
        tensor = convert_to_tensor(features, name="features")
        check_allowed("features", tensor.dtype, allowed)
        return apply(op_type, [tensor], scope, **attrs)


def relu6(features: Any, name: str | None = None) -> Tensor:
    """`min(max(features, 0), 6)`; the gradient at 0 and at 6 is 0."""
    return _activation("Relu6", features, name, REAL_NUMBERS)


def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Tensor:
    """`features` above 0, `alpha * features` below; integers are taken as float32."""
    tensor = convert_to_tensor(features, name="features")
    if tensor.dtype.is_integer:
        tensor = cast(tensor, "float32")
    return _activation("LeakyRelu", tensor, name, alpha=float(alpha))


def elu(features: Any, name: str | None = None) -> Tensor:
    """`features` above 0, `exp(features) - 1` below. Raises TypeError for integers, as all that follow do."""
    return _activation("Elu", features, name)


def selu(features: Any, name: str | None = None) -> Tensor:
    """The scaled exponential unit: 1.0507 times `features` above 0, 1.7581 times `exp(features) - 1` below."""
    return _activation("Selu", features, name)


def softplus(features: Any, name: str | None = None) -> Tensor:
    """`log(1 + exp(features))`, without overflow."""
    return _activation("Softplus", features, name)


def softsign(features: Any, name: str | None = None) -> Tensor:
    """`features / (1 + |features|)`."""
    return _activation("Softsign", features, name)


def crelu(features: Any, name: str | None = None, axis: int = -1) -> Tensor:
    """`relu` of `features` and of `-features`, one behind the other along `axis`."""
    with op_scope(name, "CRelu", [features]) as scope:
        tensor = convert_to_tensor(features, name="features")
        return relu(concat([tensor, negative(tensor)], axis), name=scope)


def swish(features: Any, name: str | None = None) -> Tensor:
    """`features * sigmoid(features)`."""
    with op_scope(name, "swish", [features]) as scope:
        tensor = convert_to_tensor(features, name="features")
        return multiply(tensor, sigmoid(tensor), name=scope)


def log_sigmoid(x: Any, name: str | None = None) -> Tensor:
    """`log(sigmoid(x))`, exact where the sigmoid underflows."""
    with op_scope(name, "LogSigmoid", [x]) as scope:
        return negative(softplus(negative(convert_to_tensor(x, name="x"))), name=scope)
