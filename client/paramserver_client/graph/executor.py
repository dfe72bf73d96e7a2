"""Runs a plan: pulls, computes with numpy, pushes, stage by stage.

The plan is first turned into a program: a list of values by place and instructions on it, so that an operation costs
a call of its kernel and little more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from paramserver_client.errors import ParameterServerError
from paramserver_client.graph import shapes
from paramserver_client.graph.convert import kernel_attrs
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.plan import Plan, Planner, Stage, Variable, updated_variable
from paramserver_client.graph.state import Change, Variables

_DTYPE_TEXT: Final = {"float32": "float", "float64": "double", "float16": "half"}
Generators = Callable[[Operation], np.random.Generator]


@dataclass(frozen=True, slots=True)
class Instruction:
    """Call `kernel` with the values at `inputs`, put the result at `outputs`, and forget those at `done`."""

    op: Operation
    kernel: Callable[..., Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    done: tuple[int, ...]


@dataclass(slots=True)
class Round:
    """A stage with its instructions, and the places its variables' values and flags go to."""

    stage: Stage
    pulls: dict[Variable, int] = field(default_factory=dict)
    flags: dict[Variable, int] = field(default_factory=dict)
    instructions: list[Instruction] = field(default_factory=list)
    operands: list[tuple[Variable, str, int]] = field(default_factory=list)
    returns: dict[Variable, int] = field(default_factory=dict)


class Program:
    """One plan made ready to run many times. `generators` gives the generator of a random operation."""

    def __init__(self, plan: Plan, planner: Planner, targets: Sequence[Tensor], generators: Generators) -> None:
        self.plan = plan
        self._planner = planner
        self._places: dict[Any, int] = {}
        self._template: list[Any] = []
        self._generators = generators
        self._kept: set[int] = set()
        self._rounds = [self._round(stage) for stage in plan.stages]
        self._results = [(tensor, self._place_of(tensor)) for tensor in dict.fromkeys(targets)]
        self._forget_early()

    def run(self, feeds: Mapping[Tensor, Array], variables: Variables) -> dict[Tensor, Array]:
        """Compute the targets. Raises what an operation or the server refuses; see `Session.run` for what is then
        unchanged."""
        values = list(self._template)
        for tensor, array in feeds.items():
            place = self._places.get(tensor)
            if place is not None:
                values[place] = array
        with np.errstate(all="ignore"):
            for each in self._rounds:
                _read(each, values, variables)
                _compute(each, values)
                _write(each, values, variables)
        return {tensor: values[place] for tensor, place in self._results}

    def is_constant(self, array: Array) -> bool:
        """Whether the array is one of the graph's own, which nobody may write into."""
        return any(array is self._template[place] for place in self._kept)

    def _place(self, key: Any) -> int:
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self._template)
            self._template.append(None)
        return place

    def _place_of(self, tensor: Tensor) -> int:
        source = self._planner.source(tensor)
        return self._place(source.variable if source.kind == "variable" else source.tensor)

    def _round(self, stage: Stage) -> Round:
        made = Round(stage)
        made.pulls = {variable: self._place(variable) for variable in stage.pulls}
        made.flags = {variable: self._place((variable, "flag")) for variable in stage.queries}
        made.returns = {variable: self._place(variable) for variable in stage.returns}
        for op in stage.compute:
            if op.type == "Const":
                self._template[self._place(op.outputs[0])] = op.attrs["value"]
                self._kept.add(self._place(op.outputs[0]))
                continue
            made.instructions.append(self._instruction(op))
            if op.definition.effect == "write":
                made.operands.append((updated_variable(op), str(op.definition.update), self._place(op.outputs[0])))
        return made

    def _instruction(self, op: Operation) -> Instruction:
        if op.type == "Placeholder":
            raise InvalidArgumentError(_missing_feed(op))
        effect = op.definition.effect
        attrs = kernel_attrs(op)
        if effect == "random":
            attrs.pop("seeds")
            attrs["rng"] = self._generators(op)
        if effect == "query":
            inputs = tuple(self._place((self._planner.source(each).variable, "flag")) for each in op.inputs)
        else:
            inputs = tuple(map(self._place_of, op.inputs[1:] if effect == "write" else op.inputs))
        kernel = functools.partial(op.definition.kernel, **attrs) if attrs else op.definition.kernel
        return Instruction(op, kernel, inputs, tuple(self._place(output) for output in op.outputs), ())

    def _forget_early(self) -> None:
        """Let each intermediate value go after its last use, so that a run holds no more than it needs."""
        last: dict[int, tuple[Round, int]] = {}
        for each in self._rounds:
            for index, instruction in enumerate(each.instructions):
                for place in (*instruction.inputs, *instruction.outputs):
                    last[place] = (each, index)
        kept = self._kept | {place for _, place in self._results}
        kept |= {place for each in self._rounds for _, _, place in each.operands}
        kept |= {place for key, place in self._places.items() if not isinstance(key, Tensor)}
        done: dict[tuple[int, int], list[int]] = {}
        for place, (each, index) in last.items():
            if place not in kept:
                done.setdefault((id(each), index), []).append(place)
        for each in self._rounds:
            each.instructions = [
                Instruction(one.op, one.kernel, one.inputs, one.outputs, tuple(done.get((id(each), index), ())))
                for index, one in enumerate(each.instructions)
            ]


def _read(each: Round, values: list[Any], variables: Variables) -> None:
    if each.pulls:
        for variable, value in variables.pull(each.stage.pulls).items():
            values[each.pulls[variable]] = value
    if each.flags:
        missing = variables.uninitialized(each.stage.queries)
        for variable, place in each.flags.items():
            values[place] = variable not in missing


def _compute(each: Round, values: list[Any]) -> None:
    for instruction in each.instructions:
        try:
            result = instruction.kernel(*[values[place] for place in instruction.inputs])
        except ParameterServerError as error:
            raise type(error)(f"{error.detail}\n\t [[node {_label(instruction.op)}]]") from error
        except (ValueError, IndexError, TypeError, OverflowError) as error:
            raise InvalidArgumentError(f"{error}\n\t [[node {_label(instruction.op)}]]") from error
        if len(instruction.outputs) == 1:
            values[instruction.outputs[0]] = result
        else:
            for place, part in zip(instruction.outputs, result, strict=True):
                values[place] = part
        for place in instruction.done:
            values[place] = None


def _write(each: Round, values: list[Any], variables: Variables) -> None:
    if each.stage.initialize:
        variables.initialize(each.stage.initialize)
    if each.operands:
        changes = [Change(variable, update, np.asarray(values[place])) for variable, update, place in each.operands]
        for variable, value in variables.write(changes, each.stage.returns).items():
            values[each.returns[variable]] = value


def _label(op: Operation) -> str:
    return f"{op.name} ({op.type})"


def _missing_feed(op: Operation) -> str:
    dtype = op.attrs["dtype"].name
    shape = op.attrs["shape"]
    known = "" if shape.sizes is None else f" and shape {shapes.brackets(shape)}"
    return (
        f"You must feed a value for placeholder tensor '{op.name}' with dtype {_DTYPE_TEXT.get(dtype, dtype)}{known}"
        f"\n\t [[node {_label(op)}]]"
    )
