"""A graph: its operations by name, name scopes, control dependencies and collections.

Building is safe from several threads (one lock a graph); the default graph and the scopes one is in belong to a
thread. Names are unique without regard to case: `X`, then `x`, gives `X` and `x_1`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from paramserver_client.graph import registry
from paramserver_client.graph.devices import checked_device
from paramserver_client.graph.dtypes import DType
from paramserver_client.graph.graph_scopes import Controls, Scopes, awaited, locate
from paramserver_client.graph.indexed_slices import IndexedSlices
from paramserver_client.graph.node import Branch, Operation, Tensor, input_shapes
from paramserver_client.graph.node_defs import GraphDef, node_def
from paramserver_client.graph.shapes import TensorShape

_OP_NAME: Final = re.compile(r"^[A-Za-z0-9.][A-Za-z0-9_.\-/]*$")
_SCOPE_NAME: Final = re.compile(r"^[A-Za-z0-9_.\-/]*$")


class GraphKeys:
    """The names of the standard collections."""

    GLOBAL_VARIABLES = "variables"
    LOCAL_VARIABLES = "local_variables"
    METRIC_VARIABLES = "metric_variables"
    MODEL_VARIABLES = "model_variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    SUMMARIES = "summaries"
    QUEUE_RUNNERS = "queue_runners"
    TABLE_INITIALIZERS = "table_initializer"
    ASSET_FILEPATHS = "asset_filepaths"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    REGULARIZATION_LOSSES = "regularization_losses"
    CONCATENATED_VARIABLES = "concatenated_variables"
    SAVERS = "savers"
    WEIGHTS = "weights"
    BIASES = "biases"
    ACTIVATIONS = "activations"
    UPDATE_OPS = "update_ops"
    LOSSES = "losses"
    SAVEABLE_OBJECTS = "saveable_objects"
    RESOURCES = "resources"
    LOCAL_RESOURCES = "local_resources"
    INIT_OP = "init_op"
    LOCAL_INIT_OP = "local_init_op"
    READY_OP = "ready_op"
    READY_FOR_LOCAL_INIT_OP = "ready_for_local_init_op"
    SUMMARY_OP = "summary_op"
    GLOBAL_STEP = "global_step"
    EVAL_STEP = "eval_step"
    TRAIN_OP = "train_op"
    COND_CONTEXT = "cond_context"
    WHILE_CONTEXT = "while_context"
    VARIABLES = "variables"


class Graph:
    """A dataflow graph. `with graph.as_default():` makes new operations go into it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._operations: dict[str, Operation] = {}
        self._names_in_use: dict[str, int] = {}
        self._collections: dict[Any, list[Any]] = {}
        self._unfeedable: set[Tensor] = set()
        self._unfetchable: set[Tensor | Operation] = set()
        self._finalized = False
        self._here = Scopes()
        self.seed: int | None = None
        self.variable_scopes: Any = None
        self.variable_creators: list[Any] = []
        self.optimizer_names: set[str] = set()

    @property
    def version(self) -> int:
        """How many operations there are; it only grows."""
        return len(self._operations)

    @property
    def finalized(self) -> bool:
        return self._finalized

    def finalize(self) -> None:
        """From now on nothing can be added: RuntimeError."""
        self._finalized = True

    def _unsafe_unfinalize(self) -> None:
        self._finalized = False

    def switch_to_thread_local(self) -> None:
        """Nothing to do: scopes belong to a thread from the start."""

    def check_not_finalized(self) -> None:
        if self._finalized:
            raise RuntimeError("Graph is finalized and cannot be modified.")

    @contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Make this the default graph of this thread inside the `with` block."""
        stack = _defaults.stack
        stack.append(self)
        try:
            yield self
        finally:
            if stack[-1] is not self:
                raise AssertionError(f"Nesting violated for default stack of {type(self)} objects")
            stack.pop()

    def create_op(
        self,
        op_type: str,
        inputs: Sequence[Tensor],
        attrs: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Operation:
        """Add an operation. A `name` that ends in `/` is taken as it is; any other is made unique in its scope.

        Raises ValueError, with the operation's name, type and input shapes, when the inputs do not fit together; the
        graph is then unchanged but for the name, which stays taken.
        """
        definition = registry.lookup(op_type)
        with self._lock:
            self.check_not_finalized()
            name = name.decode() if isinstance(name, bytes) else name
            for tensor in inputs:
                if tensor.graph is not self:
                    raise ValueError(f"{tensor} must be from the same graph as the operation {name or op_type}.")
            name = name or op_type
            full_name = name.removesuffix("/") if name.endswith("/") else self.unique_name(name)
            if not _OP_NAME.match(full_name):
                raise ValueError(f"'{full_name}' is not a valid node name")
            if full_name in self._operations:
                raise ValueError(f"Duplicate node name in graph: '{full_name}'")
            here = self._here
            before = awaited(here.control, inputs) if here.control else ()
            op = Operation(self, definition, full_name, len(self._operations), inputs, before, attrs or {})
            op.outputs = _outputs(op)
            if here.devices or here.beside or definition.effect == "write":
                locate(op, here)
            op.branches, op.loop = here.branches, here.loop
            for controls in here.control:
                controls.after.add(op)
            self._operations[full_name] = op
            self._names_in_use.setdefault(full_name.lower(), 1)
            for tensor in inputs:
                tensor._consumers.append(op)
        return op

    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        """`name` in the current name scope, with `_1`, `_2`, ... when it is taken."""
        with self._lock:
            if self._here.names:
                name = f"{self._here.names}/{name}"
            key = base = name.lower()
            count = self._names_in_use.get(key, 0)
            if mark_as_used:
                self._names_in_use[key] = count + 1
            if count == 0:
                return name
            while key in self._names_in_use:
                key = f"{base}_{count}"
                count += 1
            if mark_as_used:
                self._names_in_use[key] = 1
            return f"{name}_{count - 1}"

    @contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Put a scope before the names of new operations; yields it with its `/`.

        A name that ends in `/` is entered again as it is; None or `""` is the root.
        """
        outer = self._here.names
        inner = self._inner_scope(name, outer)
        self._here.names = inner
        try:
            yield f"{inner}/" if name else ""
        finally:
            self._here.names = outer

    def _inner_scope(self, name: str | None, outer: str) -> str:
        if not name:
            return ""
        if not (_SCOPE_NAME if outer else _OP_NAME).match(name):
            raise ValueError(f"'{name}' is not a valid scope name")
        return name[:-1] if name[-1] == "/" else self.unique_name(name)

    def get_name_scope(self) -> str:
        return self._here.names

    @contextmanager
    def control_dependencies(self, control_inputs: Any) -> Iterator[None]:
        """New operations run after `control_inputs` (operations, tensors or variables). None clears what outer
        blocks asked for, and leaves the branches of conditions."""
        outer = self._here.control
        if control_inputs is None:
            with self.inside((), self._here.loop):
                self._here.control = ()
                try:
                    yield
                finally:
                    self._here.control = outer
            return
        self._here.control = (*outer, Controls(self._as_operations(control_inputs, outer)))
        try:
            yield
        finally:
            self._here.control = outer

    @contextmanager
    def inside(self, branches: tuple[Branch, ...], loop: object) -> Iterator[None]:
        """New operations are in these branches of conditions and in the body of this loop, and in no others."""
        outer = self._here.branches, self._here.loop
        self._here.branches, self._here.loop = branches, loop
        try:
            yield
        finally:
            self._here.branches, self._here.loop = outer

    def within(self) -> tuple[tuple[Branch, ...], object]:
        """The branches and the loop that new operations are in."""
        return self._here.branches, self._here.loop

    def _as_operations(self, control_inputs: Any, outer: Sequence[Controls]) -> list[Operation]:
        if not isinstance(control_inputs, Iterable) or isinstance(control_inputs, Tensor):
            raise TypeError("Control inputs must be a list of operations, tensors or variables, or None.")
        already = {op for controls in outer for op in controls.before}
        found: dict[Operation, None] = {}
        for item in control_inputs:
            if isinstance(item, IndexedSlices):
                item = item.op
            element = self.as_graph_element(item)
            op = element.op if isinstance(element, Tensor) else element
            if op not in already:
                found[op] = None
        return list(found)

    @contextmanager
    def device(self, device_name_or_function: Any) -> Iterator[None]:
        """New operations carry this device's name; it changes nothing else. None forgets the outer blocks'.

        Raises ValueError for a malformed name.
        """
        outer = self._here.devices
        self._here.devices = inner = (*outer, checked_device(device_name_or_function))
        try:
            yield
        finally:
            if self._here.devices is not inner:
                raise RuntimeError("Exiting device scope without proper scope nesting: leave the inner ones first.")
            self._here.devices = outer

    @contextmanager
    def colocate_with(self, op: Any, ignore_existing: bool = False) -> Iterator[None]:
        """New operations carry the device of `op`, an operation, tensor or variable, and belong to its group.

        With `ignore_existing` outer blocks are forgotten; only then may `op` be None: ValueError.
        """
        if op is None and not ignore_existing:
            raise ValueError("Trying to reset colocation (op is None) but `ignore_existing` is not True")
        outer = self._here.beside
        inner = () if ignore_existing else outer
        if op is not None:
            element = self.as_graph_element(op.op if isinstance(op, IndexedSlices) else op)
            inner = (*inner, element.op if isinstance(element, Tensor) else element)
        self._here.beside = inner
        try:
            yield
        finally:
            self._here.beside = outer

    @contextmanager
    def container(self, container_name: str) -> Iterator[str]:
        """New variables note this container; a session's own `container` decides where their values are."""
        outer = self._here.container
        self._here.container = container_name
        try:
            yield container_name
        finally:
            self._here.container = outer

    @property
    def current_container(self) -> str:
        return self._here.container

    def as_graph_def(self) -> GraphDef:
        """All operations in plain values, to look at."""
        return GraphDef([node_def(op) for op in self._operations.values()])

    def get_operations(self) -> list[Operation]:
        return list(self._operations.values())

    def get_operation_by_name(self, name: str) -> Operation:
        """The operation called `name`. Raises KeyError when there is none, TypeError when `name` is no string."""
        if not isinstance(name, str):
            raise TypeError(f"Operation names are strings (or similar), not {type(name).__name__}.")
        found = self.as_graph_element(name, allow_tensor=False)
        assert isinstance(found, Operation)
        return found

    def get_tensor_by_name(self, name: str) -> Tensor:
        """The tensor called `name`, as `w:0`. Raises KeyError when there is none, ValueError for a malformed name."""
        if not isinstance(name, str):
            raise TypeError(f"Tensor names are strings (or similar), not {type(name).__name__}.")
        found = self.as_graph_element(name, allow_operation=False)
        assert isinstance(found, Tensor)
        return found

    def as_graph_element(self, obj: Any, allow_tensor: bool = True, allow_operation: bool = True) -> Tensor | Operation:
        """The tensor or operation that `obj` (one of them, a variable, or a name) stands for in this graph.

        Raises KeyError for a name that is not in the graph, ValueError for a malformed name or an element of another
        graph, TypeError for anything else.
        """
        kinds = " or ".join(
            kind for kind, allowed in (("Tensor", allow_tensor), ("Operation", allow_operation)) if allowed
        )
        if hasattr(obj, "_as_graph_element"):
            obj = obj._as_graph_element()
        if isinstance(obj, bytes):
            obj = obj.decode()
        if isinstance(obj, str):
            return self._named_element(obj, allow_tensor, allow_operation, kinds)
        if (isinstance(obj, Tensor) and allow_tensor) or (isinstance(obj, Operation) and allow_operation):
            if obj.graph is not self:
                kind = "Tensor" if isinstance(obj, Tensor) else "Operation"
                raise ValueError(f"{kind} {obj} is not an element of this graph.")
            return obj
        raise TypeError(f"Can not convert a {type(obj).__name__} into a {kinds}.")

    def _named_element(self, name: str, allow_tensor: bool, allow_operation: bool, kinds: str) -> Tensor | Operation:
        form = 'Tensor names must be of the form "<op_name>:<output_index>".'
        if ":" not in name:
            if not allow_operation:
                known = (
                    "refers to an Operation" if name in self._operations else "looks like an (invalid) Operation name"
                )
                raise ValueError(f"The name {name!r} {known}, not a {kinds}. {form}")
            if name not in self._operations:
                raise KeyError(f"The name {name!r} refers to an Operation not in the graph.")
            return self._operations[name]
        if not allow_tensor:
            raise ValueError(f"Name {name!r} appears to refer to a Tensor, not a {kinds}.")
        op_name, _, index = name.partition(":")
        if not op_name or not index.isdecimal():
            raise ValueError(f"The name {name!r} looks a like a Tensor name, but is not a valid one. {form}")
        op = self._operations.get(op_name)
        missing = f"The name {name!r} refers to a Tensor which does not exist. The operation, {op_name!r},"
        if op is None:
            raise KeyError(f"{missing} does not exist in the graph.")
        if int(index) >= len(op.outputs):
            raise KeyError(f"{missing} exists but only has {len(op.outputs)} outputs.")
        return op.outputs[int(index)]

    def is_feedable(self, tensor: Tensor) -> bool:
        return tensor not in self._unfeedable

    def prevent_feeding(self, tensor: Tensor) -> None:
        """From now on no run may feed `tensor`: ValueError."""
        self._unfeedable.add(tensor)

    def is_fetchable(self, tensor_or_op: Tensor | Operation) -> bool:
        op = tensor_or_op.op if isinstance(tensor_or_op, Tensor) else tensor_or_op
        return op not in self._unfetchable and tensor_or_op not in self._unfetchable

    def prevent_fetching(self, op: Tensor | Operation) -> None:
        """From now on no run may fetch `op`: ValueError."""
        self._unfetchable.add(op)

    def add_to_collection(self, name: Any, value: Any) -> None:
        """Append `value` to the collection `name`, making it when it is new. Values are not de-duplicated."""
        with self._lock:
            self.check_not_finalized()
            self._collections.setdefault(name, []).append(value)

    def add_to_collections(self, names: Any, value: Any) -> None:
        """Append `value` to each collection of `names`, once each."""
        for name in dict.fromkeys((names,) if isinstance(names, str) else names):
            self.add_to_collection(name, value)

    def get_collection_ref(self, name: Any) -> list[Any]:
        """The list itself: what is changed in it is changed in the graph."""
        with self._lock:
            return self._collections.setdefault(name, [])

    def get_collection(self, name: Any, scope: str | None = None) -> list[Any]:
        """A copy of the collection; with `scope`, what has a name that begins as this regular expression says."""
        with self._lock:
            items = list(self._collections.get(name, ()))
        if scope is None:
            return items
        pattern = re.compile(scope)
        return [item for item in items if hasattr(item, "name") and pattern.match(item.name)]

    @property
    def collections(self) -> list[Any]:
        """The keys of all collections."""
        with self._lock:
            return list(self._collections)

    def get_all_collection_keys(self) -> list[Any]:
        with self._lock:
            return [key for key in self._collections if isinstance(key, str)]

    def clear_collection(self, name: Any) -> None:
        with self._lock:
            self.check_not_finalized()
            self._collections.pop(name, None)


def _outputs(op: Operation) -> list[Tensor]:
    try:
        shape = op.definition.shape(op)
    except ValueError as error:
        message = f"{error} for '{op.name}' (op: '{op.type}') with input shapes: {input_shapes(op)}."
        raise ValueError(message) from None
    dtype = op.definition.dtype(op)
    if isinstance(shape, TensorShape) and isinstance(dtype, DType):
        return [Tensor(op, 0, dtype, shape)]
    shapes = [shape] if isinstance(shape, TensorShape) else list(shape)
    dtypes = [dtype] * len(shapes) if isinstance(dtype, DType) else list(dtype)
    return [Tensor(op, i, d, s) for i, (d, s) in enumerate(zip(dtypes, shapes, strict=True))]


class _Defaults(threading.local):
    def __init__(self) -> None:
        self.stack: list[Graph] = []
        self.bottom = Graph()


_defaults: Final = _Defaults()


def get_default_graph() -> Graph:
    """This thread's default graph: the innermost `as_default`, else the thread's own."""
    return _defaults.stack[-1] if _defaults.stack else _defaults.bottom


def reset_default_graph() -> None:
    """Start this thread's own default graph anew. Raises AssertionError inside `with graph.as_default()`."""
    if _defaults.stack:
        raise AssertionError(
            "Do not use tf.reset_default_graph() to clear nested graphs. If you need a cleared graph, exit the "
            "nesting and create a new graph."
        )
    _defaults.bottom = Graph()


class OpScope:
    """The scope of one operation, in the graph of its tensors, which is the default inside; gives its name with a `/`.

    What `name_scope` does, without its checks: every operation goes through here.
    """

    __slots__ = ("_graph", "_name", "_outer")

    def __init__(self, graph: Graph, name: str) -> None:
        self._graph = graph
        self._name = name

    def __enter__(self) -> str:
        here = self._graph._here
        self._outer = here.names
        inner = self._graph._inner_scope(self._name, self._outer)
        here.names = inner
        _defaults.stack.append(self._graph)
        return f"{inner}/"

    def __exit__(self, *exception: Any) -> None:
        self._graph._here.names = self._outer
        _defaults.stack.pop()


class name_scope:
    """`with tf.name_scope("s") as scope:` puts `s/` before the names of operations and of `tf.Variable`s."""

    def __init__(self, name: str | None, default_name: str | None = None, values: Any = None) -> None:
        if default_name is not None and not isinstance(default_name, str):
            raise TypeError(
                f"`default_name` type ({type(default_name)}) is not a string type. You likely meant to pass this into "
                "the `values` kwarg."
            )
        self._name = default_name if name is None else name
        if self._name is None and values is not None:
            raise ValueError(f"At least one of name ({name}) and default_name ({default_name}) must be provided.")
        if self._name is not None and not isinstance(self._name, str):
            raise TypeError(f"name for name_scope must be a string, got {self._name!r}.")
        self._graph = get_default_graph() if values is None else graph_of(values)

    @property
    def name(self) -> str | None:
        return self._name

    def __enter__(self) -> str:
        self._default = self._graph.as_default()
        self._default.__enter__()
        self._scope = self._graph.name_scope(self._name)
        try:
            return self._scope.__enter__()
        except BaseException:
            self._default.__exit__(None, None, None)
            raise

    def __exit__(self, *exception: Any) -> None:
        self._scope.__exit__(None, None, None)
        self._default.__exit__(None, None, None)


def graph_of(values: Iterable[Any]) -> Graph:
    """The graph that the tensors, operations and variables among `values` belong to, else the default one.

    Raises ValueError when they belong to several.
    """
    found: Graph | None = None
    first: Any = None
    for value in values:
        graph = getattr(value, "graph", None)
        if graph is None or graph is found or not isinstance(graph, Graph):
            continue
        if found is not None:
            raise ValueError(f"{value} must be from the same graph as {first}.")
        found, first = graph, value
    return get_default_graph() if found is None else found


@contextmanager
def op_scope(values: Iterable[Any], name: str | None, default_name: str | None = None) -> Iterator[str]:
    """The old form of `tf.name_scope(name, default_name, values)`."""
    with name_scope(name, default_name, values) as scope:
        yield scope


def device(device_name_or_function: Any) -> Any:
    """`Graph.device` of the default graph."""
    return get_default_graph().device(device_name_or_function)


def colocate_with(op: Any, ignore_existing: bool = False) -> Any:
    """`Graph.colocate_with` of the default graph."""
    return get_default_graph().colocate_with(op, ignore_existing)


def container(container_name: str) -> Any:
    """`Graph.container` of the default graph."""
    return get_default_graph().container(container_name)


def control_dependencies(control_inputs: Any) -> Any:
    """`Graph.control_dependencies` of the default graph."""
    return get_default_graph().control_dependencies(control_inputs)


def init_scope() -> Any:
    """What is made inside waits for nothing that is outside."""
    return get_default_graph().control_dependencies(None)


def add_to_collection(name: Any, value: Any) -> None:
    """`Graph.add_to_collection` of the default graph."""
    get_default_graph().add_to_collection(name, value)


def add_to_collections(names: Any, value: Any) -> None:
    """`Graph.add_to_collections` of the default graph."""
    get_default_graph().add_to_collections(names, value)


def get_collection(key: Any, scope: str | None = None) -> list[Any]:
    """`Graph.get_collection` of the default graph."""
    return get_default_graph().get_collection(key, scope)


def get_collection_ref(key: Any) -> list[Any]:
    """`Graph.get_collection_ref` of the default graph."""
    return get_default_graph().get_collection_ref(key)


def set_random_seed(seed: int | None) -> None:
    """Seed the default graph: operations made from now on draw the same values in every graph built the same way."""
    get_default_graph().seed = seed
