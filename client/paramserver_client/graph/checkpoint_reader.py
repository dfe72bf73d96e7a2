"""Looking into checkpoints, a Saver's (here, or on the server) or TensorFlow's own: `NewCheckpointReader`, `list_variables`,
`load_variable`, `init_from_checkpoint`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from paramserver_client.graph import checkpoint_state as state
from paramserver_client.graph import dtypes
from paramserver_client.graph.convert import constant
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.errors import NotFoundError
from paramserver_client.graph.graph import get_default_graph
from paramserver_client.graph.partitions import PartitionedVariable
from paramserver_client.graph.saveables import saveables
from paramserver_client.graph.server_reader import ServerCheckpoint, on_server
from paramserver_client.graph.tensor_bundle import TensorBundle, is_bundle
from paramserver_client.graph.variable_scope import variables_by_name
from paramserver_client.graph.variables import Variable

STRINGS: Final = "strings"
"""The note under which a Saver says which of its values are strings, and of what shape."""


class CheckpointReader:
    """The checkpoint at a prefix: what it holds, and its values one by one.

    Raises NotFoundError when there is none, DataLossError for a damaged one.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = str(prefix)
        self._bundle: TensorBundle | None = None
        self._remote: ServerCheckpoint | None = None
        self._strings: Mapping[str, Any] = {}
        if is_bundle(self._prefix):
            self._bundle = TensorBundle(self._prefix)
            entries = self._bundle.entries.items()
            self._about = {name: (list(entry.shape), entry.dtype) for name, entry in entries}
            return
        self._remote = None if state.is_directory_checkpoint(self._prefix) else on_server(self._prefix)
        if self._remote is not None:
            self._about = self._remote.about
            return
        if not state.is_directory_checkpoint(self._prefix):
            raise NotFoundError(
                f"Unsuccessful TensorSliceReader constructor: Failed to find any matching files for {prefix}"
            )
        from paramserver_client.embedded import read_directory  # Needs the server's rooms, as embedded clients do.

        found = read_directory(Path(self._prefix))
        self._strings = found.metadata.get(STRINGS, {})
        self._about = {name: (list(shape), dtypes.as_dtype(dtype)) for name, (shape, dtype) in found.variables.items()}
        self._about.update({name: (list(shape), dtypes.string) for name, shape in self._strings.items()})

    @staticmethod
    def is_here(prefix: str) -> bool:
        """Whether a checkpoint that can be read stands at `prefix` on this machine."""
        return is_bundle(prefix) or state.is_directory_checkpoint(prefix)

    def has_tensor(self, tensor_str: str) -> bool:
        return tensor_str in self._about

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Shapes by name."""
        return {name: list(shape) for name, (shape, _) in self._about.items()}

    def get_variable_to_dtype_map(self) -> dict[str, DType]:
        """Element types by name."""
        return {name: dtype for name, (_, dtype) in self._about.items()}

    def get_tensor(self, tensor_str: str) -> Any:
        """A value, checked against its checksum. Raises NotFoundError for an unknown name."""
        if tensor_str not in self._about:
            raise NotFoundError(f"Key {tensor_str} not found in checkpoint")
        if self._bundle is not None:
            return self._bundle.read(tensor_str)
        if self._remote is not None:
            return self._remote.value(tensor_str)
        from paramserver_client.embedded import read_directory_values

        value = read_directory_values(Path(self._prefix), [tensor_str])[tensor_str]
        if tensor_str in self._strings:
            return unpacked_strings(value, self._strings[tensor_str])
        return np.array(value)

    def debug_string(self) -> bytes:
        """A line a tensor: name, type, shape."""
        lines = [f"{name} ({dtype.name}) {shape}" for name, (shape, dtype) in sorted(self._about.items())]
        return "\n".join(lines).encode()


def NewCheckpointReader(filepattern: str) -> CheckpointReader:
    """The reader of the checkpoint at a prefix."""
    return CheckpointReader(filepattern)


def load_checkpoint(ckpt_dir_or_file: str) -> CheckpointReader:
    """The reader of a checkpoint, or of the newest one in a directory. Raises ValueError when that has none."""
    return CheckpointReader(_prefix_of(ckpt_dir_or_file))


def load_variable(ckpt_dir_or_file: str, name: str) -> Any:
    """One value out of a checkpoint; a `:0` behind the name is dropped."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name.removesuffix(":0"))


def list_variables(ckpt_dir_or_file: str) -> list[tuple[str, list[int]]]:
    """Name and shape of everything in a checkpoint, in order of the names."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def _prefix_of(ckpt_dir_or_file: str) -> str:
    path = str(ckpt_dir_or_file)
    if state.is_directory_checkpoint(path) or state.checkpoint_exists(path):
        return path
    latest = state.latest_checkpoint(path)
    if latest is None and not os.path.isdir(path):
        return path
    if latest is None:
        raise ValueError(f"Couldn't find 'checkpoint' file or checkpoints in given directory {path}")
    return latest


def init_from_checkpoint(ckpt_dir_or_file: str, assignment_map: Mapping[str, Any]) -> None:
    """Make variables start with values of a checkpoint: their `initializer` gives them those from now on.

    A key is a name in the checkpoint, its value a variable, a list of parts, or the name of one that `get_variable` made;
    or a scope (`"old/"`, `"/"` for all) and a scope of the graph. Initializers grouped before keep what they had. Raises
    ValueError for what is not in the checkpoint or the graph, and for another shape.
    """
    reader = load_checkpoint(ckpt_dir_or_file)
    shapes = reader.get_variable_to_shape_map()
    for key, target in sorted(assignment_map.items()):
        if isinstance(target, str):
            found = variables_by_name()
            if target in found:
                _start_from(reader, shapes, ckpt_dir_or_file, key, found[target])
            else:
                for name, variable in _in_scope(found, key, target, shapes, ckpt_dir_or_file):
                    _start_from(reader, shapes, ckpt_dir_or_file, name, variable)
        else:
            _start_from(reader, shapes, ckpt_dir_or_file, key, target)


def _in_scope(
    found: Mapping[str, Any], key: str, target: str, shapes: Mapping[str, Any], where: str
) -> list[tuple[str, Any]]:
    if "/" in key and not key.endswith("/"):
        raise ValueError(
            f"Assignment map with scope only name {target} should map to scope only {key}. Should be 'scope/': 'other_scope/'."
        )
    scope = "" if target == "/" else target.rstrip("/") + "/"
    inside = {name: variable for name, variable in found.items() if name.startswith(scope)}
    if not inside:
        raise ValueError(f"Assignment map value {target!r} names no variable and no scope of the graph.")
    prefix = "" if key == "/" else key.rstrip("/") + "/"
    pairs = [(prefix + name.removeprefix(scope), variable) for name, variable in inside.items()]
    for name, variable in pairs:
        if name not in shapes:
            raise ValueError(f"Tensor {name} ({variable.name} in {target}) is not found in {where} checkpoint")
    return pairs


def _start_from(reader: CheckpointReader, shapes: Mapping[str, Any], where: str, name: str, target: Any) -> None:
    if name not in shapes:
        raise ValueError(f"Tensor {name} is not found in {where} checkpoint {shapes}")
    whole = list(target) if isinstance(target, PartitionedVariable) else target
    (entry,) = saveables({name: whole})
    if entry.shape is not None and list(entry.shape) != shapes[name]:
        raise ValueError(
            f"Shape of variable {entry.variables[0].name} ({entry.shape}) doesn't match with shape of tensor {name} "
            f"({shapes[name]}) from checkpoint reader."
        )
    for variable, value in entry.cut(reader.get_tensor(name), reshape=False):
        _set_initial_value(variable, value)


def _set_initial_value(variable: Variable, value: Array) -> None:
    graph = get_default_graph()
    with graph.name_scope(None), graph.control_dependencies(None):
        variable._start_with(constant(value, name=f"{variable.op.name}/checkpoint_initializer"))


def packed_strings(value: Array) -> Array:
    """Strings as bytes: the length of each in eight bytes, then all texts."""
    texts = [bytes(each) for each in value.ravel()]
    lengths = np.array([len(each) for each in texts], dtype="<u8").tobytes()
    return np.frombuffer(lengths + b"".join(texts), np.uint8)


def unpacked_strings(data: Array, shape: Any) -> Array:
    """What `packed_strings` packed."""
    count = int(np.prod(shape, dtype=np.int64))
    raw = data.tobytes()
    out = np.empty(count, object)
    at = 8 * count
    for index, length in enumerate(np.frombuffer(raw[:at], "<u8").tolist()):
        out[index] = raw[at : at + length]
        at += length
    return out.reshape(shape)
