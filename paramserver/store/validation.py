"""From updates to computations: everything is checked, every difference listed, before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from paramserver.optim import FLOATS, InvalidHyperParameters, check_decay, update_average
from paramserver.store.errors import Difference, StoreError, refuse_any
from paramserver.store.selection import missing, no_value
from paramserver.store.snapshot import VariableSnapshot
from paramserver.store.updates import (
    DENSE,
    EMA,
    OPS,
    SCATTER,
    Array,
    Typed,
    Update,
    apply,
    check_rows,
    check_value,
    is_finite,
    scatter,
)
from paramserver.store.variables import Variable
from paramserver.store.workspace import Step, Workspace, frozen
from paramserver_wire.dtypes import DTYPES, can_cast, name_of


class Draft:
    """A transaction being put together: its steps in their order, and all that does not fit.

    `held` are the variables it may read and write. Nothing is computed before `refuse_any` found no difference. When it
    is `recording`, `recorded` are the updates with their values settled, and what came in is never written to.
    """

    def __init__(self, held: dict[str, Variable], *, allow_non_finite: bool = False, recording: bool = False) -> None:
        self.held = held
        self.allow_non_finite = allow_non_finite
        self.recording = recording
        self.recorded: list[Update] = []
        self.steps: list[Step] = []
        self.differences: list[Difference] = []
        self._writes: dict[Variable, int] = {}

    def add(self, step: Step) -> None:
        """Add a step behind those there are."""
        self.steps.append(step)
        for variable in step.writes:
            self._writes[variable] = self._writes.get(variable, 0) + 1

    def differ(self, name: str, code: str, detail: str) -> None:
        """Note something that does not fit."""
        self.differences.append(Difference(name, code, detail))

    def has_value(self, variable: Variable) -> bool:
        """Whether a step that is added now finds a value."""
        return variable.head.value is not None or variable in self._writes

    def as_found(self, variable: Variable) -> VariableSnapshot:
        """The variable as a step that is added now finds it, its version at least."""
        found = variable.at_head()
        return found._replace(state=found.state._replace(version=found.version + self._writes.get(variable, 0)))

    def update(self, update: Update) -> None:
        """Check one update and add its step."""
        variable = self.held.get(update.name)
        if variable is None:
            self.differences.append(missing(update.name))
            return
        if update.op not in OPS:
            detail = f"variable {update.name!r}: op is one of {', '.join(OPS)}; got {update.op!r}"
            self.differ(update.name, "invalid_request", detail)
            return
        try:
            if update.op == EMA:
                self._move_average(variable, update)
            else:
                self._write(variable, update)
        except StoreError as error:
            self.differences.extend(error.errors)

    def returning(self, head: Mapping[str, Variable], returns: Iterable[str]) -> list[Variable]:
        """The variables to be returned, checked to have a value once all steps are done."""
        names = list(dict.fromkeys(returns))
        if not names:
            return []
        fetches = [found for name in names if (found := self.held.get(name, head.get(name))) is not None]
        self.differences.extend(missing(name) for name in names if name not in self.held and name not in head)
        self.differences.extend(no_value(variable.name) for variable in fetches if not self.has_value(variable))
        return fetches

    def refuse_any(self) -> None:
        """Raise the class of the first difference, with all listed; return quietly when there is none."""
        refuse_any(self.differences)

    # ---------------------------------------------------------------- one update

    def _write(self, variable: Variable, update: Update) -> None:
        name, op = variable.name, update.op
        fields = _misplaced(update)
        if fields or update.value is None:
            self.differ(name, "invalid_request", f"variable {name!r}: {op} wants {_WANTED[op]}; {_got(update, fields)}")
            return
        value = _array(update.value, variable)
        shape, indices = variable.shape, None
        if update.indices is not None:
            indices = update.indices(DTYPES["int64"], None) if callable(update.indices) else update.indices
            self.differences.extend(check_rows(name, indices, variable.shape))
            shape = (*indices.shape, *variable.shape[1:]) if variable.shape else value.shape
        self.differences.extend(check_value(name, op, value, shape, variable.dtype, rows=indices is not None))
        if op != "assign" and not self.has_value(variable):
            self.differences.append(no_value(name))
        if not self.allow_non_finite and not is_finite(value):
            self.differ(name, "non_finite", not_finite(name))
        self._check_version(variable, update)
        if self.recording:
            self.recorded.append(Update(name, op, value, indices=indices))
        self.add(_step(variable, update, value, indices, kept=self.recording))

    def _move_average(self, target: Variable, update: Update) -> None:
        name = target.name
        fields = _misplaced(update)
        if fields or update.source is None or update.decay is None:
            self.differ(name, "invalid_request", f"variable {name!r}: ema wants {_WANTED[EMA]}; {_got(update, fields)}")
            return
        if target.dtype not in FLOATS:
            wanted = ", ".join(map(name_of, FLOATS))
            detail = f"variable {name!r}: ema wants one of {wanted}, but it holds {name_of(target.dtype)}"
            self.differ(name, "dtype_mismatch", f"{detail}; average into a float variable")
        decay = 0.0
        try:
            decay = check_decay(update.decay)
        except InvalidHyperParameters as error:
            self.differ(name, "invalid_request", f"variable {name!r}: ema: {error}")
        source = self.held.get(update.source)
        if source is None:
            self.differences.append(missing(update.source))
            return
        self.differences.extend(_unlike(target, source))
        self.differences.extend(no_value(each.name) for each in (target, source) if not self.has_value(each))
        self._check_version(target, update)
        if self.recording:
            self.recorded.append(Update(name, EMA, source=update.source, decay=decay))
        average_of = source

        def run(workspace: Workspace) -> None:
            average = workspace.value(target)
            out = workspace.pool.empty(target.shape, target.dtype)
            update_average(average, workspace.value(average_of), decay, out)
            workspace.put(target, out)

        self.add(Step((target,), run))

    def _check_version(self, variable: Variable, update: Update) -> None:
        if update.if_version is None:
            return
        now = self.as_found(variable)
        if not now.matches(update.if_version):
            name = variable.name
            detail = f"variable {name!r} is at version {now.tag!r}, not {update.if_version!r}; read it again and retry"
            self.differ(name, "version_mismatch", detail)


_FIELDS = ("value", "indices", "source", "decay")
# Which of these each op comes with, and the same in words.
_GIVEN = {
    **dict.fromkeys(DENSE, (True, False, False, False)),
    **dict.fromkeys(SCATTER, (True, True, False, False)),
    EMA: (False, False, True, True),
}
_WANTED = {
    **dict.fromkeys(DENSE, "a value"),
    **dict.fromkeys(SCATTER, "a value and indices"),
    EMA: "a source and a decay",
}


def _misplaced(update: Update) -> list[str]:
    """The fields that are there and should not be, or should be and are not."""
    given = (
        update.value is not None,
        update.indices is not None,
        update.source is not None,
        update.decay is not None,
    )
    wanted = _GIVEN[update.op]
    if given == wanted:
        return []
    return [field for field, there, due in zip(_FIELDS, given, wanted, strict=True) if there != due]


def _got(update: Update, fields: Iterable[str]) -> str:
    there = [field for field in fields if getattr(update, field) is not None]
    if there:
        return f"got {' and '.join(there)} besides; leave that out"
    return f"got no {' and no '.join(fields)}; send it"


def _array(given: Array | Typed, variable: Variable) -> Array:
    return given(variable.dtype, variable.shape) if callable(given) else given


def not_finite(name: str) -> str:
    """What to tell about a value that holds NaN or infinity."""
    return f"variable {name!r}: the value holds NaN or infinity; send finite numbers, or set allow_non_finite=true"


def _unlike(target: Variable, source: Variable) -> Iterable[Difference]:
    name = target.name
    if source.shape != target.shape:
        detail = f"variable {name!r} averages shape {list(target.shape)}, but {source.name!r} has {list(source.shape)}"
        yield Difference(name, "shape_mismatch", f"{detail}; create the average with the shape of its source")
    if target.dtype in FLOATS and not can_cast(source.dtype, target.dtype):
        detail = (
            f"variable {name!r} averages {name_of(target.dtype)}, but {source.name!r} holds {name_of(source.dtype)}"
        )
        yield Difference(name, "dtype_mismatch", f"{detail}, which does not cast to it without loss")


def _step(variable: Variable, update: Update, value: Array, indices: Array | None, *, kept: bool) -> Step:
    # What is written down may become a value, but nothing may be computed in its memory.
    donated = update.donated and (update.op == "assign" or not kept)

    def run(workspace: Workspace) -> None:
        if indices is None:
            new = apply(
                update.op, workspace.find(variable), value, variable.dtype, donated=donated, pool=workspace.pool
            )
            if kept and new is value:
                new = frozen(new)
        else:
            new = workspace.writable(variable)
            scatter(update.op, new, indices, value)
        workspace.put(variable, new)

    return Step((variable,), run)
