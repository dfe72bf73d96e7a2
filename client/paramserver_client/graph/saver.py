"""`tf.train.Saver`: variables to checkpoints and back.

With a server the checkpoint `temp/test-3` is made on its disk. In an embedded session it is the directory
`temp/test-3/` here, with the text file `checkpoint` beside it. Saved names are those of the graph, without the
session's container, so that any session can restore them. Restoring is one transaction: all or nothing.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from paramserver_client.errors import (
    CheckpointIncompatibleError,
    CheckpointNotFoundError,
    ParameterServerError,
    UninitializedError,
    VariableNotFoundError,
)
from paramserver_client.graph import checkpoint_state as state
from paramserver_client.graph.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from paramserver_client.graph.graph import GraphKeys, get_collection
from paramserver_client.graph.node import Tensor
from paramserver_client.graph.offered import refuse
from paramserver_client.graph.session import BaseSession
from paramserver_client.graph.training_util import global_step as read_global_step
from paramserver_client.graph.variable_lists import global_variables
from paramserver_client.graph.variables import Variable

_SHAPES: Final = re.compile(r"has shape \[(.*?)\], the checkpoint holds \[(.*?)\]")
_DTYPES: Final = re.compile(r"has dtype (\w+), the checkpoint holds (\w+)")


class Saver:
    """Saves and restores the variables of `var_list`, which is fixed when the Saver is made.

    `var_list` is a list of variables or a dict from saved names to variables; without it all global variables there
    are now. Of its checkpoints the newest `max_to_keep` stay (0 or None: all).

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
        refuse(
            "tf.train.Saver", reshape=(reshape, False), sharded=(sharded, False),
            keep_checkpoint_every_n_hours=(keep_checkpoint_every_n_hours, 10000.0),
            restore_sequentially=(restore_sequentially, False), saver_def=(saver_def, None), builder=(builder, None),
            write_version=(write_version, 2), filename=(filename, None),
        )  # fmt: skip
        if defer_build and var_list:
            raise ValueError(
                "If `var_list` is provided then build cannot be deferred. Either set defer_build=False or var_list=None."
            )
        self._var_list = var_list
        self._allow_empty = allow_empty
        self._max_to_keep = max_to_keep or 0
        self._pad_step_number = pad_step_number
        self._save_relative_paths = save_relative_paths
        self._series = f"saver-{uuid.uuid4().hex}"
        self._last: list[tuple[str, float]] = []
        self._saved: dict[str, Variable] | None = None
        if not defer_build:
            self.build()

    def build(self) -> None:
        """Settle the list of variables, for a Saver made with `defer_build`."""
        if self._saved is None:
            given = self._var_list
            found = _saveable_variables() if given is None else given
            self._saved = _by_saved_name(found)
            if not self._saved and not self._allow_empty:
                raise ValueError("No variables to save")

    @property
    def last_checkpoints(self) -> list[str]:
        """The prefixes of the checkpoints that are kept, oldest first."""
        return [path for path, _ in self._last]

    def set_last_checkpoints(self, last_checkpoints: list[str]) -> None:
        """Take these as the kept checkpoints, oldest first."""
        if not isinstance(last_checkpoints, list):
            raise AssertionError(f"last_checkpoints must be a list, got {last_checkpoints!r}")
        self._last = [(path, float("inf")) for path in last_checkpoints]

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
        Raises FailedPreconditionError when a variable has no value, ValueError for a `latest_filename` that is a path,
        `NoDataDirError` from a server without a data directory; then no checkpoint was made.
        """
        saved = self._built()
        if latest_filename is not None and os.path.basename(latest_filename) != latest_filename:
            raise ValueError("'latest_filename' must not contain path components")
        if not isinstance(sess, BaseSession):
            raise TypeError(f"'sess' must be a Session; {sess}")
        prefix, step = self._prefix(sess, str(save_path), global_step)
        if not saved:
            return None
        sess.variables.create(saved.values())
        try:
            if state.is_server(sess.client):
                self._save_to_server(sess, prefix, step, saved)
            else:
                self._save_here(sess, prefix, step, saved)
        except (UninitializedError, VariableNotFoundError) as error:
            raise _uninitialized(error, sess, saved) from error
        self._record(prefix, delete=not state.is_server(sess.client))
        if write_state and not state.is_server(sess.client):
            self._write_state(prefix, latest_filename)
        return prefix

    def restore(self, sess: BaseSession, save_path: str | None) -> None:
        """Give the variables the values of a checkpoint, all or none; they need no initializing.

        Raises ValueError for None and for what is no checkpoint, NotFoundError for a variable that was not saved,
        InvalidArgumentError for another shape or dtype. Then nothing was changed.
        """
        saved = self._built()
        if save_path is None:
            raise ValueError("Can't load save_path when it is None.")
        if not saved:
            return
        path = str(save_path)
        sess.variables.create(saved.values())
        try:
            if state.is_server(sess.client):
                _restore_from_server(sess, state.checkpoint_id(path), saved)
            else:
                _restore_from_here(sess, path, saved)
        except CheckpointNotFoundError:
            raise ValueError(f"The passed save_path is not a valid checkpoint: {path}") from None
        except CheckpointIncompatibleError as error:
            raise _misfit(error, sess, saved) from error

    def _built(self) -> dict[str, Variable]:
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

    def _save_to_server(self, sess: BaseSession, prefix: str, step: int | None, saved: Mapping[str, Variable]) -> None:
        names = {name: sess.variables.name(variable) for name, variable in saved.items()}
        renamed = {name: variable.op.name for name, variable in saved.items() if variable.op.name != name}
        sess.client.save(
            state.checkpoint_id(prefix),
            step=step,
            names=list(names.values()),
            series=self._series,
            max_to_keep=self._max_to_keep,
            metadata={state.SAVED_BY: {"container": sess.container, "saved_as": renamed}},
        )

    def _save_here(self, sess: BaseSession, prefix: str, step: int | None, saved: Mapping[str, Variable]) -> None:
        from paramserver_client.embedded import save_directory  # Needs the server's rooms, as embedded clients do.

        directory = Path(prefix)
        directory.parent.mkdir(parents=True, exist_ok=True)
        names = {sess.variables.name(variable): name for name, variable in saved.items()}
        save_directory(sess.client, directory, names, step=step)

    def _record(self, prefix: str, delete: bool) -> None:
        if not self._max_to_keep:
            return
        self._last = [(path, when) for path, when in self._last if path != prefix]
        self._last.append((prefix, time.time()))
        while len(self._last) > self._max_to_keep:
            path, _ = self._last.pop(0)
            if delete:
                _remove(path)

    def _write_state(self, prefix: str, latest_filename: str | None) -> None:
        directory = os.path.dirname(prefix)
        kept = self.last_checkpoints or [prefix]
        beside = directory if not os.path.isabs(prefix) or self._save_relative_paths else None
        written = [path if beside is None else os.path.relpath(path, beside or ".") for path in [prefix, *kept]]
        state.update_checkpoint_state(directory or ".", written[0], written[1:], latest_filename)


def _remove(path: str) -> None:
    from paramserver_client.embedded import remove_directory

    if state.exists(path):
        remove_directory(Path(path))


def _restore_from_server(sess: BaseSession, checkpoint: str, saved: Mapping[str, Variable]) -> None:
    note = sess.client.get_checkpoint(checkpoint).metadata.get(state.SAVED_BY)
    container = sess.container if note is None else note["container"]
    called = {} if note is None else note["saved_as"]
    scope = f"{container}/" if container else ""
    rename = {sess.variables.name(variable): f"{scope}{called.get(name, name)}" for name, variable in saved.items()}
    sess.client.restore(checkpoint, names=list(rename), rename=rename)


def _restore_from_here(sess: BaseSession, path: str, saved: Mapping[str, Variable]) -> None:
    from paramserver_client.embedded import restore_directory

    names = {sess.variables.name(variable): name for name, variable in saved.items()}
    restore_directory(sess.client, Path(path), names)


def _uninitialized(error: ParameterServerError, sess: BaseSession, saved: Mapping[str, Variable]) -> Exception:
    names = {sess.variables.name(variable): variable.op.name for variable in saved.values()}
    listed = [names[each["name"]] for each in error.errors if each.get("name") in names]
    what = ", ".join(listed) or ", ".join(names.values())
    return FailedPreconditionError(f"Attempting to use uninitialized value {what}")


def _misfit(error: CheckpointIncompatibleError, sess: BaseSession, saved: Mapping[str, Variable]) -> Exception:
    """The first difference in TensorFlow's words; a missing key goes before a shape, as there."""
    saved_names = {sess.variables.name(variable): name for name, variable in saved.items()}
    fitting = [each for each in error.errors if each.get("name") in saved_names]
    absent = [each for each in fitting if not _SHAPES.search(each["detail"]) and not _DTYPES.search(each["detail"])]
    if absent:
        return NotFoundError(f"Key {saved_names[absent[0]['name']]} not found in checkpoint", errors=error.errors)
    for each in fitting:
        name = saved_names[each["name"]]
        if shape := _SHAPES.search(each["detail"]):
            ours, theirs = (text.replace(" ", "") for text in shape.groups())
            text = f"Assign requires shapes of both tensors to match. lhs shape= [{ours}] rhs shape= [{theirs}]"
            return InvalidArgumentError(f"{text} (variable {name})", errors=error.errors)
        if dtype := _DTYPES.search(each["detail"]):
            text = f"tensor_name = {name}; expected dtype {dtype[1]} does not equal original dtype {dtype[2]}"
            return InvalidArgumentError(text, errors=error.errors)
    return error


def _saveable_variables() -> list[Any]:
    return list(dict.fromkeys([*global_variables(), *get_collection(GraphKeys.SAVEABLE_OBJECTS)]))


def _by_saved_name(var_list: Any) -> dict[str, Variable]:
    if isinstance(var_list, Mapping):
        named = {str(name): variable for name, variable in var_list.items()}
        for name, variable in named.items():
            if not isinstance(variable, Variable):
                raise TypeError(
                    "names_to_saveables must be a dict mapping string names to Tensors/Variables. Not a variable: "
                    f"{variable}"
                )
            if list(named.values()).count(variable) > 1:
                later = [key for key, value in named.items() if value is variable][-1]
                raise ValueError(f"The same saveable will be restored with two names: {later or name}")
        return _only_shared(named)
    if not isinstance(var_list, list | tuple | set):
        raise TypeError(f"Variables to save should be passed in a dict or a list: {var_list}")
    listed: dict[str, Variable] = {}
    for variable in var_list:
        if not isinstance(variable, Variable):
            kind = "Variable to save is not a Variable" if isinstance(variable, Tensor) else "Not a variable"
            raise TypeError(f"{kind}: {variable}")
        if variable.op.name in listed:
            raise ValueError(f"At least two variables have the same name: {variable.op.name}")
        listed[variable.op.name] = variable
    return _only_shared(dict(sorted(listed.items())))


def _only_shared(saved: dict[str, Variable]) -> dict[str, Variable]:
    for variable in saved.values():
        if variable.is_local:
            raise ValueError(f"Variable {variable.op.name!r} lives in the session and cannot be saved; leave it out.")
    return saved
