"""`tf.losses`: losses with weights, and what a graph has collected of them.

Each computes one loss for every element (or row), multiplies it by `weights`, reduces, and adds the result to a collection
(`GraphKeys.LOSSES`). Weights are a number or a tensor of the losses' rank whose sizes are theirs or 1; everything is
computed in float32 and given in the dtype of the predictions.
"""

from __future__ import annotations

from typing import Any, Final

from paramserver_client.graph import nn
from paramserver_client.graph.convert import convert_to_tensor
from paramserver_client.graph.graph import GraphKeys, add_to_collection, get_collection, name_scope
from paramserver_client.graph.node import Tensor
from paramserver_client.graph.ops_array import shape, size, squeeze, stop_gradient, zeros
from paramserver_client.graph.ops_math import abs as magnitude
from paramserver_client.graph.ops_math import (
    add,
    add_n,
    cast,
    log,
    maximum,
    minimum,
    multiply,
    negative,
    realdiv,
    square,
    subtract,
    to_float,
)
from paramserver_client.graph.ops_reduce import reduce_sum
from paramserver_client.graph.ops_unary import div_no_nan, squared_difference
from paramserver_client.graph.weighted import checked_weights, of_one_rank, present, spread

__all__ = [
    "Reduction",
    "absolute_difference",
    "add_loss",
    "compute_weighted_loss",
    "cosine_distance",
    "get_losses",
    "get_regularization_loss",
    "get_regularization_losses",
    "get_total_loss",
    "hinge_loss",
    "huber_loss",
    "log_loss",
    "mean_pairwise_squared_error",
    "mean_squared_error",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "sparse_softmax_cross_entropy",
]


class Reduction:
    """How losses become one number, or do not: the constants for `reduction`."""

    NONE = "none"
    SUM = "weighted_sum"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"
    MEAN = "weighted_mean"
    SUM_BY_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"
    SUM_OVER_NONZERO_WEIGHTS = SUM_BY_NONZERO_WEIGHTS

    @classmethod
    def all(cls) -> tuple[str, ...]:
        return cls.NONE, cls.SUM, cls.MEAN, cls.SUM_OVER_BATCH_SIZE, cls.SUM_BY_NONZERO_WEIGHTS

    @classmethod
    def validate(cls, key: Any) -> None:
        """Raises ValueError for what is none of them."""
        if key not in cls.all():
            raise ValueError(f"Invalid ReductionKey {key}.")


_LOSSES: Final = GraphKeys.LOSSES
_USUAL: Final = Reduction.SUM_BY_NONZERO_WEIGHTS


def compute_weighted_loss(
    losses: Any, weights: Any = 1.0, scope: str | None = None, loss_collection: str | None = _LOSSES,
    reduction: str = _USUAL,
) -> Tensor:  # fmt: skip
    """`losses * weights`, summed and divided as `reduction` says: by the number of weights that are not 0 (the
    default), by the sum of the weights (MEAN), by the number of losses (SUM_OVER_BATCH_SIZE), by nothing (SUM); or not
    summed (NONE). Where the divisor is 0 the result is 0.

    Adds the result to `loss_collection`, if any. Raises ValueError for weights that do not broadcast to the losses.
    """
    Reduction.validate(reduction)
    with name_scope(scope, "weighted_loss", [losses, weights]):
        given = convert_to_tensor(losses, name="losses")
        each = to_float(given)
        factors = checked_weights(weights, each)
        loss = multiply(each, factors)
        if reduction != Reduction.NONE:
            loss = reduce_sum(loss)
        if reduction == Reduction.MEAN:
            loss = div_no_nan(loss, reduce_sum(spread(factors, each)), name="value")
        elif reduction == Reduction.SUM_BY_NONZERO_WEIGHTS:
            loss = div_no_nan(loss, present(each, factors), name="value")
        elif reduction == Reduction.SUM_OVER_BATCH_SIZE:
            loss = div_no_nan(loss, to_float(size(each)), name="value")
        loss = cast(loss, given.dtype)
        add_loss(loss, loss_collection)
        return loss


def _pair(labels: Any, predictions: Any, second: str = "predictions") -> tuple[Tensor, Tensor]:
    for name, value in (("labels", labels), (second, predictions)):
        if value is None:
            raise ValueError(f"{name} must not be None.")
    guesses, wanted = to_float(predictions), to_float(labels)
    guesses.shape.assert_is_compatible_with(wanted.shape)
    return wanted, guesses


def absolute_difference(
    labels: Any, predictions: Any, weights: Any = 1.0, scope: str | None = None, loss_collection: str | None = _LOSSES,
    reduction: str = _USUAL,
) -> Tensor:  # fmt: skip
    """`|predictions - labels|`, reduced as `compute_weighted_loss` does. Raises ValueError for other shapes or None,
    as all of these do."""
    with name_scope(scope, "absolute_difference", [predictions, labels, weights]) as name:
        wanted, guesses = _pair(labels, predictions)
        return compute_weighted_loss(magnitude(subtract(guesses, wanted)), weights, name, loss_collection, reduction)


def mean_squared_error(
    labels: Any, predictions: Any, weights: Any = 1.0, scope: str | None = None, loss_collection: str | None = _LOSSES,
    reduction: str = _USUAL,
) -> Tensor:  # fmt: skip
    """`(predictions - labels) ** 2`, reduced as `compute_weighted_loss` does.

    >>> import paramserver_client.graph as tf
    >>> loss = tf.losses.mean_squared_error([1.0, 2.0, 3.0], [1.0, 4.0, 9.0], weights=[1.0, 1.0, 0.0])
    >>> with tf.Session() as sess:
    ...     print(sess.run(loss))
    2.0
    """
    with name_scope(scope, "mean_squared_error", [predictions, labels, weights]) as name:
        wanted, guesses = _pair(labels, predictions)
        return compute_weighted_loss(squared_difference(guesses, wanted), weights, name, loss_collection, reduction)


def cosine_distance(
    labels: Any, predictions: Any, axis: int | None = None, weights: Any = 1.0, scope: str | None = None,
    loss_collection: str | None = _LOSSES, reduction: str = _USUAL, dim: int | None = None,
) -> Tensor:  # fmt: skip
    """`1 - sum(predictions * labels)` along `axis`, of vectors that are taken as normalized already."""
    along = dim if axis is None else axis
    if along is None:
        raise ValueError("You must specify 'axis'.")
    with name_scope(scope, "cosine_distance_loss", [predictions, labels, weights]) as name:
        wanted, guesses = _pair(labels, predictions)
        losses = subtract(1.0, reduce_sum(multiply(guesses, wanted), axis=[along], keepdims=True))
        return compute_weighted_loss(losses, weights, name, loss_collection, reduction)


def hinge_loss(
    labels: Any, logits: Any, weights: Any = 1.0, scope: str | None = None, loss_collection: str | None = _LOSSES,
    reduction: str = _USUAL,
) -> Tensor:  # fmt: skip
    """`max(0, 1 - (2 * labels - 1) * logits)` for labels of 0 and 1."""
    with name_scope(scope, "hinge_loss", [logits, labels, weights]) as name:
        wanted, scores = _pair(labels, logits, "logits")
        losses = nn.relu(subtract(1.0, multiply(subtract(multiply(2.0, wanted), 1.0), scores)))
        return compute_weighted_loss(losses, weights, name, loss_collection, reduction)


def huber_loss(
    labels: Any, predictions: Any, weights: Any = 1.0, delta: float = 1.0, scope: str | None = None,
    loss_collection: str | None = _LOSSES, reduction: str = _USUAL,
) -> Tensor:  # fmt: skip
    """Half the square of the error up to `delta`, beyond it `delta` times the error less half of `delta ** 2`."""
    with name_scope(scope, "huber_loss", [predictions, labels, weights]) as name:
        wanted, guesses = _pair(labels, predictions)
        error = magnitude(subtract(guesses, wanted))
        low = minimum(error, delta)
        losses = add(multiply(0.5, multiply(low, low)), multiply(delta, subtract(error, low)))
        return compute_weighted_loss(losses, weights, name, loss_collection, reduction)


def log_loss(
    labels: Any, predictions: Any, weights: Any = 1.0, epsilon: float = 1e-7, scope: str | None = None,
    loss_collection: str | None = _LOSSES, reduction: str = _USUAL,
) -> Tensor:  # fmt: skip
    """`-labels * log(predictions + epsilon) - (1 - labels) * log(1 - predictions + epsilon)`."""
    with name_scope(scope, "log_loss", [predictions, labels, weights]) as name:
        wanted, guesses = _pair(labels, predictions)
        hits = negative(multiply(wanted, log(add(guesses, epsilon))))
        losses = subtract(hits, multiply(subtract(1.0, wanted), log(add(subtract(1.0, guesses), epsilon))))
        return compute_weighted_loss(losses, weights, name, loss_collection, reduction)


def mean_pairwise_squared_error(
    labels: Any, predictions: Any, weights: Any = 1.0, scope: str | None = None, loss_collection: str | None = _LOSSES
) -> Tensor:
    """For each row of the batch the mean over all pairs of its elements of the squared difference between their errors;
    summed over the batch with `weights`, a number or one for each row."""
    with name_scope(scope, "mean_pairwise_squared_error", [predictions, labels, weights]):
        wanted, guesses = _pair(labels, predictions)
        error = subtract(guesses, wanted)
        if error.shape.ndims is None:
            raise ValueError("mean_pairwise_squared_error wants predictions and labels of a known rank.")
        axes = list(range(1, error.shape.ndims))
        factors = checked_weights(weights, error)
        count = present(error, factors, axes, keepdims=True)
        squares = div_no_nan(reduce_sum(square(error), axes, keepdims=True), maximum(count - 1.0, 0.0))
        pairs = maximum(multiply(count, count - 1.0), 0.0)
        sums = div_no_nan(square(reduce_sum(error, axes, keepdims=True)), pairs)
        loss = reduce_sum(multiply(multiply(2.0, subtract(squares, sums)), factors), name="value")
        add_loss(loss, loss_collection)
        return loss


def sigmoid_cross_entropy(
    multi_class_labels: Any, logits: Any, weights: Any = 1.0, label_smoothing: float = 0, scope: str | None = None,
    loss_collection: str | None = _LOSSES, reduction: str = _USUAL,
) -> Tensor:  # fmt: skip
    """`tf.nn.sigmoid_cross_entropy_with_logits`, reduced; `label_smoothing` moves labels that far towards 1/2."""
    if multi_class_labels is None or logits is None:
        raise ValueError("multi_class_labels and logits must not be None.")
    with name_scope(scope, "sigmoid_cross_entropy_loss", [logits, multi_class_labels, weights]) as name:
        scores = convert_to_tensor(logits)
        chances = cast(multi_class_labels, scores.dtype)
        scores.shape.assert_is_compatible_with(chances.shape)
        if label_smoothing > 0:
            chances = add(multiply(chances, 1 - label_smoothing), 0.5 * label_smoothing)
        losses = nn.sigmoid_cross_entropy_with_logits(labels=chances, logits=scores, name="xentropy")
        return compute_weighted_loss(losses, weights, name, loss_collection, reduction)


def softmax_cross_entropy(
    onehot_labels: Any, logits: Any, weights: Any = 1.0, label_smoothing: float = 0, scope: str | None = None,
    loss_collection: str | None = _LOSSES, reduction: str = _USUAL,
) -> Tensor:  # fmt: skip
    """`tf.nn.softmax_cross_entropy_with_logits` of labels `[batch, classes]`, reduced; no gradient flows to the labels.
    `label_smoothing` moves labels that far towards one over the number of classes."""
    if onehot_labels is None or logits is None:
        raise ValueError("onehot_labels and logits must not be None.")
    with name_scope(scope, "softmax_cross_entropy_loss", [logits, onehot_labels, weights]) as name:
        scores = convert_to_tensor(logits)
        chances = cast(onehot_labels, scores.dtype)
        scores.shape.assert_is_compatible_with(chances.shape)
        if label_smoothing > 0:
            classes = cast(shape(chances)[1], scores.dtype)
            chances = add(multiply(chances, 1 - label_smoothing), realdiv(label_smoothing, classes))
        losses = nn.softmax_cross_entropy_with_logits_v2(stop_gradient(chances), scores, name="xentropy")
        return compute_weighted_loss(losses, weights, name, loss_collection, reduction)


def sparse_softmax_cross_entropy(
    labels: Any, logits: Any, weights: Any = 1.0, scope: str | None = None, loss_collection: str | None = _LOSSES,
    reduction: str = _USUAL,
) -> Tensor:  # fmt: skip
    """`tf.nn.sparse_softmax_cross_entropy_with_logits`, reduced. Labels `[batch, 1]` and weights of that shape are taken
    as `[batch]`."""
    if labels is None or logits is None:
        raise ValueError("labels and logits must not be None.")
    with name_scope(scope, "sparse_softmax_cross_entropy_loss", [logits, labels, weights]) as name:
        classes, scores = of_one_rank(convert_to_tensor(labels), convert_to_tensor(logits), difference=1)
        losses = nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=scores, name="xentropy")
        factors = convert_to_tensor(weights, name="weights")
        if (
            factors.shape.ndims is not None
            and losses.shape.ndims is not None
            and factors.shape.ndims > losses.shape.ndims
        ):
            factors = squeeze(factors, [-1])
        return compute_weighted_loss(losses, factors, name, loss_collection, reduction)


def add_loss(loss: Any, loss_collection: str | None = GraphKeys.LOSSES) -> None:
    """Add a loss to the collection; nothing happens without one."""
    if loss_collection:
        add_to_collection(loss_collection, loss)


def get_losses(scope: str | None = None, loss_collection: str = GraphKeys.LOSSES) -> list[Any]:
    """The losses that were added, those whose names begin with `scope`."""
    return get_collection(loss_collection, scope)


def get_regularization_losses(scope: str | None = None) -> list[Any]:
    """The losses that regularizers gave."""
    return get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


def get_regularization_loss(scope: str | None = None, name: str = "total_regularization_loss") -> Tensor:
    """The sum of the regularization losses; 0 when there are none."""
    losses = get_regularization_losses(scope)
    return add_n(losses, name=name) if losses else zeros([], name=name)


def get_total_loss(
    add_regularization_losses: bool = True, name: str = "total_loss", scope: str | None = None
) -> Tensor:
    """The sum of all losses, with those of regularizers unless told otherwise. Raises ValueError for none."""
    losses = get_losses(scope) + (get_regularization_losses(scope) if add_regularization_losses else [])
    return add_n(losses, name=name)
