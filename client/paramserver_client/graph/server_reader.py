"""Looking into a Saver's checkpoint that is on a server: its files are brought here once, and read from there."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from paramserver_client.client import ParameterClient
from paramserver_client.graph import checkpoint_state as state
from paramserver_client.graph import dtypes
from paramserver_client.graph.dtypes import Array, DType
from paramserver_client.graph.server_checkpoints import places, together
from paramserver_client.results import CheckpointInfo
from paramserver_wire.safetensors import Entry, data_start_of, parse

_SUFFIX: Final = ".safetensors"
_LENGTH_NBYTES: Final = 8


class ServerCheckpoint:
    """What a checkpoint on a server holds. Its files lie in a temporary directory for as long as this is held."""

    def __init__(self, client: ParameterClient, info: CheckpointInfo) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="paramserver-"))
        weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
        self._note: Mapping[str, Any] = info.metadata.get(state.SAVED_BY) or {}
        container = self._note.get("container", "")
        self._scope = f"{container}/" if container else ""
        self._held: dict[str, tuple[Path, int, Entry]] = {}
        for name in (str(file["name"]) for file in info.files):
            if name.endswith(_SUFFIX):
                path = self._directory / name
                client.download_checkpoint(path, info.id, name)
                self._held |= _held_in(path)
        names = self._note.get("dtypes") or [name.removeprefix(self._scope) for name in self._held]
        self.about: dict[str, tuple[list[int], DType]] = {name: self._described(name) for name in names}

    def value(self, name: str) -> Array:
        """One value, put together where it was saved in parts."""
        parts = [(self._read(place, name), offset) for place, offset in places(self._note, name)]
        whole: Array = parts[0][0] if not parts[0][1] else together(self._note["parts"][name][0], parts)
        return whole

    def _described(self, name: str) -> tuple[list[int], DType]:
        first, offset = places(self._note, name)[0]
        _, _, entry = self._held[self._scope + first]
        dtype = self._dtype(name, entry)
        shape = list(self._note["parts"][name][0]) if offset else list(_shape(entry, dtype))
        return shape, dtypes.as_dtype(dtype)

    def _dtype(self, name: str, entry: Entry) -> np.dtype[Any]:
        noted = self._note.get("dtypes", {}).get(name)
        return entry.dtype if noted is None else dtypes.as_dtype(noted).numpy_dtype

    def _read(self, place: str, name: str) -> Array:
        path, start, entry = self._held[self._scope + place]
        dtype = self._dtype(name, entry)
        with path.open("rb") as file:
            file.seek(start + entry.begin)
            data = bytearray(file.read(entry.end - entry.begin))
        return np.frombuffer(data, dtype).reshape(_shape(entry, dtype))


def on_server(prefix: str) -> ServerCheckpoint | None:
    """The checkpoint at a prefix of the default session's server, or else of `PARAMSERVER_URL`; None where there is none."""
    with state.server_client() as client:
        info = None if client is None else state.info_of(client, prefix)
        return None if client is None or info is None else ServerCheckpoint(client, info)


def _held_in(path: Path) -> dict[str, tuple[Path, int, Entry]]:
    with path.open("rb") as file:
        head = file.read(_LENGTH_NBYTES)
        start = data_start_of(head)
        header = parse(head + file.read(start - _LENGTH_NBYTES), path.stat().st_size)
    return {name: (path, start, entry) for name, entry in header.entries.items()}


def _shape(entry: Entry, dtype: np.dtype[Any]) -> tuple[int, ...]:
    # Complex numbers lie in the file as two floats along a last axis.
    return entry.shape[:-1] if dtype.kind == "c" and entry.dtype.kind != "c" else entry.shape
