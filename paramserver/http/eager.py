"""A coroutine that is run at once, and becomes a task only when it has to wait for more than its own body.

A task starts in the event loop's next turn, and what it waited for reaches it in another: 10 us of the 80 us that a 1 KB
read takes, and 60 us between the last byte of a large body and whoever waits for it. Python 3.12 has tasks that begin
eagerly; this is what of them is needed here, and a step more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from types import coroutine as awaitable
from typing import Any


class Arrival(asyncio.Future[bool]):
    """Something that is waited for and comes on the event loop itself: whoever runs eagerly goes on within `arrive`."""

    resume: Callable[[], None] | None = None

    def arrive(self, whole: bool) -> None:
        """It is here, or will never be; a second time nothing happens."""
        if not self.done():
            self.set_result(whole)
            if self.resume is not None:
                self.resume()


def begin(
    coroutine: Coroutine[Any, Any, None],
    loop: asyncio.AbstractEventLoop,
    adopt: Callable[[asyncio.Task[None]], object],
) -> None:
    """Run `coroutine` up to where it first waits for something else than an `Arrival`; what is left is a task for `adopt`.

    Up to then there is no current task: nothing may be used that needs one (`asyncio.timeout`, task groups). What it
    raises up to then is raised here, or where it went on.
    """

    def go_on() -> None:
        try:
            awaited = coroutine.send(None)
        except StopIteration:
            return
        if isinstance(awaited, Arrival):
            awaited.resume = go_on
        else:
            adopt(loop.create_task(_rest(coroutine, awaited)))

    go_on()


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
