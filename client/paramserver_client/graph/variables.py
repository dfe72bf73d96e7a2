"""`tf.Variable`: a named value that stays between runs."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from paramserver_client.graph import dtypes, ops_array, ops_elements, ops_join, ops_scatter, ops_state
from paramserver_client.graph.convert import apply, convert_to_tensor
from paramserver_client.graph.dtypes import DType
from paramserver_client.graph.graph import Graph, GraphKeys, get_default_graph, graph_of
from paramserver_client.graph.node import Operation, Operators, Tensor
from paramserver_client.graph.offered import refuse
from paramserver_client.graph.shapes import TensorShape, as_shape


class VariableSynchronization(enum.Enum):
    """When a distributed variable is brought together. Only ON_READ means something here: not trainable by default."""

    AUTO = 0
    NONE = 1
    ON_WRITE = 2
    ON_READ = 3


class VariableAggregation(enum.Enum):
    """How a distributed variable is brought together. Noted, and without effect: the server adds what workers push."""

    NONE = 0
    SUM = 1
    MEAN = 2
    ONLY_FIRST_REPLICA = 3
    ONLY_FIRST_TOWER = 3  # noqa: PIE796


class SaveSliceInfo:
    """Which part of a partitioned variable a variable is: it is saved and restored as that part."""

    def __init__(
        self,
        full_name: str | None = None,
        full_shape: Sequence[int] | None = None,
        var_offset: Sequence[int] | None = None,
        var_shape: Sequence[int] | None = None,
    ) -> None:
        self.full_name, self.full_shape = full_name, full_shape
        self.var_offset, self.var_shape = var_offset, var_shape

    @property
    def spec(self) -> str:
        """The part in one line: `2 4 0,2:2,2` are the columns 2 and 3 of a 2 x 4 matrix."""
        whole = " ".join(map(str, self.full_shape or ()))
        parts = zip(self.var_offset or (), self.var_shape or (), strict=True)
        return f"{whole} {':'.join(f'{offset},{size}' for offset, size in parts)}"


_SliceInfo = SaveSliceInfo  # `Variable.SaveSliceInfo` hides the name inside the class.


class _Created(type):
    """Hands the making of a variable through the creators of `tf.variable_creator_scope`, the innermost first."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        creators = get_default_graph().variable_creators
        if not creators:
            return super().__call__(*args, **kwargs)
        given = dict(zip(_ARGUMENTS, args, strict=False))
        make: Callable[..., Any] = super().__call__
        for creator in creators:
            make = _next(creator, make)
        return make(**{**_CREATOR_DEFAULTS, **given, **kwargs})


def _next(creator: Callable[..., Any], make: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **kwargs: creator(make, **kwargs)


_ARGUMENTS = (
    "initial_value", "trainable", "collections", "validate_shape", "caching_device", "name", "variable_def", "dtype",
    "expected_shape", "import_scope", "constraint", "use_resource", "synchronization", "aggregation", "shape",
)  # fmt: skip
_CREATOR_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(_ARGUMENTS), "validate_shape": True,
    "synchronization": VariableSynchronization.AUTO, "aggregation": VariableAggregation.NONE,
}  # fmt: skip


class Variable(Operators, metaclass=_Created):
    """A named value that stays between runs: on the server, or in the session for those in LOCAL_VARIABLES.

    `initial_value` is a value, a tensor, another variable, or a function without arguments that gives one; the
    variable has it once its `initializer` has run. `trainable` adds it to TRAINABLE_VARIABLES; `collections` replaces
    GLOBAL_VARIABLES. Building it changes the graph only: nothing is sent before a run. With `validate_shape=False`, or
    another `shape` than the initial value's, it may be assigned values of other shapes.

    Raises ValueError without an initial value, or with one of unknown shape.
    """

    SaveSliceInfo = _SliceInfo

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
        refuse("tf.Variable", variable_def=(variable_def, None), import_scope=(import_scope, None))
        if initial_value is None:
            raise ValueError("initial_value must be specified.")
        if constraint is not None and not callable(constraint):
            raise ValueError("The `constraint` argument must be a callable.")
        self._synchronization, self._aggregation = _distribution(synchronization, aggregation, name)
        on_read = self._synchronization is VariableSynchronization.ON_READ
        self._trainable = not on_read if trainable is None else bool(trainable)
        self._collections = _collections(collections, self._trainable)
        self._constraint = constraint
        self._slice_info: _SliceInfo | None = None
        wanted = None if dtype is None else dtypes.as_dtype(dtype).base_dtype
        graph = get_default_graph() if callable(initial_value) else graph_of([initial_value])
        with graph.as_default(), graph.control_dependencies(None), graph.name_scope(name or "Variable") as scope:
            self._build(initial_value, wanted, scope, validate_shape, None if shape is None else as_shape(shape))
            with graph.colocate_with(self.op) if caching_device is None else graph.device(caching_device):
                self._snapshot = ops_array.identity(self._ref_tensor, name="read")
        is_text = self._initial_value.dtype.base_dtype == dtypes.string
        self._is_local = is_text or GraphKeys.LOCAL_VARIABLES in self._collections
        graph.add_to_collections(self._collections, self)

    def _build(
        self, initial_value: Any, dtype: DType | None, scope: str, validate_shape: bool, shape: TensorShape | None
    ) -> None:
        graph = get_default_graph()
        self._initial_value = _initial_tensor(initial_value, dtype)
        own = self._initial_value.shape
        if validate_shape and not own.is_fully_defined():
            raise ValueError(f"initial_value must have a shape specified: {self._initial_value}")
        if shape is None:
            shape = own if validate_shape else TensorShape(None)
        base = self._initial_value.dtype.base_dtype
        attrs = {"shape": shape, "dtype": base, "container": graph.current_container.encode(), "shared_name": b""}
        op = graph.create_op("VariableV2", [], attrs, scope)
        op.variable = self
        self._ref_tensor = op.outputs[0]
        made = {"initializer": True, "use_locking": True} | ({} if validate_shape else {"validate_shape": False})
        self._initializer = graph.create_op("Assign", [self._ref_tensor, _guarded(self._initial_value)], made, "Assign")

    @property
    def name(self) -> str:
        return self._ref_tensor.name

    @property
    def op(self) -> Operation:
        return self._ref_tensor.op

    @property
    def dtype(self) -> DType:
        return self._ref_tensor.dtype

    @property
    def shape(self) -> TensorShape:
        return self._ref_tensor.shape

    def get_shape(self) -> TensorShape:
        return self._ref_tensor.shape

    def set_shape(self, shape: Any) -> None:
        self._ref_tensor.set_shape(shape)
        self._snapshot.set_shape(shape)

    @property
    def graph(self) -> Graph:
        return self._ref_tensor.graph

    @property
    def device(self) -> str:
        return self._ref_tensor.device

    @property
    def trainable(self) -> bool:
        return self._trainable

    @property
    def collections(self) -> tuple[str, ...]:
        """The collections it was put into when it was made."""
        return self._collections

    @property
    def is_local(self) -> bool:
        """Whether its value lives in the session and never travels; so do strings, which no server holds."""
        return self._is_local

    @property
    def synchronization(self) -> VariableSynchronization:
        return self._synchronization

    @property
    def aggregation(self) -> VariableAggregation:
        return self._aggregation

    @property
    def _shared_name(self) -> str:
        return self.op.name

    @property
    def _distribute_strategy(self) -> None:
        return None

    @property
    def _save_slice_info(self) -> _SliceInfo | None:
        return self._slice_info

    def _set_save_slice_info(self, save_slice_info: _SliceInfo | None) -> None:
        self._slice_info = save_slice_info

    def _get_save_slice_info(self) -> _SliceInfo | None:
        return self._slice_info

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

    def _start_with(self, value: Tensor) -> None:
        """Make `value` the initial value, in place of the one the variable was made with."""
        attrs = dict(self._initializer.attrs)
        self._initial_value = value
        self._initializer = self.graph.create_op("Assign", [self._ref_tensor, value], attrs, f"{self.op.name}/Assign")

    def initialized_value(self) -> Tensor:
        """Its value if it is initialized when the run begins, else its initial value: for the initial values of
        other variables."""
        with self.graph.as_default(), self.graph.control_dependencies(None):
            return apply("InitializedValue", [self._ref_tensor, self._initial_value], "cond")

    def value(self) -> Tensor:
        """The tensor of its value."""
        return self._snapshot

    def read_value(self) -> Tensor:
        """A new tensor of its value, read after what the control dependencies here ask for."""
        return ops_array.identity(self._ref_tensor, name="read")

    def eval(self, session: Any = None) -> Any:
        """Its value in `session` or the default one. Raises ValueError when there is neither."""
        return self._ref_tensor.eval(session=session)

    def load(self, value: Any, session: Any = None) -> None:
        """Give it `value` now, in `session` or the default one. Raises ValueError for a value of another shape."""
        from paramserver_client.graph.session import get_default_session  # The session module imports this one.

        session = session or get_default_session()
        if session is None:
            raise ValueError("Either session argument should be provided or default session should be established")
        session.run(self._initializer, {self._initializer.inputs[1]: value})

    def count_up_to(self, limit: int) -> Tensor:
        """`tf.count_up_to` of this variable."""
        return ops_scatter.count_up_to(self, limit)

    def assign(self, value: Any, use_locking: Any = False, name: str | None = None, read_value: bool = True) -> Any:
        """`tf.assign` of this variable; the operation instead of the new value with `read_value=False`."""
        result = ops_state.assign(self._ref_tensor, value, use_locking=bool(use_locking), name=name)
        return result if read_value else result.op

    def assign_add(self, delta: Any, use_locking: Any = False, name: str | None = None, read_value: bool = True) -> Any:
        """`tf.assign_add` of this variable; the operation instead of the new value with `read_value=False`."""
        result = ops_state.assign_add(self._ref_tensor, delta, use_locking=use_locking, name=name)
        return result if read_value else result.op

    def assign_sub(self, delta: Any, use_locking: Any = False, name: str | None = None, read_value: bool = True) -> Any:
        """`tf.assign_sub` of this variable; the operation instead of the new value with `read_value=False`."""
        result = ops_state.assign_sub(self._ref_tensor, delta, use_locking=use_locking, name=name)
        return result if read_value else result.op

    def scatter_update(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """`tf.scatter_update` with the rows of an `IndexedSlices`: rows put into the variable. Raises TypeError for anything else."""
        return ops_scatter.scatter_slices(
            ops_scatter.scatter_update, self, sparse_delta, use_locking=use_locking, name=name
        )

    def scatter_add(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """`tf.scatter_add` with the rows of an `IndexedSlices`: rows added. Raises TypeError for anything else."""
        return ops_scatter.scatter_slices(
            ops_scatter.scatter_add, self, sparse_delta, use_locking=use_locking, name=name
        )

    def scatter_sub(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """`tf.scatter_sub` with the rows of an `IndexedSlices`: rows subtracted. Raises TypeError for anything else."""
        return ops_scatter.scatter_slices(
            ops_scatter.scatter_sub, self, sparse_delta, use_locking=use_locking, name=name
        )

    def scatter_mul(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """`tf.scatter_mul` with the rows of an `IndexedSlices`: rows multiplied in. Raises TypeError for anything else."""
        return ops_scatter.scatter_slices(
            ops_scatter.scatter_mul, self, sparse_delta, use_locking=use_locking, name=name
        )

    def scatter_div(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """`tf.scatter_div` with the rows of an `IndexedSlices`: rows divided by. Raises TypeError for anything else."""
        return ops_scatter.scatter_slices(
            ops_scatter.scatter_div, self, sparse_delta, use_locking=use_locking, name=name
        )

    def scatter_min(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """`tf.scatter_min` with the rows of an `IndexedSlices`: each row becomes the smaller. Raises TypeError for anything else."""
        return ops_scatter.scatter_slices(
            ops_scatter.scatter_min, self, sparse_delta, use_locking=use_locking, name=name
        )

    def scatter_max(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """`tf.scatter_max` with the rows of an `IndexedSlices`: each row becomes the larger. Raises TypeError for anything else."""
        return ops_scatter.scatter_slices(
            ops_scatter.scatter_max, self, sparse_delta, use_locking=use_locking, name=name
        )

    def scatter_nd_update(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """`tf.scatter_nd_update` of this variable."""
        return ops_scatter.scatter_nd_update(self, indices, updates, use_locking=True, name=name)

    def sparse_read(self, indices: Any, name: str | None = None) -> Tensor:
        """`tf.gather` of this variable's rows."""
        return ops_join.gather(self, indices, name=name)

    def gather_nd(self, indices: Any, name: str | None = None) -> Tensor:
        """`tf.gather_nd` of this variable."""
        return ops_elements.gather_nd(self, indices, name=name)

    def batch_scatter_update(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """`tf.batch_scatter_update` with the rows of an `IndexedSlices`. Raises TypeError for anything else."""
        return ops_scatter.scatter_slices(
            ops_scatter.batch_scatter_update, self, sparse_delta, use_locking=use_locking, name=name
        )

    def scatter_nd_add(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """`tf.scatter_nd_add` of this variable."""
        return ops_scatter.scatter_nd_add(self, indices, updates, use_locking=True, name=name)

    def scatter_nd_sub(self, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        """`tf.scatter_nd_sub` of this variable."""
        return ops_scatter.scatter_nd_sub(self, indices, updates, use_locking=True, name=name)

    def __getitem__(self, key: Any) -> Tensor:
        """A slice, with a method `assign` that puts a value into the variable there."""
        part: Tensor = super().__getitem__(key)
        part.assign = lambda value, name=None: ops_scatter.assign_slice(self._ref_tensor, part.op, value, name)
        return part

    def _ref(self) -> Tensor:
        return self._ref_tensor

    def _as_tensor(self) -> Tensor:
        return self._snapshot

    def _as_graph_element(self) -> Tensor:
        return self._ref_tensor

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


def _distribution(
    synchronization: Any, aggregation: Any, name: str | None
) -> tuple[VariableSynchronization, VariableAggregation]:
    try:
        when = VariableSynchronization.AUTO if synchronization is None else VariableSynchronization(synchronization)
    except ValueError:
        raise ValueError(f"Invalid variable synchronization mode: {synchronization} for variable: {name}") from None
    try:
        return when, VariableAggregation.NONE if aggregation is None else VariableAggregation(aggregation)
    except ValueError:
        raise ValueError(f"Invalid variable aggregation mode: {aggregation} for variable: {name}") from None


def _initial_tensor(initial_value: Any, dtype: DType | None) -> Tensor:
    if not callable(initial_value):
        return convert_to_tensor(initial_value, dtype, name="initial_value")
    graph = get_default_graph()
    before = graph.version
    variable = f"loc:@{graph.get_name_scope()}".encode()
    with graph.name_scope("Initializer"), graph.device(None):
        value = convert_to_tensor(initial_value(), dtype, name="initial_value")
    for op in graph.get_operations()[before:]:
        op.beside = [variable]
    return value


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
