"""A parameter server inside this process: the same engine as behind HTTP, and no network.

The one module of this package that imports `paramserver`, and only when an embedded client is asked for.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from paramserver.checkpoint import (
    About,
    CheckpointError,
    Download,
    read_manifest,
    read_values,
    remove_checkpoint,
    write_checkpoint,
)
from paramserver.engine import Engine
from paramserver.store import Digest, Selection, Snapshot, VariableSnapshot, VariableState
from paramserver.store.errors import Difference, StoreError, Uninitialized
from paramserver_client.encoding import encode
from paramserver_client.errors import translated
from paramserver_client.files import PIECE_NBYTES, FileSink, FileSource
from paramserver_wire import safetensors
from paramserver_wire.checksum import crc32
from paramserver_wire.errors import DtypeMismatch, NotAcceptable, UnsupportedMediaType, WireError
from paramserver_wire.messages import OPERATIONS, Answer, Message
from paramserver_wire.tensors import Tensor, Untyped

if TYPE_CHECKING:
    from paramserver_client.client import ParameterClient

_LENT: Final = frozenset({"pull", "push", "apply_gradients"})
"""What training does at each step. Others may keep an array that they are given."""


class EmbeddedTransport:
    """Hands messages to an engine in this process. Thread-safe.

    Nothing is shared with the caller: arrays are copied on their way in and on their way out, so writing to one never
    changes the store, and an array that was read never changes by itself. One that `lends` copies nothing in pulls and
    pushes: what it answers are the published arrays, read-only, and what it is given it looks at until it has answered.
    """

    def __init__(self, engine: Engine, *, lends: bool = False) -> None:
        self._engine = engine
        self._lends = lends

    @classmethod
    def open(cls, data_dir: str | os.PathLike[str] | None = None, *, lends: bool = False) -> Self:
        """A transport with an engine of its own; with `data_dir` it restores the newest checkpoint there, and saves.

        Raises the error class of the problem when the directory cannot be used.
        """
        try:
            return cls(Engine.open(None if data_dir is None else Path(data_dir)), lends=lends)
        except (StoreError, CheckpointError, WireError) as error:
            raise translated(error) from error

    @property
    def engine(self) -> Engine:
        """The server behind this transport."""
        return self._engine

    def deliver(self, message: Message, timeout_s: float) -> Answer:
        """Have the engine perform the message. It never takes longer than its own work, so `timeout_s` has no use."""
        try:
            answer = self._performed(message)
        except (StoreError, CheckpointError, WireError) as error:
            refused = translated(error)
            refused.request_id = message.request_id
            raise refused from error
        # Beside "nothing to tell", the engine keeps what HTTP says in headers.
        body = None if answer.status in (204, 304) else answer.body
        return Answer(body if self._is_lent(message) else _private(body), answer.status, answer.replayed)

    def _is_lent(self, message: Message) -> bool:
        return self._lends and message.operation in _LENT

    def _performed(self, message: Message) -> Answer:
        places = OPERATIONS[message.operation].places.values()
        if "sink" in places:
            return _exported(self._engine, message)
        if "file" in places:
            return _imported(self._engine, message)
        if self._is_lent(message):
            return self._engine.perform(message, _digest(message))
        arguments = _private(message.arguments)
        request = Message(message.operation, arguments, message.request_id)
        return self._engine.perform(request, _digest(message), donated_nbytes=_donated_nbytes(arguments))

    def close(self) -> None:
        """Close the engine: with a data directory it saves a last checkpoint. A second time does nothing."""
        self._engine.close()


def _exported(engine: Engine, message: Message) -> Answer:
    """Write what the engine answers into the message's sink, straight from the published arrays."""
    arguments = dict(message.arguments)
    sink: FileSink = arguments.pop("sink")
    answer = engine.perform(Message(message.operation, arguments))
    if isinstance(answer.body, Download):
        with closing(answer.body) as download:
            sink.begin(download.saved.nbytes)
            for piece in download.pieces(0, download.saved.nbytes):
                sink.write(piece)
        return Answer(None, answer.status)
    try:
        parts = safetensors.encode(answer.body)
    except DtypeMismatch as error:
        raise NotAcceptable(error.detail) from None
    sink.begin(sum(map(len, parts)))
    for part in parts:
        view = memoryview(part)
        for begin in range(0, len(view), PIECE_NBYTES):
            sink.write(view[begin : begin + PIECE_NBYTES])
    return Answer(None, answer.status)


def _imported(engine: Engine, message: Message) -> Answer:
    """Read the message's file as a server receives it: its header, all checks, then each value into its place."""
    arguments = dict(message.arguments)
    source: FileSource = arguments.pop("file")
    checksum = crc32(encode(message).target.encode())
    with source.open() as file:
        length = memoryview(bytearray(min(8, source.nbytes)))
        source.fill(file, length)
        begin = memoryview(bytearray(min(safetensors.data_start_of(length), source.nbytes)))
        begin[:8] = length
        source.fill(file, begin[8:])
        try:
            header = safetensors.parse(begin, source.nbytes)
        except DtypeMismatch as error:
            raise UnsupportedMediaType(error.detail) from None
        with engine.prepare_import(header, **arguments) as intake:
            done = len(begin)
            checksum = crc32(begin, checksum)
            for buffer in intake.buffers:
                for at in range(0, len(buffer), PIECE_NBYTES):
                    piece = buffer[at : at + PIECE_NBYTES]
                    source.fill(file, piece)
                    checksum = crc32(piece, checksum)
                    done += len(piece)
                    source.tell(done)
            request = Message(message.operation, {**arguments, "file": intake}, message.request_id)
            return engine.perform(request, Digest(source.nbytes, checksum))


def _private(tree: Any) -> Any:
    """A copy that shares nothing which can be written to. Arrays become row-major, each alone in its memory."""
    if isinstance(tree, np.ndarray):
        return np.array(tree, order="C", subok=False)
    if isinstance(tree, Tensor):
        return Tensor(_private(tree.array), _private(tree.meta))
    if isinstance(tree, Untyped):
        return Untyped(_private(tree.value), tree.dtype, tree.shape)
    if isinstance(tree, Mapping):
        return {key: _private(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_private(value) for value in tree]
    return tree


def _donated_nbytes(tree: Any) -> int:
    """How much memory each copied array may be taken to lie in. They lie alone, so the smallest speaks for all."""
    if isinstance(tree, np.ndarray):
        return tree.nbytes
    branches = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list) else ()
    return min(filter(None, map(_donated_nbytes, branches)), default=0)


def _digest(message: Message) -> Digest:
    """Length and checksum of the request, by which a repeat is told from another request with the same id.

    Rendering it as HTTP would also refuses, in the same words, what could not be sent.
    """
    encoded = encode(message)
    if message.request_id is None:
        return Digest(0, 0)
    target = encoded.target.encode()
    checksum = crc32(target)
    for view in encoded.views:
        checksum = crc32(view, checksum)
    return Digest(len(target) + sum(map(len, encoded.views)), checksum)


@dataclass(frozen=True, slots=True)
class Whole:
    """A value that is saved in one piece and is in several variables: `parts` maps each to where it begins."""

    shape: tuple[int, ...]
    parts: Mapping[str, Sequence[int]]


def save_directory(
    client: ParameterClient,
    directory: Path,
    names: Mapping[str, str],
    *,
    wholes: Mapping[str, Whole] | None = None,
    values: Mapping[str, np.ndarray[Any, Any]] | None = None,
    step: int | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Save variables of an embedded client as the checkpoint `directory`, which exists whole afterwards or not at all.

    `names` maps each variable to the name it is saved under; `wholes` are put together from several, `values` come from
    outside. One cut; pushes go on meanwhile. The parent directory must exist; a checkpoint in that place is replaced.
    Raises `UninitializedError`, `VariableNotFoundError`, `DiskFullError`: then what was there before is there still.
    """
    joined = wholes or {}
    try:
        wanted = [*names, *(name for whole in joined.values() for name in whole.parts)]
        cut = _engine(client).store.snapshot(Selection(wanted))
        missing = [name for name, variable in cut.variables.items() if not variable.initialized]
        if missing:
            raise Uninitialized(
                f"variables without a value: {', '.join(missing)}; initialize, assign or restore them before saving",
                errors=[Difference(name, Uninitialized.code, "it has no value") for name in missing],
            )
        saved = {called: cut.variables[name]._replace(name=called) for name, called in names.items()}
        saved.update({called: _joined(called, whole, cut) for called, whole in joined.items()})
        saved.update({called: _alone(called, value) for called, value in (values or {}).items()})
        about = About(
            id=_as_id(directory.name), created=time.time(), series="saver", step=step, metadata=dict(metadata or {})
        )
        write_checkpoint(directory, Snapshot(cut.commit, saved, {}), about)
    except (StoreError, CheckpointError, WireError) as error:
        raise translated(error) from error


def _joined(name: str, whole: Whole, cut: Snapshot) -> VariableSnapshot:
    parts = [(cut.variables[part], start) for part, start in whole.parts.items()]
    value = np.empty(whole.shape, parts[0][0].dtype)
    for part, start in parts:
        place = tuple(slice(first, first + size) for first, size in zip(start, part.shape, strict=True))
        value[place] = part.value
    first, _ = parts[0]
    return first._replace(name=name, shape=whole.shape, state=first.state._replace(value=value))


def _alone(name: str, value: np.ndarray[Any, Any]) -> VariableSnapshot:
    state = VariableState(value, 1, False, ("local_variables",), None, time.time())
    return VariableSnapshot(name, value.shape, value.dtype, "0" * 16, state)


@dataclass(frozen=True, slots=True)
class SavedDirectory:
    """What a checkpoint directory says it holds: shape and dtype by name, and what its saver noted."""

    variables: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
    metadata: Mapping[str, Any]


def read_directory(directory: Path) -> SavedDirectory:
    """The manifest of a checkpoint directory. Raises `CheckpointNotFoundError`, `CheckpointCorruptError`."""
    try:
        manifest = read_manifest(directory)
    except (StoreError, CheckpointError, WireError) as error:
        raise translated(error) from error
    variables = {name: (each.shape, each.dtype) for name, each in manifest.variables.items()}
    return SavedDirectory(variables, manifest.about.metadata)


def read_directory_values(directory: Path, names: Iterable[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Values out of a checkpoint directory, verified. Raises as `read_directory` does."""
    try:
        manifest = read_manifest(directory)
        return dict(read_values(directory, manifest, set(names)))
    except (StoreError, CheckpointError, WireError) as error:
        raise translated(error) from error


def remove_directory(directory: Path) -> None:
    """Remove a checkpoint directory; half removed, it is none any more. Raises OSError."""
    remove_checkpoint(directory)


def _engine(client: ParameterClient) -> Engine:
    transport = client.transport
    if not isinstance(transport, EmbeddedTransport):
        raise TypeError("Wanted an embedded client, got one of a server. Save there with client.save.")
    return transport.engine


def _as_id(name: str) -> str:
    """A checkpoint's id for a directory's name, which may hold characters that an id may not."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip("-")[:100].strip(".") or "checkpoint"
