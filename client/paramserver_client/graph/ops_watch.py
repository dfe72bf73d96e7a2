"""Looking at values while a graph runs: `check_numerics`, `Print`, and python functions as operations."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from paramserver_client.errors import ParameterServerError
from paramserver_client.graph import dtypes as types
from paramserver_client.graph.convert import apply, convert_to_tensor, op_scope
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.errors import (
    InvalidArgumentError,
    OutOfRangeError,
    ResourceExhaustedError,
    UnimplementedError,
    UnknownError,
)
from paramserver_client.graph.graph import get_default_graph
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_array import no_op
from paramserver_client.graph.registry import define
from paramserver_client.graph.shapes import TensorShape

_SHOWN: Final = 3
"""How many elements of a tensor TensorFlow shows when not told otherwise."""


def summary(value: Any, count: int | None) -> str:
    """`[1 2 3...]`, as TensorFlow shows a tensor; `count` elements, 3 unless given, all when negative."""
    most = _SHOWN if count is None else count
    flat = np.asarray(value).reshape(-1)
    shown = flat if most < 0 else flat[:most]
    texts = [each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in shown.tolist()]
    return f"[{' '.join(texts)}{'...' if len(shown) < len(flat) else ''}]"


def _checked_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    message = "Not a number (NaN) or infinity (Inf) values detected in gradient."
    return [check_numerics(grad, message)]


@define("CheckNumerics", gradient=_checked_gradient)
def _check_numerics(x: Array, *, message: str) -> Array:
    odd = [name for name, found in (("Inf", np.isinf(x)), ("NaN", np.isnan(x))) if found.any()]
    if odd:
        raise InvalidArgumentError(f"{message} : Tensor had {' and '.join(odd)} values")
    return x


@define("Print", gradient=lambda op, grad: [grad, *[None] * (len(op.inputs) - 1)], hidden_attrs=("first_n",))
def _print(x: Array, *data: Array, message: str, summarize: int | None, times: Iterator[int]) -> Array:
    if next(times, None) is not None:
        print(f"{message}{''.join(summary(each, summarize) for each in data)}", file=sys.stderr, flush=True)
    return x


_FAILURES: Final[tuple[tuple[type[Exception], type[ParameterServerError]], ...]] = (
    (StopIteration, OutOfRangeError),
    (MemoryError, ResourceExhaustedError),
    (NotImplementedError, UnimplementedError),
    (TypeError, InvalidArgumentError),
    (ValueError, InvalidArgumentError),
    (Exception, UnknownError),
)


@define("PyFunc", shape=lambda op: [TensorShape(None)] * len(op.attrs["dtypes"]), dtype=lambda op: op.attrs["dtypes"],
        hidden_attrs=("stateful",))  # fmt: skip
def _py_func(*inputs: Array, function: Callable[..., Any], dtypes: Sequence[DType]) -> Any:
    try:
        result = function(*(each[()] for each in map(np.asarray, inputs)))  # Scalars as numpy's own.
    except ParameterServerError:
        raise
    except Exception as error:
        kind = next(ours for theirs, ours in _FAILURES if isinstance(error, theirs))
        raise kind(f"{type(error).__name__}: {error}") from error
    given = list(result) if isinstance(result, list | tuple) else [] if result is None else [result]
    if len(given) != len(dtypes):
        raise InvalidArgumentError(f"The function returned {len(given)} values, but {len(dtypes)} are expected.")
    arrays = [_returned(place, value, dtype) for place, (value, dtype) in enumerate(zip(given, dtypes, strict=True))]
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def _returned(place: int, value: Any, dtype: DType) -> Array:
    array = np.array(value, order="C")  # A copy: the function may write into its own afterwards.
    if dtype == types.string:
        return np.array([str(each).encode() if not isinstance(each, bytes) else each for each in array.ravel().tolist()],
                        dtype=object).reshape(array.shape)  # fmt: skip
    if array.dtype != dtype.numpy_dtype:
        raise InvalidArgumentError(
            f"{place}-th value returned by the function is {array.dtype}, but expects {dtype.name}; return a numpy array "
            "of that dtype."
        )
    return array


# What users call


def check_numerics(tensor: Any, message: str, name: str | None = None) -> Tensor:
    """`tensor`, if all its elements are finite; else the run fails: InvalidArgumentError, with `message`. Its gradient
    is checked as well. Raises TypeError for integers."""
    with op_scope(name, "CheckNumerics", [tensor]) as scope:
        checked = convert_to_tensor(tensor, name="tensor")
        if not checked.dtype.is_floating:
            raise TypeError(
                f"Value passed to parameter 'tensor' has DataType {checked.dtype.base_dtype.name}; give floats."
            )
        return apply("CheckNumerics", [checked], scope, message=message)


def verify_tensor_all_finite(
    t: Any = None, msg: str | None = None, name: str | None = None, x: Any = None, message: str | None = None
) -> Tensor:
    """`check_numerics` with its arguments in another order; `x` and `message` are their newer names."""
    return check_numerics(x if t is None else t, (message if msg is None else msg) or "", name)


def add_check_numerics_ops() -> Operation:
    """An operation that checks every float tensor of the graph so far; run it together with a step to find the first
    that is not finite."""
    graph = get_default_graph()
    checks = [
        check_numerics(tensor, tensor.name).op
        for op in graph.get_operations() if op.definition.effect != "variable"
        for tensor in op.outputs if tensor.dtype.base_dtype.is_floating
    ]  # fmt: skip
    with graph.control_dependencies(checks):
        return no_op("check_numerics")


def Print(
    input_: Any, data: Any, message: str | None = None, first_n: int | None = None, summarize: int | None = None,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """`input_`; whoever uses it makes `message` and the values of `data` appear on standard error, at the first
    `first_n` runs (all unless given). `summarize` is how many elements of each are shown, 3 unless given."""
    with op_scope(name, "Print", [input_, *data]) as scope:
        times = itertools.repeat(0) if first_n is None or first_n < 0 else iter(range(first_n))
        attrs = {"message": message or "", "first_n": first_n, "summarize": summarize, "times": times}
        return apply("Print", [convert_to_tensor(each) for each in (input_, *data)], scope, **attrs)


def py_func(func: Callable[..., Any], inp: Any, Tout: Any, stateful: bool = True, name: str | None = None) -> Any:
    """What the python function `func` gives for the arrays of `inp`, as a tensor of dtype `Tout`, or a list of them
    for a list of dtypes; an operation for an empty one.

    It is called once a run that needs it. It must return arrays of just these dtypes (a python float is a float64),
    and must not write into what it gets. What it raises fails the run: ValueError and TypeError as
    InvalidArgumentError, others as UnknownError. Shapes are unknown; there is no gradient.

    >>> import numpy as np
    >>> import paramserver_client.graph as tf
    >>> doubled = tf.py_func(lambda a: 2 * a, [tf.constant([1.0, 2.0])], tf.float32)
    >>> with tf.Session() as sess:
    ...     print(sess.run(doubled))
    [2. 4.]
    """
    several = isinstance(Tout, list | tuple)
    wanted = [types.as_dtype(each).base_dtype for each in (Tout if several else [Tout])]
    with op_scope(name, "PyFunc", inp) as scope:
        attrs = {"function": func, "dtypes": wanted, "stateful": bool(stateful)}
        op = get_default_graph().create_op("PyFunc", [convert_to_tensor(each) for each in inp], attrs, scope)
    if not several:
        return op.outputs[0]
    return list(op.outputs) if wanted else op
