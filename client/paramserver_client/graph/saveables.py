"""What a Saver saves: names, and for each the variable it stands for, or the parts of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from paramserver_client.graph.dtypes import Array
from paramserver_client.graph.errors import InvalidArgumentError
from paramserver_client.graph.node import Tensor
from paramserver_client.graph.partitions import PartitionedVariable
from paramserver_client.graph.variables import SaveSliceInfo, Variable


@dataclass(frozen=True)
class Saved:
    """One name in a checkpoint: a variable, or several that are parts of one value of shape `shape`."""

    name: str
    variables: Sequence[Variable]
    slices: Sequence[SaveSliceInfo | None]

    @property
    def is_whole(self) -> bool:
        return self.slices[0] is None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of the whole; None when it is not known before it has a value."""
        info = self.slices[0]
        if info is not None:
            return tuple(info.full_shape or ())
        shape = self.variables[0].shape
        return shape.known() if shape.is_fully_defined() else None

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.variables[0].dtype.base_dtype.numpy_dtype

    @property
    def is_local(self) -> bool:
        """Whether its value is in the session and not on the server."""
        return any(variable.is_local for variable in self.variables)

    def offsets(self) -> list[list[int]]:
        """Where each part begins."""
        return [list(info.var_offset or ()) for info in self.slices if info is not None]

    def joined(self, values: Mapping[Variable, Array]) -> Array:
        """The whole value out of those of its parts."""
        if self.is_whole:
            return values[self.variables[0]]
        whole = np.empty(self.shape or (), self.dtype)
        for variable, place in zip(self.variables, self._places(), strict=True):
            whole[place] = values[variable]
        return whole

    def cut(self, value: Array, reshape: bool) -> list[tuple[Variable, Array]]:
        """Each variable with its share of a saved value.

        Raises InvalidArgumentError in TensorFlow's words when dtype or shape differ; with `reshape` only the number of
        elements must be the same.
        """
        if value.dtype != self.dtype:
            raise InvalidArgumentError(
                f"tensor_name = {self.name}; expected dtype {_name(self.dtype)} does not equal original dtype "
                f"{_name(value.dtype)}"
            )
        wanted = self.shape
        if wanted is not None and value.shape != wanted:
            if not reshape:
                raise InvalidArgumentError(
                    "Assign requires shapes of both tensors to match. lhs shape= "
                    f"[{','.join(map(str, wanted))}] rhs shape= [{','.join(map(str, value.shape))}] "
                    f"(variable {self.name})"
                )
            if value.size != int(np.prod(wanted, dtype=np.int64)):
                raise InvalidArgumentError(
                    f"Input to reshape is a tensor with {value.size} values, but the requested shape has "
                    f"{int(np.prod(wanted, dtype=np.int64))} (variable {self.name})"
                )
            value = value.reshape(wanted)
        if self.is_whole:
            return [(self.variables[0], value)]
        return [
            (variable, np.ascontiguousarray(value[place]))
            for variable, place in zip(self.variables, self._places(), strict=True)
        ]

    def _places(self) -> list[tuple[slice, ...]]:
        return [
            tuple(
                slice(start, start + size)
                for start, size in zip(info.var_offset or (), info.var_shape or (), strict=True)
            )
            for info in self.slices
            if info is not None
        ]


def _name(dtype: np.dtype[Any]) -> str:
    return "string" if dtype.kind == "O" else dtype.name


def saveables(var_list: Any) -> list[Saved]:
    """The entries for a list of variables or a dict from saved names to them, in order of their names.

    Raises ValueError for one name or one variable twice, TypeError for what are no variables.
    """
    if isinstance(var_list, Mapping):
        named = {str(name): value for name, value in var_list.items()}
        odd = "names_to_saveables must be a dict mapping string names to Tensors/Variables. Not a variable: "
    elif isinstance(var_list, list | tuple | set):
        named = _by_own_name(var_list)
        odd = "Variable to save is not a Variable: "
    else:
        raise TypeError(f"Variables to save should be passed in a dict or a list: {var_list}")
    found: list[Saved] = []
    seen: set[Variable] = set()
    for name, value in sorted(named.items()):
        entry = _saved(name, value, odd)
        for variable in entry.variables:
            if variable in seen:
                raise ValueError(f"The same saveable will be restored with two names: {name}")
            seen.add(variable)
        found.append(entry)
    return found


def _by_own_name(var_list: Any) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for variable in var_list:
        if isinstance(variable, PartitionedVariable):
            name: str = variable.name
        elif isinstance(variable, Variable):
            info = variable._get_save_slice_info()
            if info is not None:
                name = str(info.full_name)
                found = named.setdefault(name, [])
                if not isinstance(found, list):
                    raise ValueError(f"Mixing slices and non-slices with the same name: {name}")
                found.append(variable)
                continue
            name = variable.op.name
        else:
            kind = "Variable to save is not a Variable" if isinstance(variable, Tensor) else "Not a variable"
            raise TypeError(f"{kind}: {variable}")
        if name in named:
            raise ValueError(f"At least two variables have the same name: {name}")
        named[name] = variable
    return named


def _saved(name: str, value: Any, odd: str) -> Saved:
    if isinstance(value, Variable) and value._get_save_slice_info() is None:
        return Saved(name, (value,), (None,))
    parts = [value] if isinstance(value, Variable) else value
    if not isinstance(parts, list | tuple | PartitionedVariable) or not len(parts):
        raise TypeError(f"{odd}{value}")
    slices: list[SaveSliceInfo] = []
    for part in parts:
        if not isinstance(part, Variable):
            raise TypeError(f"{odd}{part}")
        info = part._get_save_slice_info()
        if info is None:
            raise ValueError(f"Slices must all be slices: {part}")
        if slices and info.full_name != slices[0].full_name:
            raise ValueError(f"Slices must all be from the same tensor: {slices[0].full_name} != {info.full_name}")
        slices.append(info)
    return Saved(name, tuple(parts), tuple(slices))
