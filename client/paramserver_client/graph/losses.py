"""`tf.losses`: the losses that a graph has collected."""

from __future__ import annotations

from typing import Any

from paramserver_client.graph.graph import GraphKeys, add_to_collection, get_collection
from paramserver_client.graph.node import Tensor
from paramserver_client.graph.ops_array import zeros
from paramserver_client.graph.ops_math import add_n

__all__ = [
    "add_loss",
    "get_losses",
    "get_regularization_loss",
    "get_regularization_losses",
    "get_total_loss",
]


def add_loss(loss: Any, loss_collection: str | None = GraphKeys.LOSSES) -> None:
    """Add a loss to the collection; nothing happens without one."""
    if loss_collection:
        add_to_collection(loss_collection, loss)


def get_losses(scope: str | None = None, loss_collection: str = GraphKeys.LOSSES) -> list[Any]:
    """The losses that were added, those whose names begin with `scope`."""
    return get_collection(loss_collection, scope)


def get_regularization_losses(scope: str | None = None) -> list[Any]:
    """The losses that regularizers gave."""
    return get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


def get_regularization_loss(scope: str | None = None, name: str = "total_regularization_loss") -> Tensor:
    """The sum of the regularization losses; 0 when there are none."""
    losses = get_regularization_losses(scope)
    return add_n(losses, name=name) if losses else zeros([], name=name)


def get_total_loss(add_regularization_losses: bool = True, name: str = "total_loss") -> Tensor:
    """The sum of all losses, with those of regularizers unless told otherwise. Raises ValueError for none."""
    losses = get_losses() + (get_regularization_losses() if add_regularization_losses else [])
    return add_n(losses, name=name)
