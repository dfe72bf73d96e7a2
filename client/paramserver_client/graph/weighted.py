"""What losses and metrics do with weights."""

from __future__ import annotations

from typing import Any

from paramserver_client.graph.convert import convert_to_tensor
from paramserver_client.graph.node import Tensor
from paramserver_client.graph.ops_array import expand_dims, squeeze
from paramserver_client.graph.ops_math import broadcast_to, multiply, not_equal, ones_like, to_float, zeros_like
from paramserver_client.graph.ops_reduce import reduce_sum


def checked_weights(weights: Any, values: Tensor) -> Tensor:
    """The weights in float32: a scalar, or of the rank of `values` with their sizes or 1, as far as the graph knows.

    Raises ValueError when they can not be broadcast so.
    """
    found = to_float(convert_to_tensor(weights, name="weights"))
    own, theirs = found.shape, values.shape
    if own.ndims in (None, 0) or theirs.ndims is None:
        return found
    wrong = "weights can not be broadcast to values."
    if own.ndims != theirs.ndims:
        raise ValueError(
            f"{wrong} values.rank={theirs.ndims}. weights.rank={own.ndims}. values.shape={theirs}. weights.shape={own}."
        )
    for axis, (mine, wanted) in enumerate(zip(own.as_list(), theirs.as_list(), strict=True)):
        if mine not in (None, 1, wanted) and wanted is not None:
            raise ValueError(f"{wrong} Mismatch at dim {axis}. values.shape={theirs} weights.shape={own}.")
    return found


def spread(weights: Tensor, values: Tensor) -> Tensor:
    """A weight for each of the values."""
    return broadcast_to(weights, values) if weights.shape.ndims == 0 else multiply(weights, ones_like(values))


def present(values: Tensor, weights: Tensor, axes: Any = None, keepdims: bool = False) -> Tensor:
    """How many of the values have a weight that is not 0."""
    hits = to_float(not_equal(weights, zeros_like(weights)))
    return reduce_sum(spread(hits, values), axes, keepdims=keepdims)


def of_one_rank(labels: Tensor, predictions: Tensor, difference: int = 0) -> tuple[Tensor, Tensor]:
    """Both, one of them without a last axis of size 1 if it has one too many: `predictions` are to have `difference`
    more axes than `labels`."""
    ranks = labels.shape.ndims, predictions.shape.ndims
    if ranks[0] is None or ranks[1] is None:
        return labels, predictions
    if ranks[1] - ranks[0] == difference + 1 and predictions.shape[-1].value in (1, None):
        predictions = squeeze(predictions, [-1])
    elif ranks[1] - ranks[0] == difference - 1 and labels.shape[-1].value in (1, None):
        labels = squeeze(labels, [-1])
    return labels, predictions


def weights_like(weights: Any, values: Tensor) -> Tensor:
    """Weights with an axis of size 1 more or less where that makes their rank that of `values`."""
    found = convert_to_tensor(weights, name="weights")
    ranks = found.shape.ndims, values.shape.ndims
    if ranks[0] in (None, 0) or ranks[1] is None:
        return found
    if ranks[0] - ranks[1] == 1:
        return squeeze(found, [-1])
    return expand_dims(found, -1) if ranks[1] - ranks[0] == 1 else found
