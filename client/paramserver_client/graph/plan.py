"""The plan of a run: what must be computed, in which order, and when variables are read and written.

Pure: from fetches and feeds to a list of stages. A stage reads variables, computes, and then sends all its updates as
one push. An operation that must see what an update did (it depends on the update and reads that variable) goes into
the next stage; so a training step has one stage, with one pull before it and one push after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.steps import GradientStep

Variable = Any  # paramserver_client.graph.variables.Variable, which is built on what is planned here.
Flags = Mapping[Variable, bool]
_FIXED: Final = ("constant", "zeros", "ones", "fill", "range", "linspace", "identity")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a tensor's value comes from: a feed, an operation, or a variable (after `after`, when that updates it)."""

    kind: Literal["feed", "value", "variable"]
    tensor: Tensor
    variable: Variable = None
    after: Operation | None = None


@dataclass(slots=True)
class Stage:
    """One round of reading, computing and writing. `returns` are variables whose new values later stages need."""

    pulls: list[Variable] = field(default_factory=list)
    queries: list[Variable] = field(default_factory=list)
    compute: list[Operation] = field(default_factory=list)
    initialize: list[Variable] = field(default_factory=list)
    updates: list[Operation] = field(default_factory=list)
    returns: list[Variable] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """All stages, and every variable that the run reads or writes."""

    stages: Sequence[Stage]
    touched: Sequence[Variable]


def replaces(op: Operation) -> bool:
    """Whether the operation computes a variable's next value from its present one: nobody may write in between."""
    return op.definition.update in ("replace", "replace_and_return")


def updated_variable(op: Operation) -> Variable:
    """The variable that an update, or a chain of updates, changes."""
    tensor = op.inputs[0]
    while tensor.op.definition.effect == "write":
        tensor = tensor.op.inputs[0]
    return tensor.op.variable


def step_of(op: Operation) -> GradientStep | None:
    """The step of an optimizer that an update is part of, or None."""
    step: GradientStep | None = op.attrs.get("step")
    return step


def written_by(op: Operation) -> Sequence[Variable]:
    """Every variable that an update changes: that of an optimizer its slots and scalars too."""
    variable, step = updated_variable(op), step_of(op)
    return [variable] if step is None else [variable, *step.slots[variable], *step.scalars]


def is_alias(op: Operation) -> bool:
    """Whether the operation is a variable's own `read`: whoever takes its output reads the variable at that moment."""
    return op.type == "Identity" and op.inputs[0].dtype._is_ref_dtype and not op.control_inputs


def source_of(tensor: Tensor, feeds: frozenset[Tensor], flags: Flags) -> Source:
    """Follow a tensor through variables' reads and guards to where its value comes from."""
    while tensor not in feeds:
        op = tensor.op
        if op.definition.effect == "variable":
            return Source("variable", tensor, op.variable)
        if op.definition.effect == "write" and op.definition.update != "replace_and_return":
            return Source("variable", tensor, updated_variable(op), op)
        if op.definition.effect == "guard":
            tensor = op.inputs[0] if flags[op.inputs[0].op.variable] else op.inputs[1]
        elif is_alias(op):
            tensor = op.inputs[0]
        else:
            return Source("value", tensor)
    return Source("feed", tensor)


def guarded_variables(targets: Iterable[Tensor | Operation], feeds: frozenset[Tensor]) -> list[Variable]:
    """The variables that guards before the targets ask about; the plan needs to know which of them have a value."""
    seen: set[Operation] = set()
    waiting = [each.op if isinstance(each, Tensor) else each for each in targets if each not in feeds]
    found: dict[Variable, None] = {}
    while waiting:
        op = waiting.pop()
        if op in seen:
            continue
        seen.add(op)
        if op.definition.effect == "guard":
            found[op.inputs[0].op.variable] = None
        waiting.extend(tensor.op for tensor in op.needs() if tensor not in feeds)
        waiting.extend(op.control_inputs)
    return list(found)


class Planner:
    """Builds one plan. `targets` are the tensors and operations to compute; `flags` answers `guarded_variables`;
    `foreign` are variables for which the server has another spec than ours: their first values are computed."""

    def __init__(
        self,
        targets: Sequence[Tensor | Operation],
        feeds: frozenset[Tensor],
        flags: Flags,
        foreign: frozenset[Variable] = frozenset(),
    ) -> None:
        self._targets = targets
        self.feeds = feeds
        self._flags = flags
        self._foreign = foreign
        self._computed_initials: set[Operation] = set()
        self._stage: dict[Operation, int] = {}
        self._writes_before: dict[Operation, int] = {}
        self._bit: dict[Operation, int] = {}
        self._writes_of: dict[Variable, int] = {}
        self._last_write: dict[Variable, int] = {}
        self._free_from: dict[Variable, int] = {}
        self._last_source: dict[Variable, int] = {}
        self._peers: dict[GradientStep, list[Operation]] = {}
        self._stage_of_step: dict[GradientStep, int] = {}
        self._stages: list[Stage] = []
        self._entered: set[tuple[int, Variable]] = set()

    def plan(self) -> Plan:
        operations = self._needed()
        while self._shares_a_draw(operations):
            operations = self._needed()
        for op in sorted(operations, key=lambda op: op.index):
            step = step_of(op)
            if step is not None:
                self._peers.setdefault(step, []).append(op)
        for op in sorted(operations, key=lambda op: op.index):
            self._place(op)
        self._read_at_end()
        self._stages = [stage for stage in self._stages if _does_something(stage)]
        touched: dict[Variable, None] = {}
        for stage in self._stages:
            named = [each for op in stage.updates for each in (*written_by(op), *_sources(op))]
            touched.update(dict.fromkeys([*stage.pulls, *stage.initialize, *named]))
        return Plan(self._stages, list(touched))

    def sends_spec(self, op: Operation) -> bool:
        """Whether an update is an initializer that the server runs itself, from the variable's spec."""
        if (
            not op.attrs.get("initializer")
            or op.branches
            or op.inputs[1] in self.feeds
            or op in self._computed_initials
        ):
            return False
        if not op.inputs[0].shape.is_fully_defined():  # It is made with its first value.
            return False
        variable = op.inputs[0].op.variable
        return op.inputs[1].op.recipe is not None and not variable.is_local and variable not in self._foreign

    def source(self, tensor: Tensor) -> Source:
        return source_of(tensor, self.feeds, self._flags)

    def _needed(self) -> set[Operation]:
        needed: set[Operation] = set()
        waiting: list[Operation] = []
        for target in self._targets:
            waiting.extend(self._producers(target) if isinstance(target, Tensor) else [target])
        while waiting:
            op = waiting.pop()
            if op in needed or op.definition.effect in ("variable", "guard"):
                continue
            needed.add(op)
            waiting.extend(each for each in op.control_inputs if not self._is_fed(each))
            for tensor in self._inputs(op):
                waiting.extend(self._producers(tensor))
        return needed

    def _is_fed(self, op: Operation) -> bool:
        """Whether a feed stands in its place, so that nobody needs to run it."""
        return bool(op.outputs) and all(output in self.feeds for output in op.outputs)

    def _inputs(self, op: Operation) -> Sequence[Tensor]:
        return op.inputs[:1] if op.definition.effect == "write" and self.sends_spec(op) else op.needs()

    def _producers(self, tensor: Tensor) -> list[Operation]:
        source = self.source(tensor)
        if source.kind == "value":
            return [source.tensor.op]
        return [] if source.after is None else [source.after]

    def _shares_a_draw(self, operations: set[Operation]) -> bool:
        """Two users of one random tensor must see the same values: then it is drawn here, once, and not by the server.

        Says whether initializers were found that must be computed for this.
        """
        by_spec = [op for op in operations if op.definition.effect == "write" and self.sends_spec(op)]
        makers = [op.inputs[1].op for op in by_spec]
        shared = {
            op for op in by_spec
            if _is_drawn(op.inputs[1].op.recipe)
            and (op.inputs[1].op in operations or makers.count(op.inputs[1].op) > 1)
        }  # fmt: skip
        self._computed_initials |= shared
        return bool(shared)

    def _place(self, op: Operation) -> None:
        """Give the operation its stage, after all it depends on."""
        stage, before, reads = self._needs(op, 0, 0)
        effect, step = op.definition.effect, step_of(op)
        if step is not None:  # Its updates go out together, so each waits for what any of them needs.
            for other in self._peers[step]:
                stage, before, _ = self._needs(other, stage, before)
        spec = effect == "write" and self.sends_spec(op)
        if spec:
            stage = self._to_see(updated_variable(op), stage, before)
        if effect == "write":
            stage = self._alone(op, stage)
        if effect == "session":
            stage = max([stage, *(self._stage[other] + 1 for other, bit in self._bit.items() if bit & before)])
        self._stage[op], self._writes_before[op] = stage, before
        self._enter(op, self._stage_at(stage), reads, before, spec)

    def _needs(self, op: Operation, stage: int, before: int) -> tuple[int, int, list[Variable]]:
        """The first stage from `stage` on in which all that the operation depends on is there, the updates before it,
        and the variables it reads."""
        for other in op.control_inputs:
            stage, before = self._after(other, stage, before)
        own_target = op.definition.effect == "write" and not replaces(op)
        reads: list[Variable] = []
        for place, tensor in enumerate(self._inputs(op)):
            source = self.source(tensor)
            if source.kind == "value":
                stage, before = self._after(source.tensor.op, stage, before)
            if source.after is not None:
                stage, before = self._after(source.after, stage, before)
            if source.kind == "variable" and not (place == 0 and own_target):
                reads.append(source.variable)
        for variable in reads:
            stage = self._to_see(variable, stage, before)
        return stage, before, reads

    def _alone(self, op: Operation, stage: int) -> int:
        """The first stage from `stage` on in which a variable may be written; one that is replaced is written once."""
        variable, step = updated_variable(op), step_of(op)
        if step is not None:
            stage = self._together(step, stage)
        stage = max(stage, self._free_from.get(variable, 0))
        if replaces(op):
            stage = max(stage, self._last_write.get(variable, -1) + 1)
            self._free_from[variable] = stage + 1
        for each in written_by(op):
            self._last_write[each] = max(stage, self._last_write.get(each, -1))
        for each in _sources(op):
            self._last_source[each] = max(stage, self._last_source.get(each, -1))
        return stage

    def _together(self, step: GradientStep, stage: int) -> int:
        """The stage of all updates of an optimizer's step. It is one request, at the head of which the gradients stand:
        so no other step is in it, and nothing that comes before and touches the same variables."""
        if step not in self._stage_of_step:
            for variable in step.variables:
                last = max(self._last_write.get(variable, -1), self._last_source.get(variable, -1))
                stage = max(stage, last + 1)
            while stage in self._stage_of_step.values():
                stage += 1
            self._stage_of_step[step] = stage
        return self._stage_of_step[step]

    def _enter(self, op: Operation, stage: Stage, reads: list[Variable], before: int, spec: bool) -> None:
        effect = op.definition.effect
        if effect == "query":
            stage.queries += [variable for variable in reads if variable not in stage.queries]
        else:
            for variable in reads:
                replaced = replaces(op) and variable is updated_variable(op)
                seen = before | self._writes_of.get(variable, 0) if replaced else before
                self._provide(variable, self._stage[op], seen)
        if spec:
            stage.initialize.append(updated_variable(op))
        elif op.type != "NoOp":
            stage.compute.append(op)
        if effect == "write":
            if not spec:
                stage.updates.append(op)
            self._bit[op] = 1 << len(self._bit)
            for variable in written_by(op):
                self._writes_of[variable] = self._writes_of.get(variable, 0) | self._bit[op]

    def _after(self, op: Operation, stage: int, before: int) -> tuple[int, int]:
        if op not in self._stage:  # A variable's own operation, or one behind a feed.
            return stage, before
        return max(stage, self._stage[op]), before | self._writes_before[op] | self._bit.get(op, 0)

    def _to_see(self, variable: Variable, stage: int, before: int) -> int:
        """The first stage from `stage` on in which the updates of `variable` among `before` are done."""
        return max([stage, *(self._stage[op] + 1 for op in self._writers(variable, before))])

    def _writers(self, variable: Variable, before: int) -> list[Operation]:
        """The updates of `variable` among `before`."""
        wanted = before & self._writes_of.get(variable, 0)
        return [op for op, bit in self._bit.items() if bit & wanted] if wanted else []

    def _provide(self, variable: Variable, stage: int, before: int) -> None:
        """See to it that the variable's value is at hand in `stage`."""
        writers = self._writers(variable, before)
        if not writers:
            self._once(self._stage_at(0).pulls, variable)
            return
        last = max(self._stage[op] for op in writers)
        wrote = self._stages[last]
        if any(variable in written_by(op) for op in wrote.updates):
            self._once(wrote.returns, variable)
        else:
            self._once(self._stage_at(last + 1).pulls, variable)

    def _once(self, items: list[Variable], variable: Variable) -> None:
        if (id(items), variable) not in self._entered:
            self._entered.add((id(items), variable))
            items.append(variable)

    def _read_at_end(self) -> None:
        """A fetched variable (or the result of an update) is what it is when all updates are done."""
        for target in self._targets:
            if isinstance(target, Tensor):
                source = self.source(target)
                if source.kind == "variable":
                    self._provide(source.variable, len(self._stages), (1 << len(self._bit)) - 1)

    def _stage_at(self, index: int) -> Stage:
        while len(self._stages) <= index:
            self._stages.append(Stage())
        return self._stages[index]


def _sources(op: Operation) -> Sequence[Variable]:
    """The variables that the server reads for an update."""
    return [op.attrs["source"]] if op.definition.update == "ema" else []


def _is_drawn(recipe: Mapping[str, Any] | None) -> bool:
    return recipe is not None and recipe["type"] not in _FIXED


def _does_something(stage: Stage) -> bool:
    return bool(stage.pulls or stage.queries or stage.compute or stage.initialize or stage.updates)
