"""Servers in quantity: real `paramserver serve` processes, forked from one that has everything imported.

Starting python and importing the server takes most of a second, a fork 20 ms; a thousand kills want the latter. A child
runs the very command line in a process of its own, and dies of a SIGKILL like any other.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

LISTENING: Final = re.compile(r"paramserver listening on (http://\S+)")
PATIENCE_S: Final = 60

_PROGRAM: Final = """
import json, os, signal, sys
{plant}
import paramserver.cli, paramserver.cli.serve
import paramserver.http.serve, paramserver.http.app, uvloop, httptools, paramserver_wire
signal.signal(signal.SIGCHLD, lambda *_: None)
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if "wait" in asked:
        _, status = os.waitpid(asked["wait"], 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
        continue
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        out = os.open(asked["out"], os.O_WRONLY)
        os.dup2(out, 1)
        os.dup2(os.open(asked["err"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv[1:] = asked["flags"]
        sys.stdin = open(os.devnull)
        try:
            paramserver.cli.main()
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code if isinstance(end.code, int) else 1)
        os._exit(0)
    print(pid, flush=True)
"""


class Zygote:
    """Forks servers. One user at a time. `plant` is python that runs first, for servers with a bug planted in them."""

    def __init__(self, plant: str = "") -> None:
        self._place = tempfile.TemporaryDirectory(prefix="faults-zygote-")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PARAMSERVER_")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(plant=plant)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(Path(__file__).parent.parent)},
        )
        self._number = 0
        self._line()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._process.stdout.close()
        self._place.cleanup()

    def serve(self, *flags: str) -> Forked:
        """A server with these flags that listens. Raises RuntimeError with what it said when it does not start."""
        self._number += 1
        out, err = (Path(self._place.name) / f"{self._number}.{name}" for name in ("out", "err"))
        os.mkfifo(out)
        # Opened for both first, so that opening it for one end never waits for the other.
        reading = os.open(out, os.O_RDWR | os.O_NONBLOCK)
        self._ask({"out": str(out), "err": str(err), "flags": ["serve", *flags]})
        pid = int(self._line())
        server = Forked(self, pid, err)
        try:
            said = ""
            while (found := LISTENING.search(said)) is None or "\n" not in said[found.end() :]:
                ready, _, _ = select.select([reading], [], [], 0.05)
                if ready:
                    said += os.read(reading, 65536).decode()
                elif server.is_gone():
                    server.reap()
                    raise RuntimeError(f"the server did not start: {said} {err.read_text()}")
            server.url = found[1]
            server.said = said
        finally:
            os.close(reading)
            out.unlink()
        return server

    def wait(self, pid: int) -> int:
        """Wait for a child to end; its exit status, negative for a signal."""
        self._ask({"wait": pid})
        return int(self._line())

    def _ask(self, question: dict[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the zygote ended with status {self._process.wait()}")
        return line.strip()


class Forked:
    """A running server. Whoever gets it ends it by `kill` or `stop`."""

    def __init__(self, zygote: Zygote, pid: int, errors: Path) -> None:
        self._zygote = zygote
        self._errors = errors
        self._reaped = False
        self.pid = pid
        self.url = ""
        self.said = ""

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal and do not wait."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.reap()

    def stop(self) -> int:
        """SIGTERM, and wait; its exit status."""
        self.signal(signal.SIGTERM)
        return self.reap()

    def reap(self) -> int:
        """Wait until it is gone; its exit status."""
        assert not self._reaped
        self._reaped = True
        return self._zygote.wait(self.pid)

    def is_gone(self) -> bool:
        """Whether it has ended and waits to be reaped."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True

    def errors(self) -> str:
        """What it wrote to standard error."""
        return self._errors.read_text() if self._errors.exists() else ""


def serve_flags(data_dir: Path, durability: str, *more: str) -> Sequence[str]:
    """Flags of a small server: on a free port, small segments, checkpoints only where asked for."""
    return [
        *("--port", "0", "--data-dir", str(data_dir), "--durability", durability),
        *("--checkpoint-every-s", "0", "--min-free-disk-nbytes", "0", "--journal-segment-nbytes", "65536"),
        *more,
    ]
