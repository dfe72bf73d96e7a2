"""`tf.cond`, `tf.case` and `tf.while_loop`.

The operations of a branch stand in the graph as all others do, and know their branch: the executor runs them only when the
condition is as wanted. What they make goes out through a `Merge`, which takes the side that was run; the gradient goes
back the same way. The body of a loop is a graph of its own kind: its operations belong to the loop, and the loop's one
operation runs them again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from paramserver_client.graph import dtypes
from paramserver_client.graph.convert import apply, constant_value, convert_to_tensor, op_scope
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.graph import get_default_graph
from paramserver_client.graph.node import Branch, Operation, Tensor
from paramserver_client.graph.ops_array import group, identity
from paramserver_client.graph.ops_check import Assert
from paramserver_client.graph.ops_reduce import reduce_any
from paramserver_client.graph.registry import define
from paramserver_client.graph.shapes import TensorShape, as_shape

Repack = Callable[[Sequence[Any]], Any]


def _merged_shape(op: Operation) -> TensorShape:
    return op.inputs[0].shape.most_specific_compatible_shape(op.inputs[1].shape)


def _merge_gradient(op: Operation, grad: Tensor) -> Sequence[Tensor | None]:
    return [_inside(grad, side.op) for side in op.inputs]


def _inside(tensor: Tensor, op: Operation) -> Tensor:
    """The tensor, as a value that is there only when `op` runs."""
    with get_default_graph().inside(op.branches, op.loop):
        return identity(tensor)


@define("Merge", shape=_merged_shape, gradient=_merge_gradient)
def _merge(if_true: Array | None, if_false: Array | None) -> Any:
    return if_false if if_true is None else if_true


@define(
    "LeaveBranch", shape=lambda op: op.inputs[1].shape, gradient=lambda op, grad: [_inside(grad, op.inputs[0].op), None]
)
def _leave_branch(gradient: Array | None, like: Array) -> Array:
    return np.zeros_like(like) if gradient is None else gradient


def leave_branches(gradient: Tensor, source: Tensor) -> Tensor:
    """The gradient that operations in a branch send to `source` outside of it: 0 when the branch was not run."""
    held = _inside(gradient, gradient.op)
    return apply("LeaveBranch", [held, source], "LeaveBranch")


def cond(
    pred: Any, true_fn: Any = None, false_fn: Any = None, strict: bool = False, name: str | None = None,
    fn1: Any = None, fn2: Any = None,
) -> Any:  # fmt: skip
    """What `true_fn()` makes when `pred` holds in the run, else what `false_fn()` makes.

    Only the operations made inside the function that is taken are run, updates of variables included; what was made
    outside is computed in any case, and so are reads of variables. Both must give the same structure of tensors of the
    same dtypes (TypeError, ValueError). Lists of one tensor are given as that tensor unless `strict`.

    >>> import paramserver_client.graph as tf
    >>> x = tf.placeholder(tf.float32, [])
    >>> y = tf.cond(x > 0.0, lambda: x * 2.0, lambda: -x)
    >>> with tf.Session() as sess:
    ...     print(*sess.run([y, tf.gradients(y, x)[0]], {x: 3.0}), sess.run(y, {x: -3.0}))
    6.0 2.0 3.0
    """
    functions = [old if new is None else new for new, old in ((true_fn, fn1), (false_fn, fn2))]
    for which, function in zip(("true_fn", "false_fn"), functions, strict=True):
        if not callable(function):
            raise TypeError(f"{which} must be callable.")
    if isinstance(pred, bool):
        raise TypeError("pred must not be a Python bool; choose in Python, or give a tensor.")
    with op_scope(name, "cond", [pred]):
        chosen = convert_to_tensor(pred, name="pred")
        if chosen.dtype.base_dtype != dtypes.bool_:
            raise TypeError(f"pred must be a bool tensor, got {chosen.dtype.base_dtype.name}.")
        condition = identity(chosen, name="pred_id")
        (yes, repack), (no, repack_no) = (
            _made_in(Branch(condition, wanted), function, strict)
            for wanted, function in zip((True, False), functions, strict=True)
        )
        if len(yes) != len(no) or (len(yes) > 1 and type(repack(yes)) is not type(repack_no(no))):
            raise ValueError(
                f"Incompatible return values of true_fn and false_fn: {repack(yes)} and {repack_no(no)}; both must give the "
                "same structure."
            )
        return repack([_merged(*pair) for pair in zip(yes, no, strict=True)])


def _made_in(branch: Branch, function: Callable[[], Any], strict: bool) -> tuple[list[Any], Repack]:
    graph = get_default_graph()
    outer, loop = graph.within()
    with graph.inside((*outer, branch), loop):
        made = function()
        if made is None:
            raise ValueError(f"{'true_fn' if branch.wanted else 'false_fn'} must have a return value.")
        if not strict and isinstance(made, list | tuple) and len(made) == 1:
            made = made[0]
        leaves, repack = flattened(made)
        return [group(leaf) if isinstance(leaf, Operation) else identity(leaf) for leaf in leaves], repack


def _merged(yes: Any, no: Any) -> Any:
    if isinstance(yes, Operation) or isinstance(no, Operation):
        if type(yes) is not type(no):
            raise TypeError("true_fn and false_fn must both return operations or both return tensors.")
        return group(yes, no)
    if yes.dtype.base_dtype != no.dtype.base_dtype:
        raise ValueError(
            f"Outputs of true_fn and false_fn must have the same type: {yes.dtype.base_dtype.name}, "
            f"{no.dtype.base_dtype.name}"
        )
    return apply("Merge", [yes, no], "Merge")


def known_condition(pred: Any) -> bool | None:
    """A python bool (or 0 or 1), or what the graph settles; None where only a run knows. Raises TypeError for others."""
    if isinstance(pred, Tensor) or hasattr(pred, "_as_tensor"):
        known = constant_value(convert_to_tensor(pred))
        return None if known is None else bool(known)
    if pred not in (0, 1):
        raise TypeError(f"Expected a bool or a tensor, got {pred!r}.")
    return bool(pred)


def smart_cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any], name: str | None = None) -> Any:
    """`cond`, but chosen at once where `pred` is a python bool or the graph settles it."""
    known = known_condition(pred)
    if known is None:
        return cond(pred, true_fn, false_fn, name=name)
    return true_fn() if known else false_fn()


def case(
    pred_fn_pairs: Any, default: Callable[[], Any] | None = None, exclusive: bool = False, strict: bool = False,
    name: str = "case",
) -> Any:  # fmt: skip
    """What the function of the first pair `(pred, function)` whose condition holds makes, else what `default()` makes.

    With `exclusive` a run in which two conditions hold fails, and so does, without a default, one in which none does:
    InvalidArgumentError.
    """
    pairs = list(pred_fn_pairs.items()) if isinstance(pred_fn_pairs, Mapping) else list(pred_fn_pairs)
    if not pairs:
        raise ValueError("case wants at least one pair of a condition and a function.")
    with op_scope(name, "case", [pred for pred, _ in pairs]):
        conditions = [convert_to_tensor(pred, dtypes.bool_) for pred, _ in pairs]
        checks = []
        if exclusive:
            ones = apply("Sum", [_as_numbers(conditions)], "Sum", axis=None, keepdims=False)
            checks.append(Assert(apply("LessEqual", [ones, convert_to_tensor(1)], "LessEqual"),
                                 ["case: more than one condition holds but exclusive=True."]))  # fmt: skip
        if default is None:
            checks.append(
                Assert(reduce_any(convert_to_tensor(conditions)), ["case: no condition holds, and no default."])
            )
        with get_default_graph().control_dependencies(checks):
            functions = [function for _, function in pairs]
            rest: Callable[[], Any] = functions.pop() if default is None else default
            for condition, function in reversed(list(zip(conditions, functions, strict=False))):
                rest = _either(condition, function, rest, strict)
            leaves, repack = flattened(rest())
            return repack([group(leaf) if isinstance(leaf, Operation) else identity(leaf) for leaf in leaves])


def _as_numbers(conditions: Sequence[Tensor]) -> Tensor:
    return apply("Cast", [convert_to_tensor(conditions)], "Cast", dtype=dtypes.int32)


def _either(condition: Tensor, function: Any, rest: Any, strict: bool) -> Callable[[], Any]:
    return lambda: cond(condition, function, rest, strict)


def flattened(structure: Any) -> tuple[list[Any], Repack]:
    """The leaves of nested lists, tuples, named tuples and dicts, and what puts others in their places."""
    if isinstance(structure, Mapping):
        keys = sorted(structure)
        leaves, repack = flattened([structure[key] for key in keys])
        kind = type(structure)
        return leaves, lambda items: kind(zip(keys, repack(items), strict=True))  # type: ignore[call-arg]
    if not isinstance(structure, list | tuple):
        return [structure], lambda items: items[0]
    parts = [flattened(each) for each in structure]
    counts = np.cumsum([0, *(len(leaves) for leaves, _ in parts)]).tolist()

    def rebuild(items: Sequence[Any]) -> Any:
        inner = [again(items[first:end]) for (_, again), first, end in zip(parts, counts, counts[1:], strict=False)]
        if hasattr(structure, "_fields"):
            return type(structure)(*inner)
        return type(structure)(inner)

    return [leaf for leaves, _ in parts for leaf in leaves], rebuild


# Loops


@dataclass(eq=False)
class Loop:
    """The inside of a `while_loop`: its variables, whether to go on, and the variables' next values."""

    variables: list[Tensor] = field(default_factory=list)
    captured: list[Tensor] = field(default_factory=list)
    goes_on: Tensor | None = None
    results: list[Tensor] = field(default_factory=list)


@define("LoopVariable", shape=lambda op: op.attrs["shape"], dtype=lambda op: op.attrs["dtype"])
def _loop_variable(**attrs: Any) -> Array:
    raise InvalidArgumentError(
        "A tensor made inside a while_loop can not be had outside of it; return it as a loop variable."
    )


def _loop_gradient(op: Operation, *grads: Tensor | None) -> Sequence[Tensor | None]:
    raise ValueError(
        f"Gradients through while_loop are not offered, but one is wanted through {op.name!r}; unroll the loop in Python, or "
        "put stop_gradient around its result."
    )


def _results_shape(op: Operation) -> Sequence[TensorShape]:
    loop: Loop = op.attrs["loop"]
    return [variable.shape for variable in loop.variables]


def _results_dtype(op: Operation) -> Sequence[dtypes.DType]:
    loop: Loop = op.attrs["loop"]
    return [variable.dtype for variable in loop.variables]


@define("While", shape=_results_shape, dtype=_results_dtype, gradient=_loop_gradient, effect="loop")
def _while(most: Array, *inputs: Array, loop: Loop, goes_on: Callable[..., Any], step: Callable[..., Any]) -> Any:
    """`goes_on` and `step` compute from the variables' and the captured values; the executor makes them."""
    count = len(loop.variables)
    values, captured = list(inputs[:count]), inputs[count:]
    done = 0
    while (most < 0 or done < most) and goes_on(*values, *captured)[0]:
        values = step(*values, *captured)
        done += 1
    return values[0] if count == 1 else tuple(values)


def while_loop(
    cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, shape_invariants: Any = None,
    parallel_iterations: int = 10, back_prop: bool = True, swap_memory: bool = False, name: str | None = None,
    maximum_iterations: Any = None, return_same_structure: bool = False,
) -> Any:  # fmt: skip
    """Repeats `loop_vars = body(*loop_vars)` as long as `cond(*loop_vars)` holds; gives the last values.

    `loop_vars` is a list of tensors, or of nested lists, tuples and dicts of them; a single one is given without a list
    unless `return_same_structure`. What stands outside, variables' values too, is computed once, before the loop; inside
    no variable can be changed (ValueError). Shapes stay what they are unless `shape_invariants` say less: ValueError.
    There is no gradient through a loop: asking for one raises ValueError.

    >>> import paramserver_client.graph as tf
    >>> n, total = tf.while_loop(lambda i, s: i < 5, lambda i, s: [i + 1, s + i], [0, 0])
    >>> with tf.Session() as sess:
    ...     print(*sess.run([n, total]))
    5 10
    """
    for what, function in (("cond", cond), ("body", body)):
        if not callable(function):
            raise TypeError(f"{what} must be callable.")
    given = loop_vars if isinstance(loop_vars, list | tuple) else [loop_vars]
    if not given:
        raise ValueError("No loop variables provided")
    leaves, repack = flattened(given)
    with op_scope(name, "while", [each for each in leaves if isinstance(each, Tensor)]):
        first = [convert_to_tensor(leaf) for leaf in leaves]
        shapes = [each.shape for each in first]
        if shape_invariants is not None:
            shapes = [as_shape(each) for each in _shapes_of(shape_invariants)]
            for start, shape in zip(first, shapes, strict=True):
                shape.assert_is_compatible_with(start.shape)
        most = convert_to_tensor(-1 if maximum_iterations is None else maximum_iterations, name="maximum_iterations")
        loop = Loop()
        graph = get_default_graph()
        with graph.inside((), loop):
            loop.variables = [apply("LoopVariable", [], "Variable", dtype=each.dtype.base_dtype, shape=shape)
                              for each, shape in zip(first, shapes, strict=True)]  # fmt: skip
            loop.goes_on = convert_to_tensor(cond(*repack(loop.variables)), dtypes.bool_)
            loop.results = _checked_results(body(*repack(loop.variables)), loop.variables)
        with graph.control_dependencies(_close(loop)):
            op = graph.create_op("While", [most, *first, *loop.captured], {"loop": loop}, "While")
    packed = repack(op.outputs)
    return packed[0] if len(packed) == 1 and not return_same_structure else packed


def _shapes_of(structure: Any) -> list[Any]:
    if isinstance(structure, list | tuple) and not all(isinstance(each, int | None) for each in structure):
        return [shape for each in structure for shape in _shapes_of(each)]
    return [structure]


def _checked_results(made: Any, variables: Sequence[Tensor]) -> list[Tensor]:
    leaves, _ = flattened(made if isinstance(made, list | tuple) else [made])
    if len(leaves) != len(variables):
        raise ValueError(
            f"The number of inputs and outputs of the body of a while_loop must match: got {len(variables)} and {len(leaves)}."
        )
    results = [
        convert_to_tensor(leaf, dtype_hint=variable.dtype) for leaf, variable in zip(leaves, variables, strict=True)
    ]
    for result, variable in zip(results, variables, strict=True):
        if result.dtype.base_dtype != variable.dtype:
            raise TypeError(
                f"The body of a while_loop gives {result.dtype.base_dtype.name} for a variable of {variable.dtype.name}."
            )
        kept = variable.shape.sizes
        if kept is not None and (result.shape.sizes is None or len(kept) != len(result.shape.sizes) or any(
            size is not None and size != now for size, now in zip(kept, result.shape.sizes, strict=True)
        )):  # fmt: skip
            raise ValueError(
                f"The shape {variable.shape} of a loop variable is not an invariant for the loop: it has shape {result.shape} "
                "after one iteration. Say less with shape_invariants, or set_shape on the result."
            )
    return results


def _close(loop: Loop) -> list[Operation]:
    """Find what the inside takes from outside; gives the operations outside that it waits for, which the loop's own
    operation does in its place. Raises ValueError when a variable is changed inside."""
    assert loop.goes_on is not None
    seen: set[Operation] = set()
    captured: dict[Tensor, None] = {}
    awaited: dict[Operation, None] = {}
    waiting: list[Operation] = []

    def take(tensor: Tensor) -> None:
        if tensor.op.loop is loop:
            waiting.append(tensor.op)
        else:
            captured[tensor] = None

    for tensor in (loop.goes_on, *loop.results):
        take(tensor)
    while waiting:
        op = waiting.pop()
        if op in seen:
            continue
        seen.add(op)
        if op.definition.effect in ("write", "query", "guard"):
            raise ValueError(
                f"{op.name!r} ({op.type}) stands inside a while_loop, where variables can not be changed; do it with what "
                "the loop gives."
            )
        for tensor in op.needs():
            take(tensor)
        awaited.update((each, None) for each in op.control_inputs if each.loop is not loop)
        op.control_inputs = [each for each in op.control_inputs if each.loop is loop]
        waiting.extend(op.control_inputs)
    loop.captured = list(captured)
    return list(awaited)
