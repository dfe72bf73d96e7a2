"""The collections variables are found in, and the operations that initialize and check many of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paramserver_client.graph import dtypes, ops_array
from paramserver_client.graph.convert import apply, constant, op_scope
from paramserver_client.graph.graph import GraphKeys, get_collection
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.variables import Variable


def global_variables(scope: str | None = None) -> list[Any]:
    """The variables shared by all workers, in the order they were made; `scope` filters by the name's beginning."""
    return get_collection(GraphKeys.GLOBAL_VARIABLES, scope)


def all_variables() -> list[Any]:
    """The old name of `tf.global_variables`."""
    return global_variables()


def local_variables(scope: str | None = None) -> list[Any]:
    """The variables that live in the session."""
    return get_collection(GraphKeys.LOCAL_VARIABLES, scope)


def model_variables(scope: str | None = None) -> list[Any]:
    """The variables of the collection MODEL_VARIABLES."""
    return get_collection(GraphKeys.MODEL_VARIABLES, scope)


def trainable_variables(scope: str | None = None) -> list[Any]:
    """The variables that optimizers change."""
    return get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)


def moving_average_variables(scope: str | None = None) -> list[Any]:
    """The variables of the collection MOVING_AVERAGE_VARIABLES."""
    return get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, scope)


# Initializing and checking many


def variables_initializer(var_list: Any, name: str = "init") -> Operation:
    """An operation that gives these variables their initial values. Later changes of the list do not change it."""
    if var_list:
        return ops_array.group(*[variable.initializer for variable in var_list], name=name)
    return ops_array.no_op(name=name)


def global_variables_initializer() -> Operation:
    """An operation that initializes all global variables there are now."""
    return variables_initializer(global_variables())


def local_variables_initializer() -> Operation:
    """An operation that initializes all local variables there are now."""
    return variables_initializer(local_variables())


def tables_initializer(name: str = "init_all_tables") -> Operation:
    """An operation that does nothing: there are no lookup tables here to initialize."""
    return ops_array.no_op(name)


def initialize_variables(var_list: Any, name: str = "init") -> Operation:
    """The old name of `tf.variables_initializer`."""
    return variables_initializer(var_list, name)


def initialize_all_variables() -> Operation:
    """The old name of `tf.global_variables_initializer`."""
    return global_variables_initializer()


def initialize_local_variables() -> Operation:
    """The old name of `tf.local_variables_initializer`."""
    return local_variables_initializer()


def _default_list(var_list: Any) -> Sequence[Variable]:
    return global_variables() + local_variables() if var_list is None else list(var_list)


def report_uninitialized_variables(var_list: Any = None, name: str = "report_uninitialized_variables") -> Tensor:
    """A vector of the names (bytes, without `:0`) of those variables that have no value when this runs.

    Without a list: the global and the local ones there are now.
    """
    variables = _default_list(var_list)
    with op_scope(name, name, variables) as scope:
        if not variables:
            return constant([], dtype=dtypes.string, name=scope)
        refs = [variable._as_graph_element() for variable in variables]
        return apply("ReportUninitialized", refs, scope, names=[variable.op.name for variable in variables])


def assert_variables_initialized(var_list: Any = None) -> Tensor | None:
    """A tensor whose run fails with FailedPreconditionError when a variable has no value; None without variables."""
    variables = _default_list(var_list)
    if not variables:
        return None
    refs = [variable._as_graph_element() for variable in variables]
    names = [variable.op.name for variable in variables]
    ranks = [len(variable.shape.known()) for variable in variables]
    return apply("AssertInitialized", refs, "AssertVariablesInitialized", names=names, ranks=ranks)
