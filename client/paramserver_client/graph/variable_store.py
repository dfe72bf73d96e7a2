"""The variables that `get_variable` made in one graph: found by their full names, or made."""

from __future__ import annotations

import enum
import inspect
import traceback
from typing import Any, Final

from paramserver_client.graph import dtypes, initializers, ops_join, shapes
from paramserver_client.graph.convert import convert_to_tensor
from paramserver_client.graph.dtypes import DType
from paramserver_client.graph.graph import GraphKeys, get_default_graph, name_scope
from paramserver_client.graph.node import Tensor
from paramserver_client.graph.partitions import PartitionedVariable, PartitionInfo, cut, partitions_of
from paramserver_client.graph.shapes import TensorShape
from paramserver_client.graph.variables import SaveSliceInfo, Variable, VariableAggregation, VariableSynchronization


class _ReuseMode(enum.Enum):
    AUTO_REUSE = 1


AUTO_REUSE: Final = _ReuseMode.AUTO_REUSE

_INVALID_INITIALIZER: Final = (
    "The initializer passed is not valid. It should be a callable with no arguments and the shape should not be "
    "provided or an instance of `tf.keras.initializers.*' and `shape` should be fully defined."
)


class VariableStore:
    """The variables of one graph that `get_variable` made, whole and in parts, by name."""

    def __init__(self) -> None:
        self._vars: dict[str, Variable] = {}
        self._partitioned: dict[str, PartitionedVariable] = {}
        self._origins: dict[str, str] = {}

    def by_name(self) -> dict[str, Any]:
        """All that was made, with partitioned variables in place of their parts."""
        parts = {part for each in self._partitioned.values() for part in each}
        return {**{name: each for name, each in self._vars.items() if each not in parts}, **self._partitioned}

    def get_variable(
        self, name: str, shape: Any = None, dtype: Any = dtypes.float32, initializer: Any = None,
        regularizer: Any = None, reuse: Any = None, trainable: bool | None = None, collections: Any = None,
        caching_device: Any = None, partitioner: Any = None, validate_shape: bool = True, use_resource: Any = None,
        custom_getter: Any = None, constraint: Any = None, synchronization: Any = VariableSynchronization.AUTO,
        aggregation: Any = VariableAggregation.NONE,
    ) -> Any:  # fmt: skip
        """The variable called `name`, through the custom getter if there is one.

        `reuse`: False only makes, True only finds, None and AUTO_REUSE do either. Raises ValueError when that does
        not agree with what there is, and when shape, dtype or partitions differ from those of the variable found.
        """
        if custom_getter is not None and not callable(custom_getter):
            raise ValueError(f"Passed a custom_getter which is not callable: {custom_getter}")
        when = VariableSynchronization.AUTO if synchronization is None else synchronization
        if trainable is None:
            trainable = when is not VariableSynchronization.ON_READ
        arguments: dict[str, Any] = {
            "name": name, "shape": shape, "dtype": getattr(dtype, "base_dtype", dtype), "initializer": initializer,
            "regularizer": regularizer, "reuse": reuse, "trainable": trainable, "collections": collections,
            "caching_device": caching_device, "partitioner": partitioner, "validate_shape": validate_shape,
            "use_resource": use_resource, "synchronization": when,
            "aggregation": VariableAggregation.NONE if aggregation is None else aggregation,
        }  # fmt: skip
        if custom_getter is None:
            return self._get(constraint=constraint, **arguments)
        if _takes(custom_getter, "constraint"):
            arguments["constraint"] = constraint
        return custom_getter(getter=self._get, **arguments)

    def _get(
        self, name: str, shape: Any = None, dtype: Any = dtypes.float32, initializer: Any = None,
        regularizer: Any = None, reuse: Any = None, trainable: bool | None = None, collections: Any = None,
        caching_device: Any = None, partitioner: Any = None, validate_shape: bool = True, use_resource: Any = None,
        constraint: Any = None, synchronization: Any = None, aggregation: Any = None,
    ) -> Any:  # fmt: skip
        """What a custom getter is handed: finds or makes the variable."""
        made = {
            "trainable": trainable, "collections": collections, "caching_device": caching_device,
            "validate_shape": validate_shape, "use_resource": use_resource, "constraint": constraint,
            "synchronization": synchronization, "aggregation": aggregation,
        }  # fmt: skip
        is_scalar = shape is not None and isinstance(shape, list | tuple | TensorShape) and not len(shape)
        if partitioner is not None and not callable(partitioner):
            raise ValueError(f"Partitioner must be callable, but received: {partitioner}")
        in_parts = partitioner is not None and not is_scalar
        if in_parts or (reuse is True and partitioner is None and name in self._partitioned):
            with get_default_graph().name_scope(None):
                return self.get_partitioned(name, shape, dtype, initializer, regularizer, reuse, partitioner, **made)
        if f"{name}/part_0" in self._vars:
            raise ValueError(
                "No partitioner was provided, but a partitioned version of the variable was found: "
                f"{name}/part_0. Perhaps a variable of the same name was already created with partitioning?"
            )
        return self._get_single(name, shape, dtype, initializer, regularizer, reuse, None, **made)

    def _get_single(
        self, name: str, shape: Any, dtype: Any, initializer: Any, regularizer: Any, reuse: Any,
        partition_info: PartitionInfo | None, **made: Any,
    ) -> Variable:  # fmt: skip
        from_value = initializer is not None and not callable(initializer)
        if shape is not None and from_value:
            raise ValueError("If initializer is a constant, do not specify shape.")
        wanted, shape = dtypes.as_dtype(dtype), shapes.as_shape(shape)
        if name in self._vars:
            return self._found(name, reuse, shape, wanted)
        if reuse is True:
            raise ValueError(
                f"Variable {name} does not exist, or was not created with tf.get_variable(). Did you mean to set "
                "reuse=tf.AUTO_REUSE in VarScope?"
            )
        if initializer is None:
            initializer = _default_initializer(name, wanted)
        value, own_dtype = (
            (initializer, None) if from_value else _first_value(initializer, shape, wanted, partition_info)
        )
        variable = Variable(value, name=name, dtype=own_dtype, **made)
        self._vars[name] = variable
        self._origins[name] = "".join(traceback.format_list(_callers()))
        if regularizer is not None:
            with get_default_graph().colocate_with(variable), name_scope(f"{name}/Regularizer/"):
                loss = regularizer(variable)
            if loss is not None:
                get_default_graph().add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
        return variable

    def _found(self, name: str, reuse: Any, shape: TensorShape, dtype: DType) -> Variable:
        variable = self._vars[name]
        if reuse is False:
            raise ValueError(
                f"Variable {name} already exists, disallowed. Did you mean to set reuse=True or reuse=tf.AUTO_REUSE "
                f"in VarScope? Originally defined at:\n\n{self._origins[name]}"
            )
        if not shape.is_compatible_with(variable.shape):
            raise ValueError(
                f"Trying to share variable {name}, but specified shape {shape} and found shape {variable.shape}."
            )
        if not dtype.is_compatible_with(variable.dtype):
            raise ValueError(
                f"Trying to share variable {name}, but specified dtype {dtype.name} and found dtype "
                f"{variable.dtype.name}."
            )
        return variable

    def get_partitioned(
        self, name: str, shape: Any, dtype: Any, initializer: Any, regularizer: Any, reuse: Any, partitioner: Any,
        **made: Any,
    ) -> PartitionedVariable:  # fmt: skip
        """The partitioned variable called `name`: its parts are `name/part_0` and so on."""
        if name in self._vars:
            raise ValueError(
                "A partitioner was provided, but an unpartitioned version of the variable was found: "
                f"{name}.  Perhaps a variable of the same name was already created without partitioning?"
            )
        wanted, whole = dtypes.as_dtype(dtype), shapes.as_shape(shape)
        if isinstance(initializer, Tensor):
            whole = whole.merge_with(initializer.shape)
        elif initializer is not None and not callable(initializer):
            initializer = convert_to_tensor(initializer, wanted)
            whole = whole.merge_with(initializer.shape)
        slicing = partitions_of(partitioner, whole, wanted) if partitioner is not None else None
        if name in self._partitioned:
            return self._found_parts(name, whole, wanted, slicing, reuse)
        if reuse is True or slicing is None:
            raise ValueError(
                f"PartitionedVariable {name} does not exist, or was not created with tf.get_variable(). Did you mean "
                "to set reuse=False or reuse=tf.AUTO_REUSE in VarScope?"
            )
        self._check_parts(name, max(slicing))
        parts: list[Variable] = []
        full_shape = [int(size) for size in whole.known()]
        for number, (offset, sizes) in enumerate(cut(full_shape, slicing)):
            part_name = f"{name}/part_{number}"
            own, own_dtype = initializer, wanted
            own_shape: list[int] | None = sizes
            if isinstance(initializer, Tensor):
                with name_scope(f"{part_name}/PartitionedInitializer"):
                    own, own_shape = ops_join.slice_(initializer, offset, sizes), None
                own_dtype = own.dtype.base_dtype
            info = PartitionInfo(full_shape, offset)
            part = self._get_single(part_name, own_shape, own_dtype, own, regularizer, reuse, info, **made)
            part._set_save_slice_info(SaveSliceInfo(name, full_shape, offset, sizes))
            parts.append(part)
        found = PartitionedVariable(name, whole, parts[0].dtype.base_dtype, parts, list(slicing))
        self._partitioned[name] = found
        return found

    def _check_parts(self, name: str, count: int) -> None:
        there = [number for number in (0, count - 1, count) if f"{name}/part_{number}" in self._vars]
        different = "Partitioner returned a different partitioning than what was already found.  Partitioner returned"
        if 0 in there and count - 1 not in there:
            raise ValueError(
                f"{different} {count} shards, and shard {name}/part_0 was found, but {name}/part_{count - 1} was not."
            )
        if count in there and 0 in there:
            raise ValueError(
                f"{different} {count} shards, and shard {name}/part_0 was found, but so was the extra shard "
                f"{name}/part_{count}."
            )

    def _found_parts(
        self, name: str, shape: TensorShape, dtype: DType, slicing: Any, reuse: Any
    ) -> PartitionedVariable:
        if reuse is False:
            raise ValueError(
                f"Partitioned variable with name {name} already exists. Did you mean to set reuse=True or "
                "reuse=tf.AUTO_REUSE in VarScope?"
            )
        found, trying = self._partitioned[name], f"Trying to reuse partitioned variable {name}, but specified"
        if not shape.is_compatible_with(found.shape):
            raise ValueError(f"{trying} shape {shape} and found shape {found.shape}.")
        if not dtype.is_compatible_with(found.dtype):
            raise ValueError(f"{trying} dtype {dtype.name} and found dtype {found.dtype.name}.")
        if slicing is not None and list(found._get_partitions()) != list(slicing):
            raise ValueError(f"{trying} partitions {slicing} and found partitions {found._get_partitions()}.")
        return found


def _callers() -> list[traceback.FrameSummary]:
    here = __name__.rpartition(".")[0].replace(".", "/")
    frames = [frame for frame in traceback.extract_stack() if here not in frame.filename.replace("\\", "/")]
    return frames[::-1][:5]


def _default_initializer(name: str, dtype: DType) -> initializers.Initializer:
    if dtype.is_floating:
        return initializers.GlorotUniform()
    if dtype.is_integer or dtype.is_bool or dtype == dtypes.string:
        return initializers.Zeros()
    raise ValueError(f"An initializer for variable {name} of {dtype.base_dtype} is required")


def _first_value(
    initializer: Any, shape: TensorShape, dtype: DType, partition_info: PartitionInfo | None
) -> tuple[Any, DType | None]:
    if inspect.isclass(initializer):
        initializer = initializer()
    if shape.is_fully_defined():
        extra = {"partition_info": partition_info} if _takes(initializer, "partition_info") else {}

        def first() -> Any:
            made = initializer(shape.as_list(), dtype=dtype.base_dtype, **extra)
            if partition_info is not None and isinstance(made, Tensor) and "seed" in (made.op.recipe or ()):
                made.op.recipe = None  # One seed is one value for all parts; the server's goes by their names too.
            return made

        return first, dtype.base_dtype
    if not _required(initializer):
        return initializer, None
    raise ValueError(_INVALID_INITIALIZER)


def _parameters(initializer: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(initializer).parameters.values())


def _takes(function: Any, name: str) -> bool:
    return any(each.name == name or each.kind is each.VAR_KEYWORD for each in _parameters(function))


def _required(initializer: Any) -> bool:
    return any(
        each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        for each in _parameters(initializer)
    )
