"""Journal and checkpoint, damaged in every way: a start finds all that was acknowledged, or is refused by name.

A few data directories with known content are made, some as a kill left them and some after a clean stop. Each case takes
one, spoils one thing in it (a bit, a byte, a range, the length, a file), starts on it, and compares all there is, bit by
bit. What is cut because it had not been synced is no loss; what had been synced and is missing without a word is one.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np

from faults.outcome import Outcome, main, timed
from paramserver.checkpoint import CheckpointError
from paramserver.engine import Engine
from paramserver.journal import JournalError
from paramserver_wire.messages import Message

NAME: Final = "damaged files"
OPTIONS: Final[dict[str, Any]] = {
    "checkpoint_every_s": 0,
    "min_free_disk_nbytes": 0,
    "segment_nbytes": 1 << 13,
}
PROCESSES: Final = 2

Content = tuple[int, tuple[tuple[str, int, bytes | None, tuple[str, ...]], ...], tuple[tuple[str, int], ...]]
"""The commit; each variable's name, version, bytes and collections; each client of the request table and how much of it
is remembered."""


@dataclass(frozen=True, slots=True)
class Made:
    """A data directory, what is in it after each commit, and up to which commit it was synced."""

    path: Path
    contents: dict[int, Content]
    synced: int
    commit: int


def run(seed: int, count: int, plant: str = "") -> Outcome:
    """Damage `count` times, shared out over two processes."""
    shares = [count // PROCESSES + (number < count % PROCESSES) for number in range(PROCESSES)]
    wrong: list[str] = []
    figures: Counter[str] = Counter()
    with timed() as seconds, ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        for found, counted in pool.map(
            damaged, [seed * 1000 + n for n in range(PROCESSES)], shares, [plant] * PROCESSES
        ):
            wrong += found
            figures.update(counted)
    return Outcome(NAME, count, tuple(wrong), {name: f"{figures[name]:,}" for name in sorted(figures)}, seconds())


def damaged(seed: int, count: int, plant: str = "") -> tuple[list[str], Counter[str]]:
    """Damage `count` times in this process: what was wrong, and how often it came out how."""
    if plant:
        exec(plant, {})  # noqa: S102
    draw = random.Random(seed)
    counted: Counter[str] = Counter()
    wrong: list[str] = []
    # In memory where there is room for that: the kit is about what is read, not about the disk.
    root = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="faults-damage-", dir=root) as place:
        made = [make(Path(place) / how, seed, how) for how in ("always", "everysec", "stopped", "checkpointed")]
        for number in range(count):
            one = made[number % len(made)]
            outcome, told = _case(one, draw)
            counted[outcome] += 1
            if outcome == "WRONG":
                wrong.append(f"{one.path.name}, case {number} of seed {seed}: {told}")
    return wrong, counted


# -------------------------------------------------------------------- making


def make(path: Path, seed: int, how: str) -> Made:
    """A data directory as a kill, or with `stopped` a clean stop, left it. It has a checkpoint in the middle."""
    draw = random.Random(f"{seed}/{how}")
    contents: dict[int, Content] = {}
    durability = "everysec" if how == "everysec" else "always"
    engine = Engine.open(path.with_suffix(".live"), durability=durability, **OPTIONS)
    for number in range(30):
        engine.perform(_operation(draw, number))
        content = content_of(engine)
        contents[content[0]] = content
        if number == 14 or (how == "checkpointed" and number in (8, 20)):
            engine.perform(Message("save", {"id": f"m{number}"}, f"saver-{number + 1}"))
            content = content_of(engine)
            contents[content[0]] = content
    if how == "everysec":
        assert engine._log is not None
        assert engine._log.journal is not None
        engine._log.journal.sync()
        synced = engine.store.commit
        for number in range(30, 34):
            engine.perform(_operation(draw, number))
            content = content_of(engine)
            contents[content[0]] = content
    else:
        synced = engine.store.commit
    commit = engine.store.commit
    if how == "stopped":
        engine.close()
    shutil.copytree(path.with_suffix(".live"), path)
    engine.close()
    shutil.rmtree(path.with_suffix(".live"))
    return Made(path, contents, synced, commit)


def _operation(draw: random.Random, number: int) -> Message:
    request_id = f"c{number % 3}-{number // 3 + 1}"
    value = np.full(6, draw.randrange(100), np.float32)
    if number < 4:
        return Message("create_variable", {"name": f"v{number}", "value": value}, request_id)
    if number == 4:
        return Message("create_optimizer", {"name": "adam", "spec": {"type": "adam"}}, request_id)
    name = f"v{draw.randrange(4)}"
    kind = draw.randrange(6)
    if kind == 0:
        return Message("apply_gradients", {"name": "adam", "gradients": {name: value}}, request_id)
    if kind == 1:
        arguments = {
            "name": f"made{number}",
            "shape": [3],
            "initializer": {"type": "random_normal"},
            "initialize": True,
        }
        return Message("create_variable", arguments, request_id)
    if kind == 2:
        return Message("update_variable", {"name": name, "collections": [f"own{number}"]}, request_id)
    updates = [{"name": f"v{each}", "op": "assign_add", "value": value} for each in range(4)]
    return Message("push", {"updates": updates}, request_id)


def content_of(engine: Engine) -> Content:
    """All there is, but for incarnations and times."""
    cut = engine.store.snapshot(with_requests=True)
    variables = tuple(
        (name, each.version, None if each.value is None else each.value.tobytes(), each.state.collections)
        for name, each in cut.variables.items()
    )
    return cut.commit, variables, tuple(sorted((row["client"], len(row["done"])) for row in cut.requests))


# -------------------------------------------------------------------- damaging


def _case(made: Made, draw: random.Random) -> tuple[str, str]:
    """Spoil one thing, start, compare, mend: what came out, and in which words."""
    files = sorted(path for path in made.path.rglob("*") if path.is_file() and path.name != "LOCK")
    path = draw.choice(files)
    before = {each: each.read_bytes() for each in files}
    told = f"{path.relative_to(made.path)}: "
    try:
        told += _spoil(path, before[path], files, draw)
        return _started(made, told)
    finally:
        _mend(made.path, before)


def _spoil(path: Path, content: bytes, files: list[Path], draw: random.Random) -> str:
    used = len(content.rstrip(b"\0")) + 64
    place = draw.randrange(min(used, len(content))) if content else 0
    kind = draw.choices(
        ["bit", "byte", "range", "cut", "longer", "missing", "swapped", "empty"], [40, 20, 15, 10, 5, 3, 4, 3]
    )[0]
    match kind:
        case "bit" if content:
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :])
        case "byte" if content:
            path.write_bytes(content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :])
        case "range":
            length = draw.choice((1, 8, 64, 512, 4096))
            path.write_bytes(content[:place] + bytes(min(length, len(content) - place)) + content[place + length :])
        case "longer":
            path.write_bytes(content + draw.randbytes(draw.randrange(1, 200)))
        case "missing":
            path.unlink()
        case "swapped":
            other = draw.choice(files)
            other_content = other.read_bytes()
            other.write_bytes(content)
            path.write_bytes(other_content)
            return f"swapped with {other.name}"
        case "empty":
            path.write_bytes(b"")
        case _:
            path.write_bytes(content[:place])
    return f"{kind} at {place}"


def _started(made: Made, told: str) -> tuple[str, str]:
    try:
        engine = Engine.open(made.path, durability="always", **OPTIONS)
    except (CheckpointError, JournalError) as error:
        named = str(made.path) in str(error) and len(str(error)) > 60
        return ("refused", told) if named else ("WRONG", f"{told}: refused without a place: {error}")
    except Exception as error:
        return "WRONG", f"{told}: {error!r}"
    try:
        found, report = content_of(engine), str(engine.start_report)
    finally:
        assert engine.checkpoints is not None
        engine.checkpoints.close(final=False)
    wanted = made.contents.get(found[0])
    if found[0] == made.commit and found == made.contents[made.commit]:
        return "whole", told
    if wanted is None or found[:2] != wanted[:2]:
        return "WRONG", f"{told}: other values at commit {found[0]}: {report}"
    if found[0] < made.synced:
        return "WRONG", f"{told}: commits {found[0] + 1} to {made.synced} are gone without a word: {report}"
    if found[0] < made.commit:
        return ("cut, and told", told) if "was cut" in report else ("WRONG", f"{told}: a cut without a word: {report}")
    if "damage was passed over" in report:
        return "passed over, and told", told
    return "WRONG", f"{told}: requests are forgotten: {report}"


def _mend(root: Path, before: dict[Path, bytes]) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_file() and path not in before and path.name != "LOCK":
            path.unlink()
        elif path.is_dir() and not any(known.is_relative_to(path) for known in before):
            shutil.rmtree(path)
    for path, content in before.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


if __name__ == "__main__":
    main(run, 1000)
