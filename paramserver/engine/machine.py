"""How much memory this process may take: what the machine has, or what its container was given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

# The rest is for the interpreter, idle buffers, and whoever else lives here.
_SHARE: Final = 0.8


def default_memory_limit_nbytes(root: Path = Path("/")) -> int:
    """The memory budget of a server that was not told one: four fifths of the least that limits this process.

    `root` is where /proc and /sys are found.
    """
    return int(_SHARE * memory_nbytes(root))


def memory_nbytes(root: Path = Path("/")) -> int:
    """The memory of this machine, or of the container if that has less; `root` is where /proc and /sys are found."""
    return min([_machine_nbytes(), *_control_group_nbytes(root)])


def _machine_nbytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _control_group_nbytes(root: Path) -> Iterator[int]:
    """The limits of this process's control group and of those around it, of either version."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                yield from _limits(root / "sys/fs/cgroup", group, "memory.max")
            elif "memory" in controllers.split(","):
                yield from _limits(root / "sys/fs/cgroup/memory", group, "memory.limit_in_bytes")


def _limits(top: Path, group: str, file: str) -> Iterator[int]:
    here = top / group.strip("/")
    # Inside a container the path is often that of the host, which cannot be seen from here; the top is the container's.
    for place in (here, *here.parents):
        if place.is_relative_to(top):
            with suppress(OSError, ValueError):
                # Without a limit it says "max", which is no number, or in version 1 a number beyond any machine.
                yield int((place / file).read_text())
