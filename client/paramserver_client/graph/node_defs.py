"""A graph written down: `Graph.as_graph_def()`, `Operation.node_def`. To look at; graphs are not made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paramserver_client.graph.node import Operation


@dataclass(frozen=True)
class NodeDef:
    """One operation: its inputs are `name`, `name:1` for a later output, and `^name` for what it waits for."""

    name: str
    op: str
    input: list[str]
    device: str
    attr: Mapping[str, Any]


@dataclass(frozen=True)
class GraphDef:
    """The operations of a graph, in the order they were made."""

    node: list[NodeDef] = field(default_factory=list)


def node_def(op: Operation) -> NodeDef:
    """What `op` is, in plain values."""
    inputs = [each.op.name if each.value_index == 0 else each.name for each in op.inputs]
    waits = sorted(f"^{each.name}" for each in op.control_inputs)
    return NodeDef(op.name, op.type, inputs + waits, op.device, dict(op.attrs))
