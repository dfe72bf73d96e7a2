"""The processes that are measured, and the memory they take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

_ROOT = Path(__file__).resolve().parent.parent


class Process:
    """A python process that prints a line with `listening on` once it is ready."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "the process has not been started"
        return self._process.pid

    def start(self) -> str:
        """Start it, and return the line that says it is ready."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PARAMSERVER_")}
        self._process = subprocess.Popen(
            [sys.executable, *self._arguments], cwd=_ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "listening on" in line:
                return line
        raise RuntimeError(f"{' '.join(self._arguments)} ended with status {self._process.wait()}; its reason is above")

    def end(self) -> None:
        """End it, and wait until it is gone."""
        assert self._process is not None, "the process has not been started"
        self._process.terminate()
        self._process.wait(60)
        if self._process.stdout is not None:
            self._process.stdout.close()


class ServerProcess:
    """`paramserver serve` as anybody would start it, on a free port, without a data directory unless `flags` give one."""

    def __init__(self, *flags: str) -> None:
        self._process = Process("-m", "paramserver.cli", "serve", "--port", "0", *flags)
        self.url = ""

    def __enter__(self) -> Self:
        self.url = self._process.start().split()[-1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.end()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def resident_nbytes(self) -> int:
        """Its memory now."""
        return _status(self._process.pid, "VmRSS")

    def peak_nbytes(self) -> int:
        """The most memory it had since its start, or since `forget_peak`."""
        return _status(self._process.pid, "VmHWM")

    def forget_peak(self) -> None:
        """Measure the peak anew from here on."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")


class PeakMemory:
    """The most memory that this process takes from here on."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")
        self._before_nbytes = _status("self", "VmRSS")

    def added_nbytes(self) -> int:
        """How much more than at the beginning that was."""
        return _status("self", "VmHWM") - self._before_nbytes


def _status(pid: int | str, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)
