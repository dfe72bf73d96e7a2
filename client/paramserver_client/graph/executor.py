"""Runs a plan: pulls, computes with numpy, pushes, stage by stage.

The plan is first turned into a program: a list of values by place and instructions on it, so that an operation costs
a call of its kernel and little more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from paramserver_client.errors import ParameterServerError, VersionMismatchError
from paramserver_client.graph import shapes
from paramserver_client.graph.changes import Change, Tags
from paramserver_client.graph.convert import kernel_attrs
from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.plan import Plan, Planner, Stage, Variable, replaces, step_of, updated_variable
from paramserver_client.graph.state import Variables

if TYPE_CHECKING:
    from paramserver_client.graph.control_flow import Loop

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
    """A stage with its instructions, and the places its variables' values and flags go to. The next values of those in
    `replaced` are computed from the values there, and refused when somebody else writes in between."""

    stage: Stage
    pulls: dict[Variable, int] = field(default_factory=dict)
    flags: dict[Variable, int] = field(default_factory=dict)
    instructions: list[Instruction] = field(default_factory=list)
    operands: list[tuple[Operation, Variable, int]] = field(default_factory=list)
    replaced: dict[Variable, int] = field(default_factory=dict)
    returns: dict[Variable, int] = field(default_factory=dict)


class Program:
    """One plan made ready to run many times. `generators` gives the generator of a random operation, `session` is handed to
    the operations that ask for it."""

    def __init__(
        self, plan: Plan, planner: Planner, targets: Sequence[Tensor], generators: Generators, session: Any = None
    ) -> None:
        self.plan = plan
        self._planner = planner
        self._places: dict[Any, int] = {}
        self._template: list[Any] = []
        self._generators = generators
        self._session = session
        self._kept: set[int] = set()
        self._rounds = [self._round(stage) for stage in plan.stages]
        self._results = [(tensor, self._place_of(tensor)) for tensor in dict.fromkeys(targets)]
        self._may_be_missing = [
            tensor for tensor, _ in self._results if tensor.op.branches and tensor not in planner.feeds
        ]
        self._forget_early()

    def run(self, feeds: Mapping[Tensor, Array], variables: Variables) -> dict[Tensor, Array]:
        """Compute the targets. Raises what an operation or the server refuses; see `Session.run` for what is then
        unchanged."""
        values = self._fed(feeds)
        with np.errstate(all="ignore"):
            tags: Tags = {}
            for each in self._rounds:
                _read(each, values, variables, tags)
                if each.replaced:
                    values = _replace(each, values, variables, tags)
                else:
                    _compute(each, values)
                    _write(each, values, variables, tags)
        if self._may_be_missing:
            _check_taken([(tensor, values[self._place_of(tensor)]) for tensor in self._may_be_missing])
        return {tensor: values[place] for tensor, place in self._results}

    def compute(self, feeds: Mapping[Tensor, Array]) -> list[Array]:
        """The targets of a program that has nothing to do with variables, in order."""
        values = self._fed(feeds)
        for each in self._rounds:
            _compute(each, values)
        return [values[place] for _, place in self._results]

    def _fed(self, feeds: Mapping[Tensor, Array]) -> list[Any]:
        values = list(self._template)
        for tensor, array in feeds.items():
            place = self._places.get(tensor)
            if place is not None:
                values[place] = array
        return values

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
                variable = updated_variable(op)
                made.operands.append((op, variable, self._operand_place(op)))
                if replaces(op):
                    made.replaced[variable] = self._place(variable)
        return made

    def _operand_place(self, op: Operation) -> int:
        returns = op.definition.update == "replace_and_return"
        return self._place((op, "operand") if returns else op.outputs[0])

    def _instruction(self, op: Operation) -> Instruction:
        if op.type == "Placeholder":
            raise _named(InvalidArgumentError, _missing_feed(op), op)
        effect = op.definition.effect
        attrs = kernel_attrs(op)
        if effect == "random":
            attrs.pop("seeds")
            attrs["rng"] = self._generators(op)
        if effect == "session":
            attrs["session"] = self._session
        if effect == "loop":
            attrs.update(_inside_of(attrs["loop"], self._generators))
        if effect == "query":
            inputs = tuple(self._place((self._planner.source(each).variable, "flag")) for each in op.inputs)
        else:
            reads = op.inputs[1:] if effect == "write" and not replaces(op) else op.inputs
            inputs = tuple(map(self._place_of, reads))
        kernel = functools.partial(op.definition.kernel, **attrs) if attrs else op.definition.kernel
        outputs = tuple(self._place(output) for output in op.outputs)
        if op.definition.update == "replace_and_return":
            outputs += (self._operand_place(op),)
        if op.branches:
            kernel = functools.partial(_when, kernel, [branch.wanted for branch in op.branches], len(outputs))
            inputs = (*(self._place_of(branch.condition) for branch in op.branches), *inputs)
        return Instruction(op, kernel, inputs, outputs, ())

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


def _read(each: Round, values: list[Any], variables: Variables, tags: Tags) -> None:
    if each.pulls:
        pulled = variables.pull(each.stage.pulls)
        tags.update(pulled.tags)
        for variable, value in pulled.values.items():
            values[each.pulls[variable]] = value
    if each.flags:
        missing = variables.uninitialized(each.stage.queries)
        for variable, place in each.flags.items():
            values[place] = variable not in missing


def _replace(each: Round, values: list[Any], variables: Variables, tags: Tags) -> list[Any]:
    """Compute and write until nobody else has written in between; gives the values of the try that went through."""
    while True:
        trial = list(values)
        _compute(each, trial)
        try:
            _write(each, trial, variables, tags)
        except VersionMismatchError:
            pulled = variables.pull(list(each.replaced))
            tags.update(pulled.tags)
            for variable, value in pulled.values.items():
                values[each.replaced[variable]] = value
        else:
            return trial


def _compute(each: Round, values: list[Any]) -> None:
    for instruction in each.instructions:
        try:
            result = instruction.kernel(*[values[place] for place in instruction.inputs])
        except ParameterServerError as error:
            raise _named(type(error), error.detail, instruction.op) from error
        except (ValueError, IndexError, TypeError, OverflowError) as error:
            raise _named(InvalidArgumentError, str(error), instruction.op) from error
        if len(instruction.outputs) == 1:
            values[instruction.outputs[0]] = result
        else:
            for place, part in zip(instruction.outputs, result, strict=True):
                values[place] = part
        for place in instruction.done:
            values[place] = None


def _write(each: Round, values: list[Any], variables: Variables, tags: Tags) -> None:
    if each.stage.initialize:
        variables.initialize(each.stage.initialize)
    if each.operands:
        changes = [
            _change(op, variable, values[place], tags)
            for op, variable, place in each.operands if values[place] is not None
        ]  # fmt: skip
        changed = {change.variable for change in changes}
        written = variables.write(changes, [variable for variable in each.stage.returns if variable in changed])
        as_it_was = [variable for variable in each.stage.returns if variable not in changed]
        for found in (written, *([variables.pull(as_it_was)] if as_it_was else [])):
            tags.update(found.tags)
            for variable, value in found.values.items():
                values[each.returns[variable]] = value


def _change(op: Operation, variable: Variable, operand: Any, tags: Tags) -> Change:
    update = str(op.definition.update)
    if replaces(op):
        return Change(variable, "assign", np.asarray(operand), if_tag=tags[variable], op=op)
    if update == "gradient":
        return Change(
            variable, update, np.asarray(operand.value), operand.indices, op=op, step=step_of(op), hyper=operand.hyper
        )
    if update == "ema":
        return Change(variable, update, np.asarray(operand), op=op, source=op.attrs["source"])
    if update.startswith("scatter"):
        indices, values = operand
        return Change(variable, update, np.asarray(values), indices=indices, op=op)
    fixed = op.attrs.get("validate_shape", True) and variable.shape.is_fully_defined()
    return Change(variable, update, np.asarray(operand), may_reshape=update == "assign" and not fixed, op=op)


def _check_taken(found: Sequence[tuple[Tensor, Any]]) -> None:
    for tensor, value in found:
        if value is None:
            detail = f"{tensor.name} is in a branch of a condition that was not taken; fetch what the cond gives"
            raise _named(InvalidArgumentError, detail, tensor.op)


def _when(kernel: Callable[..., Any], wanted: Sequence[bool], outputs: int, *values: Any) -> Any:
    """The kernel of an operation in a branch: None for each output when the branch is not taken."""
    for condition, want in zip(values, wanted, strict=False):
        if condition is None or bool(condition) != want:
            return None if outputs == 1 else (None,) * outputs
    return kernel(*values[len(wanted) :])


def _inside_of(loop: Loop, generators: Generators) -> dict[str, Callable[..., Any]]:
    """What a loop's kernel calls: whether to go on, and one round of its body."""
    fed = [*loop.variables, *loop.captured]

    def runner(targets: Sequence[Tensor]) -> Callable[..., Any]:
        planner = Planner(targets, frozenset(fed), {})
        program = Program(planner.plan(), planner, targets, generators)
        unique = list(dict.fromkeys(targets))

        def run(*values: Any) -> list[Any]:
            found = dict(zip(unique, program.compute(dict(zip(fed, values, strict=True))), strict=True))
            return [found[target] for target in targets]

        return run

    assert loop.goes_on is not None
    return {"goes_on": runner([loop.goes_on]), "step": runner(loop.results)}


def _named(kind: type[ParameterServerError], detail: str, op: Operation) -> ParameterServerError:
    """An error that says which operation failed, in its text and as `error.op`."""
    error = kind(f"{detail}\n\t [[node {_label(op)}]]")
    error.op = op
    return error


def _label(op: Operation) -> str:
    return f"{op.name} ({op.type})"


def _missing_feed(op: Operation) -> str:
    dtype = op.attrs["dtype"].name
    shape = op.attrs["shape"]
    known = "" if shape.sizes is None else f" and shape {shapes.brackets(shape)}"
    return f"You must feed a value for placeholder tensor '{op.name}' with dtype {_DTYPE_TEXT.get(dtype, dtype)}{known}"
