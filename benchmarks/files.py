"""Export and import of a whole model as a file, beside a plain copy of that file through a socket."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.copying import CopyPeer
from benchmarks.measuring import MB, Figure, Result, Target, Trial, WrongResultError, in_turns, rates, seconds_each
from benchmarks.processes import PeakMemory, ServerProcess
from paramserver_client import ParameterClient

_GROUP: Final = "files, beside a plain copy through a socket"
_MEMORY: Final = "memory for files, beyond the values"
_SPEED: Final = Target("ratio", "at least", 0.5)
_CONSTANT: Final = Target("value", "at most", 32.0)
_VARIABLES: Final = 32


def measure_files(nbytes: int, rounds: int) -> Iterator[Result]:
    """A server of its own. The file lies in the page cache, for the copy and for us alike."""
    with tempfile.TemporaryDirectory() as folder:
        model, back, far = (Path(folder) / name for name in ("model.safetensors", "back.safetensors", "far"))
        with ServerProcess() as server, CopyPeer(far) as peer, ParameterClient(server.url) as client:
            for number in range(_VARIABLES):
                value = np.random.default_rng(number).integers(0, 256, nbytes // _VARIABLES // 4).astype(np.float32)
                client.create_variable(f"model/v{number}", value=value)
            client.export_safetensors(model, prefix="model")
            held_nbytes = model.stat().st_size
            yield from _memory(server, client, model, back, nbytes)
            here = Path(folder) / "here"
            trials: dict[str, Trial] = {
                "import": partial(seconds_each, partial(client.import_safetensors, model, "copy"), 1),
                "copy there": partial(seconds_each, partial(peer.send, model), 1),
                "export": partial(_seconds_into, back, partial(client.export_safetensors, back, "model")),
                "copy here": partial(_seconds_into, here, partial(peer.fetch, here, held_nbytes)),
            }
            peer.send(model)
            seconds = in_turns(trials, rounds)
            client.export_safetensors(back, prefix="copy")
            if client.read("copy/model/v1").tobytes() != client.read("model/v1").tobytes():
                raise WrongResultError("copy/model/v1: wanted the values of model/v1, got others")
        for name, copy in (("import", "copy there"), ("export", "copy here")):
            value, raw = rates(held_nbytes, seconds[name]), rates(held_nbytes, seconds[copy])
            yield Result(_GROUP, name, held_nbytes, "GB/s", value, raw, value.median / raw.median, _SPEED)


def _seconds_into(path: Path, write: Callable[[], object]) -> float:
    """Seconds that writing a new file takes; letting go of one that is there is counted to neither."""
    path.unlink(missing_ok=True)
    return seconds_each(write, 1)


def _memory(server: ServerProcess, client: ParameterClient, model: Path, back: Path, nbytes: int) -> Iterator[Result]:
    moves: dict[str, tuple[Callable[[], object], int]] = {
        "import": (partial(client.import_safetensors, model, "copy"), nbytes),
        "export": (partial(client.export_safetensors, back, "model"), 0),
    }
    for name, (move, values_nbytes) in moves.items():
        ours = PeakMemory()
        before = server.resident_nbytes()
        server.forget_peak()
        move()
        added = (server.peak_nbytes() - before - values_nbytes) / MB
        yield Result(_MEMORY, f"{name}: server", nbytes, "MB", Figure(added, added, added), target=_CONSTANT)
        added = ours.added_nbytes() / MB
        yield Result(_MEMORY, f"{name}: client", nbytes, "MB", Figure(added, added, added), target=_CONSTANT)
