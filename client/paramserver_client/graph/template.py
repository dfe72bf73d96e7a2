"""`tf.make_template`: a function whose variables are made by its first call and shared by all others."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from paramserver_client.graph.graph import GraphKeys, get_collection, get_collection_ref
from paramserver_client.graph.variable_scope import VariableScope, get_variable_scope, unique_scope_name, variable_scope


def make_template(
    name_: str,
    func_: Callable[..., Any],
    create_scope_now_: bool = False,
    unique_name_: str | None = None,
    custom_getter_: Any = None,
    **kwargs: Any,
) -> Template:
    """`func_` with a variable scope of its own: the first call makes its variables, later ones find them.

    Two templates of one name have scopes of their own (`lin`, `lin_1`), unless `unique_name_` is given. `kwargs` are
    handed to `func_`. Raises ValueError without a name, and from a later call that makes trainable variables.
    """
    return Template(
        name_, functools.partial(func_, **kwargs) if kwargs else func_, create_scope_now_, unique_name_, custom_getter_
    )


class Template:
    """What `make_template` gives: call it as the function it was made of."""

    def __init__(
        self,
        name: str,
        func: Callable[..., Any],
        create_scope_now: bool = False,
        unique_name: str | None = None,
        custom_getter: Any = None,
    ) -> None:
        if name is None:
            raise ValueError("name cannot be None.")
        self._name, self._func = name, func
        self._unique_name, self._custom_getter = unique_name, custom_getter
        self._variable_scope: VariableScope | None = None
        self._first_call = True
        self._variables_created = False
        if create_scope_now:
            own = unique_name or unique_scope_name(name)
            with variable_scope(own, custom_getter=custom_getter, auxiliary_name_scope=False):
                self._variable_scope = get_variable_scope()

    @property
    def name(self) -> str:
        return self._name

    @property
    def func(self) -> Callable[..., Any]:
        return self._func

    @property
    def variable_scope(self) -> VariableScope | None:
        """The scope of its variables, None before the first call."""
        return self._variable_scope

    @property
    def var_scope(self) -> VariableScope | None:
        return self._variable_scope

    @property
    def variable_scope_name(self) -> str | None:
        """The name of its scope with a `/`, None before the first call."""
        if self._variable_scope is None:
            return None
        name = self._variable_scope.name
        return name if not name or name.endswith("/") else f"{name}/"

    def _in_scope(self, key: str) -> list[Any]:
        return [] if self._variable_scope is None else get_collection(key, self.variable_scope_name)

    @property
    def trainable_variables(self) -> list[Any]:
        return self._in_scope(GraphKeys.TRAINABLE_VARIABLES)

    @property
    def global_variables(self) -> list[Any]:
        return self._in_scope(GraphKeys.GLOBAL_VARIABLES)

    @property
    def local_variables(self) -> list[Any]:
        return self._in_scope(GraphKeys.LOCAL_VARIABLES)

    @property
    def non_trainable_variables(self) -> list[Any]:
        trainable = set(self.trainable_variables)
        return [variable for variable in self.global_variables if variable not in trainable]

    @property
    def variables(self) -> list[Any]:
        """Its global and its local variables."""
        return self.global_variables + self.local_variables

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._variable_scope is not None:
            with variable_scope(self._variable_scope, reuse=not self._first_call):
                return self._call(args, kwargs)
        with variable_scope(self._unique_name, self._name, custom_getter=self._custom_getter) as scope:
            self._variable_scope = scope
            return self._call(args, kwargs)

    def _call(self, args: Any, kwargs: Any) -> Any:
        if not self._variables_created:
            was_first, self._first_call = self._first_call, False
            try:
                result = self._func(*args, **kwargs)
            except BaseException:
                self._first_call = was_first
                raise
            self._variables_created = True
            return result
        trainable = get_collection_ref(GraphKeys.TRAINABLE_VARIABLES)
        before = len(trainable)
        result = self._func(*args, **kwargs)
        if len(trainable) != before:
            raise ValueError(
                "Trainable variable created when calling a template after the first time, perhaps you used tf.Variable "
                f"when you meant tf.get_variable: {trainable[before:]}"
            )
        return result
