"""`tf.metrics`: running means over many runs, kept in local variables.

Each gives the value so far and an operation that takes in one more batch and gives the new value. Run
`tf.local_variables_initializer()` first, and again to start anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from paramserver_client.graph import dtypes
from paramserver_client.graph.convert import convert_to_tensor
from paramserver_client.graph.graph import GraphKeys, add_to_collections, get_default_graph
from paramserver_client.graph.node import Tensor
from paramserver_client.graph.ops_array import size
from paramserver_client.graph.ops_math import (
    abs as magnitude,
)
from paramserver_client.graph.ops_math import (
    add,
    cast,
    equal,
    logical_and,
    multiply,
    not_equal,
    sqrt,
    subtract,
    to_float,
)
from paramserver_client.graph.ops_reduce import reduce_sum
from paramserver_client.graph.ops_state import assign_add
from paramserver_client.graph.ops_unary import div_no_nan, squared_difference
from paramserver_client.graph.variable_scope import variable_scope
from paramserver_client.graph.variables import Variable
from paramserver_client.graph.weighted import checked_weights, of_one_rank, spread, weights_like

__all__ = [
    "accuracy",
    "mean",
    "mean_absolute_error",
    "mean_squared_error",
    "precision",
    "recall",
    "root_mean_squared_error",
]

Metric = tuple[Tensor, Tensor]


def _kept(name: str) -> Any:
    """A sum that lives in the session, from 0 on."""
    collections = [GraphKeys.LOCAL_VARIABLES, GraphKeys.METRIC_VARIABLES]
    return Variable(np.float32(0), trainable=False, collections=collections, name=name)


def _collected(value: Tensor, update: Tensor, metrics: Any, updates: Any) -> Metric:
    for collections, tensor in ((metrics, value), (updates, update)):
        if collections:
            add_to_collections(collections, tensor)
    return value, update


def _ratio(sums: Sequence[Any], parts: Sequence[Tensor], wait: Tensor) -> Metric:
    """The first sum divided by the second, and the same after both took in their part."""
    first = assign_add(sums[0], parts[0])
    with get_default_graph().control_dependencies([wait]):
        second = assign_add(sums[1], parts[1])
    return div_no_nan(sums[0], sums[1], name="value"), div_no_nan(first, second, name="update_op")


def mean(
    values: Any, weights: Any = None, metrics_collections: Any = None, updates_collections: Any = None,
    name: str | None = None,
) -> Metric:  # fmt: skip
    """The mean of all `values` of all runs of the second tensor, weighted by `weights`; 0 before the first.

    The sums are the local variables `mean/total` and `mean/count`. Raises ValueError for weights that do not broadcast.

    >>> import paramserver_client.graph as tf
    >>> x = tf.placeholder(tf.float32, [None])
    >>> value, update = tf.metrics.mean(x)
    >>> with tf.Session() as sess:
    ...     sess.run(tf.local_variables_initializer())
    ...     print([float(sess.run(update, {x: batch})) for batch in ([1.0, 3.0], [8.0])], float(sess.run(value)))
    [2.0, 4.0] 4.0
    """
    with variable_scope(name, "mean", [each for each in (values, weights) if each is not None]):
        numbers = to_float(values)
        total, count = _kept("total"), _kept("count")
        if weights is None:
            amount = to_float(size(numbers))
        else:
            factors = spread(checked_weights(weights_like(weights, numbers), numbers), numbers)
            numbers, amount = multiply(numbers, factors), reduce_sum(factors)
        found = _ratio((total, count), (reduce_sum(numbers), amount), numbers)
        return _collected(*found, metrics_collections, updates_collections)


def accuracy(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """How often `predictions` are equal to `labels`, over all runs of the second tensor: `mean` of 0 and 1.

    Raises ValueError when the shapes differ; one may have a last axis of size 1 more.
    """
    wanted, guesses = of_one_rank(convert_to_tensor(labels), convert_to_tensor(predictions))
    guesses.shape.assert_is_compatible_with(wanted.shape)
    if wanted.dtype.base_dtype != guesses.dtype.base_dtype:
        guesses = cast(guesses, wanted.dtype)
    right = to_float(equal(guesses, wanted))
    return mean(right, weights, metrics_collections, updates_collections, name or "accuracy")


def _errors(
    function: Callable[[Tensor, Tensor], Tensor], labels: Any, predictions: Any, weights: Any, metrics: Any,
    updates: Any, name: str,
) -> Metric:  # fmt: skip
    wanted, guesses = of_one_rank(to_float(labels), to_float(predictions))
    guesses.shape.assert_is_compatible_with(wanted.shape)
    return mean(function(guesses, wanted), weights, metrics, updates, name)


def mean_absolute_error(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """The mean of `|predictions - labels|` over all runs of the second tensor."""
    return _errors(lambda x, y: magnitude(subtract(x, y)), labels, predictions, weights, metrics_collections,
                   updates_collections, name or "mean_absolute_error")  # fmt: skip


def mean_squared_error(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """The mean of `(predictions - labels) ** 2` over all runs of the second tensor."""
    return _errors(squared_difference, labels, predictions, weights, metrics_collections, updates_collections,
                   name or "mean_squared_error")  # fmt: skip


def root_mean_squared_error(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """The root of `mean_squared_error`."""
    squares = mean_squared_error(labels, predictions, weights, name=name or "root_mean_squared_error")
    return _collected(sqrt(squares[0]), sqrt(squares[1]), metrics_collections, updates_collections)


def _hits(labels: Any, predictions: Any, weights: Any, of: str, metrics: Any, updates: Any, name: str | None) -> Metric:
    """True positives among what `of` names: all that was predicted, or all that was there."""
    wanted, guesses = of_one_rank(_not_zero(labels), _not_zero(predictions))
    guesses.shape.assert_is_compatible_with(wanted.shape)
    missed_are = "positives" if of == "precision" else "negatives"
    with variable_scope(name, of, [wanted, guesses]):
        sums = _kept("true_positives/count"), _kept(f"false_{missed_are}/count")
        both = to_float(logical_and(wanted, guesses))
        missed = subtract(to_float(guesses if of == "precision" else wanted), both)
        if weights is not None:
            factors = spread(checked_weights(weights_like(weights, both), both), both)
            both, missed = multiply(both, factors), multiply(missed, factors)
        more = [assign_add(total, reduce_sum(part)) for total, part in zip(sums, (both, missed), strict=True)]
        value = div_no_nan(sums[0], add(sums[0], sums[1]), name="value")
        return _collected(value, div_no_nan(more[0], add(more[0], more[1]), name="update_op"), metrics, updates)


def _not_zero(value: Any) -> Tensor:
    """Bools as they are, numbers as whether they are not 0."""
    tensor = convert_to_tensor(value)
    return tensor if tensor.dtype.base_dtype == dtypes.bool_ else not_equal(tensor, cast(0, tensor.dtype))


def precision(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """Of what was predicted to be true, how much is, over all runs of the second tensor; 0 when nothing was."""
    return _hits(labels, predictions, weights, "precision", metrics_collections, updates_collections, name)


def recall(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """Of what is true, how much was predicted to be, over all runs of the second tensor; 0 when nothing is."""
    return _hits(labels, predictions, weights, "recall", metrics_collections, updates_collections, name)
