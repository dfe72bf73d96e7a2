"""Disks that fill up, end, break or turn read-only under a server: what it says is true, and where it can it heals by itself.

Each case pushes until the disk refuses, checks that a refusal is 507 `disk_full` and changes nothing, that reads go on,
that writes go on once there is room, and then kills the server and holds what comes back to what was said.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

import paramserver_client as ps
from faults.mounts import Ext4, cannot_mount, ext4
from faults.outcome import Outcome, main, timed
from faults.zygote import Forked, Zygote, serve_flags

NAME: Final = "disks that are full, or break"
THREADS: Final = 4
ELEMENTS: Final = 20_000
FILE_LIMIT_NBYTES: Final = 2 << 20

_LIMITED: Final = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({FILE_LIMIT_NBYTES}, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
"""


class Pushers:
    """Threads that push into one variable each, and count what they were told."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.done = [0] * THREADS
        self.refused: list[str] = []
        self.wrong: list[str] = []

    def create(self) -> None:
        with ps.ParameterClient(self.url) as client:
            for number in range(THREADS):
                client.create_variable(f"w{number}", (ELEMENTS,), "float32", "zeros", initialize=True)

    def push(self, until: Callable[[], bool]) -> None:
        """Push until `until` says so, or all have been refused."""
        threads = [threading.Thread(target=self._push, args=(number, until)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _push(self, number: int, until: Callable[[], bool]) -> None:
        with ps.ParameterClient(self.url, timeout_s=20) as client:
            while not until():
                try:
                    client.assign_add(f"w{number}", np.ones(ELEMENTS, np.float32))
                    self.done[number] += 1
                except ps.DiskFullError as error:
                    self.refused.append(str(error))
                    return
                except ps.ParameterServerError as error:
                    self.wrong.append(f"told {type(error).__name__} ({error.outcome}): {error}")
                    return

    def check(self, url: str) -> None:
        """Reads go on, and every variable holds what was acknowledged."""
        with ps.ParameterClient(url) as client:
            for number in range(THREADS):
                value, tag = client.read(f"w{number}", with_version=True)
                version = int(tag.rpartition("-")[2])
                if not (value == self.done[number]).all() or version != self.done[number] + 1:
                    self.wrong.append(
                        f"w{number}: {value[0]}, version {version}; acknowledged {self.done[number]} pushes"
                    )


def run(seed: int, count: int) -> Outcome:
    """Each kind of trouble, `count` times."""
    draw = random.Random(seed)
    wrong: list[str] = []
    cases = 0
    reason = cannot_mount()
    with timed() as seconds, Zygote() as zygote, Zygote(_LIMITED) as limited:
        for _ in range(count):
            durability = draw.choice(("always", "everysec"))
            for case in (_file_limit, *(() if reason else (_full, _gone, _read_only))):
                with tempfile.TemporaryDirectory(prefix="faults-disk-") as place:
                    found = case(limited if case is _file_limit else zygote, Path(place), durability)
                cases += 1
                wrong += [f"{case.__name__} ({durability}): {each}" for each in found]
    figures = {"on a file system of its own": reason or "yes"}
    return Outcome(NAME, cases, tuple(wrong), figures, seconds())


def _full(zygote: Zygote, place: Path, durability: str) -> list[str]:
    """A disk of 32 MB that something else fills up, and makes room on again."""
    with ext4(place, 32 << 20) as disk:
        flags = serve_flags(disk.path / "data", durability, "--journal-limit-nbytes", str(1 << 30))
        server = zygote.serve(*flags)
        pushers = Pushers(server.url)
        pushers.create()
        ballast = disk.path / "ballast"
        with ballast.open("wb") as file, contextlib.suppress(OSError):
            for _ in range(20):
                file.write(bytes(1 << 20))
                file.flush()
        pushers.push(lambda: False)
        if len(pushers.refused) < THREADS:
            pushers.wrong.append(f"wanted {THREADS} refusals, got {pushers.refused}")
        pushers.check(server.url)
        ballast.unlink()
        _goes_on(pushers)
        return _comes_back(zygote, server, flags, pushers)


def _gone(zygote: Zygote, place: Path, durability: str) -> list[str]:
    """A disk on which every call fails from one moment on."""
    return _broken(zygote, place, durability, Ext4.cut_the_power)


def _read_only(zygote: Zygote, place: Path, durability: str) -> list[str]:
    """A disk that the kernel makes read-only."""
    return _broken(zygote, place, durability, Ext4.make_read_only)


def _broken(zygote: Zygote, place: Path, durability: str, break_it: Callable[[Ext4], None]) -> list[str]:
    with ext4(place, 32 << 20) as disk:
        flags = serve_flags(disk.path / "data", durability)
        server = zygote.serve(*flags)
        pushers = Pushers(server.url)
        pushers.create()
        pushed = pushers.done
        pushers.push(lambda: sum(pushed) > 20)
        break_it(disk)
        with ps.ParameterClient(server.url, timeout_s=2) as client:
            try:
                client.assign_add("w0", np.ones(ELEMENTS, np.float32))
            except ps.ParameterServerError:
                pass
            else:
                if durability == "always":
                    pushers.wrong.append("acknowledged on a disk that is gone")
        if durability == "always":
            pushers.check(server.url)
        server.kill()
        disk.unmount()
        disk.mount()
        return pushers.wrong if durability == "everysec" else _started(zygote, flags, pushers)


def _file_limit(zygote: Zygote, place: Path, durability: str) -> list[str]:
    """RLIMIT_FSIZE: no file may be longer than 2 MB, so that no segment can be made for a large push."""
    flags = serve_flags(place / "data", durability)
    server = zygote.serve(*flags)
    pushers = Pushers(server.url)
    pushers.create()
    with ps.ParameterClient(server.url, timeout_s=20) as client:
        try:
            client.create_variable("large", value=np.zeros(FILE_LIMIT_NBYTES, np.float32))
        except ps.DiskFullError:
            pass
        else:
            pushers.wrong.append("a push larger than a file may be was acknowledged")
        if any(info.name == "large" for info in client.list_variables()):
            pushers.wrong.append("refused, and there all the same")
    _goes_on(pushers)
    return _comes_back(zygote, server, flags, pushers)


def _goes_on(pushers: Pushers) -> None:
    before = sum(pushers.done)
    pushers.refused.clear()
    pushers.push(lambda: sum(pushers.done) - before >= 8)
    if pushers.refused:
        pushers.wrong.append(f"there is room again, and it is refused still: {pushers.refused[0]}")


def _comes_back(zygote: Zygote, server: Forked, flags: list[str], pushers: Pushers) -> list[str]:
    pushers.check(server.url)
    server.kill()
    return _started(zygote, flags, pushers)


def _started(zygote: Zygote, flags: list[str], pushers: Pushers) -> list[str]:
    again = zygote.serve(*flags)
    pushers.check(again.url)
    if again.stop() != 0:
        pushers.wrong.append("the server that came back did not end with 0")
    return pushers.wrong


if __name__ == "__main__":
    main(run, 3)
