"""A million bodies against the app in process: no answer of 5xx, no crash, no growth, none slow.

The whole way of a request but for the socket: guard, router, decoder, checks, store, encoder. Two processes share the work.

    PYTHONPATH=tests:. python -m attacks.fuzz --count 1000000
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import logging
import multiprocessing
import time
from collections import Counter
from itertools import islice
from typing import Any, Final

import numpy as np

from attacks.mutators import CORPUS, Mutator, Request
from faults.outcome import Outcome, main, timed
from paramserver.engine import Engine
from paramserver.http.app import create_app
from paramserver.settings import Settings
from paramserver_wire.messages import Message
from support.attackers import resident_nbytes

PROCESSES: Final = 2
SLOW_S: Final = 0.1
GROWTH_NBYTES: Final = 32 * 2**20
# From then on what is kept for later is there: caches, pools, the first garbage.
_WARM: Final = 20_000
_FRESH_EVERY: Final = 2_000
_LIMITS: Final = {
    "tensor_limit_nbytes": 2**18,
    "memory_limit_nbytes": 2**27,
    "json_limit_nbytes": 2**20,
    "variables_limit": 1000,
}


def run(seed: int, count: int) -> Outcome:
    """`count` bodies, in two processes."""
    with timed() as seconds:
        share = -(-count // PROCESSES)
        with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
            found = pool.starmap(one_process, [(seed * PROCESSES + number, share) for number in range(PROCESSES)])
    statuses: Counter[int] = sum((each["statuses"] for each in found), Counter())
    wrong = [line for each in found for line in each["wrong"]]
    growth = max(each["growth_nbytes"] for each in found)
    if growth > GROWTH_NBYTES:
        wrong.append(f"memory grew by {growth / 2**20:.1f} MiB")
    figures = {
        "answers": ", ".join(f"{number:,} of {status}" for status, number in sorted(statuses.items())),
        "5xx": str(sum(number for status, number in statuses.items() if status >= 500 and status != 507)),
        "slowest": f"{1000 * max(each['slowest_s'] for each in found):.1f} ms",
        "over 100 ms once, not again": str(sum(each["slow_once"] for each in found)),
        "memory growth": f"{growth / 2**20:.1f} MiB",
    }
    return Outcome("fuzzed bodies in process", sum(statuses.values()), tuple(wrong), figures, seconds())


def one_process(seed: int, count: int) -> dict[str, Any]:
    """What one process has found."""
    logging.disable(logging.WARNING)
    return asyncio.run(_fuzz(seed, count))


async def _fuzz(seed: int, count: int) -> dict[str, Any]:
    statuses: Counter[int] = Counter()
    wrong: list[str] = []
    slowest_s, slow_once, before_nbytes = 0.0, 0, 0
    with Engine.prepare(
        limits={}, **{key: _LIMITS[key] for key in ("tensor_limit_nbytes", "memory_limit_nbytes")}
    ) as engine:
        target = Target(engine)
        for number, request in enumerate(islice(Mutator(seed), count)):
            if number % _FRESH_EVERY == 0:
                target.refresh()
            if number == min(_WARM, count // 2):
                gc.collect()
                before_nbytes = resident_nbytes("self")
            tries = [await target.answer(request)]
            if tries[0][1] > SLOW_S:
                # A machine that is busy elsewhere is slow once; a request that is slow is so again, from the same beginning.
                slow_once += 1
                target.refresh()
                tries.append(await target.answer(request))
            statuses[tries[0][0]] += 1
            took_s = min(each[1] for each in tries)
            slowest_s = max(slowest_s, took_s)
            # Both answers count: the second does not make up for what the first was.
            answers = [status for status, _ in tries]
            if any(status >= 500 and status != 507 for status in answers):
                wrong.append(f"answered {answers}: {keep(request)}")
            elif took_s > SLOW_S:
                wrong.append(f"slow, {1000 * took_s:.0f} ms: {keep(request)}")
        target.refresh()
        gc.collect()
        growth_nbytes = resident_nbytes("self") - before_nbytes
        await target.close()
    return {
        "statuses": statuses,
        "wrong": wrong,
        "slowest_s": slowest_s,
        "slow_once": slow_once,
        "growth_nbytes": growth_nbytes,
    }


class Target:
    """The app over an engine with a few variables, asked without a socket."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._app = create_app(engine, Settings(**_LIMITS))  # type: ignore[arg-type]

    def refresh(self) -> None:
        """Only the variables that the seeds are about."""
        perform = self._engine.perform
        perform(Message("delete_variables", {"prefix": "", "confirm": True}))
        for name in ("w", "rows"):
            perform(Message("create_variable", {"name": name, "value": np.zeros((2, 3), np.float32)}))
        perform(Message("create_variable", {"name": "step", "value": np.zeros((), np.int64)}))
        for optimizer in self._engine.store.optimizers():
            perform(Message("delete_optimizer", {"name": optimizer}))
        perform(
            Message("create_optimizer", {"name": "sgd", "spec": {"type": "gradient_descent", "learning_rate": 0.1}})
        )

    async def answer(self, request: Request) -> tuple[int, float]:
        """The status of the answer, and how long it took. Raises what the app raises."""
        path, _, query = request.target.partition("?")
        fields = [*request.fields(), (b"content-length", str(len(request.body)).encode())]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": _unquoted(path),
            "raw_path": path.encode("utf-8", "replace"),
            "query_string": query.encode("latin-1", "replace"),
            "root_path": "",
            "headers": fields,
            "server": ("localhost", 80),
            "client": ("127.0.0.1", 1),
            "state": {},
        }
        messages: list[dict[str, Any]] = [{"type": "http.request", "body": request.body, "more_body": False}]
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        began = time.perf_counter()
        await self._app(scope, receive, send)
        took_s = time.perf_counter() - began
        assert len(statuses) == 1, f"{len(statuses)} answers to one request"
        return statuses[0], took_s

    async def close(self) -> None:
        """Let its threads go."""
        async with self._app.app.router.lifespan_context(self._app.app):
            pass


def keep(request: Request) -> str:
    """Keep a request that did harm for ever, and say where."""
    sent = request.as_sent()
    path = CORPUS / f"{hashlib.sha256(sent).hexdigest()[:16]}.http"
    path.write_bytes(sent)
    return f"{path.name}: {json.dumps(repr(sent[:300]))}"


def _unquoted(path: str) -> str:
    from urllib.parse import unquote

    return unquote(path, errors="replace")


if __name__ == "__main__":
    main(run, 1_000_000)
