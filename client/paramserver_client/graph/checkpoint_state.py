"""The text file `checkpoint` that stands beside saved checkpoints and says which there are, and what else is asked of them
from outside: whether one exists, when it was made, and to take it away."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from paramserver_client.client import ParameterClient
from paramserver_client.errors import CheckpointNotFoundError
from paramserver_client.graph import tensor_bundle
from paramserver_client.graph.errors import NotFoundError
from paramserver_client.graph.session import get_default_session
from paramserver_client.results import CheckpointInfo
from paramserver_client.transport import HttpTransport

STATE_FILE: Final = "checkpoint"
SAVED_BY: Final = "graph_saver"
MANIFEST: Final = "manifest.json"
_LINE: Final = re.compile(r'^(model_checkpoint_path|all_model_checkpoint_paths): "((?:[^"\\]|\\.)*)"$')
_TIME: Final = re.compile(r"^(all_model_checkpoint_timestamps|last_preserved_timestamp): [-+.0-9a-z]+$")


@dataclass(slots=True)
class CheckpointState:
    """The newest checkpoint's path, and those of all that are kept, oldest first."""

    model_checkpoint_path: str = ""
    all_model_checkpoint_paths: list[str] = field(default_factory=list)


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


# The state file


def state_path(directory: str, latest_filename: str | None = None) -> Path:
    return Path(directory) / (latest_filename or STATE_FILE)


def generate_checkpoint_state_proto(
    save_dir: str, model_checkpoint_path: str, all_model_checkpoint_paths: Sequence[str] | None = None
) -> CheckpointState:
    """What the state file of `save_dir` will say: the newest path at the end of the list, and relative paths relative to
    `save_dir`, when that is relative too."""
    paths = list(all_model_checkpoint_paths or [])
    if not paths or paths[-1] != model_checkpoint_path:
        paths.append(model_checkpoint_path)
    if os.path.isabs(save_dir):
        return CheckpointState(model_checkpoint_path, paths)
    newest, *rest = (
        path if os.path.isabs(path) else os.path.relpath(path, save_dir or ".")
        for path in [model_checkpoint_path, *paths]
    )
    return CheckpointState(newest, rest)


def update_checkpoint_state(
    save_dir: str,
    model_checkpoint_path: str,
    all_model_checkpoint_paths: Sequence[str] | None = None,
    latest_filename: str | None = None,
    all_model_checkpoint_timestamps: Any = None,
    last_preserved_timestamp: Any = None,
) -> None:
    """Write the state file of `save_dir`, whole or not at all. The newest path is added to the list if it lacks.

    Raises RuntimeError when the checkpoint itself stands in the state file's place. Times are not kept.
    """
    update_checkpoint_state_internal(save_dir, model_checkpoint_path, all_model_checkpoint_paths, latest_filename)


def update_checkpoint_state_internal(
    save_dir: str,
    model_checkpoint_path: str,
    all_model_checkpoint_paths: Sequence[str] | None = None,
    latest_filename: str | None = None,
    save_relative_paths: bool = False,
) -> None:
    """`update_checkpoint_state`; with `save_relative_paths` absolute paths are written relative to `save_dir`."""
    newest, paths = model_checkpoint_path, list(all_model_checkpoint_paths or [])
    if save_relative_paths:
        newest, *paths = (os.path.relpath(path, save_dir) if os.path.isabs(path) else path for path in [newest, *paths])
    state = generate_checkpoint_state_proto(save_dir, newest, paths)
    target = state_path(save_dir, latest_filename)
    if str(target) == state.model_checkpoint_path:
        raise RuntimeError(
            f"Save path '{model_checkpoint_path}' conflicts with path used for checkpoint state.  Please use a different "
            "save path."
        )
    lines = [_line("model_checkpoint_path", state.model_checkpoint_path)]
    lines += [_line("all_model_checkpoint_paths", path) for path in state.all_model_checkpoint_paths]
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
    """What the state file of a directory says, relative paths joined to the directory; None without a readable one.

    Without a file, and with a server, it is what the server has under this path. Raises ValueError for a file that
    names no checkpoint.
    """
    try:
        text = state_path(checkpoint_dir, latest_filename).read_text(encoding="utf-8")
    except OSError:
        return _state_on_server(checkpoint_dir)
    except UnicodeDecodeError:
        return None
    state = CheckpointState()
    for line in filter(None, map(str.strip, text.splitlines())):
        found = _LINE.match(line)
        if not found:
            if _TIME.match(line):
                continue
            return None
        path = re.sub(r"\\(.)", r"\1", found[2])
        path = path if os.path.isabs(path) else os.path.join(checkpoint_dir, path)
        if found[1] == "model_checkpoint_path":
            state.model_checkpoint_path = path
        else:
            state.all_model_checkpoint_paths.append(path)
    if not state.model_checkpoint_path:
        raise ValueError(f"Invalid checkpoint state loaded from {checkpoint_dir}")
    return state


def latest_checkpoint(checkpoint_dir: str, latest_filename: str | None = None) -> str | None:
    """The prefix of the newest checkpoint in a directory, or None.

    The state file decides; without one, and with a server (of the default session, or of `PARAMSERVER_URL`), the
    newest checkpoint that a Saver made there under this path. Raises NotFoundError when the state file names an
    absolute directory that is gone.
    """
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    if state is None:
        return None
    path = state.model_checkpoint_path
    if checkpoint_exists(path):
        return path
    parent = os.path.dirname(path)
    if os.path.isabs(parent) and not os.path.isdir(parent):
        raise NotFoundError(f"{parent}; No such file or directory")
    return None


# Single checkpoints


def meta_graph_filename(checkpoint_filename: str, meta_graph_suffix: str = "meta") -> str:
    """Where TensorFlow would put the graph of a checkpoint; none is written here."""
    basename = re.sub(r"-[\d\?]+-of-\d+$", "", checkpoint_filename)
    return f"{basename}.{meta_graph_suffix}"


def is_directory_checkpoint(prefix: str) -> bool:
    """Whether a checkpoint of our own form, a directory, stands at `prefix`."""
    return (Path(prefix) / MANIFEST).is_file()


def checkpoint_exists(checkpoint_prefix: str) -> bool:
    """Whether there is a checkpoint of that prefix: here, in either form, or on the server."""
    if is_directory_checkpoint(checkpoint_prefix) or tensor_bundle.is_bundle(checkpoint_prefix):
        return True
    return _info_on_server(checkpoint_prefix) is not None


def get_checkpoint_mtimes(checkpoint_prefixes: Sequence[str]) -> list[float]:
    """When each of these checkpoints was made, in seconds since the epoch; those that are gone are left out."""
    times = []
    for prefix in checkpoint_prefixes:
        if is_directory_checkpoint(prefix):
            times.append((Path(prefix) / MANIFEST).stat().st_mtime)
        elif tensor_bundle.is_bundle(prefix):
            times.append(Path(f"{prefix}.index").stat().st_mtime)
        elif (info := _info_on_server(prefix)) is not None:
            times.append(_seconds(info.created))
    return times


def remove_checkpoint(
    checkpoint_prefix: str, checkpoint_format_version: Any = 2, meta_graph_suffix: str = "meta"
) -> None:
    """Take a checkpoint away: here, in either form, or on the server. Nothing happens when there is none."""
    if is_directory_checkpoint(checkpoint_prefix):
        from paramserver_client.embedded import remove_directory  # Needs the server's rooms, as embedded clients do.

        remove_directory(Path(checkpoint_prefix))
    elif tensor_bundle.is_bundle(checkpoint_prefix):
        _remove_files(checkpoint_prefix, meta_graph_suffix)
    else:
        with server_client() as client:
            if client is not None and info_of(client, checkpoint_prefix) is not None:
                client.delete_checkpoint(checkpoint_id(checkpoint_prefix))


def _remove_files(prefix: str, meta_graph_suffix: str) -> None:
    path = Path(prefix)
    data = re.compile(re.escape(path.name) + r"\.data-\d{5}-of-\d{5}")
    for each in sorted(path.parent.iterdir(), key=lambda each: not each.name.endswith(".index")):
        if each.name in (f"{path.name}.index", f"{path.name}.{meta_graph_suffix}") or data.fullmatch(each.name):
            each.unlink()


# On the server


@contextmanager
def server_client() -> Iterator[ParameterClient | None]:
    """A client of the default session's server, or else of `PARAMSERVER_URL`; None without either."""
    session = get_default_session()
    if session is not None:
        yield session.client if is_server(session.client) else None
    elif os.environ.get("PARAMSERVER_URL"):
        with closing(ParameterClient()) as client:
            yield client
    else:
        yield None


def info_of(client: ParameterClient, prefix: str) -> CheckpointInfo | None:
    """What the server says of the checkpoint at a prefix; None when it has none."""
    try:
        return client.get_checkpoint(checkpoint_id(prefix))
    except (CheckpointNotFoundError, ValueError):
        return None


def _info_on_server(prefix: str) -> CheckpointInfo | None:
    with server_client() as client:
        return None if client is None else info_of(client, prefix)


def _state_on_server(checkpoint_dir: str) -> CheckpointState | None:
    with server_client() as client:
        if client is None:
            return None
        wanted = checkpoint_id(checkpoint_dir)
        names = [
            os.path.join(checkpoint_dir, each.id.rpartition("/")[2])
            for each in client.checkpoints()
            if each.id.rpartition("/")[0] == wanted and SAVED_BY in each.metadata
        ]
    return CheckpointState(names[0], names[::-1]) if names else None


def _seconds(created: str) -> float:
    return datetime.fromisoformat(created).timestamp()
