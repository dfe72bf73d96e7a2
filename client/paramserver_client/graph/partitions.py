"""Variables in parts: how a large variable is cut, and `PartitionedVariable`, which stands for all of its parts.

Each part is a variable of its own, `<name>/part_0` and so on, and can live on another server.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from paramserver_client.graph import dtypes, ops_array, ops_join
from paramserver_client.graph.dtypes import DType
from paramserver_client.graph.graph import Graph, get_default_graph
from paramserver_client.graph.node import Operation, Operators, Tensor
from paramserver_client.graph.shapes import TensorShape, as_shape, dimension_value
from paramserver_client.graph.variables import Variable

Partitioner = Callable[..., Sequence[int]]


def _sequence(value: Any, name: str) -> Sequence[int]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError(f"`{name}` must be a sequence (like tuple or list) instead of {type(value).__name__}")
    return value


class PartitionInfo:
    """What an initializer is told of the part it makes: the whole variable's shape, and where the part begins.

    Raises TypeError for what are no sequences, ValueError for an offset outside.
    """

    def __init__(self, full_shape: Sequence[int], var_offset: Sequence[int]) -> None:
        self.full_shape, self.var_offset = _sequence(full_shape, "full_shape"), _sequence(var_offset, "var_offset")
        if len(var_offset) != len(full_shape):
            raise ValueError(
                f"Expected equal length, but `var_offset` is of length {len(var_offset)} while full_shape is of length "
                f"{len(full_shape)}."
            )
        for offset, size in zip(var_offset, full_shape, strict=True):
            if not 0 <= offset < size:
                raise ValueError(
                    f"Expected 0 <= offset < shape but found offset={offset}, shape={size} for "
                    f"var_offset={var_offset}, full_shape={full_shape}"
                )

    def single_offset(self, shape: Sequence[int]) -> int:
        """Where a part of this shape begins along the one axis that is cut; 0 when none is."""
        axis = self.single_slice_dim(shape)
        return 0 if axis is None else self.var_offset[axis]

    def single_slice_dim(self, shape: Sequence[int]) -> int | None:
        """The one axis along which a part of this shape is cut, or None. Raises ValueError when there are several, or
        when the part sticks out."""
        sizes = _sequence(shape, "shape")
        if len(sizes) != len(self.full_shape):
            raise ValueError(
                f"Expected equal length, but received shape={sizes} of length {len(sizes)} while "
                f"self.full_shape={self.full_shape} is of length {len(self.full_shape)}."
            )
        for axis, size in enumerate(sizes):
            if self.var_offset[axis] + size > self.full_shape[axis]:
                raise ValueError(
                    f"With self.var_offset={self.var_offset}, a partition of shape={sizes} would exceed "
                    f"self.full_shape={self.full_shape} in dimension {axis}."
                )
        cut = [axis for axis, size in enumerate(sizes) if size != self.full_shape[axis]]
        if len(cut) > 1:
            raise ValueError(
                f"Cannot use single_slice_dim() with shape={sizes} and self.full_shape={self.full_shape} since slice "
                f"dim could be either dimension {cut[0]} or {cut[1]}."
            )
        return cut[0] if cut else None


def partitions_of(partitioner: Partitioner, shape: TensorShape, dtype: DType) -> Sequence[int]:
    """How many parts along each axis a partitioner wants. Raises ValueError for an answer that is of no use."""
    if not shape.is_fully_defined():
        raise ValueError(f"Shape of a new partitioned variable must be fully defined, but instead was {shape}.")
    if not shape.known():
        raise ValueError(f"A partitioned Variable must have rank at least 1, shape: {shape}")
    slicing = partitioner(shape=shape, dtype=dtype)
    if not isinstance(slicing, Sequence):
        raise ValueError(f"Partitioner must return a sequence, but saw: {slicing}")
    if len(slicing) != shape.ndims:
        raise ValueError(
            f"Partitioner returned a partition list that does not match the Variable's rank: {slicing} vs. {shape}"
        )
    if any(parts < 1 for parts in slicing):
        raise ValueError(f"Partitioner returned zero partitions for some axes: {slicing}")
    if sum(parts > 1 for parts in slicing) > 1:
        raise ValueError(f"Can only slice a variable along one dimension: shape: {shape}, partitioning: {slicing}")
    return slicing


def cut(full_shape: Sequence[int], slicing: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Offset and shape of each part. What does not divide evenly makes the first parts longer by one.

    >>> list(cut([5, 2], [2, 1]))
    [([0, 0], [3, 2]), ([3, 0], [2, 2])]
    """
    axis = next((i for i, parts in enumerate(slicing) if parts > 1), 0)
    least, excess = divmod(full_shape[axis], slicing[axis])
    offset = [0] * len(full_shape)
    for part in range(slicing[axis]):
        shape = list(full_shape)
        shape[axis] = least + (part < excess)
        yield list(offset), shape
        offset[axis] += shape[axis]


class PartitionedVariable(Operators):
    """Several variables that are parts of one. As a tensor it is their concatenation.

    Raises TypeError and ValueError when the variables are no parts of one variable of this shape.
    """

    def __init__(
        self, name: str, shape: Any, dtype: DType, variable_list: Sequence[Variable], partitions: Sequence[int]
    ) -> None:
        if not isinstance(variable_list, list | tuple):
            raise TypeError(f"variable_list is not a list or tuple: {variable_list}")
        if not isinstance(partitions, list | tuple):
            raise TypeError(f"partitions is not a list or tuple: {partitions}")
        if not all(parts >= 1 for parts in partitions):
            raise ValueError(f"partition values must be positive: {partitions}")
        if not variable_list:
            raise ValueError("variable_list may not be empty")
        whole = as_shape(shape)
        for variable in variable_list:
            info = variable._get_save_slice_info()
            if info is None:
                names = [each.name for each in variable_list]
                raise ValueError(f"All variables must have a save_slice_info available: {names}")
            if len(whole) != len(partitions):
                raise ValueError(f"len(shape) != len(partitions): {shape} vs. {partitions}")
            if whole != info.full_shape:
                raise ValueError(
                    f"All variables' full shapes must match shape: {shape}; but full shapes were: {[info.full_shape]}"
                )
        self._variables = sorted(variable_list, key=_offset_of)
        self._name, self._shape, self._dtype = name, whole, dtype
        self._partitions = partitions

    @property
    def name(self) -> str:
        return self._name

    @property
    def dtype(self) -> DType:
        return self._dtype

    @property
    def shape(self) -> TensorShape:
        return self._shape

    def get_shape(self) -> TensorShape:
        return self._shape

    @property
    def graph(self) -> Graph:
        graph: Graph = self._variables[0].graph
        return graph

    @property
    def trainable(self) -> bool:
        return all(part.trainable for part in self._variables)

    def _get_variable_list(self) -> list[Variable]:
        return self._variables

    def _get_partitions(self) -> Sequence[int]:
        return self._partitions

    def __iter__(self) -> Iterator[Variable]:
        """The parts, in order."""
        return iter(self._variables)

    def __len__(self) -> int:
        axes = self._axes()
        if len(axes) > 1:
            raise ValueError(f"Cannot get a length for {len(axes)} > 1 partition axes")
        return len(self._variables)

    def __bool__(self) -> bool:
        return True

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def _axes(self) -> list[int]:
        return [axis for axis, parts in enumerate(self._partitions) if parts > 1] or [0]

    def _one_axis(self, doing: str) -> int:
        axes = self._axes()
        if len(axes) > 1:
            raise NotImplementedError(
                f"Cannot {doing} along more than one dimension: {axes}.  Multi-axis partition is not supported"
            )
        return axes[0]

    def as_tensor(self) -> Tensor:
        """All parts as one tensor, read without regard to the control dependencies here."""
        with self.graph.as_default(), self.graph.control_dependencies(None):
            return self._concat()

    def _concat(self) -> Tensor:
        graph = self.graph
        if len(self._variables) == 1:
            joined: Any = self._variables[0]
        else:
            axis = self._one_axis("concatenate")
            with graph.name_scope(f"{self._name}/ConcatPartitions/"):
                joined = ops_join.concat(self._variables, axis)
        with graph.name_scope(None):
            return ops_array.identity(joined, name=self._name)

    def _as_tensor(self) -> Tensor:
        return self.as_tensor()

    def _for_each_part(self, value: Any) -> list[Any]:
        axis = self._one_axis("do assign action")
        if isinstance(value, list | PartitionedVariable):
            parts = list(value)
            if len(parts) != len(self._variables):
                raise ValueError(f"Wanted {len(self._variables)} values, one for each part, got {len(parts)}.")
            return parts
        return ops_join.split(value, [dimension_value(part.shape[axis]) for part in self._variables], axis=axis)

    def _each(self, method: str, value: Any, name: str | None, use_locking: bool, read_value: bool) -> list[Any]:
        values = self._for_each_part(value)
        return [
            getattr(part, method)(own, use_locking=use_locking, name=name, read_value=read_value)
            for part, own in zip(self._variables, values, strict=True)
        ]

    def assign(
        self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> list[Any]:
        """`assign` to each part its share of `value` (a tensor, a list of parts, or another partitioned variable);
        gives a list of results."""
        return self._each("assign", value, name, use_locking, read_value)

    def assign_add(
        self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> list[Any]:
        """`assign_add` to each part its share of `value`; else as `assign`."""
        return self._each("assign_add", value, name, use_locking, read_value)

    def assign_sub(
        self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> list[Any]:
        """`assign_sub` from each part its share of `value`; else as `assign`."""
        return self._each("assign_sub", value, name, use_locking, read_value)

    @property
    def initializer(self) -> Operation:
        """One operation that initializes every part."""
        with get_default_graph().name_scope(None):
            return ops_array.group(*[part.initializer for part in self._variables], name=f"{self._name}/init")

    def __repr__(self) -> str:
        return f"<tf.PartitionedVariable '{self._name}' shape={self._shape} partitions={list(self._partitions)}>"


def _offset_of(variable: Variable) -> list[int]:
    info = variable._get_save_slice_info()
    return list(info.var_offset or ()) if info is not None else []


# Partitioners


def fixed_size_partitioner(num_shards: int, axis: int = 0) -> Partitioner:
    """Cuts into `num_shards` parts along `axis`, or fewer when it is shorter."""

    def partitioner(shape: TensorShape, **_: Any) -> list[int]:
        parts = [1] * len(shape)
        parts[axis] = min(num_shards, shape.known()[axis])
        return parts

    return partitioner


def variable_axis_size_partitioner(
    max_shard_bytes: int, axis: int = 0, bytes_per_string_element: int = 16, max_shards: int | None = None
) -> Partitioner:
    """Cuts along `axis` so that no part is larger than `max_shard_bytes`, as far as whole slices and `max_shards`
    allow. Raises ValueError for sizes below 1."""
    if max_shard_bytes < 1 or bytes_per_string_element < 1:
        raise ValueError("Both max_shard_bytes and bytes_per_string_element must be positive.")
    if max_shards and max_shards < 1:
        raise ValueError("max_shards must be positive.")

    def partitioner(shape: TensorShape, dtype: DType) -> list[int]:
        _check_known(shape, dtype)
        length = shape.known()[axis]
        slice_nbytes = (shape.num_elements() or 0) / length * _element_nbytes(dtype, bytes_per_string_element)
        slices_a_part = max(1, math.floor(max_shard_bytes / slice_nbytes))
        count = math.ceil(length / slices_a_part)
        parts = [1] * len(shape)
        parts[axis] = min(max_shards, count) if max_shards else count
        return parts

    return partitioner


def min_max_variable_partitioner(
    max_partitions: int = 1, axis: int = 0, min_slice_size: int = 256 << 10, bytes_per_string_element: int = 16
) -> Partitioner:
    """Cuts along `axis` into at most `max_partitions` parts of at least `min_slice_size` bytes."""

    def partitioner(shape: TensorShape, dtype: DType) -> list[int]:
        if axis >= len(shape):
            raise ValueError(f"Can not partition variable along axis {axis} when shape is only {shape}")
        nbytes = (shape.num_elements() or 0) * _element_nbytes(dtype, bytes_per_string_element)
        parts = [1] * len(shape)
        parts[axis] = max(1, min(shape.known()[axis], max_partitions, math.ceil(nbytes / min_slice_size)))
        return parts

    return partitioner


def _check_known(shape: Any, dtype: Any) -> None:
    if not isinstance(shape, TensorShape):
        raise ValueError(f"shape is not a TensorShape: {shape}")
    if not shape.is_fully_defined():
        raise ValueError(f"shape is not fully defined: {shape}")
    if not isinstance(dtype, DType):
        raise ValueError(f"dtype is not a DType: {dtype}")


def _element_nbytes(dtype: DType, bytes_per_string_element: int) -> int:
    return bytes_per_string_element if dtype.base_dtype == dtypes.string else dtype.size
