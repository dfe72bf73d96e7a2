"""`tf.Variable`, the collections variables are found in, and the operations that initialize and check many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from paramserver_client.graph import dtypes, ops_array, ops_state
from paramserver_client.graph.convert import apply, constant, convert_to_tensor, op_scope
from paramserver_client.graph.dtypes import DType
from paramserver_client.graph.graph import Graph, GraphKeys, get_collection, get_default_graph, graph_of
from paramserver_client.graph.node import Operation, Operators, Tensor
from paramserver_client.graph.offered import refuse
from paramserver_client.graph.shapes import TensorShape


class Variable(Operators):
    """A named value that stays between runs: on the server, or in the session for those in LOCAL_VARIABLES.

    `initial_value` is a value, a tensor, another variable, or a function without arguments that gives one; the
    variable has it once its `initializer` has run. `trainable` adds it to TRAINABLE_VARIABLES; `collections` replaces
    GLOBAL_VARIABLES. Building it changes the graph only: nothing is sent before a run.

    Raises ValueError without an initial value, or with one of unknown shape; TypeError for strings, which a parameter
    server does not hold.
    """

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool | None = None,
        collections: Any = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        expected_shape: Any = None,
        import_scope: Any = None,
        constraint: Callable[[Any], Any] | None = None,
        use_resource: Any = None,
        synchronization: Any = None,
        aggregation: Any = None,
        shape: Any = None,
    ) -> None:
        refuse(
            "tf.Variable", validate_shape=(validate_shape, True), variable_def=(variable_def, None),
            import_scope=(import_scope, None), synchronization=(synchronization, None),
            aggregation=(aggregation, None), shape=(shape, None), expected_shape=(expected_shape, None),
        )  # fmt: skip
        if initial_value is None:
            raise ValueError("initial_value must be specified.")
        if constraint is not None and not callable(constraint):
            raise ValueError("The `constraint` argument must be a callable.")
        self._trainable = trainable is None or bool(trainable)
        self._collections = _collections(collections, self._trainable)
        self._constraint = constraint
        wanted = None if dtype is None else dtypes.as_dtype(dtype).base_dtype
        graph = get_default_graph() if callable(initial_value) else graph_of([initial_value])
        with graph.as_default(), graph.control_dependencies(None):
            self._build(initial_value, wanted, name)
        graph.add_to_collections(self._collections, self)

    def _build(self, initial_value: Any, dtype: DType | None, name: str | None) -> None:
        graph = get_default_graph()
        with graph.name_scope(name or "Variable") as scope:
            self._initial_value = _initial_tensor(initial_value, dtype)
            base = self._initial_value.dtype.base_dtype
            if base == dtypes.string:
                raise TypeError(
                    f"Variable {scope.removesuffix('/')!r}: strings are not held by a parameter server; use a constant."
                )
            shape = self._initial_value.shape
            if not shape.is_fully_defined():
                raise ValueError(f"initial_value must have a shape specified: {self._initial_value}")
            op = graph.create_op("VariableV2", [], {"shape": shape, "dtype": base._as_ref}, scope)
            op.variable = self
            self._ref = op.outputs[0]
            guarded = _guarded(self._initial_value)
            attrs = {"initializer": True}
            self._initializer = graph.create_op("Assign", [self._ref, guarded], attrs, "Assign")
            self._snapshot = ops_array.identity(self._ref, name="read")

    @property
    def name(self) -> str:
        return self._ref.name

    @property
    def op(self) -> Operation:
        return self._ref.op

    @property
    def dtype(self) -> DType:
        return self._ref.dtype

    @property
    def shape(self) -> TensorShape:
        return self._ref.shape

    def get_shape(self) -> TensorShape:
        return self._ref.shape

    def set_shape(self, shape: Any) -> None:
        self._ref.set_shape(shape)

    @property
    def graph(self) -> Graph:
        return self._ref.graph

    @property
    def device(self) -> str:
        return ""

    @property
    def trainable(self) -> bool:
        return self._trainable

    @property
    def collections(self) -> tuple[str, ...]:
        """The collections it was put into when it was made."""
        return self._collections

    @property
    def is_local(self) -> bool:
        """Whether its value lives in the session and never travels."""
        return GraphKeys.LOCAL_VARIABLES in self._collections

    @property
    def constraint(self) -> Callable[[Any], Any] | None:
        """What optimizers apply to it after an update."""
        return self._constraint

    @property
    def initial_value(self) -> Tensor:
        return self._initial_value

    @property
    def initializer(self) -> Operation:
        """The operation that gives it its initial value, again and again."""
        return self._initializer

    def initialized_value(self) -> Tensor:
        """Its value if it is initialized when the run begins, else its initial value: for the initial values of
        other variables."""
        with self.graph.as_default(), self.graph.control_dependencies(None):
            return apply("InitializedValue", [self._ref, self._initial_value], "cond")

    def value(self) -> Tensor:
        """The tensor of its value."""
        return self._snapshot

    def read_value(self) -> Tensor:
        """A new tensor of its value, read after what the control dependencies here ask for."""
        return ops_array.identity(self._ref, name="Identity")

    def eval(self, session: Any = None) -> Any:
        """Its value in `session` or the default one. Raises ValueError when there is neither."""
        return self._ref.eval(session=session)

    def load(self, value: Any, session: Any = None) -> None:
        """Give it `value` now, in `session` or the default one. Raises ValueError for a value of another shape."""
        from paramserver_client.graph.session import get_default_session  # The session module imports this one.

        session = session or get_default_session()
        if session is None:
            raise ValueError("Either session argument should be provided or default session should be established")
        session.run(self._initializer, {self._initializer.inputs[1]: value})

    def assign(self, value: Any, use_locking: Any = False, name: str | None = None, read_value: bool = True) -> Any:
        """`tf.assign` of this variable; the operation instead of the new value with `read_value=False`."""
        result = ops_state.assign(self._ref, value, use_locking=use_locking, name=name)
        return result if read_value else result.op

    def assign_add(self, delta: Any, use_locking: Any = False, name: str | None = None, read_value: bool = True) -> Any:
        """`tf.assign_add` of this variable; the operation instead of the new value with `read_value=False`."""
        result = ops_state.assign_add(self._ref, delta, use_locking=use_locking, name=name)
        return result if read_value else result.op

    def assign_sub(self, delta: Any, use_locking: Any = False, name: str | None = None, read_value: bool = True) -> Any:
        """`tf.assign_sub` of this variable; the operation instead of the new value with `read_value=False`."""
        result = ops_state.assign_sub(self._ref, delta, use_locking=use_locking, name=name)
        return result if read_value else result.op

    def _as_tensor(self) -> Tensor:
        return self._snapshot

    def _as_graph_element(self) -> Tensor:
        return self._ref

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("'Variable' object is not iterable.")

    def __bool__(self) -> NoReturn:
        raise TypeError("Using a `tf.Variable` as a Python `bool` is not allowed; run it first.")

    def __repr__(self) -> str:
        return f"<tf.Variable '{self.name}' shape={self.shape} dtype={self.dtype.name}>"


def _collections(collections: Any, trainable: bool) -> tuple[str, ...]:
    if collections is None:
        collections = [GraphKeys.GLOBAL_VARIABLES]
    if not isinstance(collections, list | tuple | set):
        raise ValueError(
            "collections argument to Variable constructor must be a list, tuple, or set. "
            f"Got {collections} of type {type(collections)}"
        )
    keys = list(collections)
    if trainable and GraphKeys.TRAINABLE_VARIABLES not in keys:
        keys.append(GraphKeys.TRAINABLE_VARIABLES)
    return tuple(keys)


def _initial_tensor(initial_value: Any, dtype: DType | None) -> Tensor:
    if not callable(initial_value):
        return convert_to_tensor(initial_value, dtype, name="initial_value")
    with get_default_graph().name_scope("Initializer"):
        return convert_to_tensor(initial_value(), dtype, name="initial_value")


def _guarded(tensor: Tensor) -> Tensor:
    """The tensor with each variable it reads replaced by that variable's `initialized_value()`, one level deep."""
    affected = _reading_variables(tensor.op)
    done: dict[Operation, list[Tensor]] = {}
    for op in affected:
        if op.definition.effect == "variable":
            done[op] = [op.variable.initialized_value()]
        elif op.type == "Identity" and op.inputs[0].op.definition.effect == "variable":
            done[op] = done[op.inputs[0].op]
        else:
            inputs = [done[each.op][each.value_index] if each.op in done else each for each in op.inputs]
            name = f"{op.name.replace('/', '_')}_guarded"
            done[op] = get_default_graph().create_op(op.type, inputs, op.attrs, name).outputs
    return done[tensor.op][tensor.value_index] if tensor.op in done else tensor


def _reading_variables(op: Operation) -> list[Operation]:
    """Of an operation and all before it those whose values depend on a variable unguarded, in order of making."""
    before: set[Operation] = set()
    waiting = [op]
    while waiting:
        each = waiting.pop()
        if each not in before and each.definition.effect not in ("guard", "write"):
            before.add(each)
            waiting.extend(tensor.op for tensor in each.inputs)
    affected: dict[Operation, None] = {}
    for each in sorted(before, key=lambda each: each.index):
        if each.definition.effect == "variable" or any(tensor.op in affected for tensor in each.inputs):
            affected[each] = None
    return list(affected)


# Collections


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


def initialize_variables(var_list: Any, name: str = "init") -> Operation:
    """The old name of `tf.variables_initializer`."""
    return variables_initializer(var_list, name)


def initialize_all_variables() -> Operation:
    """The old name of `tf.global_variables_initializer`."""
    return global_variables_initializer()


def initialize_local_variables() -> Operation:
    """The old name of `tf.local_variables_initializer`."""
    return local_variables_initializer()


def is_variable_initialized(variable: Any) -> Tensor:
    """A bool scalar: whether the variable has a value when this runs."""
    return ops_state.is_variable_initialized(variable)


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
