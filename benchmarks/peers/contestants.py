"""Who takes part: how each is started, what a figure of it leaves out, and the processes that it is."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

WORKERS: Final = 2
_DRIVERS: Final = Path(__file__).resolve().parent / "drivers"
_PATIENCE_S: Final = 120.0
# What is meant for us is not for them.
_NOT_PASSED: Final = ("PARAMSERVER_", "PYTHON")


class FailedError(Exception):
    """A contestant's process did not do what it was told."""


@dataclass(frozen=True)
class Contestant:
    """One row of the table. `environment` has the packages that it needs; None is ours. `leaves_out` is said beside its figures."""

    name: str
    driver: str
    leaves_out: str
    environment: str | None = None
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    # Of whom processes are held while others have their turn. Ray takes those that do not answer for dead.
    pauses: bool = True


OURS: Final = "paramserver, TCP, none"

CONTESTANTS: Final[Sequence[Contestant]] = (
    Contestant("raw TCP socket", "raw", "checks, names and remembers nothing", options={"unix": False}),
    Contestant("raw Unix socket", "raw", "the same, on one machine only", options={"unix": True}),
    Contestant(
        OURS, "ours", "a crash loses what came after the checkpoint", options={"unix": False, "durability": "none"}
    ),
    Contestant(
        "paramserver, TCP, everysec",
        "ours",
        "a power cut loses a second",
        options={"unix": False, "durability": "everysec"},
    ),
    Contestant("paramserver, Unix, none", "ours", "on one machine only", options={"unix": True, "durability": "none"}),
    Contestant(
        "paramserver, Unix, everysec", "ours", "on one machine only", options={"unix": True, "durability": "everysec"}
    ),
    Contestant(
        "TensorFlow, gRPC", "tensorflow_grpc", "no request ids, no cut over variables, no journal", "tensorflow"
    ),
    Contestant(
        "torch RPC", "torch_rpc", "by shared memory here; no request ids, no journal; pickle", "torch", {"tcp": False}
    ),
    Contestant("torch RPC, TCP", "torch_rpc", "no request ids, no journal; pickle", "torch", {"tcp": True}),
    Contestant("gloo", "gloo", "no server: what adds is a few lines, and knows nothing but one tensor", "torch"),
    Contestant(
        "Ray actor", "ray_actors", "by shared memory here; no request ids, no journal; pickle", "ray", pauses=False
    ),
    Contestant("redis", "redis_kv", "the worker adds; two are tried again until each was alone", "redis"),
    Contestant(
        "Flask and pickle", "flask_pickle", "no request ids, no journal; pickle runs what a stranger sends", "flask"
    ),
)


class Process:
    """A process of a contestant, which answers each line it is sent with one."""

    def __init__(self, python: Path, driver: str, role: str, options: Mapping[str, Any]) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_PASSED)}
        # Each is to have what two cores give to one that computes with one thread.
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._name = f"{driver} {role}"
        self._process = subprocess.Popen(
            [str(python), str(_DRIVERS / f"{driver}.py"), role, json.dumps(dict(options))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
            start_new_session=True,
        )

    def send(self, **command: Any) -> None:
        """Have it begin."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise FailedError(f"{self._name} is gone: {error}") from error

    def receive(self) -> dict[str, Any]:
        """Its next answer. Raises `FailedError` when it ends, or says nothing for minutes."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], _PATIENCE_S)[0]:
            raise FailedError(f"{self._name} said nothing for {_PATIENCE_S:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise FailedError(f"{self._name} ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def signal(self, number: int) -> None:
        """Send a signal to it and to those it started, which may be there without it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def end(self) -> None:
        """Let it end by itself, or else end it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(20)
        except (OSError, subprocess.TimeoutExpired):
            pass
        self.signal(signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()


class Running:
    """A contestant's server and its workers, from entry to exit. They rest but between `resume` and `pause`."""

    def __init__(self, contestant: Contestant, python: Path, place: Path) -> None:
        self.contestant = contestant
        self._python = python
        self._place = place
        self._processes: list[Process] = []

    def __enter__(self) -> Self:
        try:
            options = {**self.contestant.options, "place": str(self._place)}
            server = self._start("serve", options)
            address = server.receive()["address"]
            # All at once: some wait for each other.
            self.workers = [
                self._start("work", {**options, "address": address, "number": number}) for number in range(WORKERS)
            ]
            for worker in self.workers:
                worker.receive()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.pause()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resume()
        for process in reversed(self._processes):
            process.end()
        self._processes.clear()

    def afresh(self) -> Running:
        """The same contestant, in processes of its own."""
        return Running(self.contestant, self._python, self._place)

    def _start(self, role: str, options: Mapping[str, Any]) -> Process:
        process = Process(self._python, self.contestant.driver, role, options)
        self._processes.append(process)
        return process

    def pause(self) -> None:
        """Hold all its processes: some look for work without rest."""
        if self.contestant.pauses:
            for process in self._processes:
                process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        if self.contestant.pauses:
            for process in self._processes:
                process.signal(signal.SIGCONT)
