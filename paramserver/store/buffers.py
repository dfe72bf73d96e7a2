"""Large memory that is used again: a pool of blocks, and the budget that all values together must keep to.

Copying into freshly mapped pages runs at about 1.3 GB/s, into warm ones at 9-12 GB/s, so large arrays are computed and
received in blocks that come back to the pool when the last array looking at them is gone.
"""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from paramserver.store.errors import MemoryLimitExceeded

SMALLEST_POOLED_NBYTES = 256 * 1024
IDLE_NBYTES = 512 * 1024 * 1024
_ALIGNMENT = 64
_GRANULE = 64 * 1024


class _Block:
    """A piece of memory owned by the pool. Ordered by size, so that the smallest that fits is found by bisection."""

    __slots__ = ("address", "memory", "nbytes")

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.memory = np.empty(nbytes + _ALIGNMENT, np.uint8)
        start: int = self.memory.ctypes.data
        self.address = start + -start % _ALIGNMENT

    def __lt__(self, other: _Block) -> bool:
        return self.nbytes < other.nbytes


class _Lease:
    """Holds a block out of the pool for as long as any array views it: numpy keeps it as the base of every view."""

    __slots__ = ("__array_interface__", "_block", "_pool")

    def __init__(self, pool: BufferPool, block: _Block, nbytes: int) -> None:
        self._pool = pool
        self._block = block
        self.__array_interface__ = {"shape": (nbytes,), "typestr": "|u1", "data": (block.address, False), "version": 3}

    def __del__(self) -> None:
        self._pool._give_back(self._block)


def _owner_of(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array that keeps the memory of `array`: it lives until the last view of it is gone, of whatever kind."""
    while True:
        base = array.base.obj if isinstance(array.base, memoryview) else array.base
        if not isinstance(base, np.ndarray):
            return array
        array = base


def idle_limit_of(memory_limit_nbytes: int) -> int:
    """What may wait unused beside a memory budget, which does not count it: an eighth, or what a pool keeps anyway."""
    return min(IDLE_NBYTES, memory_limit_nbytes // 8)


class BufferPool:
    """Blocks of memory, kept warm for the next user. Thread-safe; never blocks for long.

    At most `idle_limit_nbytes` wait unused; the largest idle blocks are let go first beyond that.
    """

    def __init__(self, idle_limit_nbytes: int = IDLE_NBYTES) -> None:
        self._idle_limit_nbytes = idle_limit_nbytes
        self._lock = threading.Lock()
        self._idle: list[_Block] = []
        self._idle_nbytes = 0
        # A lease can end inside any allocation, even one made under our own lock, so it only appends here.
        self._returned: deque[_Block] = deque()

    def take(self, nbytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """A writable array of `nbytes` bytes with arbitrary content, aligned to 64 bytes.

        Its memory returns to the pool by itself when the last array or memoryview on it is gone.
        """
        if nbytes < SMALLEST_POOLED_NBYTES:
            return np.empty(nbytes, np.uint8)
        wanted = nbytes + -nbytes % _GRANULE
        block = self._reuse(wanted) or _Block(wanted)
        return np.asarray(_Lease(self, block, nbytes))

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """A writable array of `shape` and `dtype` with arbitrary content, from the pool when it is large."""
        count = 1
        for extent in shape:
            count *= extent
        if count * dtype.itemsize < SMALLEST_POOLED_NBYTES:
            return np.empty(shape, dtype)
        return self.take(count * dtype.itemsize).view(dtype).reshape(shape)

    @property
    def idle_nbytes(self) -> int:
        """Bytes waiting for a user."""
        with self._lock:
            self._collect()
            return self._idle_nbytes

    def _reuse(self, wanted: int) -> _Block | None:
        with self._lock:
            self._collect()
            probe = bisect_left(self._idle, wanted, key=lambda block: block.nbytes)
            # A quarter of slack: a bigger block would waste more memory than its warmth saves.
            if probe == len(self._idle) or self._idle[probe].nbytes > wanted + wanted // 4:
                return None
            # Of those of one size the last that came back: more of it is in the processor's cache.
            probe = bisect_right(self._idle, self._idle[probe].nbytes, key=lambda block: block.nbytes) - 1
            block = self._idle.pop(probe)
            self._idle_nbytes -= block.nbytes
            return block

    def _give_back(self, block: _Block) -> None:
        self._returned.append(block)
        if self._lock.acquire(blocking=False):
            try:
                self._collect()
            finally:
                self._lock.release()

    def _collect(self) -> None:
        while self._returned:
            block = self._returned.popleft()
            insort(self._idle, block)
            self._idle_nbytes += block.nbytes
        while self._idle_nbytes > self._idle_limit_nbytes:
            self._idle_nbytes -= self._idle.pop().nbytes


class MemoryBudget:
    """Counts bytes against a limit: of all values, published and staged, of those that readers still look at, and of what is
    under way. Thread-safe."""

    def __init__(self, limit_nbytes: int | None = None) -> None:
        self.limit_nbytes = limit_nbytes
        self._used_nbytes = 0
        # What is under way, by whose requests it is for; nobody may have more than half of all.
        self._of_holder: dict[str, int] = {}
        self._lock = threading.Lock()
        # An array can end inside any allocation, even one made under our own lock, so that only appends here.
        self._ended: deque[int] = deque()

    @property
    def used_nbytes(self) -> int:
        with self._lock:
            self._collect()
            return self._used_nbytes

    def reserve(self, nbytes: int, holder: str = "") -> None:
        """Count `nbytes` more, or raise `MemoryLimitExceeded` and count nothing. What is counted for one `holder` is at most half
        of the limit; '' is nobody in particular."""
        with self._lock:
            self._collect()
            wanted = self._used_nbytes + nbytes
            if self.limit_nbytes is not None and wanted > self.limit_nbytes:
                raise MemoryLimitExceeded(
                    f"this needs {nbytes} bytes more, but {self._used_nbytes} of the {self.limit_nbytes} bytes of the "
                    "memory budget are in use; delete variables, or start the server with a larger memory limit"
                )
            if holder and nbytes:
                self._count_for(holder, nbytes)
            self._used_nbytes = wanted

    def release(self, nbytes: int, holder: str = "") -> None:
        """Count `nbytes` less."""
        with self._lock:
            self._used_nbytes -= nbytes
            self._disown(nbytes, holder)

    def disown(self, nbytes: int, holder: str) -> None:
        """Count `nbytes` on, but no longer for that holder."""
        with self._lock:
            self._disown(nbytes, holder)

    def release_with(self, values: Iterable[np.ndarray[Any, Any]]) -> None:
        """Count the bytes of values less that were superseded: of large ones only once nobody looks at them any more, as a slow
        reader may for long."""
        nbytes = 0
        for value in values:
            if value.nbytes < SMALLEST_POOLED_NBYTES:
                nbytes += value.nbytes
            else:
                weakref.finalize(_owner_of(value), self._ended.append, value.nbytes).atexit = False
        if nbytes:
            self.release(nbytes)

    def hold(self, holder: str = "") -> Hold:
        """A count of its own, of nothing yet, for what takes memory for a while: a request's body, an encoded answer."""
        return Hold(self, holder)

    def _disown(self, nbytes: int, holder: str) -> None:
        if holder and nbytes:
            self._of_holder[holder] -= nbytes
            if not self._of_holder[holder]:
                del self._of_holder[holder]

    def _count_for(self, holder: str, nbytes: int) -> None:
        held = self._of_holder.get(holder, 0)
        if self.limit_nbytes is not None and held + nbytes > self.limit_nbytes // 2:
            raise MemoryLimitExceeded(
                f"this needs {nbytes} bytes more, but the requests under way with the token of {holder!r} have {held} bytes, "
                f"and all of them together may have {self.limit_nbytes // 2}; wait for the others, or send less at once"
            )
        self._of_holder[holder] = held + nbytes

    def _collect(self) -> None:
        while self._ended:
            self._used_nbytes -= self._ended.popleft()


class Hold:
    """Bytes that count until they are released, or its `with` block is left. For one user at a time."""

    __slots__ = ("_budget", "_holder", "_nbytes")

    def __init__(self, budget: MemoryBudget, holder: str) -> None:
        self._budget = budget
        self._holder = holder
        self._nbytes = 0

    def add(self, nbytes: int) -> None:
        """Count `nbytes` more, before their memory is taken; raises `MemoryLimitExceeded` and counts nothing."""
        if nbytes:
            self._budget.reserve(nbytes, self._holder)
            self._nbytes += nbytes

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def release(self) -> None:
        """Count none of them any more; a second time does nothing."""
        nbytes, self._nbytes = self._nbytes, 0
        if nbytes:
            self._budget.release(nbytes, self._holder)
