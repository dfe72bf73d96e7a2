"""`tf.variable_scope` and `tf.get_variable`: named variables that are shared by asking for the same name again.

Scopes are lexical and belong to the graph and the thread; everything is settled here, and the server gets full names
and explicit specs.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from paramserver_client.graph import dtypes
from paramserver_client.graph.convert import convert_to_tensor
from paramserver_client.graph.dtypes import DType
from paramserver_client.graph.graph import Graph, GraphKeys, get_default_graph, graph_of
from paramserver_client.graph.partitions import PartitionedVariable
from paramserver_client.graph.variable_store import AUTO_REUSE, VariableStore
from paramserver_client.graph.variables import Variable


class VariableScope:
    """What `get_variable` goes by inside a `with tf.variable_scope(...)`: a prefix, reuse, and defaults."""

    def __init__(
        self,
        reuse: Any,
        name: str = "",
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Any = None,
        name_scope: str = "",
        dtype: Any = dtypes.float32,
        use_resource: Any = None,
        constraint: Any = None,
    ) -> None:
        self._reuse = reuse
        self._name = name
        self._initializer = initializer
        self._regularizer = regularizer
        self._caching_device = caching_device
        self._partitioner = partitioner
        self._custom_getter = custom_getter
        self._name_scope = name_scope
        self._dtype = dtypes.as_dtype(dtype)
        self._use_resource = use_resource
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
    def caching_device(self) -> Any:
        return self._caching_device

    @property
    def partitioner(self) -> Any:
        return self._partitioner

    @property
    def use_resource(self) -> Any:
        return self._use_resource

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

    def set_caching_device(self, caching_device: Any) -> None:
        self._caching_device = caching_device

    def set_partitioner(self, partitioner: Any) -> None:
        self._partitioner = partitioner

    def set_use_resource(self, use_resource: Any) -> None:
        """Noted and without effect: there is one kind of variable here."""
        self._use_resource = use_resource

    def set_custom_getter(self, custom_getter: Any) -> None:
        self._custom_getter = custom_getter

    def set_dtype(self, dtype: Any) -> None:
        self._dtype = dtypes.as_dtype(dtype)

    def get_collection(self, name: Any) -> list[Any]:
        """The part of a collection whose names begin with this scope's."""
        return get_default_graph().get_collection(name, f"{self._name}/" if self._name else "")

    def trainable_variables(self) -> list[Any]:
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def global_variables(self) -> list[Any]:
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def local_variables(self) -> list[Any]:
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)

    def get_variable(
        self, var_store: VariableStore, name: str, shape: Any = None, dtype: Any = None, initializer: Any = None,
        regularizer: Any = None, reuse: Any = None, trainable: bool | None = None, collections: Any = None,
        caching_device: Any = None, partitioner: Any = None, validate_shape: bool = True, use_resource: Any = None,
        custom_getter: Any = None, constraint: Any = None, synchronization: Any = None, aggregation: Any = None,
    ) -> Any:  # fmt: skip
        """The variable `name` in this scope, with its defaults for what is not given: found or made."""
        full_name = f"{self._name}/{name}" if self._name else name
        with get_default_graph().name_scope(None):
            if dtype is not None and initializer is not None and not callable(initializer):
                own = convert_to_tensor(initializer).dtype.base_dtype
                if own != dtypes.as_dtype(dtype).base_dtype:
                    raise ValueError(
                        f"Initializer type '{own}' and explicit dtype '{dtypes.as_dtype(dtype)}' don't match."
                    )
            return var_store.get_variable(
                full_name, shape=shape, dtype=self._dtype if dtype is None else dtypes.as_dtype(dtype),
                initializer=_or(initializer, self._initializer), regularizer=_or(regularizer, self._regularizer),
                reuse=_or(reuse, self._reuse), trainable=trainable, collections=collections,
                caching_device=_or(caching_device, self._caching_device),
                partitioner=_or(partitioner, self._partitioner), validate_shape=validate_shape,
                use_resource=_or(use_resource, self._use_resource),
                custom_getter=_or(custom_getter, self._custom_getter),
                constraint=_or(constraint, self._constraint), synchronization=synchronization,
                aggregation=aggregation,
            )  # fmt: skip


def _or(given: Any, default: Any) -> Any:
    return default if given is None else given


class _Scopes:
    """The variable store of one graph, and where each thread stands among its variable scopes."""

    def __init__(self) -> None:
        self.store = VariableStore()
        self.here = _Here()


class _Here(threading.local):
    def __init__(self) -> None:
        self.scope = VariableScope(False)
        self.opened: dict[str, int] = {}


def _scopes(graph: Graph | None = None) -> _Scopes:
    graph = graph or get_default_graph()
    if graph.variable_scopes is None:
        graph.variable_scopes = _Scopes()
    scopes: _Scopes = graph.variable_scopes
    return scopes


def get_variable_scope() -> VariableScope:
    """The variable scope of this thread in the default graph."""
    return _scopes().here.scope


def variables_by_name() -> dict[str, Any]:
    """What `get_variable` made in the default graph: partitioned variables under their own names, without the parts."""
    return _scopes().store.by_name()


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
        if default_name is None and name_or_scope is None:
            raise TypeError("If default_name is None then name_or_scope is required")
        if not isinstance(auxiliary_name_scope, bool):
            raise TypeError(f"The auxiliary_name_scope must be `True` or `False`, while get {auxiliary_name_scope}")
        self._name_or_scope = name_or_scope
        self._default_name = default_name
        self._reuse = _plain_reuse(reuse)
        if custom_getter is not None and not callable(custom_getter):
            raise ValueError(f"Passed a custom_getter which is not callable: {custom_getter}")
        self._custom_getter = custom_getter
        self._defaults = {
            "initializer": initializer, "regularizer": regularizer, "caching_device": caching_device,
            "partitioner": partitioner, "dtype": dtype, "use_resource": use_resource,
        }  # fmt: skip
        self._constraint = constraint
        self._opens_names = auxiliary_name_scope
        self._graph = graph_of(values or [])
        self._entered: list[tuple[VariableScope, ExitStack]] = []
        self._first: tuple[str, str] | None = None

    def __enter__(self) -> VariableScope:
        if self._name_or_scope is not None and not isinstance(self._name_or_scope, str | VariableScope):
            raise TypeError("VariableScope: name_or_scope must be a string or VariableScope.")
        if self._name_or_scope is None and self._reuse:
            raise ValueError("reuse=True cannot be used without a name_or_scope")
        with ExitStack() as stack:
            stack.enter_context(self._graph.as_default())
            scope = self._open(stack)
            self._entered.append((scope, stack.pop_all()))
        return scope

    def __exit__(self, *exception: Any) -> None:
        scope, stack = self._entered[-1]
        if _scopes(self._graph).here.scope is not scope:
            raise RuntimeError("Improper nesting of variable_scope.")
        self._entered.pop()
        stack.close()

    def _open(self, stack: ExitStack) -> VariableScope:
        here = _scopes(self._graph).here
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
        return self._like(old, old.name, old.original_name_scope)

    def _prolonged(self, here: _Here, outer: VariableScope, names: str | None) -> VariableScope:
        if self._first is None:
            own = _unique(here, outer, self._default_name) if self._name_or_scope is None else self._name_or_scope
            self._first = (own, own if names is None else names)
        own, original = self._first  # Entered again, the same object keeps its name and its first name scope.
        return self._like(outer, f"{outer.name}/{own}" if outer.name else own, original)

    def _like(self, old: VariableScope, name: str, original_name_scope: str) -> VariableScope:
        """A scope with the defaults of `old`, but for those that were given here; a constraint is not inherited."""
        defaults = {key: _or(given, getattr(old, key)) for key, given in self._defaults.items()}
        getter = _wrapped(self._custom_getter, old.custom_getter) if self._custom_getter else old.custom_getter
        return VariableScope(
            self._reuse or old.reuse, name, custom_getter=getter, name_scope=original_name_scope,
            constraint=self._constraint, **defaults,
        )  # fmt: skip


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


def unique_scope_name(prefix: str) -> str:
    """`prefix`, or `prefix_1` and so on, as a scope inside the current one that was not opened yet."""
    here = _scopes().here
    return _unique(here, here.scope, prefix)


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
    without one the scope's holds, else glorot_uniform for floats and zeros for integers and bools. With a
    `partitioner` the variable is made in parts and a `PartitionedVariable` given.

    Raises ValueError when the variable exists and must not, or must and does not; when shape or dtype differ from
    those of the one found; and for an initializer that does not fit.
    """
    scopes = _scopes()
    return scopes.here.scope.get_variable(
        scopes.store, name, shape=shape, dtype=dtype, initializer=initializer, regularizer=regularizer,
        trainable=trainable, collections=collections, caching_device=caching_device, partitioner=partitioner,
        validate_shape=validate_shape, use_resource=use_resource, custom_getter=custom_getter, constraint=constraint,
        synchronization=synchronization, aggregation=aggregation,
    )  # fmt: skip


def get_local_variable(
    name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, regularizer: Any = None,
    trainable: bool | None = False, collections: Any = None, caching_device: Any = None, partitioner: Any = None,
    validate_shape: bool = True, use_resource: Any = None, custom_getter: Any = None, constraint: Any = None,
    synchronization: Any = None, aggregation: Any = None,
) -> Any:  # fmt: skip
    """`get_variable` of a variable that lives in the session and is not trained."""
    keys = [*(collections or []), GraphKeys.LOCAL_VARIABLES]
    return get_variable(
        name, shape, dtype, initializer, regularizer, False, keys, caching_device, partitioner, validate_shape,
        use_resource, custom_getter, constraint, synchronization, aggregation,
    )  # fmt: skip


def create_partitioned_variables(
    shape: Any, slicing: Any, initializer: Any, dtype: Any = dtypes.float32, trainable: bool = True,
    collections: Any = None, name: str | None = None, reuse: Any = None,
) -> list[Variable]:  # fmt: skip
    """The parts of a variable of this shape, cut as `slicing` says; the old form of a partitioner."""
    if len(shape) != len(slicing):
        raise ValueError(
            "The 'shape' and 'slicing' of a partitioned Variable must have the length: shape: "
            f"{shape}, slicing: {slicing}"
        )
    if len(shape) < 1:
        raise ValueError(f"A partitioned Variable must have rank at least 1: shape: {shape}")
    with variable_scope(name, "PartitionedVariable", reuse=reuse) as scope:
        store = _scopes().store
        with get_default_graph().name_scope(None):
            found: PartitionedVariable = store.get_partitioned(
                scope.name, shape, dtype, initializer, scope.regularizer, _kept_apart(scope.reuse),
                lambda **_: list(slicing), trainable=trainable, collections=collections,
            )  # fmt: skip
    return list(found)


def _kept_apart(reuse: Any) -> Any:
    return reuse or False


def no_regularizer(_: Any) -> None:
    """A regularizer that adds no loss: stops the scope's."""


@contextmanager
def variable_op_scope(
    values: Any, name_or_scope: Any, default_name: str | None = None, initializer: Any = None, regularizer: Any = None,
    caching_device: Any = None, partitioner: Any = None, custom_getter: Any = None, reuse: Any = None,
    dtype: Any = None, use_resource: Any = None, constraint: Any = None,
) -> Iterator[VariableScope]:  # fmt: skip
    """The old form of `tf.variable_scope(name_or_scope, default_name, values)`."""
    with variable_scope(
        name_or_scope, default_name, values, initializer, regularizer, caching_device, partitioner, custom_getter,
        reuse, dtype, use_resource, constraint,
    ) as scope:  # fmt: skip
        yield scope


@contextmanager
def variable_creator_scope(variable_creator: Callable[..., Any]) -> Iterator[None]:
    """Inside, every new variable is made by `variable_creator(next_creator, **kwargs)`, the innermost scope's first.

    Raises RuntimeError when it is left out of order.
    """
    graph = get_default_graph()
    outer = graph.variable_creators
    graph.variable_creators = inner = [*outer, variable_creator]
    try:
        yield
    finally:
        if graph.variable_creators is not inner:
            raise RuntimeError("Exiting variable_creator_scope without proper nesting.")
        graph.variable_creators = outer


def enable_resource_variables() -> None:
    """Taken and without effect: reads and writes of variables are ordered here as resource variables order them."""


def disable_resource_variables() -> None:
    """Taken and without effect: there is one kind of variable."""


def resource_variables_enabled() -> bool:
    """False: there is one kind of variable."""
    return False
