"""The pool gives memory out once at a time and takes it back when the last view is gone."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from paramserver.store.buffers import IDLE_NBYTES, SMALLEST_POOLED_NBYTES, BufferPool, MemoryBudget, idle_limit_of
from paramserver.store.errors import MemoryLimitExceeded

BIG = SMALLEST_POOLED_NBYTES * 4


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_comes_back_when_the_last_view_is_gone() -> None:
    pool = BufferPool()
    first = pool.take(BIG)
    where = address(first)
    assert where % 64 == 0
    view = memoryview(first.view(np.float32)[10:20].reshape(2, 5))
    del first
    assert pool.idle_nbytes == 0
    other = pool.take(BIG)
    assert address(other) != where
    view.release()
    del view
    assert address(pool.take(BIG)) == where


def test_two_holders_never_share() -> None:
    pool = BufferPool()
    arrays = [pool.empty((BIG // 4,), np.dtype(np.float32)) for _ in range(4)]
    for number, array in enumerate(arrays):
        array[:] = number
    assert [set(array.tolist()) for array in arrays] == [{0}, {1}, {2}, {3}]


def test_idle_memory_is_bounded_and_the_largest_goes_first() -> None:
    pool = BufferPool(idle_limit_nbytes=3 * BIG)
    held = [pool.take(BIG), pool.take(2 * BIG), pool.take(BIG)]
    held.clear()
    assert pool.idle_nbytes == 2 * BIG


def test_the_block_that_came_back_last_is_given_first() -> None:
    pool = BufferPool()
    blocks = [pool.take(BIG) for _ in range(3)]
    last = address(blocks[1])
    for number in (0, 2, 1):
        blocks[number] = pool.take(1)
    assert address(pool.take(BIG)) == last


def test_a_much_larger_block_is_not_spent_on_a_small_wish() -> None:
    pool = BufferPool()
    pool.take(BIG * 4)
    idle = pool.idle_nbytes
    held = pool.take(BIG)
    assert pool.idle_nbytes == idle
    assert held.nbytes == BIG


def test_small_arrays_and_odd_shapes_need_no_pool() -> None:
    pool = BufferPool()
    assert pool.empty((), np.dtype(np.float64)).shape == ()
    assert pool.empty((0, 3), np.dtype(np.int8)).shape == (0, 3)
    pool.take(10)
    assert pool.idle_nbytes == 0


def test_many_threads_take_and_give_back() -> None:
    pool = BufferPool()
    spoiled: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            mine = pool.take(BIG)
            mine[:64] = number
            if set(mine[:64].tolist()) != {number}:
                spoiled.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spoiled == []
    assert pool.idle_nbytes <= 4 * (BIG + 65536)


def test_the_budget_counts_and_refuses() -> None:
    budget = MemoryBudget(10)
    budget.reserve(10)
    with pytest.raises(MemoryLimitExceeded, match="10 bytes"):
        budget.reserve(1)
    budget.release(4)
    budget.reserve(4)
    assert budget.used_nbytes == 10


def test_a_hold_counts_until_it_is_released() -> None:
    budget = MemoryBudget(100)
    hold = budget.hold()
    hold.add(60)
    hold.add(40)
    with pytest.raises(MemoryLimitExceeded):
        hold.add(1)
    with pytest.raises(MemoryLimitExceeded):
        budget.hold().add(1)
    assert budget.used_nbytes == 100
    for _ in range(2):
        hold.release()
        assert budget.used_nbytes == 0


def test_what_was_superseded_counts_until_nobody_looks_at_it() -> None:
    pool, budget = BufferPool(), MemoryBudget(10 * BIG)
    large, small = pool.empty((BIG // 4,), np.dtype(np.float32)), np.zeros(8, np.float32)
    budget.reserve(large.nbytes + small.nbytes)
    # As it is sent: a view of bytes, of a view, of the array; and as it is kept: a part of a body that was received.
    views = [memoryview(large.view(np.uint8))[:10], np.frombuffer(memoryview(large), np.uint8)[4:]]
    budget.release_with([large, small])
    del large
    assert budget.used_nbytes == BIG
    views.pop()
    assert budget.used_nbytes == BIG
    views.pop()
    assert budget.used_nbytes == 0
    assert pool.idle_nbytes == BIG


def test_one_holder_has_half_at_the_most() -> None:
    budget = MemoryBudget(100)
    mine, also, theirs = budget.hold("me"), budget.hold("me"), budget.hold("they")
    mine.add(30)
    with pytest.raises(MemoryLimitExceeded, match="'me' have 30 bytes"):
        also.add(21)
    also.add(20)
    theirs.add(50)
    with pytest.raises(MemoryLimitExceeded):
        budget.hold("others").add(1)
    mine.release()
    also.release()
    mine.add(50)
    mine.release()
    theirs.release()
    assert budget.used_nbytes == 0
    assert budget._of_holder == {}
    budget.reserve(0, "me")
    budget.disown(0, "me")
    budget.release(0, "me")
    assert budget._of_holder == {}
    unbounded = MemoryBudget().hold("me")
    unbounded.add(10**12)


def test_little_waits_unused_beside_a_small_budget() -> None:
    assert idle_limit_of(800) == 100
    assert idle_limit_of(2**60) == IDLE_NBYTES
