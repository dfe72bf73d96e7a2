"""The global step: the variable that counts the updates of a job."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from paramserver_client.graph import dtypes
from paramserver_client.graph.graph import Graph, GraphKeys, get_default_graph
from paramserver_client.graph.initializers import Zeros
from paramserver_client.graph.node import Tensor
from paramserver_client.graph.variable_scope import get_variable
from paramserver_client.graph.variables import Variable

_READ: Final = "global_step_read_op_cache"


def global_step(sess: Any, global_step_tensor: Any) -> int:
    """The value of the global step in `sess`, as an int."""
    return int(sess.run(global_step_tensor))


def get_global_step(graph: Graph | None = None) -> Any:
    """The graph's global step, or None.

    Raises TypeError when what the collection GLOBAL_STEP or the name `global_step` holds is no integer scalar,
    ValueError when the collection holds several.
    """
    graph = graph or get_default_graph()
    found = graph.get_collection(GraphKeys.GLOBAL_STEP)
    if len(found) > 1:
        raise ValueError(f"Multiple tensors in global_step collection: {found}; keep one.")
    if not found:
        try:
            found = [graph.get_tensor_by_name("global_step:0")]
        except KeyError:
            return None
    assert_global_step(found[0])
    return found[0]


def create_global_step(graph: Graph | None = None) -> Any:
    """Make the graph's global step, an int64 variable that is not trained. Raises ValueError when there is one."""
    graph = graph or get_default_graph()
    if get_global_step(graph) is not None:
        raise ValueError('"global_step" already exists.')
    with graph.as_default(), graph.name_scope(None):
        return get_variable(
            GraphKeys.GLOBAL_STEP, shape=[], dtype=dtypes.int64, initializer=Zeros(), trainable=False,
            collections=[GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP],
        )  # fmt: skip


def get_or_create_global_step(graph: Graph | None = None) -> Any:
    """The graph's global step, made when there is none."""
    found = get_global_step(graph)
    return create_global_step(graph) if found is None else found


def global_step_before_run(graph: Graph | None = None) -> Tensor | None:
    """A tensor of the global step as it is when a run begins, made once a graph; None without a global step."""
    graph = graph or get_default_graph()
    found = graph.get_collection(_READ)
    step = get_global_step(graph)
    if found or step is None:
        return found[0] if found else None
    with graph.as_default(), graph.name_scope(None), graph.control_dependencies(None):
        read: Tensor = step + 0
    graph.add_to_collection(_READ, read)
    return read


def assert_global_step(global_step_tensor: Any) -> None:
    """Raises TypeError unless it is an integer scalar."""
    if not isinstance(global_step_tensor, Tensor | Variable):
        raise TypeError(f'Existing "global_step" must be a Variable or Tensor: {global_step_tensor}.')
    if not np.issubdtype(global_step_tensor.dtype.base_dtype.numpy_dtype, np.integer):
        raise TypeError(f'Existing "global_step" does not have integer type: {global_step_tensor.dtype}')
    if global_step_tensor.shape.ndims not in (0, None):
        raise TypeError(f'Existing "global_step" is not scalar: {global_step_tensor.shape}')
