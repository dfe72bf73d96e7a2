"""The real server: `paramserver serve` in a process of its own, on a free port of the loopback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

LISTENING = re.compile(r"paramserver listening on (https?://\S+)")
PATIENCE_S = 60


class Server:
    """Starts on entry, and is ended by SIGTERM on exit, which must leave with status 0.

    `flags` go to the command line; `data_dir` gives it a place for checkpoints. `lines` is what it printed up to and
    with the line that told its URL. `program` is what python runs, for servers with a bug planted into them; `log` gets what it says on standard
    error; `environment` is added to ours.
    """

    def __init__(
        self,
        *flags: str,
        data_dir: Path | None = None,
        program: Sequence[str] = ("-m", "paramserver.cli"),
        log: Path | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._program = program
        self._environment = environment
        self._log = log
        self._flags = [*flags, *([] if data_dir is None else ["--data-dir", str(data_dir)])]
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.lines: list[str] = []

    def peak_nbytes(self) -> int:
        """The most memory that the server has had so far."""
        return self._memory_nbytes("VmHWM")

    def resident_nbytes(self) -> int:
        """The memory that it has now; what was the most so far is forgotten."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self._memory_nbytes("VmRSS")

    def _memory_nbytes(self, field: str) -> int:
        found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def process(self) -> subprocess.Popen[str]:
        """The running process."""
        assert self._process is not None, "the server has not been started"
        return self._process

    def start(self) -> None:
        """Start it and wait until it listens. A server that was killed starts on the port it had."""
        port = self.url.rpartition(":")[2] or "0"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PARAMSERVER_")}
        environment |= self._environment
        with nullcontext() if self._log is None else self._log.open("a") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, *self._program, "serve", "--port", port, *self._flags],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment,
                text=True,
            )
        assert self._process.stdout is not None
        self.lines = []
        for line in self._process.stdout:
            self.lines.append(line.rstrip())
            if found := LISTENING.search(line):
                self.url = found[1]
                return
        raise RuntimeError(f"the server ended with status {self._process.wait()} and said {self.lines}")

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self._wait()

    def stop(self) -> None:
        """End it as an operator would, and hold it to its promise. One that was killed already is let be."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            status = self._wait()
            assert status == 0, f"the server ended with status {status}"

    def _wait(self) -> int:
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE_S)
            raise
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()
