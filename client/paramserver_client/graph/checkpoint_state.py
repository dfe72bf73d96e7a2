"""The text file `checkpoint` that stands beside saved checkpoints and says which there are, and which is the newest."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from paramserver_client.client import ParameterClient
from paramserver_client.graph.errors import NotFoundError
from paramserver_client.graph.session import get_default_session
from paramserver_client.transport import HttpTransport

STATE_FILE: Final = "checkpoint"
SAVED_BY: Final = "graph_saver"
MANIFEST: Final = "manifest.json"
_LINE: Final = re.compile(r'^(model_checkpoint_path|all_model_checkpoint_paths): "((?:[^"\\]|\\.)*)"$')


@dataclass(frozen=True, slots=True)
class CheckpointState:
    """The newest checkpoint's path, and those of all that are kept, oldest first."""

    model_checkpoint_path: str
    all_model_checkpoint_paths: Sequence[str] = field(default_factory=tuple)


def is_server(client: ParameterClient) -> bool:
    """Whether the client's checkpoints are on a server's disk and not under a path of this process."""
    return isinstance(client.transport, HttpTransport)


def checkpoint_id(prefix: str) -> str:
    """The id on the server of the checkpoint at `prefix`: a leading `/` or `./` is dropped.

    Raises ValueError for `..`, which no id may hold.
    """
    parts = [part for part in prefix.replace(os.sep, "/").split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"A checkpoint on a server cannot be saved at {prefix!r}: leave out '..'.")
    return "/".join(parts)


def state_path(directory: str, latest_filename: str | None = None) -> Path:
    return Path(directory) / (latest_filename or STATE_FILE)


def update_checkpoint_state(
    save_dir: str,
    model_checkpoint_path: str,
    all_model_checkpoint_paths: Sequence[str] | None = None,
    latest_filename: str | None = None,
) -> None:
    """Write the state file of `save_dir`, whole or not at all. The newest path is added to the list if it lacks."""
    paths = list(all_model_checkpoint_paths or [])
    if not paths or paths[-1] != model_checkpoint_path:
        paths.append(model_checkpoint_path)
    lines = [_line("model_checkpoint_path", model_checkpoint_path)]
    lines += [_line("all_model_checkpoint_paths", path) for path in paths]
    target = state_path(save_dir, latest_filename)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write("".join(lines))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException:
        os.unlink(beside)
        raise


def _line(key: str, path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}: "{escaped}"\n'


def get_checkpoint_state(checkpoint_dir: str, latest_filename: str | None = None) -> CheckpointState | None:
    """What the state file of a directory says, relative paths joined to the directory; None without a sound one."""
    try:
        text = state_path(checkpoint_dir, latest_filename).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    newest, paths = "", []
    for line in text.splitlines():
        found = _LINE.match(line.strip())
        if not found:
            return None
        path = re.sub(r"\\(.)", r"\1", found[2])
        path = path if os.path.isabs(path) else os.path.join(checkpoint_dir, path)
        if found[1] == "model_checkpoint_path":
            newest = path
        else:
            paths.append(path)
    return CheckpointState(newest, tuple(paths)) if newest else None


def latest_checkpoint(checkpoint_dir: str, latest_filename: str | None = None) -> str | None:
    """The prefix of the newest checkpoint in a directory, or None.

    The state file decides; without one, and with a server (of the default session, or of `PARAMSERVER_URL`), the
    newest checkpoint that a Saver made there under this path. Raises NotFoundError when the state file names an
    absolute directory that is gone.
    """
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    if state is None:
        return _latest_on_server(checkpoint_dir)
    path = state.model_checkpoint_path
    if exists(path):
        return path
    parent = os.path.dirname(path)
    if os.path.isabs(parent) and not os.path.isdir(parent):
        raise NotFoundError(f"{parent}; No such file or directory")
    return None


def exists(prefix: str) -> bool:
    """Whether a checkpoint directory stands at `prefix`."""
    return (Path(prefix) / MANIFEST).is_file()


def _latest_on_server(checkpoint_dir: str) -> str | None:
    session = get_default_session()
    if session is not None:
        return _newest(session.client, checkpoint_dir) if is_server(session.client) else None
    if not os.environ.get("PARAMSERVER_URL"):
        return None
    with closing(ParameterClient()) as client:
        return _newest(client, checkpoint_dir)


def _newest(client: ParameterClient, checkpoint_dir: str) -> str | None:
    wanted = checkpoint_id(checkpoint_dir)
    for each in client.checkpoints():
        directory, _, name = each.id.rpartition("/")
        if directory == wanted and SAVED_BY in each.metadata:
            return os.path.join(checkpoint_dir, name)
    return None
