"""The processes of the demo: one server, which can be killed and started again, and the workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Server:
    """`paramserver serve` over a data directory, on one port for all its lives."""

    def __init__(self, data_dir: Path, checkpoint_every_s: float) -> None:
        self.data_dir = data_dir
        self._checkpoint_every_s = checkpoint_every_s
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> None:
        """Start it and wait until it says where it listens."""
        port = self.url.rpartition(":")[2] or "0"
        command = [
            sys.executable,
            "-m",
            "paramserver.cli",
            "serve",
            "--port",
            port,
            "--data-dir",
            str(self.data_dir.absolute()),
        ]
        command += ["--checkpoint-every-s", str(self._checkpoint_every_s)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=one_thread())
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "listening on" in line:
                self.url = line.split()[-1]
                return
        raise SystemExit(f"the server did not start; it ended with status {self._reap()}")

    def kill(self) -> None:
        """SIGKILL: no goodbye, no final checkpoint."""
        if self._process is not None:
            self._process.kill()
            self._reap()

    def stop(self) -> int:
        """SIGTERM: it drains, saves a final checkpoint and leaves. Returns its exit status."""
        if self._process is None:
            return 0
        self._process.terminate()
        return self._reap()

    def _reap(self) -> int:
        assert self._process is not None
        status = self._process.wait(30)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
        return status


@dataclass
class Worker:
    """A worker process and what it last reported."""

    number: int
    process: subprocess.Popen[str]
    epoch: int = 0
    pushes: int = 0
    step: int = 0
    finished: bool = False
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=5))
    accuracies: deque[float] = field(default_factory=lambda: deque(maxlen=5))
    moments: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=5))

    @property
    def pushes_per_s(self) -> float:
        """Over its last few reports."""
        if len(self.moments) < 2:
            return 0.0
        (then, before), (now, after) = self.moments[0], self.moments[-1]
        return (after - before) / max(now - then, 1e-9)

    def listen(self) -> None:
        """Take in its reports until it ends."""
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                heard = json.loads(line)
                self.epoch, self.pushes = heard["epoch"], heard["pushes"]
                self.finished = heard.get("finished", False)
                if "loss" in heard:
                    self.step = heard["step"]
                    self.losses.append(heard["loss"])
                    self.accuracies.append(heard["accuracy"])
                    self.moments.append((time.monotonic(), self.pushes))


def start_workers(url: str, count: int, epochs: int, cache: Path) -> list[Worker]:
    """Start `count` workers, one BLAS thread each, with a listening thread for every one."""
    workers = []
    for number in range(count):
        command = [
            sys.executable,
            "-m",
            "examples.digits.worker",
            url,
            str(number),
            str(count),
            str(epochs),
            str(cache.absolute()),
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=one_thread())
        worker = Worker(number, process)
        threading.Thread(target=worker.listen, daemon=True).start()
        workers.append(worker)
    return workers


def one_thread() -> dict[str, str]:
    """This environment with one thread for BLAS, and without settings of ours that the user may have set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PARAMSERVER_")}
    return kept | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
