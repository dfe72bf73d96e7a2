"""`tf.train.Saver`: variables to checkpoints and back.

With a server the checkpoint `temp/test-3` is made on its disk. In an embedded session it is the directory
`temp/test-3/` here, with the text file `checkpoint` beside it. Saved names are those of the graph, without the
session's container, so that any session can restore them; a partitioned variable is saved as the whole it stands for.
Restoring is one transaction: all or nothing. TensorFlow's own checkpoints are restored too.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paramserver_client.errors import CheckpointNotFoundError, UninitializedError, VariableNotFoundError
from paramserver_client.graph import checkpoint_state as state
from paramserver_client.graph import server_checkpoints
from paramserver_client.graph.changes import Change
from paramserver_client.graph.checkpoint_reader import STRINGS, CheckpointReader, packed_strings
from paramserver_client.graph.errors import FailedPreconditionError, NotFoundError
from paramserver_client.graph.graph import GraphKeys, get_collection
from paramserver_client.graph.offered import refuse
from paramserver_client.graph.saveables import Saved, saveables
from paramserver_client.graph.session import BaseSession
from paramserver_client.graph.training_util import global_step as read_global_step
from paramserver_client.graph.variable_lists import global_variables


@dataclass(frozen=True)
class SaverDef:
    """A Saver's settings and what it saves, from which another one is made: `Saver(saver_def=...)`."""

    V1 = 1
    V2 = 2

    saved: Sequence[Saved]
    max_to_keep: int = 5
    sharded: bool = False
    keep_checkpoint_every_n_hours: float = 10000.0
    version: int = 2


class Saver:
    """Saves and restores the variables of `var_list`, which is fixed when the Saver is made.

    `var_list` is a list of variables or a dict from saved names to variables; without it all global variables there
    are now. Of its checkpoints the newest `max_to_keep` stay (0 or None: all), and of those that would go one for every
    `keep_checkpoint_every_n_hours`. With `reshape` a saved value of another shape with as many elements is taken.
    `sharded`, `restore_sequentially` and `write_version` are taken and change nothing: large checkpoints are cut into
    files by size, and restoring is always one transaction.

    Raises ValueError for no variables (unless `allow_empty` or `defer_build`) and for one named twice, TypeError for
    what are no variables.
    """

    def __init__(
        self,
        var_list: Any = None,
        reshape: bool = False,
        sharded: bool = False,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000.0,
        name: str | None = None,
        restore_sequentially: bool = False,
        saver_def: Any = None,
        builder: Any = None,
        defer_build: bool = False,
        allow_empty: bool = False,
        write_version: Any = 2,
        pad_step_number: bool = False,
        save_relative_paths: bool = False,
        filename: str | None = None,
    ) -> None:
        refuse("tf.train.Saver", builder=(builder, None))
        if defer_build and var_list:
            raise ValueError(
                "If `var_list` is provided then build cannot be deferred. Either set defer_build=False or var_list=None."
            )
        if saver_def is not None and not isinstance(saver_def, SaverDef):
            raise ValueError(f"saver_def must be what `as_saver_def` of a Saver gave, got {saver_def!r}.")
        self._var_list = var_list
        self._reshape = reshape
        self._allow_empty = allow_empty
        self._sharded = saver_def.sharded if saver_def else sharded
        self._max_to_keep = saver_def.max_to_keep if saver_def else max_to_keep or 0
        self._keep_every_h = saver_def.keep_checkpoint_every_n_hours if saver_def else keep_checkpoint_every_n_hours
        self._write_version = write_version
        self._pad_step_number = pad_step_number
        self._save_relative_paths = save_relative_paths
        self._series = f"saver-{uuid.uuid4().hex}"
        self._last: list[tuple[str, float]] = []
        self._next_keep = time.time() + self._keep_every_h * 3600
        self._saved: Sequence[Saved] | None = saver_def.saved if saver_def else None
        if not defer_build:
            self.build()

    def build(self) -> None:
        """Settle the list of variables, for a Saver made with `defer_build`."""
        if self._saved is None:
            given = self._var_list
            self._saved = saveables(_saveable_variables() if given is None else given)
            if not self._saved and not self._allow_empty:
                raise ValueError("No variables to save")

    def as_saver_def(self) -> SaverDef:
        """This Saver's settings, for another one that saves the same."""
        return SaverDef(self._built(), self._max_to_keep, self._sharded, self._keep_every_h)

    saver_def = property(as_saver_def)

    @property
    def last_checkpoints(self) -> list[str]:
        """The prefixes of the checkpoints that are kept, oldest first."""
        return [path for path, _ in self._last]

    def set_last_checkpoints(self, last_checkpoints: list[str]) -> None:
        """Take these as the kept checkpoints, oldest first; they count as made for ever ago."""
        if not isinstance(last_checkpoints, list):
            raise AssertionError(f"last_checkpoints must be a list, got {last_checkpoints!r}")
        self._last = [(path, float("inf")) for path in last_checkpoints]

    def set_last_checkpoints_with_time(self, last_checkpoints_with_time: list[tuple[str, float]]) -> None:
        """Take these paths, with the times they were made, as the kept checkpoints, oldest first."""
        if not isinstance(last_checkpoints_with_time, list):
            raise AssertionError(f"last_checkpoints_with_time must be a list, got {last_checkpoints_with_time!r}")
        self._last = list(last_checkpoints_with_time)

    def recover_last_checkpoints(self, checkpoint_paths: Sequence[str]) -> None:
        """Take those of these checkpoints that exist as the kept ones, after a restart."""
        found = [(path, state.get_checkpoint_mtimes([path])) for path in checkpoint_paths]
        self._last = [(path, times[0]) for path, times in found if times]

    def save(
        self,
        sess: BaseSession,
        save_path: str,
        global_step: Any = None,
        latest_filename: str | None = None,
        meta_graph_suffix: str = "meta",
        write_meta_graph: bool = True,
        write_state: bool = True,
        strip_default_attrs: bool = False,
        save_debug_info: bool = False,
    ) -> str | None:
        """Save the variables' values, one cut, and return the prefix: `save_path`, with `-<global_step>` when given.

        A checkpoint of that prefix is replaced; older ones beyond `max_to_keep` are deleted. No meta graph is written.
        Raises FailedPreconditionError when a variable has no value, ValueError for a `latest_filename` that is a path or
        the checkpoint's own and for a directory that cannot be, `NoDataDirError` from a server without a data
        directory; then no checkpoint was made.
        """
        saved = self._built()
        name = latest_filename or state.STATE_FILE
        if os.path.basename(name) != name:
            raise ValueError("'latest_filename' must not contain path components")
        path = str(save_path).removeprefix("file://")
        scheme = str(save_path)[: -len(path)] if path else ""
        if global_step is None and os.path.basename(path) == name:
            raise ValueError(f"'latest_filename' collides with 'save_path': '{name}' and '{path}'")
        if not isinstance(sess, BaseSession):
            raise TypeError(f"'sess' must be a Session; {sess}")
        prefix, step = self._prefix(sess, path, global_step)
        if not saved:
            return None
        on_server = state.is_server(sess.client)
        sess.variables.create([variable for entry in saved for variable in entry.variables])
        try:
            if on_server:
                server_checkpoints.save(sess, prefix, step, saved, self._series)
            else:
                _save_here(sess, prefix, step, saved)
        except (UninitializedError, VariableNotFoundError, FailedPreconditionError) as error:
            if not isinstance(error, UninitializedError | VariableNotFoundError) and "uninitialized" not in str(error):
                raise
            if not os.path.dirname(prefix):
                raise ValueError(f"Parent directory of {prefix} doesn't exist, can't save.") from error
            raise _uninitialized(error, sess, saved) from error
        with sess.as_default():
            self._record(prefix)
        if write_state and not on_server:
            kept = self.last_checkpoints or [prefix]
            state.update_checkpoint_state_internal(
                os.path.dirname(prefix), prefix, kept, latest_filename, self._save_relative_paths
            )
        return scheme + prefix

    def restore(self, sess: BaseSession, save_path: str | None) -> None:
        """Give the variables the values of a checkpoint, all or none; they need no initializing.

        The checkpoint is one of a Saver, or TensorFlow's own (`<prefix>.index`). Raises ValueError for None and for what
        is no checkpoint, NotFoundError for a variable that was not saved, InvalidArgumentError for another shape or
        dtype, DataLossError for a damaged file. Then nothing was changed.
        """
        saved = self._built()
        if save_path is None:
            raise ValueError("Can't load save_path when it is None.")
        if not saved:
            return
        path = str(save_path).removeprefix("file://")
        sess.variables.create([variable for entry in saved for variable in entry.variables])
        if not CheckpointReader.is_here(path) and state.is_server(sess.client):
            try:
                server_checkpoints.restore(sess, state.checkpoint_id(path), saved, self._reshape)
            except CheckpointNotFoundError:
                raise ValueError(f"The passed save_path is not a valid checkpoint: {path}") from None
            return
        if not CheckpointReader.is_here(path):
            directory = os.path.dirname(path)
            if directory and not os.path.isdir(directory):
                raise NotFoundError(f"{directory}; No such file or directory. Give the prefix that save returned.")
            raise ValueError(f"The passed save_path is not a valid checkpoint: {path}")
        reader = CheckpointReader(path)
        absent = [entry.name for entry in saved if not reader.has_tensor(entry.name)]
        if absent:
            raise NotFoundError(f"Key {absent[0]} not found in checkpoint")
        put(sess, saved, {entry.name: reader.get_tensor(entry.name) for entry in saved}, self._reshape)

    def _built(self) -> Sequence[Saved]:
        if self._saved is None:
            raise RuntimeError("`build()` should be called before save if defer_build==True")
        return self._saved

    def _prefix(self, sess: BaseSession, path: str, global_step: Any) -> tuple[str, int | None]:
        if global_step is None:
            return path, None
        if not isinstance(global_step, int | np.integer):
            global_step = read_global_step(sess, global_step)
        step = int(global_step)
        return f"{path}-{step:08d}" if self._pad_step_number else f"{path}-{step}", step

    def _record(self, prefix: str) -> None:
        """Enter a new checkpoint, and let the oldest go when there are too many."""
        if not self._max_to_keep:
            return
        self._last = [(path, when) for path, when in self._last if path != prefix]
        self._last.append((prefix, time.time()))
        if len(self._last) > self._max_to_keep:
            path, when = self._last.pop(0)
            if when > self._next_keep:
                self._next_keep += self._keep_every_h * 3600
            else:
                state.remove_checkpoint(path)


def put(sess: BaseSession, saved: Sequence[Saved], values: dict[str, Any], reshape: bool) -> None:
    """Give variables their saved values in one push. Raises InvalidArgumentError when one does not fit; none is changed."""
    changes = []
    for entry in saved:
        for variable, value in entry.cut(values[entry.name], reshape):
            changes.append(Change(variable, "assign", value, may_reshape=not variable.shape.is_fully_defined()))
    sess.variables.write(changes, [])


def _save_here(sess: BaseSession, prefix: str, step: int | None, saved: Sequence[Saved]) -> None:
    from paramserver_client.embedded import Whole, save_directory  # Needs the server's rooms, as embedded clients do.

    directory = Path(prefix)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"Parent directory of {prefix} doesn't exist, can't save.") from None
    name = sess.variables.name
    local = [entry for entry in saved if entry.is_local]
    pulled = sess.variables.pull([variable for entry in local for variable in entry.variables]).values
    values = {entry.name: entry.joined(pulled) for entry in local}
    texts = {called: list(value.shape) for called, value in values.items() if value.dtype == object}
    values.update({called: packed_strings(values[called]) for called in texts})
    shared = [entry for entry in saved if not entry.is_local]
    save_directory(
        sess.client,
        directory,
        {name(entry.variables[0]): entry.name for entry in shared if entry.is_whole},
        wholes={
            entry.name: Whole(entry.shape or (), dict(zip(map(name, entry.variables), entry.offsets(), strict=True)))
            for entry in shared
            if not entry.is_whole
        },
        values=values,
        step=step,
        metadata={STRINGS: texts} if texts else {},
    )


def _uninitialized(error: Exception, sess: BaseSession, saved: Sequence[Saved]) -> Exception:
    if isinstance(error, FailedPreconditionError) and not isinstance(error, UninitializedError):
        return error
    variables = [variable for entry in saved for variable in entry.variables]
    names = {sess.variables.name(variable): variable.op.name for variable in variables}
    listed = [names[each["name"]] for each in getattr(error, "errors", ()) if each.get("name") in names]
    return FailedPreconditionError(
        f"Attempting to use uninitialized value {', '.join(listed) or ', '.join(names.values())}"
    )


def _saveable_variables() -> list[Any]:
    return list(dict.fromkeys([*global_variables(), *get_collection(GraphKeys.SAVEABLE_OBJECTS)]))
