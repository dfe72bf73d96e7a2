"""`tf.variable_scope` and `tf.get_variable`: named variables that are shared by asking for the same name again.

Scopes are lexical and belong to the graph and the thread; everything is settled here, and the server gets full names
and explicit specs.
"""

from __future__ import annotations

import enum
import functools
import inspect
import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

from paramserver_client.graph import dtypes, initializers, shapes
from paramserver_client.graph.convert import convert_to_tensor
from paramserver_client.graph.dtypes import DType
from paramserver_client.graph.graph import Graph, GraphKeys, get_default_graph, graph_of, name_scope
from paramserver_client.graph.offered import refuse
from paramserver_client.graph.shapes import TensorShape
from paramserver_client.graph.variables import Variable


class _ReuseMode(enum.Enum):
    AUTO_REUSE = 1


AUTO_REUSE: Final = _ReuseMode.AUTO_REUSE

_INVALID_INITIALIZER: Final = (
    "The initializer passed is not valid. It should be a callable with no arguments and the shape should not be "
    "provided or an instance of `tf.keras.initializers.*' and `shape` should be fully defined."
)


class VariableScope:
    """What `get_variable` goes by inside a `with tf.variable_scope(...)`: a prefix, reuse, and defaults."""

    def __init__(
        self,
        reuse: Any,
        name: str = "",
        initializer: Any = None,
        regularizer: Any = None,
        custom_getter: Any = None,
        name_scope: str = "",
        dtype: Any = dtypes.float32,
        constraint: Any = None,
    ) -> None:
        self._reuse = reuse
        self._name = name
        self._initializer = initializer
        self._regularizer = regularizer
        self._custom_getter = custom_getter
        self._name_scope = name_scope
        self._dtype = dtypes.as_dtype(dtype)
        self._constraint = constraint

    @property
    def name(self) -> str:
        return self._name

    @property
    def original_name_scope(self) -> str:
        """The name scope, with its `/`, in which this scope was first opened."""
        return self._name_scope

    @property
    def reuse(self) -> Any:
        return self._reuse

    @property
    def initializer(self) -> Any:
        return self._initializer

    @property
    def regularizer(self) -> Any:
        return self._regularizer

    @property
    def custom_getter(self) -> Any:
        return self._custom_getter

    @property
    def dtype(self) -> DType:
        return self._dtype

    @property
    def constraint(self) -> Any:
        return self._constraint

    def reuse_variables(self) -> None:
        """From now on this entered scope only finds variables."""
        self._reuse = True

    def set_initializer(self, initializer: Any) -> None:
        self._initializer = initializer

    def set_regularizer(self, regularizer: Any) -> None:
        self._regularizer = regularizer

    def set_custom_getter(self, custom_getter: Any) -> None:
        self._custom_getter = custom_getter

    def set_dtype(self, dtype: Any) -> None:
        self._dtype = dtypes.as_dtype(dtype)

    def get_collection(self, name: Any) -> list[Any]:
        """The part of a collection whose names begin with this scope's."""
        return get_default_graph().get_collection(name, f"{self._name}/" if self._name else "")

    def global_variables(self) -> list[Any]:
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def local_variables(self) -> list[Any]:
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)

    def trainable_variables(self) -> list[Any]:
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def get_variable(self, name: str, shape: Any = None, dtype: Any = None, initializer: Any = None,
                     regularizer: Any = None, reuse: Any = None, trainable: bool | None = None,
                     collections: Any = None, validate_shape: bool = True, custom_getter: Any = None,
                     constraint: Any = None) -> Any:  # fmt: skip
        """The variable `name` in this scope: found or made, as `reuse` says."""
        full_name = f"{self._name}/{name}" if self._name else name
        with get_default_graph().name_scope(None):
            if dtype is not None and initializer is not None and not callable(initializer):
                own = convert_to_tensor(initializer).dtype.base_dtype
                if own != dtypes.as_dtype(dtype):
                    raise ValueError(
                        f"Initializer type '{own}' and explicit dtype '{dtypes.as_dtype(dtype)}' don't match."
                    )
            getter = self._custom_getter if custom_getter is None else custom_getter
            make = functools.partial(_store().get, validate_shape=validate_shape)
            if getter is not None:
                make = functools.partial(_through_getter, getter, make)
            return make(
                name=full_name, shape=shape, dtype=self._dtype if dtype is None else dtypes.as_dtype(dtype),
                initializer=self._initializer if initializer is None else initializer,
                regularizer=self._regularizer if regularizer is None else regularizer,
                reuse=self._reuse if reuse is None else reuse, trainable=trainable, collections=collections,
                constraint=self._constraint if constraint is None else constraint,
            )  # fmt: skip


def _through_getter(custom_getter: Any, make: Callable[..., Any], **arguments: Any) -> Any:
    return custom_getter(make, **arguments)


class _VariableStore:
    """The variables of one graph that `get_variable` made, by name, and how often each scope was opened."""

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}
        self.origins: dict[str, str] = {}
        self.here = _Here()

    def get(self, name: str, shape: Any = None, dtype: Any = dtypes.float32, initializer: Any = None,
            regularizer: Any = None, reuse: Any = None, trainable: bool | None = None, collections: Any = None,
            validate_shape: bool = True, constraint: Any = None) -> Variable:  # fmt: skip
        """The variable called `name`. Raises ValueError when `reuse` and what there is do not agree, and when shape
        or dtype differ from those of the variable found."""
        from_value = initializer is not None and not callable(initializer)
        if shape is not None and from_value:
            raise ValueError("If initializer is a constant, do not specify shape.")
        wanted, shape = dtypes.as_dtype(dtype), shapes.as_shape(shape)
        if name in self.variables:
            return self._found(name, reuse, shape, wanted)
        if reuse is True:
            raise ValueError(
                f"Variable {name} does not exist, or was not created with tf.get_variable(). Did you mean to set "
                "reuse=tf.AUTO_REUSE in VarScope?"
            )
        if initializer is None:
            initializer = _default_initializer(name, wanted)
        value, own_dtype = (initializer, None) if from_value else _first_value(initializer, shape, wanted)
        variable = Variable(
            value, name=name, trainable=trainable, collections=collections, dtype=own_dtype,
            validate_shape=validate_shape, constraint=constraint,
        )  # fmt: skip
        self.variables[name] = variable
        self.origins[name] = "".join(traceback.format_list(_callers()))
        if regularizer is not None:
            with name_scope(f"{name}/Regularizer/"):
                loss = regularizer(variable)
            if loss is not None:
                get_default_graph().add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
        return variable

    def _found(self, name: str, reuse: Any, shape: TensorShape, dtype: DType) -> Variable:
        variable = self.variables[name]
        if not reuse:
            raise ValueError(
                f"Variable {name} already exists, disallowed. Did you mean to set reuse=True or reuse=tf.AUTO_REUSE "
                f"in VarScope? Originally defined at:\n\n{self.origins[name]}"
            )
        if not shape.is_compatible_with(variable.shape):
            raise ValueError(
                f"Trying to share variable {name}, but specified shape {shape} and found shape {variable.shape}."
            )
        if not dtype.is_compatible_with(variable.dtype):
            raise ValueError(
                f"Trying to share variable {name}, but specified dtype {dtype.name} and found dtype "
                f"{variable.dtype.name}."
            )
        return variable


class _Here(threading.local):
    """Where one thread stands among the variable scopes of a graph."""

    def __init__(self) -> None:
        self.scope = VariableScope(False)
        self.opened: dict[str, int] = {}


def _callers() -> list[traceback.FrameSummary]:
    here = __name__.rpartition(".")[0].replace(".", "/")
    frames = [frame for frame in traceback.extract_stack() if here not in frame.filename.replace("\\", "/")]
    return frames[::-1][:5]


def _default_initializer(name: str, dtype: DType) -> initializers.Initializer:
    if dtype.is_floating:
        return initializers.GlorotUniform()
    if dtype.is_integer or dtype.is_bool or dtype == dtypes.string:
        return initializers.Zeros()
    raise ValueError(f"An initializer for variable {name} of {dtype.base_dtype} is required")


def _first_value(initializer: Any, shape: TensorShape, dtype: DType) -> tuple[Any, DType | None]:
    if inspect.isclass(initializer):
        initializer = initializer()
    if shape.is_fully_defined():
        extra = {"partition_info": None} if _takes_partition_info(initializer) else {}
        return lambda: initializer(shape.as_list(), dtype=dtype.base_dtype, **extra), dtype.base_dtype
    if shape.sizes is None and not _required(initializer):
        return initializer, None
    raise ValueError(_INVALID_INITIALIZER)


def _parameters(initializer: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(initializer).parameters.values())


def _takes_partition_info(initializer: Any) -> bool:
    return any(each.name == "partition_info" or each.kind is each.VAR_KEYWORD for each in _parameters(initializer))


def _required(initializer: Any) -> bool:
    return any(
        each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        for each in _parameters(initializer)
    )


def _store(graph: Graph | None = None) -> _VariableStore:
    graph = graph or get_default_graph()
    if graph.variable_scopes is None:
        graph.variable_scopes = _VariableStore()
    store: _VariableStore = graph.variable_scopes
    return store


def get_variable_scope() -> VariableScope:
    """The variable scope of this thread in the default graph."""
    return _store().here.scope


def _plain_reuse(reuse: Any) -> Any:
    if reuse not in (None, False, True, AUTO_REUSE):
        raise ValueError("The reuse parameter must be True or False or None.")
    return reuse or None


class variable_scope:
    """`with tf.variable_scope("conv1") as scope:` puts `conv1/` before the names of `get_variable` and of operations.

    `reuse`: True finds variables only, `tf.AUTO_REUSE` finds or makes, None inherits; it cannot be switched off
    inside. `initializer`, `regularizer`, `dtype` and `custom_getter` are defaults for what is inside, and inherited.
    `default_name` is used, made unique, when `name_or_scope` is None.

    Raises TypeError without any name, ValueError for another `reuse`, or for reuse=True with only a default name.
    """

    def __init__(
        self,
        name_or_scope: Any,
        default_name: str | None = None,
        values: Any = None,
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Any = None,
        reuse: Any = None,
        dtype: Any = None,
        use_resource: Any = None,
        constraint: Any = None,
        auxiliary_name_scope: bool = True,
    ) -> None:
        refuse("tf.variable_scope", partitioner=(partitioner, None))
        if default_name is None and name_or_scope is None:
            raise TypeError("If default_name is None then name_or_scope is required")
        if not isinstance(auxiliary_name_scope, bool):
            raise TypeError(f"The auxiliary_name_scope must be `True` or `False`, while get {auxiliary_name_scope}")
        self._name_or_scope = name_or_scope
        self._default_name = default_name
        self._reuse = _plain_reuse(reuse)
        self._defaults = {
            "initializer": initializer, "regularizer": regularizer, "custom_getter": custom_getter, "dtype": dtype
        }  # fmt: skip
        self._constraint = constraint
        self._opens_names = auxiliary_name_scope
        self._graph = graph_of(values or [])
        self._entered: list[ExitStack] = []
        self._first: tuple[str, str] | None = None

    def __enter__(self) -> VariableScope:
        if self._name_or_scope is not None and not isinstance(self._name_or_scope, str | VariableScope):
            raise TypeError("VariableScope: name_or_scope must be a string or VariableScope.")
        if self._name_or_scope is None and self._reuse:
            raise ValueError("reuse=True cannot be used without a name_or_scope")
        with ExitStack() as stack:
            stack.enter_context(self._graph.as_default())
            scope = self._open(stack)
            self._entered.append(stack.pop_all())
        return scope

    def __exit__(self, *exception: Any) -> None:
        self._entered.pop().close()

    def _open(self, stack: ExitStack) -> VariableScope:
        here = _store(self._graph).here
        outer, opened = here.scope, dict(here.opened)
        stack.callback(lambda: setattr(here, "scope", outer))
        jumped = isinstance(self._name_or_scope, VariableScope)
        names = self._enter_names(stack)
        new = self._moved_into() if jumped else self._prolonged(here, outer, names)
        here.opened[new.name] = here.opened.get(new.name, 0) + 1
        stack.callback(lambda: setattr(here, "opened", opened) if jumped else _close_below(here, new.name))
        here.scope = new
        return new

    def _enter_names(self, stack: ExitStack) -> str | None:
        """Enter the name scope that goes with this one; gives it with its `/`, None where there is none."""
        if not self._opens_names:
            current = self._graph.get_name_scope()
            return stack.enter_context(self._graph.name_scope(f"{current}/" if current else None))
        given = self._name_or_scope
        wanted = self._default_name if given is None else given if isinstance(given, str) else given.name.split("/")[-1]
        return stack.enter_context(self._graph.name_scope(wanted)) if wanted else None

    def _moved_into(self) -> VariableScope:
        old = self._name_or_scope
        scope = VariableScope(
            self._reuse or old.reuse, old.name, old.initializer, old.regularizer, old.custom_getter,
            old.original_name_scope, old.dtype, self._constraint,
        )  # fmt: skip
        self._apply_defaults(scope, old)
        return scope

    def _prolonged(self, here: _Here, outer: VariableScope, names: str | None) -> VariableScope:
        if self._first is None:
            own = _unique(here, outer, self._default_name) if self._name_or_scope is None else self._name_or_scope
            self._first = (own, own if names is None else names)
        own, original = self._first  # Entered again, the same object keeps its name and its first name scope.
        scope = VariableScope(
            self._reuse or outer.reuse, f"{outer.name}/{own}" if outer.name else own, outer.initializer,
            outer.regularizer, outer.custom_getter, original, outer.dtype, self._constraint,
        )  # fmt: skip
        self._apply_defaults(scope, outer)
        return scope

    def _apply_defaults(self, scope: VariableScope, outer: VariableScope) -> None:
        given = self._defaults
        if given["initializer"] is not None:
            scope.set_initializer(given["initializer"])
        if given["regularizer"] is not None:
            scope.set_regularizer(given["regularizer"])
        if given["dtype"] is not None:
            scope.set_dtype(given["dtype"])
        if given["custom_getter"] is not None:
            scope.set_custom_getter(_wrapped(given["custom_getter"], outer.custom_getter))


def _wrapped(custom_getter: Any, outer: Any) -> Any:
    """The inner getter is called first; what it calls is the outer one."""
    if outer is None:
        return custom_getter

    def both(getter: Any, *args: Any, **kwargs: Any) -> Any:
        return custom_getter(functools.partial(outer, getter), *args, **kwargs)

    return both


def _unique(here: _Here, outer: VariableScope, prefix: str | None) -> str:
    base = f"{outer.name}/{prefix}" if outer.name else str(prefix)
    if not here.opened.get(base):
        return str(prefix)
    number = 1
    while here.opened.get(f"{base}_{number}"):
        number += 1
    return f"{prefix}_{number}"


def _close_below(here: _Here, name: str) -> None:
    for opened in here.opened:
        if opened.startswith(f"{name}/"):
            here.opened[opened] = 0


def get_variable(
    name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, regularizer: Any = None,
    trainable: bool | None = None, collections: Any = None, caching_device: Any = None, partitioner: Any = None,
    validate_shape: bool = True, use_resource: Any = None, custom_getter: Any = None, constraint: Any = None,
    synchronization: Any = None, aggregation: Any = None,
) -> Any:  # fmt: skip
    """The variable `name` of the current scope: made, or found when the scope's `reuse` says so.

    `initializer` is an initializer (or its class), a function of shape and dtype, or a value (then without `shape`);
    without one the scope's holds, else glorot_uniform for floats and zeros for integers and bools.

    Raises ValueError when the variable exists and must not, or must and does not; when shape or dtype differ from
    those of the one found; and for an initializer that does not fit.
    """
    refuse(
        "tf.get_variable", partitioner=(partitioner, None), synchronization=(synchronization, None),
        aggregation=(aggregation, None),
    )  # fmt: skip
    return get_variable_scope().get_variable(
        name, shape, dtype, initializer, regularizer, None, trainable, collections, validate_shape, custom_getter,
        constraint,
    )  # fmt: skip


def get_local_variable(
    name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, regularizer: Any = None,
    trainable: Any = False, collections: Any = None, **kwargs: Any,
) -> Any:  # fmt: skip
    """`get_variable` of a variable that lives in the session and is not trained."""
    keys = [*(collections or []), GraphKeys.LOCAL_VARIABLES]
    return get_variable(name, shape, dtype, initializer, regularizer, False, keys, **kwargs)
