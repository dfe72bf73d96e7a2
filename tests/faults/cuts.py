"""Cuts under load: whatever is taken while pushes go on holds all of a push or nothing of it.

Writers push into many variables at once so that all of them are always equal. Readers pull them, export them, and save
checkpoints that are looked at afterwards; a kill and a start take one more.
"""

from __future__ import annotations

import random
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import load_file

import paramserver_client as ps
from faults.outcome import Outcome, main, timed
from faults.zygote import Zygote, serve_flags

NAME: Final = "cuts under load"
VARIABLES: Final = 12
WRITERS: Final = 3
READERS: Final = 2
SIZES: Final = (3, 50_000)


def run(seed: int, count: int, plant: str = "") -> Outcome:
    """Take `count` cuts, in pulls, exports and checkpoints."""
    taken: Counter[str] = Counter()
    wrong: list[str] = []
    with timed() as seconds, Zygote(plant) as zygote, tempfile.TemporaryDirectory(prefix="faults-cuts-") as place:
        flags = serve_flags(Path(place) / "data", "everysec")
        server = zygote.serve(*flags)
        names = [f"all/{number}" for number in range(VARIABLES)]
        with ps.ParameterClient(server.url) as client:
            for number, name in enumerate(names):
                client.create_variable(name, value=np.zeros(SIZES[number % len(SIZES)], np.int64))
        over = threading.Event()
        writers = [
            threading.Thread(target=_write, args=(server.url, names, seed * 10 + n, over)) for n in range(WRITERS)
        ]
        readers = [
            threading.Thread(
                target=_read, args=(server.url, Path(place), seed * 10 + n, count // READERS, taken, wrong)
            )
            for n in range(READERS)
        ]
        for thread in (*writers, *readers):
            thread.start()
        for thread in readers:
            thread.join()
        server.kill()
        over.set()
        for thread in writers:
            thread.join()
        server = zygote.serve(*flags)
        with ps.ParameterClient(server.url) as client:
            wrong += _uneven("after a kill", client.pull(prefix="all"))
        for path in (Path(place) / "data" / "checkpoints").glob("cut-*/model.safetensors"):
            wrong += _uneven(path.parent.name, load_file(path))
        server.stop()
    figures = {what: f"{number:,}" for what, number in sorted(taken.items())}
    return Outcome(NAME, sum(taken.values()) + 1, tuple(wrong), figures, seconds())


def _write(url: str, names: list[str], seed: int, over: threading.Event) -> None:
    draw = random.Random(seed)
    with ps.ParameterClient(url, timeout_s=0.5) as client:
        while not over.is_set():
            by = draw.randrange(1, 9)
            order = draw.sample(range(len(names)), len(names))
            try:
                client.push({names[at]: np.full(SIZES[at % len(SIZES)], by, np.int64) for at in order})
            except ps.ParameterServerError:
                # The server is killed in the end; until then none of them may fail, or the cuts would not be under load.
                return


def _read(url: str, place: Path, seed: int, count: int, taken: Counter[str], wrong: list[str]) -> None:
    draw = random.Random(seed)
    with ps.ParameterClient(url, timeout_s=30) as client:
        for number in range(count):
            what = draw.choices(("pull", "export", "checkpoint"), (20, 3, 1))[0]
            if what == "pull":
                wrong += _uneven(f"pull {number} of seed {seed}", client.pull(prefix="all"))
            elif what == "export":
                path = place / f"{seed}.safetensors"
                client.export_safetensors(path)
                wrong += _uneven(f"export {number} of seed {seed}", load_file(path))
            else:
                client.save(f"cut-{seed}-{number}", series=f"cuts-{seed}-{number}")
            taken[what] += 1


def _uneven(what: str, values: Mapping[str, np.ndarray[Any, Any]]) -> list[str]:
    found = {int(number) for value in values.values() for number in np.unique(value)}
    if len(values) != VARIABLES:
        return [f"{what}: {len(values)} of {VARIABLES} variables"]
    return [] if len(found) == 1 else [f"{what}: wanted one number everywhere, got {sorted(found)}"]


if __name__ == "__main__":
    main(run, 200)
