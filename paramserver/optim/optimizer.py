"""An optimizer with its hyper-parameters settled: what it keeps, how that starts, and one step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from .blocks import DType, Real, real_of, run_dense, run_rows, run_spread, summed_rows
from .kinds import KINDS, Kind, Slot
from .parameters import Hyper, InvalidHyperParameters, as_float32, read_hyper, shorten
from .rules import Array

FLOAT32: Final = np.dtype(np.float32)


@dataclass(frozen=True, slots=True)
class Optimizer:
    """A kind of optimizer and its hyper-parameters, made by `check_optimizer`. Immutable; safe from several threads.

    It holds no state: slots are variables beside the one they serve, scalars are variables of the optimizer, and both
    are the caller's. As in TensorFlow, hyper-parameters are rounded to float32 for float64 variables too.
    """

    kind: Kind
    hyper: Hyper
    slots: tuple[Slot, ...] = field(init=False, compare=False, repr=False)
    """The slots of each variable, in the order of their names and of every `slots` argument here."""
    _numbers: dict[Real, dict[str, Any]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Both once an optimizer, as a push asks for them once a variable and more.
        object.__setattr__(self, "slots", tuple(self._slots()))
        object.__setattr__(self, "_numbers", {})

    @property
    def spec(self) -> Mapping[str, Any]:
        """Plain JSON values with every default filled in; `check_optimizer` makes the same optimizer of it again."""
        return MappingProxyType({"type": self.kind.type, **self.hyper})

    def with_hyper(self, changes: Mapping[str, Any]) -> Optimizer:
        """The optimizer with some hyper-parameters of this step's own, for example `{"learning_rate": 0.01}`.

        Raises InvalidHyperParameters with all faults, also for those that settle the slots (`centered`,
        `initial_accumulator_value`) or the rule (`use_nesterov`).
        """
        return replace(self, hyper=read_hyper(self.kind.parameters, changes, self.hyper))

    def _slots(self) -> Iterator[Slot]:
        for slot in self.kind.slots:
            if slot.only_if is None or self.hyper[slot.only_if]:
                start_from = slot.start_from
                yield slot if start_from is None else replace(slot, start=float(self.hyper[start_from]))

    def slot_names(self, variable: str, optimizer: str) -> tuple[str, ...]:
        """The variables that hold the slots of `variable` for the optimizer called `optimizer`, as TensorFlow names
        them.

        >>> check_optimizer({"type": "adam"}).slot_names("conv1/weight", "Adam")
        ('conv1/weight/Adam', 'conv1/weight/Adam_1')
        """
        tails = ("" if position == 0 else f"_{position}" for position in range(len(self.slots)))
        return tuple(f"{variable}/{optimizer}{tail}" for tail in tails)

    def scalar_names(self, optimizer: str) -> tuple[str, ...]:
        """The variables that hold the scalars of the optimizer called `optimizer`: `Adam/beta1_power` and the like."""
        return tuple(f"{optimizer}/{scalar.name}" for scalar in self.kind.scalars)

    def misfits(self, dtype: DType) -> tuple[str, ...]:
        """What keeps a variable of `dtype` from being trained: nothing when it fits."""
        if dtype not in self.kind.dtypes:
            wanted = ", ".join(each.name for each in self.kind.dtypes)
            return (f"dtype: {self.kind.type} wants one of {wanted}, got {dtype.name}",)
        return tuple(
            f"{slot.start_from}: wanted a number that is finite and not 0 in {dtype.name}, got {slot.start!r}"
            for slot in self.slots
            if slot.start and not _stays(slot.start, dtype)
        )

    def init_slots(self, shape: tuple[int, ...], dtype: DType) -> tuple[Array, ...]:
        """The first values of the slots of a variable of `shape` and `dtype`: read-only, and they take no memory."""
        return tuple(np.broadcast_to(np.asarray(slot.start).astype(dtype), shape) for slot in self.slots)

    def init_scalars(self) -> tuple[Array, ...]:
        """New float32 arrays of shape `[]` for the scalars, as they are before the first step."""
        return tuple(np.array(self.hyper[scalar.factor], dtype=FLOAT32) for scalar in self.kind.scalars)

    def advance(self, scalars: Sequence[Array]) -> tuple[Array, ...]:
        """The scalars for the next step, new arrays: call it once a step, after the updates of all its variables."""
        with np.errstate(under="ignore"):
            return tuple(
                np.asarray(now * np.float32(self.hyper[scalar.factor]), dtype=FLOAT32)
                for now, scalar in zip(scalars, self.kind.scalars, strict=True)
            )

    def update(
        self,
        value: Array,
        slots: Sequence[Array],
        scalars: Sequence[Array],
        gradient: Array,
        out_value: Array,
        out_slots: Sequence[Array],
        *,
        indices: Array | None = None,
    ) -> None:
        """One step: from a value, its slots and a gradient to the next value and slots, wholly written to the outs.

        `value`, `slots`, `scalars` and `gradient` are only read, so they may be published arrays. The outs are writable
        and C-contiguous, of the value's shape and dtype, and overlap none of these, but for one case: `out_value` may be
        the gradient's own memory when there are no `indices`. The gradient's dtype casts to the value's without loss.
        float16 and bfloat16 are computed in float32 and rounded once. Large arrays are computed in blocks, so a step
        takes little memory besides.

        With `indices`, an integer array of shape `[k]`, the gradient has shape `[k, ...]` and holds these rows along the
        value's first axis. Repeats are summed first. Rows that are not named are copied, except by adam, which moves
        them as by a gradient of 0.

        What is not finite is not refused here. Raises ValueError, before anything is written, when the arrays do not fit
        together.
        """
        dtype = value.dtype
        faults = [
            *self._faults(value, slots, scalars, out_value, out_slots),
            *_gradient_faults(value, gradient, indices),
        ]
        if faults:
            raise ValueError("; ".join(faults))
        old, out = (value, *slots), (out_value, *out_slots)
        with np.errstate(all="ignore"):
            real = real_of(dtype)
            numbers = self._numbers.get(real)
            if numbers is None:
                numbers = self._numbers[real] = _numbers(self.hyper, real)
            step = self.kind.rule(numbers, [real(each) for each in scalars])
            if indices is None:
                run_dense(step, old, gradient, out)
                return
            rows, summed = summed_rows(indices, gradient, dtype)
            (run_spread if self.kind.moves_all_rows else run_rows)(step, old, rows, summed, out)

    def _faults(
        self,
        value: Array,
        slots: Sequence[Array],
        scalars: Sequence[Array],
        out_value: Array,
        out_slots: Sequence[Array],
    ) -> Iterator[str]:
        yield from self.misfits(value.dtype)
        counts = (("slots", slots), ("out_slots", out_slots))
        for name, arrays in counts:
            if len(arrays) != len(self.slots):
                yield f"{name}: wanted {len(self.slots)} for {self.kind.type}, got {len(arrays)}"
        if len(scalars) != len(self.kind.scalars):
            yield f"scalars: wanted {len(self.kind.scalars)} for {self.kind.type}, got {len(scalars)}"
        yield from like_faults("slots", value, *slots)
        yield from out_faults(value, out_value, *out_slots)


def check_optimizer(spec: Mapping[str, Any]) -> Optimizer:
    """The optimizer of a spec such as `{"type": "adam", "learning_rate": 0.01}`, with TensorFlow's names and defaults.

    Raises InvalidHyperParameters, which lists every unknown, missing or wrong one.

    >>> check_optimizer({"type": "momentum", "learning_rate": 0.1, "momentum": 0.9}).spec["use_nesterov"]
    False
    """
    if not isinstance(spec, Mapping):
        raise InvalidHyperParameters(f'wanted an object like {{"type": "adam"}}, got {shorten(spec)}')
    given = dict(spec)
    type_name = given.pop("type", None)
    if not isinstance(type_name, str) or type_name not in KINDS:
        got = "but missing" if type_name is None else f"got {shorten(type_name)}"
        raise InvalidHyperParameters(f"type: wanted one of {', '.join(KINDS)}, {got}")
    kind = KINDS[type_name]
    return Optimizer(kind, read_hyper(kind.parameters, given))


def like_faults(name: str, value: Array, *arrays: Array) -> Iterator[str]:
    """What tells `arrays` from the shape and dtype of `value`."""
    for array in arrays:
        if array.shape != value.shape or array.dtype != value.dtype:
            wanted, got = (f"{list(each.shape)} of {each.dtype.name}" for each in (value, array))
            yield f"{name}: wanted {wanted}, as the value is, got {got}"


def out_faults(value: Array, *outs: Array) -> Iterator[str]:
    """What keeps results from being written to `outs`."""
    yield from like_faults("outs", value, *outs)
    for out in outs:
        if not (out.flags.writeable and out.flags.c_contiguous):
            yield "outs: wanted writable, C-contiguous arrays, got another; take a new one"


def cast_faults(name: str, value: Array, array: Array) -> Iterator[str]:
    if not np.can_cast(array.dtype, value.dtype, "safe"):
        yield f"{name}: wanted what casts to {value.dtype.name} without loss, got {array.dtype.name}; convert it first"


def _gradient_faults(value: Array, gradient: Array, indices: Array | None) -> Iterator[str]:
    yield from cast_faults("gradient", value, gradient)
    if indices is None:
        if gradient.shape != value.shape:
            yield f"gradient: wanted shape {list(value.shape)}, got {list(gradient.shape)}"
        return
    if value.ndim == 0:
        yield "indices: wanted a variable with rows, got one of shape []; send the whole gradient"
        return
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        yield f"indices: wanted integers of shape [k], got {indices.dtype.name} of shape {list(indices.shape)}"
        return
    if gradient.shape != (indices.size, *value.shape[1:]):
        yield f"gradient: wanted shape {[indices.size, *value.shape[1:]]}, got {list(gradient.shape)}"
    if indices.size and not (int(indices.min()) >= 0 and int(indices.max()) < value.shape[0]):
        yield f"indices: wanted rows in 0..{value.shape[0] - 1}, got {int(indices.min())}..{int(indices.max())}"


def _numbers(hyper: Hyper, real: Real) -> dict[str, Any]:
    """The hyper-parameters as the rules want them: rounded to float32, then of the type computed in."""
    return {name: value if isinstance(value, bool) else real(as_float32(value)) for name, value in hyper.items()}


def _stays(number: float, dtype: DType) -> bool:
    with np.errstate(all="ignore"):
        rounded = float(np.asarray(number).astype(dtype))
    return rounded != 0 and np.isfinite(rounded).item()
