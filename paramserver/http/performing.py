"""Performs calls without ever blocking the event loop: inline when it is quick, else in a thread of its own pool.

Small updates are cheaper inline than a hand-over to a thread (31 us, p99 95 us). They try the variable's lock; where it is
taken, the whole call goes to a thread, which may wait. A repeat of a request that still runs waits on the loop, so that
repeats can never use up the threads that would end it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import numpy as np
from starlette.requests import Request

from paramserver.engine import Engine
from paramserver.engine.operations import Settled, unheard
from paramserver.grants import Grant
from paramserver.http.calls import Call
from paramserver.http.rights import holder_of
from paramserver.store.buffers import Hold
from paramserver.store.errors import Draining, WouldBlock
from paramserver.store.requests import Claim, Replay, Running, outcome
from paramserver_wire.messages import Answer, Message

THREADS: Final = 16
HELPERS: Final = 4
# np.add over 1 MB takes 26 us, about what the hand-over to a thread costs.
INLINE_NBYTES: Final = 1024 * 1024
# Each variable of a request costs about 0.1 ms, however small it is.
INLINE_VARIABLES: Final = 32
# They run initializers, use the disk, or look at every variable there is.
_ALWAYS_IN_A_THREAD: Final = frozenset(
    {
        "create_variable",
        "initialize_variable",
        "initialize",
        "import_variables",
        "export_variables",
        "delete_variables",
        "list_scopes",
        "get_scope",
        "save",
        "list_checkpoints",
        "get_checkpoint",
        "download_checkpoint",
        "delete_checkpoint",
        "restore",
    }
)
# They look at every variable there is, or at every member: 0.1 s and more for 100,000.
_IN_A_THREAD_IF_MANY: Final = frozenset(
    {
        "list_variables",
        "list_optimizers",
        "get_optimizer",
        "list_collections",
        "get_collection",
        "add_to_collection",
        "remove_from_collection",
        "report_uninitialized",
        "assert_initialized",
    }
)
_MANY: Final = 1000


class Drain:
    """The one-way switch from serving to shutting down."""

    def __init__(self) -> None:
        self.begun = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: set[asyncio.Event] = set()

    def attach(self) -> None:
        """Remember the running loop: those who are to be woken wait there."""
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        """Begin, and wake everybody who waits. May be called from a signal handler or another thread."""
        self.begun = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._release)

    def refusal(self) -> Draining:
        """What requests are told once it has begun."""
        return Draining("the server is shutting down; send the request again, its successor will take it")

    @contextmanager
    def waking(self, event: asyncio.Event) -> Iterator[None]:
        """Have `event` set when it begins."""
        self._wake.add(event)
        try:
            yield
        finally:
            self._wake.discard(event)

    def _release(self) -> None:
        for event in self._wake:
            event.set()


class Performer:
    """Hands calls to the engine. One for each app; used from its event loop only."""

    def __init__(self, engine: Engine, drain: Drain) -> None:
        self.engine = engine
        self.drain = drain
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="paramserver-http")
        # For work that never waits: were it to queue behind calls that wait for a lock, nobody could be served.
        self.helpers = ThreadPoolExecutor(HELPERS, thread_name_prefix="paramserver-helper")

    def close(self) -> None:
        """Wait for the calls that run in threads, and let the threads go."""
        self._threads.shutdown()
        self.helpers.shutdown()

    async def perform(
        self,
        call: Call,
        request: Request | None,
        made: Hold,
        grant: Grant,
        settled: Settled = unheard,
    ) -> Answer:
        """Do what the call asks, once, and return the engine's answer; raises what the engine raises.

        `made` counts the arrays that are made for the answer; it is the caller's to release. A long poll ends when the
        client of its `request` is gone. Lists show what the `grant` lets be read; all else was checked before.
        `settled` hears how what goes on behind the answer has ended.
        """
        if request is not None and _is_long_poll(call.message):
            return await self._read_when_newer(call, request, made)
        claim = self.engine.claim(call.message, call.digest, holder_of(grant))
        if isinstance(claim, Running):
            await self._ended(claim.claim)
            claim = outcome(claim.claim)
        if isinstance(claim, Replay):
            return self.engine.replay(call.message, claim)
        return await self._run(call, claim, made, sees=None if grant.unlimited else grant.sees, settled=settled)

    async def _run(self, call: Call, claim: Claim | None, made: Hold, **beside: Any) -> Answer:
        run = partial(
            self.engine.run, call.message, claim, donated_nbytes=call.donated_nbytes, count=made.add, **beside
        )
        if self._is_quick(call):
            try:
                return run(blocking=False)
            except WouldBlock:
                pass
        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def _is_quick(self, call: Call) -> bool:
        message, arguments = call.message, call.message.arguments
        if message.operation in _ALWAYS_IN_A_THREAD:
            return False
        if message.operation in _IN_A_THREAD_IF_MANY:
            return self.engine.store.count <= _MANY
        if message.operation == "pull":
            names = arguments.get("names")
            count = self.engine.store.count if names is None else len(names)
            return "dtype" not in arguments and count <= INLINE_VARIABLES
        if message.operation == "read":
            return "dtype" not in arguments or self._variable_nbytes(arguments["name"]) < INLINE_NBYTES
        if message.operation == "gather":
            return self._gathered_nbytes(call) < INLINE_NBYTES
        if "gradients" in arguments or "updates" in arguments:
            return self._is_quick_push(
                arguments.get("gradients", ()), arguments.get("updates") or arguments.get("then") or ()
            )
        return "value" not in arguments or self._work_nbytes(arguments) < INLINE_NBYTES

    def _is_quick_push(self, gradients: Collection[str], updates: Sequence[Any]) -> bool:
        if len(gradients) + len(updates) > INLINE_VARIABLES:
            return False
        # A step reads and writes the value and two or three slots of the same size.
        step_nbytes = 4 * sum(map(self._variable_nbytes, gradients))
        return step_nbytes + sum(map(self._work_nbytes, updates)) < INLINE_NBYTES

    def _work_nbytes(self, update: Any) -> int:
        value = update.get("value")
        if isinstance(value, np.ndarray) and "indices" not in update:
            return value.nbytes
        # Numbers of JSON take the variable's dtype, and a single one may fill all of it; rows are written in a copy of it.
        return self._variable_nbytes(update.get("name") or update.get("target") or "")

    def _gathered_nbytes(self, call: Call) -> int:
        variable, indices = self.engine.store.find(call.message.arguments["name"]), call.message.arguments["indices"]
        if variable is None or not variable.shape:
            return 0
        # Of a list only the size of its body is known: an index takes a byte of it at least.
        count = indices.size if isinstance(indices, np.ndarray) else call.digest.nbytes
        return count * (variable.nbytes // max(1, variable.shape[0]))

    def _variable_nbytes(self, name: str) -> int:
        variable = self.engine.store.find(name)
        return 0 if variable is None else variable.nbytes

    async def _ended(self, claim: Claim) -> None:
        ended = asyncio.Event()
        claim.on_end(_setting(ended))
        await ended.wait()

    async def _read_when_newer(self, call: Call, request: Request, made: Hold) -> Answer:
        """A long poll: the first answer that is not 204, or 204 at its time-out; ends early when nobody listens."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + call.message.arguments["wait_s"]
        woken = asyncio.Event()
        gone = asyncio.ensure_future(_disconnected(request))
        gone.add_done_callback(lambda _: woken.set())
        cancel = self.engine.store.watch(call.message.arguments["name"], _setting(woken))
        try:
            with self.drain.waking(woken):
                while True:
                    # Cleared before the look, so that what is published after it wakes us again.
                    woken.clear()
                    answer = await self._run(call, None, made)
                    left_s = deadline - loop.time()
                    if answer.status != 204 or left_s <= 0 or gone.done():
                        return answer
                    if self.drain.begun:
                        raise Draining("the server is shutting down; ask again, its successor will answer")
                    with suppress(TimeoutError):
                        await asyncio.wait_for(woken.wait(), left_s)
        finally:
            cancel()
            gone.cancel()


def _setting(event: asyncio.Event) -> Callable[[], None]:
    """A function that sets `event` from any thread."""
    loop = asyncio.get_running_loop()

    def wake() -> None:
        loop.call_soon_threadsafe(event.set)

    return wake


def _is_long_poll(message: Message) -> bool:
    return message.operation == "read" and {"after_version", "wait_s"} <= message.arguments.keys()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
