"""Where a thread stands in a graph: its scopes, and what they mean for a new operation."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from paramserver_client.graph.devices import device_of
from paramserver_client.graph.node import Branch, Operation, Tensor


class Controls:
    """One `with control_dependencies(...)`: what comes before, and the operations known to come after it."""

    __slots__ = ("after", "before")

    def __init__(self, before: list[Operation]) -> None:
        self.before = before
        self.after: set[Operation] = set()


class Scopes(threading.local):
    """Where one thread stands in a graph: its name scope, control dependencies, devices, colocation, container, and
    the branches of conditions and the loop it is in."""

    def __init__(self) -> None:
        self.names = ""
        self.control: tuple[Controls, ...] = ()
        self.devices: tuple[Any, ...] = ()
        self.beside: tuple[Operation, ...] = ()
        self.container = ""
        self.branches: tuple[Branch, ...] = ()
        self.loop: object = None


def awaited(stack: Sequence[Controls], inputs: Sequence[Tensor]) -> list[Operation]:
    """What a new operation must wait for, unless an input of it waits already."""
    makers = {tensor.op for tensor in inputs}
    found: dict[Operation, None] = {}
    for controls in stack:
        if not makers & controls.after:
            found.update((op, None) for op in controls.before if op not in makers)
    return list(found)


def locate(op: Operation, here: Scopes) -> None:
    """Give a new operation its device: that of what it is beside, else what the blocks around it say."""
    beside = (op.inputs[0].op,) if op.definition.effect == "write" else here.beside
    if not beside:
        op.device = device_of(op, here.devices)
    else:
        op.device = next((each.device for each in reversed(beside) if each.device), "")
        op.beside = sorted({group for each in beside for group in each.colocation_groups()})
