"""Optimizers: from a loss to the operation that updates the variables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from paramserver_client.graph import dtypes, ops_array, ops_join, ops_scatter, ops_state
from paramserver_client.graph.convert import apply, convert_to_tensor
from paramserver_client.graph.gradients import gradients
from paramserver_client.graph.graph import GraphKeys, get_default_graph
from paramserver_client.graph.indexed_slices import IndexedSlices
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_math import cast
from paramserver_client.graph.variable_lists import trainable_variables
from paramserver_client.graph.variables import Variable

GradientsAndVariables = list[tuple[Tensor | None, Variable]]


class Optimizer:
    """The base of all optimizers. A subclass says in `_apply` how one gradient changes one variable."""

    GATE_NONE = 0
    GATE_OP = 1
    GATE_GRAPH = 2

    def __init__(self, use_locking: bool, name: str) -> None:
        if not name:
            raise ValueError("Must specify the optimizer name")
        self._use_locking = use_locking
        self._name = name

    def get_name(self) -> str:
        return self._name

    def minimize(
        self,
        loss: Any,
        global_step: Any = None,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        name: str | None = None,
        grad_loss: Any = None,
    ) -> Operation:
        """`compute_gradients`, then `apply_gradients`: one operation that makes one step.

        Raises ValueError when no variable has a gradient.
        """
        pairs = self.compute_gradients(
            loss, var_list, gate_gradients, aggregation_method, colocate_gradients_with_ops, grad_loss
        )
        if not any(gradient is not None for gradient, _ in pairs):
            raise ValueError(
                "No gradients provided for any variable, check your graph for ops that do not support gradients, "
                f"between variables {[str(variable) for _, variable in pairs]} and loss {loss}."
            )
        return self.apply_gradients(pairs, global_step=global_step, name=name)

    def compute_gradients(
        self,
        loss: Any,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        grad_loss: Any = None,
    ) -> GradientsAndVariables:
        """The gradient of `loss` for each variable (the trainable ones unless given), as `(gradient, variable)`;
        None where the loss does not depend on it. Raises ValueError without variables or for a loss of integers."""
        if gate_gradients not in (Optimizer.GATE_NONE, Optimizer.GATE_OP, Optimizer.GATE_GRAPH):
            raise ValueError(
                "gate_gradients must be one of: Optimizer.GATE_NONE, Optimizer.GATE_OP, Optimizer.GATE_GRAPH. "
                f"Not {gate_gradients}"
            )
        target = convert_to_tensor(loss)
        _check_floating([target])
        variables = trainable_variables() if var_list is None else _as_list(var_list)
        if not variables:
            raise ValueError("No variables to optimize.")
        for variable in variables:
            _check_variable(variable)
        found = gradients(target, variables, grad_ys=grad_loss, aggregation_method=aggregation_method)
        _check_floating([each for each in found if each is not None])
        return list(zip(found, variables, strict=True))

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Any, Any]], global_step: Any = None, name: str | None = None
    ) -> Operation:
        """An operation that updates every variable that has a gradient, all in one push, and then adds 1 to
        `global_step`.

        Raises ValueError for no pairs or no gradients at all, TypeError for a gradient that is none,
        NotImplementedError for what is no variable.
        """
        pairs = tuple(grads_and_vars)
        if not pairs:
            raise ValueError("No variables provided.")
        for gradient, variable in pairs:
            if gradient is not None and not isinstance(gradient, Tensor | IndexedSlices):
                gradient = convert_to_tensor(gradient, variable.dtype.base_dtype)
            _check_variable(variable)
        live = [(gradient, variable) for gradient, variable in pairs if gradient is not None]
        if not live:
            raise ValueError(f"No gradients provided for any variable: {[str(variable) for _, variable in pairs]}.")
        graph = get_default_graph()
        with graph.name_scope(name or self._name) as scope:
            self._prepare([variable for _, variable in live])
            updates = [self._update(gradient, variable) for gradient, variable in live]
            if global_step is None:
                train_op = ops_array.group(*updates, name=scope)
            else:
                with graph.control_dependencies([ops_array.group(*updates, name="update")]):
                    train_op = ops_state.assign_add(global_step, 1, name=scope).op
        if train_op not in graph.get_collection_ref(GraphKeys.TRAIN_OP):
            graph.add_to_collection(GraphKeys.TRAIN_OP, train_op)
        return train_op

    def get_slot_names(self) -> list[str]:
        """The names of the slots this optimizer keeps for each variable."""
        return []

    def variables(self) -> list[Variable]:
        """The variables this optimizer keeps: its slots and scalars."""
        return []

    def _update(self, gradient: Any, variable: Variable) -> Operation:
        graph = get_default_graph()
        with graph.name_scope(f"update_{variable.op.name}"):
            if isinstance(gradient, IndexedSlices):
                update = self._apply_rows(gradient, variable)
            else:
                update = self._apply(convert_to_tensor(gradient, variable.dtype.base_dtype), variable)
            if variable.constraint is None:
                return update
            with graph.control_dependencies([update]):
                constrained: Operation = variable.assign(variable.constraint(variable.read_value())).op
                return constrained

    def _prepare(self, variables: Sequence[Variable]) -> None:
        """Make the tensors and slots that the updates share."""

    def _apply(self, gradient: Tensor, variable: Variable) -> Operation:
        raise NotImplementedError(f"{type(self).__name__} does not say how a gradient changes a variable.")

    def _apply_rows(self, gradient: IndexedSlices, variable: Variable) -> Operation:
        """Apply a gradient of some rows; without a way of its own an optimizer takes it as a whole gradient."""
        return self._apply(ops_join.dense(gradient), variable)


class GradientDescentOptimizer(Optimizer):
    """Plain gradient descent: `v -= learning_rate * gradient`. The learning rate may be a tensor.

    The server does the subtraction, so workers that step at the same time all count.
    """

    def __init__(self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent") -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate() if callable(learning_rate) else learning_rate

    def _prepare(self, variables: Sequence[Variable]) -> None:
        # A number becomes a float32 tensor, whatever the variables' dtype: TensorFlow's figures come out.
        self._rate = convert_to_tensor(self._learning_rate, name="learning_rate")

    def _apply(self, gradient: Tensor, variable: Variable) -> Operation:
        rate = cast(self._rate, variable.dtype.base_dtype)
        inputs = [variable._as_graph_element(), rate, gradient]
        return apply("ApplyGradientDescent", inputs, "ApplyGradientDescent").op

    def _apply_rows(self, gradient: IndexedSlices, variable: Variable) -> Operation:
        rate = cast(self._rate, variable.dtype.base_dtype)
        return ops_scatter.scatter_sub(variable, gradient.indices, gradient.values * rate).op


def _as_list(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else [values]


def _check_floating(tensors: Sequence[Tensor]) -> None:
    allowed = (dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64)
    for tensor in tensors:
        dtype = tensor.dtype.base_dtype
        if dtype not in allowed:
            raise ValueError(f"Invalid type {dtype!r} for {tensor.name}, expected: {[each.name for each in allowed]}.")


def _check_variable(variable: Any) -> None:
    if isinstance(variable, Variable):
        return
    if isinstance(variable, Tensor):
        raise NotImplementedError(f"Trying to update a Tensor {variable}; optimize variables.")
    raise TypeError(f"Argument is not a tf.Variable: {variable}")
