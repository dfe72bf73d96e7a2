"""Small file systems of our own, where the machine lets us mount some: to fill, to make read-only, to cut the power of."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_EXT4_IOC_SHUTDOWN: Final = 0x8004587D
_NO_LOG_FLUSH: Final = 2


class Ext4:
    """An ext4 image, mounted at `path` between `mount` and `unmount`."""

    def __init__(self, place: Path, nbytes: int) -> None:
        self.image = place / "image"
        self.path = place / "mounted"
        self.path.mkdir()
        with self.image.open("wb") as file:
            file.truncate(nbytes)
        _run("mkfs.ext4", "-q", "-F", "-b", "4096", str(self.image))

    def mount(self) -> None:
        _run("mount", "-o", "loop", str(self.image), str(self.path))

    def unmount(self) -> None:
        _run("umount", str(self.path))

    def make_read_only(self) -> None:
        """As the kernel does after an error it cannot mend, under files that are open for writing."""
        _run("mount", "-o", "remount,abort", str(self.path))

    def cut_the_power(self) -> None:
        """Nothing that is not on the disk now gets there any more, and every call from now on fails."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, _NO_LOG_FLUSH.to_bytes(4, "little"))
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def ext4(place: Path, nbytes: int = 64 << 20) -> Iterator[Ext4]:
    """A mounted file system, unmounted in the end."""
    made = Ext4(place, nbytes)
    made.mount()
    try:
        yield made
    finally:
        if os.path.ismount(made.path):
            made.unmount()


def cannot_mount() -> str:
    """Why no file system can be mounted here; empty if it can."""
    if os.geteuid() != 0:
        return "only root may mount file systems"
    missing = [name for name in ("mkfs.ext4", "mount", "umount", "losetup") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} is not installed"
    tried = subprocess.run(["losetup", "-f"], capture_output=True, text=True)
    return "" if tried.returncode == 0 else f"there are no loop devices: {tried.stderr.strip()[:200]}"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
