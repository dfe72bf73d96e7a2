"""SIGKILL, EIO and ENOSPC at every n-th system call of one scripted session, put there by strace.

The session is one client that does one of everything, a checkpoint among it, and then stops the server. The n-th call of
a kind, in any of its threads, kills the server, or fails; then a server is started as ever, and held to what the client had been told.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Final

import paramserver_client as ps
from faults.outcome import Outcome, main, timed
from faults.session import TOLD, Session
from faults.zygote import LISTENING, PATIENCE_S, Zygote, serve_flags

CALLS: Final = ("write", "pwritev2", "fdatasync", "fsync", "rename", "unlink", "fallocate", "ftruncate")
ERRORS: Final = ("EIO", "ENOSPC")
OPERATIONS: Final = 40


def run(seed: int, count: int) -> Outcome:
    """Try the first `count` calls of every kind (0: all of them, until the session ends without reaching the n-th)."""
    reason = cannot_trace()
    if reason:
        return Outcome("every n-th system call", 0, (), skipped=reason)
    wrong: list[str] = []
    figures = {}
    cases = 0
    zygotes: Queue[Zygote] = Queue()
    with timed() as seconds, ThreadPoolExecutor(2) as pool, Zygote() as one, Zygote() as other:
        for zygote in (one, other):
            zygotes.put(zygote)
        for call, fault in _points():
            tried = 0
            for results in _in_pairs(pool, partial(_case, zygotes, seed, call, fault)):
                for reached, found in results:
                    tried += reached
                    wrong += found
                if not all(reached for reached, _ in results) or (count and tried >= count):
                    break
            cases += tried
            figures[f"{call}, {fault}"] = f"{tried} points"
    return Outcome("every n-th system call", cases, tuple(wrong), figures, seconds())


def cannot_trace() -> str:
    """Why strace cannot be used here; empty if it can."""
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed"
    tried = subprocess.run(
        [strace, "-f", "-qq", "-o", os.devnull, "-e", "inject=fdatasync:error=EIO", "true"],
        capture_output=True,
        text=True,
    )
    return "" if tried.returncode == 0 else f"strace may not trace: {tried.stderr.strip()[:200]}"


def _points() -> Iterator[tuple[str, str]]:
    for call in CALLS:
        for fault in ("SIGKILL", *_errors(call)):
            yield call, fault


def _errors(call: str) -> tuple[str, ...]:
    # A socket's writes fail otherwise, and names never do on a disk that is full.
    return () if call == "write" else ERRORS


def _in_pairs(
    pool: ThreadPoolExecutor, case: Callable[[int], tuple[bool, list[str]]]
) -> Iterator[list[tuple[bool, list[str]]]]:
    """Two at a time, as there are two cores at least."""
    number = 1
    while True:
        yield list(pool.map(case, (number, number + 1)))
        number += 2


def _case(zygotes: Queue[Zygote], seed: int, call: str, fault: str, number: int) -> tuple[bool, list[str]]:
    """Whether the session came to the n-th call, and what was wrong after it."""
    durability = random.Random(f"{seed}/{call}/{fault}/{number}").choice(("always", "everysec"))
    with tempfile.TemporaryDirectory(prefix="faults-syscalls-") as place:
        data_dir, trace = Path(place) / "data", Path(place) / "trace"
        flags = serve_flags(data_dir, durability)
        session = Session(seed * 1_000 + number, threads=1, may_refuse=TOLD)
        injected = f"signal={fault}" if fault == "SIGKILL" else f"error={fault}"
        _traced_session(session, flags, trace, f"inject={call}:{injected}:when={number}")
        reached = _was_injected(trace, fault)
        told = f"{fault} at {call} {number} ({durability}, seed {seed})"
        zygote = zygotes.get()
        try:
            server = zygote.serve(*flags)
        except RuntimeError as error:
            return reached, [f"{told}: {error}"]
        else:
            wrong = session.judge(server.url)[0]
            status = server.stop()
            if status != 0:
                wrong.append(f"the server that came back ended with status {status}")
            return reached, [f"{told}: {each}" for each in wrong]
        finally:
            zygotes.put(zygote)


def _traced_session(session: Session, flags: list[str], trace: Path, inject: str) -> None:
    """The session against a server under strace, which may die at any point of it."""
    command = ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={','.join(CALLS)}", "-e", inject]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PARAMSERVER_")}
    process = subprocess.Popen(
        [*command, sys.executable, "-m", "paramserver.cli", "serve", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert process.stdout is not None
    try:
        url = next((found[1] for line in process.stdout if (found := LISTENING.search(line))), None)
        if url is not None:
            _script(session, url, process)
        process.wait(PATIENCE_S)
    finally:
        process.stdout.close()
        if process.poll() is None:
            process.kill()
            process.wait(PATIENCE_S)


def _script(session: Session, url: str, process: subprocess.Popen[str]) -> None:
    def over() -> bool:
        return process.poll() is not None or session.acknowledged >= OPERATIONS or len(session.refused) >= 2

    session.noticing = lambda: process.poll() is not None
    session.timeout_s = 3
    with contextlib.suppress(ps.ParameterServerError):
        session.prepare(url)
        session.work(url, over)
        with ps.ParameterClient(url, timeout_s=3) as client:
            client.save("by-request")
    if process.poll() is None:
        # To the server, not to strace, which passes nothing on.
        for child in _children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _was_injected(trace: Path, fault: str) -> bool:
    content = trace.read_text() if trace.exists() else ""
    return "(INJECTED)" in content or (fault == "SIGKILL" and re.search(r"killed by SIGKILL", content) is not None)


if __name__ == "__main__":
    main(run, 3)
