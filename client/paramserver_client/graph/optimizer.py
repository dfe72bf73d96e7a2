"""What all optimizers share: from a loss to the operation that updates the variables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from paramserver_client.graph import dtypes, ops_array, ops_state
from paramserver_client.graph.convert import convert_to_tensor
from paramserver_client.graph.gradients import gradients
from paramserver_client.graph.graph import Graph, GraphKeys, get_default_graph, init_scope
from paramserver_client.graph.indexed_slices import IndexedSlices
from paramserver_client.graph.initializers import Initializer
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.ops_training import summed_rows
from paramserver_client.graph.partitions import PartitionedVariable
from paramserver_client.graph.slots import create_slot, create_slot_with_initializer, create_zeros_slot
from paramserver_client.graph.variable_lists import trainable_variables
from paramserver_client.graph.variables import Variable

GradientsAndVariables = list[tuple[Tensor | None, Variable]]


class Optimizer:
    """The base of all optimizers: from a loss to gradients, from gradients to updates.

    An own one says in `_apply_dense` what one gradient does to one variable, as an operation, and in `_apply_sparse` what
    some rows of a gradient do; `_create_slots` makes what it remembers of each variable (`_zeros_slot` and its kin),
    `_prepare` what all updates share, and `_finish` gathers them.
    """

    GATE_NONE = 0
    GATE_OP = 1
    GATE_GRAPH = 2

    def __init__(self, use_locking: bool, name: str) -> None:
        if not name:
            raise ValueError("Must specify the optimizer name")
        self._use_locking = use_locking
        self._name = name
        self._slots: dict[str, dict[Any, Variable]] = {}
        self._non_slots: dict[tuple[str, Graph], Variable] = {}

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
        target = convert_to_tensor(loss() if callable(loss) else loss)
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
        pairs = [(_as_gradient(gradient, variable), variable) for gradient, variable in grads_and_vars]
        if not pairs:
            raise ValueError("No variables provided.")
        for _, variable in pairs:
            _check_variable(variable)
        live = [(gradient, variable) for gradient, variable in pairs if gradient is not None]
        if not live:
            raise ValueError(f"No gradients provided for any variable: {[str(variable) for _, variable in pairs]}.")
        graph = get_default_graph()
        with init_scope():
            self._create_slots([variable for _, variable in live])
        with graph.name_scope(name or self._name) as scope:
            self._prepare()
            updates = [self._update(gradient, variable) for gradient, variable in live]
            # Behind all updates, which then stand side by side and go out as one.
            updates = [_constrained(update, variable) for update, (_, variable) in zip(updates, live, strict=True)]
            if global_step is None:
                train_op = self._finish(updates, scope)
            else:
                with graph.control_dependencies([self._finish(updates, "update")]):
                    train_op = ops_state.assign_add(global_step, 1, name=scope).op
        if train_op not in graph.get_collection_ref(GraphKeys.TRAIN_OP):
            graph.add_to_collection(GraphKeys.TRAIN_OP, train_op)
        return train_op

    def get_slot(self, var: Any, name: str) -> Variable | None:
        """The slot `name` of a variable, or None: `Adam` keeps "m" and "v"."""
        return self._slots.get(name, {}).get(var)

    def get_slot_names(self) -> list[str]:
        """The names of the slots this optimizer keeps for each variable, once it has made any."""
        return sorted(self._slots)

    def variables(self) -> list[Variable]:
        """The variables this optimizer keeps in the default graph, slots and scalars, by name."""
        graph = get_default_graph()
        kept = [*self._non_slots.values(), *(slot for slots in self._slots.values() for slot in slots.values())]
        return sorted((each for each in kept if each.graph is graph), key=lambda each: each.name)

    # What an own optimizer says

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        """Make the slots of these variables, those that are not there yet."""

    def _prepare(self) -> None:
        """Make the tensors that the updates share."""

    def _apply_dense(self, grad: Tensor, var: Variable) -> Operation:
        raise NotImplementedError(f"{type(self).__name__} does not say how a gradient changes a variable.")

    def _apply_sparse(self, grad: IndexedSlices, var: Variable) -> Operation:
        raise NotImplementedError(f"{type(self).__name__} does not say how some rows of a gradient change a variable.")

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Variable) -> Operation:
        """`_apply_sparse` of the rows with repeated ones summed; for rules that take repeated ones it may be the same."""
        return self._apply_sparse(summed_rows(grad), var)

    def _finish(self, update_ops: Sequence[Operation], name_scope: str) -> Operation:
        """One operation for all updates."""
        done: Operation = ops_array.group(*update_ops, name=name_scope)
        return done

    # What it may call

    def _zeros_slot(self, var: Variable, slot_name: str, op_name: str) -> Variable:
        slots = self._slots.setdefault(slot_name, {})
        if var not in slots:
            slots[var] = create_zeros_slot(var, op_name)
        return slots[var]

    def _get_or_make_slot(self, var: Variable, val: Any, slot_name: str, op_name: str) -> Variable:
        slots = self._slots.setdefault(slot_name, {})
        if var not in slots:
            slots[var] = create_slot(var, val, op_name)
        return slots[var]

    def _get_or_make_slot_with_initializer(
        self, var: Variable, initializer: Initializer, shape: Any, dtype: Any, slot_name: str, op_name: str
    ) -> Variable:
        slots = self._slots.setdefault(slot_name, {})
        if var not in slots:
            slots[var] = create_slot_with_initializer(var, initializer, shape, dtype, op_name)
        return slots[var]

    def _create_non_slot_variable(self, initial_value: Any, name: str, colocate_with: Any = None) -> Variable:
        key = (name, get_default_graph())
        if key not in self._non_slots:
            self._non_slots[key] = Variable(initial_value, trainable=False, name=name)
        return self._non_slots[key]

    def _get_non_slot_variable(self, name: str, graph: Graph | None = None) -> Variable | None:
        return self._non_slots.get((name, graph or get_default_graph()))

    def _call_if_callable(self, param: Any) -> Any:
        return param() if callable(param) else param

    def _update(self, gradient: Any, variable: Variable) -> Operation:
        graph = get_default_graph()
        with graph.name_scope(f"update_{variable.op.name}"), graph.colocate_with(variable):
            if isinstance(gradient, IndexedSlices):
                return self._apply_sparse_duplicate_indices(gradient, variable)
            return self._apply_dense(gradient, variable)


def _constrained(update: Operation, variable: Variable) -> Operation:
    """The update, and behind it the variable's constraint."""
    if variable.constraint is None:
        return update
    graph = get_default_graph()
    with graph.name_scope(f"constrain_{variable.op.name}"), graph.control_dependencies([update]):
        done: Operation = variable.assign(variable.constraint(variable.read_value())).op
        return done


def _as_gradient(gradient: Any, variable: Any) -> Any:
    if gradient is None or isinstance(gradient, Tensor | IndexedSlices):
        return gradient
    _check_variable(variable)
    try:
        return convert_to_tensor(gradient, variable.dtype.base_dtype)
    except TypeError as error:
        raise TypeError(
            f"Gradient must be convertible to a Tensor or IndexedSlices, or None: {gradient!r}. {error}"
        ) from None


def _as_list(values: Any) -> list[Any]:
    given = list(values) if isinstance(values, list | tuple) else [values]
    return [part for each in given for part in (each if isinstance(each, PartitionedVariable) else [each])]


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
