"""`Assert` and the `assert_*` family: what must hold, or the run fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from paramserver_client.graph import dtypes
from paramserver_client.graph.convert import constant_value, convert_to_tensor, op_scope, static_axis
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.graph import get_default_graph
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_array import no_op
from paramserver_client.graph.ops_array import rank as rank_of
from paramserver_client.graph.ops_math import abs as magnitude
from paramserver_client.graph.ops_math import (
    add,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    multiply,
    not_equal,
    subtract,
)
from paramserver_client.graph.ops_reduce import reduce_all, reduce_any
from paramserver_client.graph.ops_watch import summary
from paramserver_client.graph.registry import define


def _nothing(op: Operation) -> list[Any]:
    return []


@define("Assert", shape=_nothing, dtype=_nothing)
def _assert(condition: Array, *data: Array, summarize: int | None) -> tuple[()]:
    if condition.ndim or condition.dtype != bool:
        raise InvalidArgumentError(f"condition must be a bool scalar, got {condition.dtype} {list(condition.shape)}")
    if not condition:
        raise InvalidArgumentError(f"assertion failed: {' '.join(summary(each, summarize) for each in data)}")
    return ()


Comparison = tuple[Callable[[Any, Any], Tensor], Callable[[Any, Any], Any]]
"""The same comparison of tensors and of arrays."""


# What users call


def Assert(condition: Any, data: Any, summarize: int | None = None, name: str | None = None) -> Operation:
    """An operation that fails the run (InvalidArgumentError, with the values of `data`) unless `condition` holds.

    It has to be run, or others must wait for it: `with tf.control_dependencies([tf.Assert(...)]):`. `summarize` is how
    many elements of each tensor the message shows, 3 unless given.
    """
    with op_scope(name, "Assert", [condition, *data]) as scope:
        inputs = [convert_to_tensor(condition, dtypes.bool_), *map(convert_to_tensor, data)]
        return get_default_graph().create_op("Assert", inputs, {"summarize": summarize}, scope)


def _asserted(
    inputs: Sequence[Tensor], comparison: Comparison, texts: Sequence[Any], data: Any, summarize: int | None,
    message: str | None,
) -> Operation:  # fmt: skip
    """The assertion that two tensors compare so; or its failure at once, where the graph alone settles it."""
    shown = [*([message] if message else []), *texts] if data is None else list(data)
    left, right = map(constant_value, inputs)
    if left is not None and right is not None and not np.all(comparison[1](left, right)):
        raise InvalidArgumentError("\n".join(_text(each, summarize) for each in shown))
    return Assert(reduce_all(comparison[0](*inputs)), shown, summarize)


def _text(shown: Any, summarize: int | None) -> str:
    if not isinstance(shown, Tensor):
        return str(shown)
    value = constant_value(shown)
    return shown.name if value is None else summary(value, summarize)


def _compared(
    function: str, sign: str, comparison: Comparison, x: Any, y: Any, data: Any, summarize: int | None,
    message: str | None, name: str | None,
) -> Operation:  # fmt: skip
    with op_scope(name, function, [x, y, *(data or ())]):
        left = convert_to_tensor(x, name="x")
        right = convert_to_tensor(y, name="y", dtype_hint=left.dtype.base_dtype)
        texts = [f"Condition x {sign} y did not hold element-wise:", f"x ({left.name}) = ", left,
                 f"y ({right.name}) = ", right]  # fmt: skip
        return _asserted([left, right], comparison, texts, data, summarize, message)


def assert_equal(
    x: Any, y: Any, data: Any = None, summarize: int | None = None, message: str | None = None, name: str | None = None
) -> Operation:
    """An operation that fails the run unless `x == y` everywhere: InvalidArgumentError with both, or with `data`.

    As all of this family: where the graph alone settles that it does not hold, it is raised at once. With
    broadcasting; nothing compares with anything.
    """
    return _compared("assert_equal", "==", (equal, np.equal), x, y, data, summarize, message, name)


def assert_none_equal(
    x: Any, y: Any, data: Any = None, summarize: int | None = None, message: str | None = None, name: str | None = None
) -> Operation:
    """Fails the run unless `x != y` everywhere."""
    return _compared("assert_none_equal", "!=", (not_equal, np.not_equal), x, y, data, summarize, message, name)


def assert_less(
    x: Any, y: Any, data: Any = None, summarize: int | None = None, message: str | None = None, name: str | None = None
) -> Operation:
    """Fails the run unless `x < y` everywhere."""
    return _compared("assert_less", "<", (less, np.less), x, y, data, summarize, message, name)


def assert_less_equal(
    x: Any, y: Any, data: Any = None, summarize: int | None = None, message: str | None = None, name: str | None = None
) -> Operation:
    """Fails the run unless `x <= y` everywhere."""
    return _compared("assert_less_equal", "<=", (less_equal, np.less_equal), x, y, data, summarize, message, name)


def assert_greater(
    x: Any, y: Any, data: Any = None, summarize: int | None = None, message: str | None = None, name: str | None = None
) -> Operation:
    """Fails the run unless `x > y` everywhere."""
    return _compared("assert_greater", ">", (greater, np.greater), x, y, data, summarize, message, name)


def assert_greater_equal(
    x: Any, y: Any, data: Any = None, summarize: int | None = None, message: str | None = None, name: str | None = None
) -> Operation:
    """Fails the run unless `x >= y` everywhere."""
    return _compared(
        "assert_greater_equal", ">=", (greater_equal, np.greater_equal), x, y, data, summarize, message, name
    )


def assert_near(
    x: Any, y: Any, rtol: Any = None, atol: Any = None, data: Any = None, summarize: int | None = None,
    message: str | None = None, name: str | None = None,
) -> Operation:  # fmt: skip
    """Fails the run unless `|x - y| <= atol + rtol * |y|` everywhere; both are ten times the dtype's precision unless
    given."""
    own = convert_to_tensor(x).dtype.base_dtype
    precision = 10 * np.finfo(own.numpy_dtype).eps if own.is_floating and own != dtypes.bfloat16 else 10 * 2.0**-7
    relative, absolute = (precision if each is None else each for each in (rtol, atol))

    def near(left: Any, right: Any) -> Tensor:
        return less_equal(magnitude(subtract(left, right)), add(multiply(magnitude(right), relative), absolute))

    def near_arrays(left: Array, right: Array) -> Any:
        return np.abs(left - right) <= np.abs(right) * relative + absolute

    comparison = (near, near_arrays)
    return _compared("assert_near", "and y close:", comparison, x, y, data, summarize, message, name)


def _of_one(
    function: str, sign: str, comparison: Comparison, x: Any, data: Any, summarize: int | None, message: str | None,
    name: str | None,
) -> Operation:  # fmt: skip
    with op_scope(name, function, [x, *(data or ())]):
        tensor = convert_to_tensor(x, name="x")
        texts = [f"Condition x {sign} 0 did not hold element-wise:", f"x ({tensor.name}) = ", tensor]
        zero = convert_to_tensor(0, tensor.dtype.base_dtype)
        return _asserted([tensor, zero], comparison, texts, data, summarize, message)


def assert_positive(
    x: Any, data: Any = None, summarize: int | None = None, message: str | None = None, name: str | None = None
) -> Operation:
    """Fails the run unless `x > 0` everywhere."""
    return _of_one("assert_positive", ">", (greater, np.greater), x, data, summarize, message, name)


def assert_negative(
    x: Any, data: Any = None, summarize: int | None = None, message: str | None = None, name: str | None = None
) -> Operation:
    """Fails the run unless `x < 0` everywhere."""
    return _of_one("assert_negative", "<", (less, np.less), x, data, summarize, message, name)


def assert_non_negative(
    x: Any, data: Any = None, summarize: int | None = None, message: str | None = None, name: str | None = None
) -> Operation:
    """Fails the run unless `x >= 0` everywhere."""
    return _of_one("assert_non_negative", ">=", (greater_equal, np.greater_equal), x, data, summarize, message, name)


def assert_non_positive(
    x: Any, data: Any = None, summarize: int | None = None, message: str | None = None, name: str | None = None
) -> Operation:
    """Fails the run unless `x <= 0` everywhere."""
    return _of_one("assert_non_positive", "<=", (less_equal, np.less_equal), x, data, summarize, message, name)


def _of_rank(
    function: str, words: str, holds: Callable[[Any], Any], condition: Callable[[Tensor], Tensor], x: Any, data: Any,
    summarize: int | None, message: str | None, name: str | None,
) -> Operation:  # fmt: skip
    """Raises ValueError at once when the graph knows the rank; else an operation that fails the run."""
    with op_scope(name, function, [x, *(data or ())]) as scope:
        tensor = convert_to_tensor(x, name="x")
        if tensor.shape.ndims is not None:
            if not holds(tensor.shape.ndims):
                raise ValueError(
                    f"{message or ''}. Tensor {tensor.name} {words}. Received rank {tensor.shape.ndims}, shape {tensor.shape}"
                )
            return no_op(name=f"{scope}static_checks_determined_all_ok")
        shown = [f"{message or ''}. Tensor {tensor.name} {words}.", tensor] if data is None else list(data)
        return Assert(condition(rank_of(tensor)), shown, summarize)


def assert_rank(
    x: Any, rank: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
    name: str | None = None,
) -> Operation:  # fmt: skip
    """Fails unless `x` has just `rank` dimensions: ValueError where the graph knows, else when run."""
    wanted = static_axis(rank, "rank")
    return _of_rank("assert_rank", f"must have rank {wanted}", lambda r: r == wanted, lambda r: equal(r, wanted), x,
                    data, summarize, message, name)  # fmt: skip


def assert_rank_at_least(
    x: Any, rank: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
    name: str | None = None,
) -> Operation:  # fmt: skip
    """Fails unless `x` has `rank` dimensions or more: ValueError where the graph knows, else when run."""
    least = static_axis(rank, "rank")
    return _of_rank("assert_rank_at_least", f"must have rank at least {least}", lambda r: r >= least,
                    lambda r: greater_equal(r, least), x, data, summarize, message, name)  # fmt: skip


def assert_rank_in(
    x: Any, ranks: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
    name: str | None = None,
) -> Operation:  # fmt: skip
    """Fails unless `x` has one of these numbers of dimensions: ValueError where the graph knows, else when run."""
    allowed = [static_axis(each, "ranks") for each in ranks]
    return _of_rank("assert_rank_in", f"must have rank in {tuple(allowed)}", lambda r: r in allowed,
                    lambda r: reduce_any(equal(r, allowed)), x, data, summarize, message, name)  # fmt: skip


def assert_scalar(tensor: Any, name: str | None = None) -> Tensor:
    """`tensor`. Raises ValueError when it is known to be no scalar."""
    with op_scope(name, "assert_scalar", [tensor]) as scope:
        checked = convert_to_tensor(tensor, name=scope)
        if checked.shape.ndims not in (None, 0):
            raise ValueError(f"Expected scalar shape for {checked.name}, saw shape: {checked.shape}.")
        return checked


def assert_type(tensor: Any, tf_type: Any, message: str | None = None, name: str | None = None) -> Operation:
    """An operation that does nothing. Raises TypeError when `tensor` is of another dtype than `tf_type`."""
    with op_scope(name, "assert_type", [tensor]):
        checked, wanted = convert_to_tensor(tensor, name="tensor"), dtypes.as_dtype(tf_type)
        if checked.dtype.base_dtype != wanted.base_dtype:
            raise TypeError(f"{message or ''}  {checked.name} must be of type {wanted!r}")
        return no_op("statically_determined_correct_type")


def assert_integer(x: Any, message: str | None = None, name: str | None = None) -> Operation:
    """An operation that does nothing. Raises TypeError when `x` is not of integers."""
    with op_scope(name, "assert_integer", [x]):
        tensor = convert_to_tensor(x, name="x")
        if not tensor.dtype.is_integer:
            raise TypeError(f'{message or ""}  Expected "x" to be integer type.  Found: {tensor.dtype!r}')
        return no_op("statically_determined_was_integer")
