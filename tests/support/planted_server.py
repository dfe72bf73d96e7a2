"""`python planted_server.py BUG serve ...`: the real server with one bug planted, to prove that a checker finds it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from paramserver.store import commits, validation


class _Writable:
    """Lets an array that was frozen be written again, as code that never heard of immutability would."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.held = array
        self.__array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.__array_interface__["data"][0], False),
            "version": 3,
        }


def no_sort(names: Iterable[str]) -> list[str]:
    """Locks in the order of the request."""
    return list(dict.fromkeys(names))


def in_place(op: str, old: Any, value: Any, dtype: Any, **options: Any) -> Any:
    """Adds into the published array."""
    if op != "assign_add":
        return np.array(value, dtype)
    writable = np.asarray(_Writable(old))
    np.add(writable, value, out=writable)
    return writable


def plant(bug: str) -> None:
    if bug == "no_sort":
        commits.lock_order = no_sort
    elif bug == "in_place":
        validation.apply = in_place
    else:
        raise SystemExit(f"no such bug: {bug}")


if __name__ == "__main__":
    plant(sys.argv.pop(1))
    from paramserver.cli import main

    main()
