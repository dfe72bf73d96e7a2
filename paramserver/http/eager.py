"""A coroutine that is run at once, and becomes a task only when it has to wait.

A task starts in the event loop's next turn, and its end is heard of in another: 10 us of the 80 us that a 1 KB read takes.
Python 3.12 has tasks that begin eagerly; this is what of them is needed here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from types import coroutine as awaitable
from typing import Any


def begun(coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None] | None:
    """Run `coroutine` up to where it first waits. Returns the task that goes on from there, or None when it is over.

    Up to then there is no current task: nothing may be used before the first wait that needs one (`asyncio.timeout`,
    task groups). What it raises up to then is raised here.
    """
    try:
        awaited = coroutine.send(None)
    except StopIteration:
        return None
    return loop.create_task(_rest(coroutine, awaited))


@awaitable
def _rest(coroutine: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    """Go on with a coroutine that waits for `awaited`, handing on what it hears and what it waits for next."""
    while True:
        try:
            heard = yield awaited
        except BaseException as error:  # a cancellation, too, is the coroutine's to hear
            resume: Callable[[], Any] = partial(coroutine.throw, error)
        else:
            resume = partial(coroutine.send, heard)
        try:
            awaited = resume()
        except StopIteration:
            return
