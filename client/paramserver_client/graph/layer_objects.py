"""The layers of `tf.layers` as objects: made once, called as often as one likes, with one set of variables."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from paramserver_client.graph import layer_functions
from paramserver_client.graph.graph import GraphKeys, get_collection
from paramserver_client.graph.variable_scope import VariableScope, variable_scope


class _Layer:
    """Takes what its function takes, but for the inputs; those, and `training`, are given when it is called."""

    _function: ClassVar[Callable[..., Any]]
    _default: ClassVar[str]

    def __init__(self, *arguments: Any, name: str | None = None, **settings: Any) -> None:
        # A wrong argument is to fail here, not at the first call.
        inspect.signature(self._function).bind(None, *arguments, name=name, **settings)
        self._arguments, self._settings, self._name = arguments, settings, name
        self._scope: VariableScope | None = None

    @property
    def name(self) -> str | None:
        """The name of its variable scope; before the first call what it was given."""
        return self._name if self._scope is None else self._scope.name

    @property
    def variables(self) -> list[Any]:
        """Its variables; none before the first call."""
        return self._collected(GraphKeys.GLOBAL_VARIABLES)

    @property
    def trainable_variables(self) -> list[Any]:
        """Its variables that optimizers change; none before the first call."""
        return self._collected(GraphKeys.TRAINABLE_VARIABLES)

    def _collected(self, key: str) -> list[Any]:
        if self._scope is None:
            return []
        inside = f"{self._scope.name}/"
        return [variable for variable in get_collection(key) if variable.op.name.startswith(inside)]

    def __call__(self, inputs: Any, **settings: Any) -> Any:
        """The layer's outputs. The first call makes its variables, in the variable scope where it happens."""
        shared = {"reuse": True}
        if self._scope is None:
            with variable_scope(self._name, self._default, auxiliary_name_scope=False) as self._scope:
                shared = {}
        given = {**self._settings, **shared, **settings}
        return type(self)._function(inputs, *self._arguments, name=self._scope, **given)


class Dense(_Layer):
    """`tf.layers.dense` as an object.

    >>> import paramserver_client.graph as tf
    >>> model = tf.layers.Dense(units=1)
    >>> first, second = model(tf.ones([4, 3])), model(tf.zeros([2, 3]))
    >>> [v.op.name for v in tf.global_variables()], second.shape.as_list()
    (['dense/kernel', 'dense/bias'], [2, 1])
    """

    _function = staticmethod(layer_functions.dense)
    _default = "dense"


class Conv2D(_Layer):
    """`tf.layers.conv2d` as an object."""

    _function = staticmethod(layer_functions.conv2d)
    _default = "conv2d"


class BatchNormalization(_Layer):
    """`tf.layers.batch_normalization` as an object; each call with `training` adds its updates to `UPDATE_OPS`."""

    _function = staticmethod(layer_functions.batch_normalization)
    _default = "batch_normalization"
