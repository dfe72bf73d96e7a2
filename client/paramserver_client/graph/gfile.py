"""`tf.gfile`: files of this machine under TensorFlow's names."""

from __future__ import annotations

import glob
import os
import shutil
from typing import Any

from paramserver_client.graph.errors import NotFoundError

__all__ = [
    "Copy", "DeleteRecursively", "Exists", "GFile", "Glob", "IsDirectory", "ListDirectory", "MakeDirs", "MkDir", "Open",
    "Remove", "Rename",
]  # fmt: skip


def Open(name: str, mode: str = "r") -> Any:
    """An open file, to use in a `with` block. Raises NotFoundError when there is none to read."""
    try:
        return open(name, mode, encoding=None if "b" in mode else "utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(f"{name}; No such file or directory") from error


GFile = Open


def Exists(filename: str) -> bool:
    """Whether there is a file or directory of that name."""
    return os.path.exists(filename)


def IsDirectory(dirname: str) -> bool:
    """Whether there is a directory of that name."""
    return os.path.isdir(dirname)


def Glob(filename: Any) -> list[str]:
    """The files a pattern, or a list of patterns, stands for."""
    patterns = [filename] if isinstance(filename, str) else filename
    return [found for pattern in patterns for found in sorted(glob.glob(pattern))]


def ListDirectory(dirname: str) -> list[str]:
    """The names in a directory. Raises NotFoundError without one."""
    if not os.path.isdir(dirname):
        raise NotFoundError(f"Could not find directory {dirname}")
    return sorted(os.listdir(dirname))


def MakeDirs(dirname: str) -> None:
    """Make a directory and all above it."""
    os.makedirs(dirname, exist_ok=True)


def MkDir(dirname: str) -> None:
    """Make one directory."""
    os.mkdir(dirname)


def Remove(filename: str) -> None:
    """Remove a file. Raises NotFoundError without one."""
    try:
        os.remove(filename)
    except FileNotFoundError as error:
        raise NotFoundError(f"{filename}; No such file or directory") from error


def DeleteRecursively(dirname: str) -> None:
    """Remove a directory with all in it. Raises NotFoundError without one."""
    if not os.path.isdir(dirname):
        raise NotFoundError(f"{dirname}; No such file or directory")
    shutil.rmtree(dirname)


def Rename(oldname: str, newname: str, overwrite: bool = False) -> None:
    """Rename a file; one in that place only with `overwrite` (else FileExistsError)."""
    if not overwrite and os.path.exists(newname):
        raise FileExistsError(f"file already exists: {newname}")
    os.replace(oldname, newname)


def Copy(oldpath: str, newpath: str, overwrite: bool = False) -> None:
    """Copy a file; over one in that place only with `overwrite` (else FileExistsError)."""
    if not overwrite and os.path.exists(newpath):
        raise FileExistsError(f"file already exists: {newpath}")
    shutil.copyfile(oldpath, newpath)
