"""Clients that write down what they were told, and the judge that holds a restarted server against it.

Each thread has variables of its own, of which it knows every value, and all share a pair that is always pushed together.
After a crash, the commit that the server comes back with tells what must be there: everything acknowledged up to it, and
of each thread at most the one request that had no answer, whole or not at all. Asked again with its id, that one is
there exactly once.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

import paramserver_client as ps
from paramserver_client.transport import HttpTransport
from paramserver_wire.messages import Answer, Message

ROWS: Final = 6
LARGE: Final = 1_200_000
"""Elements of a variable that is large enough for every way that only large ones take, 4.8 MB."""
SHARED: Final = ("pair/a", "pair/b", "count")
TIMEOUT_S: Final = 30.0
TOLD: Final = ("DiskFullError", "DrainingError", "DeadlineExceededError", "UnreachableError")
"""What a server may say whose disk has failed."""

Values = dict[str, tuple[Any, int]]
"""What a thread knows: by name the value (None: not known) and the version."""


@dataclass(slots=True)
class Operation:
    """A request and what it does. `commit` is None until it is acknowledged."""

    message: Message
    apply: Callable[[Values, Answer | None], None]
    shared: int = 0
    commit: int | None = None
    answer: Answer | None = None
    answered_at: float = 0.0


@dataclass(slots=True)
class Client:
    """One thread: its name, what it did, and the operation that nobody answered, if there is one."""

    name: str
    draw: random.Random
    done: list[Operation] = field(default_factory=list)
    open: Operation | None = None
    seq: int = 0
    values: Values = field(default_factory=dict)
    names: int = 0


class Over(Exception):
    """The server is gone, and this was noticed while trying again."""


class Session:
    """`threads` clients of one data directory, over as many lives of its server as there are.

    What a server refuses is wrong, but for errors of the classes `may_refuse`.
    """

    def __init__(self, seed: int, threads: int = 3, may_refuse: Collection[str] = ()) -> None:
        # Each broken connection is told there, and there are thousands.
        logging.getLogger("paramserver_client").setLevel(logging.ERROR)
        self._may_refuse = frozenset(may_refuse)
        self.refused: list[str] = []
        self.surprises: list[str] = []
        self.clients = [Client(f"s{seed}c{number}", random.Random(f"{seed}/{number}")) for number in range(threads)]
        self.gone = threading.Event()
        self.noticing: Callable[[], bool] = lambda: False
        self.timeout_s = TIMEOUT_S
        self.acknowledged = 0
        self.started = False
        self.started_at = 0.0

    # ---------------------------------------------------------------- working

    def prepare(self, url: str) -> None:
        """Make what all share, as far as it is not there; only for a data directory that nobody has worked on."""
        spec = {"type": "adam", "learning_rate": 0.01}
        messages = [Message("create_optimizer", {"name": "adam", "spec": spec})]
        for name in SHARED:
            arguments = {"name": name, "value": np.zeros((), np.int64), "reuse": "auto"}
            messages.append(Message("create_variable", arguments))
        transport = self._transport(url)
        try:
            for message in messages:
                with contextlib.suppress(ps.AlreadyExistsError):
                    transport.deliver(message, self.timeout_s)
        except Over:
            return
        finally:
            transport.close()
        self.started, self.started_at = True, time.monotonic()

    def work(self, url: str, until: Callable[[], bool]) -> None:
        """Let all clients work until `until` says so, or the server is `gone`; not before all is prepared."""
        if not self.started:
            return
        threads = [threading.Thread(target=self._work, args=(client, url, until)) for client in self.clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, client: Client, url: str, until: Callable[[], bool]) -> None:
        transport = self._transport(url)
        try:
            while not until() and not self.gone.is_set():
                client.open = client.open or next_operation(client)
                self.ask(client, transport)
        except (Over, ps.ParameterServerError):
            return
        finally:
            transport.close()

    def ask(self, client: Client, transport: HttpTransport) -> bool:
        """Send the open operation; whether it was a repeat. Raises, with it still open, when the outcome is unknown."""
        operation = client.open
        assert operation is not None
        try:
            answer = transport.deliver(operation.message, self.timeout_s)
        except ps.ParameterServerError as error:
            if error.outcome == "unknown":
                raise
            client.open = None
            self.refused.append(type(error).__name__)
            if self.refused[-1] not in self._may_refuse:
                self.surprises.append(f"refused: {_told(operation)}: {error}")
            return False
        operation.answered_at = time.monotonic()
        operation.answer = answer
        operation.commit = _commit_of(answer)
        operation.apply(client.values, answer)
        client.done.append(operation)
        client.open = None
        self.acknowledged += 1
        return answer.replayed

    def _transport(self, url: str) -> HttpTransport:
        def sleep(seconds: float) -> None:
            if self.gone.wait(seconds) or self.noticing():
                raise Over

        return HttpTransport(url, sleep=sleep)

    # ---------------------------------------------------------------- judging

    def judge(self, url: str, *, may_lose_after: float | None = None) -> tuple[list[str], float]:
        """What is wrong with a server that came back, and when the oldest answer that is lost was given (0: none is).

        Asks again what had no answer, so that afterwards nothing is open. With `may_lose_after` (of the monotonic clock)
        answers given after that may be lost, newest commits first; else none.
        """
        self.gone.clear()
        self.noticing, self.timeout_s = lambda: False, TIMEOUT_S
        wrong, self.surprises = self.surprises, []
        oldest_lost = 0.0
        with ps.ParameterClient(url) as client:
            came_back_at = int(client.server()["commit"])
            if may_lose_after is not None and self.started_at >= may_lose_after:
                # What all share may be lost, too; then all is.
                self.started = {*SHARED} <= {info.name for info in client.list_variables()}
            for each in self.clients:
                lost = _settle(each, _seen(client, each), came_back_at)
                for operation in lost:
                    if may_lose_after is None or operation.answered_at < may_lose_after:
                        told = _told(operation)
                        wrong.append(f"acknowledged and lost: {told}; the server came back at commit {came_back_at}")
                    oldest_lost = min(oldest_lost or operation.answered_at, operation.answered_at)
            wrong += self._check(client, with_open=True)
            for each in self.clients:
                if each.open is not None:
                    wrong += self._ask_again(each, client, url)
            wrong += self._check(client, with_open=False)
        return wrong, oldest_lost

    def _ask_again(self, each: Client, client: ps.ParameterClient, url: str) -> list[str]:
        operation = each.open
        assert operation is not None
        before = _seen(client, each)
        transport = self._transport(url)
        try:
            replayed = self.ask(each, transport)
        except ps.ParameterServerError as error:
            return [f"asked again and still unknown: {_told(operation)}: {error}"]
        finally:
            transport.close()
        if replayed and not _agree(_seen(client, each), before):
            return [f"a repeat changed something: {_told(operation)}"]
        return []

    def _check(self, client: ps.ParameterClient, *, with_open: bool) -> list[str]:
        wrong = []
        pulled = client.pull(list(SHARED)) if self.started else None
        total = sum(each.shared for c in self.clients for each in c.done)
        pushes = sum(1 for c in self.clients for each in c.done if each.shared)
        maybe = [c.open.shared for c in self.clients if c.open is not None and c.open.shared] if with_open else []
        sums = _subset_sums(maybe)
        if pulled is not None:
            a, b, count = (int(pulled[name]) for name in SHARED)
            if a != b:
                wrong.append(f"torn: the pair is {a} and {b}")
            if (a - total, count - pushes) not in sums:
                wrong.append(f"the pair holds {a} after {count} pushes; wanted {total} after {pushes}, or with {maybe}")
        for each in self.clients:
            options = [dict(each.values)]
            if with_open and each.open is not None:
                after = dict(each.values)
                each.open.apply(after, None)
                options.append(after)
            seen = _seen(client, each)
            if not any(_agree(seen, option) for option in options):
                wrong.append(f"{each.name}: {_difference(seen, options)}; open: {each.open and _told(each.open)}")
        return wrong


# -------------------------------------------------------------------- operations


def next_operation(client: Client) -> Operation:
    """What the client does next, drawn from its seed."""
    draw = client.draw
    client.seq += 1
    request_id = f"{client.name}-{client.seq}"
    mine = [name for name, (_, version) in client.values.items() if "/v" in name]
    trained = [name for name in mine if "/adam" not in name]
    kinds = (
        ["create"] if len(mine) < 2 else ["add"] * 5 + ["pair"] * 5 + ["scatter", "assign", "create", "train", "train"]
    )
    if len(mine) > 1 and client.name.endswith("c0"):
        kinds.append("large")
    if len(trained) > 3:
        kinds.append("delete")
    kind = draw.choice(kinds)
    if kind == "create":
        return _create(client, request_id)
    if kind == "pair":
        return _pair(draw, request_id)
    if kind == "large":
        return _large(client, request_id)
    name = draw.choice(trained)
    return _KINDS[kind](draw, name, request_id)


def _create(client: Client, request_id: str) -> Operation:
    client.names += 1
    name = f"{client.name}/v{client.names}"
    start = np.full((ROWS, 2), client.draw.randrange(9), np.float32)

    def apply(values: Values, answer: Answer | None) -> None:
        values[name] = (start, 1)

    return Operation(Message("create_variable", {"name": name, "value": start}, request_id), apply)


def _add(draw: random.Random, name: str, request_id: str) -> Operation:
    delta = np.full((ROWS, 2), draw.randrange(1, 9), np.float32)

    def apply(values: Values, answer: Answer | None) -> None:
        value, version = values[name]
        values[name] = (None if value is None else value + delta, version + 1)

    return Operation(Message("assign_add", {"name": name, "value": delta}, request_id), apply)


def _large(client: Client, request_id: str) -> Operation:
    name = f"{client.name}/large"
    delta = np.full(LARGE, client.draw.randrange(1, 9), np.float32)
    if name not in client.values:

        def create(values: Values, answer: Answer | None) -> None:
            values[name] = (delta, 1)

        return Operation(Message("create_variable", {"name": name, "value": delta}, request_id), create)

    def apply(values: Values, answer: Answer | None) -> None:
        value, version = values[name]
        values[name] = (None if value is None else value + delta, version + 1)

    return Operation(Message("assign_add", {"name": name, "value": delta}, request_id), apply)


def _assign(draw: random.Random, name: str, request_id: str) -> Operation:
    new = np.full((ROWS, 2), draw.randrange(100), np.float32)

    def apply(values: Values, answer: Answer | None) -> None:
        values[name] = (new, values[name][1] + 1)

    return Operation(Message("assign", {"name": name, "value": new}, request_id), apply)


def _scatter(draw: random.Random, name: str, request_id: str) -> Operation:
    rows = np.array([draw.randrange(ROWS) for _ in range(3)])
    delta = np.full((3, 2), draw.randrange(1, 9), np.float32)

    def apply(values: Values, answer: Answer | None) -> None:
        value, version = values[name]
        new = None if value is None else value.copy()
        if new is not None:
            # Repeats are summed first, and added at once: that is rounded once.
            repeated = np.bincount(rows, minlength=ROWS).astype(np.float32)
            new += repeated[:, np.newaxis] * delta[0]
        values[name] = (new, version + 1)

    update = {"name": name, "op": "scatter_add", "value": delta, "indices": rows}
    return Operation(Message("push", {"updates": [update]}, request_id), apply)


def _train(draw: random.Random, name: str, request_id: str) -> Operation:
    gradient = np.full((ROWS, 2), draw.random(), np.float32)
    slots = (f"{name}/adam", f"{name}/adam_1")

    def apply(values: Values, answer: Answer | None) -> None:
        returned = {} if answer is None or answer.replayed else answer.body["tensors"]
        for each in (name, *slots):
            tensor = returned.get(each)
            values[each] = (None if tensor is None else tensor.array, values.get(each, (None, 0))[1] + 1)

    arguments: Mapping[str, Any] = {
        "name": "adam",
        "gradients": {name: gradient},
        "returns": [name],
    }
    return Operation(Message("apply_gradients", arguments, request_id), apply)


def _delete(draw: random.Random, name: str, request_id: str) -> Operation:
    def apply(values: Values, answer: Answer | None) -> None:
        for each in (name, f"{name}/adam", f"{name}/adam_1"):
            values.pop(each, None)

    return Operation(Message("delete_variable", {"name": name}, request_id), apply)


def _pair(draw: random.Random, request_id: str) -> Operation:
    by = draw.randrange(1, 1000)
    updates = [
        {"name": name, "op": "assign_add", "value": np.int64(1 if name == "count" else by)}
        for name in draw.sample(SHARED, len(SHARED))
    ]

    def apply(values: Values, answer: Answer | None) -> None:
        return

    return Operation(Message("push", {"updates": updates}, request_id), apply, shared=by)


_KINDS: Final = {"add": _add, "assign": _assign, "scatter": _scatter, "train": _train, "delete": _delete}


# -------------------------------------------------------------------- comparing


def _seen(client: ps.ParameterClient, each: Client) -> Values:
    infos = {info.name: info for info in client.list_variables(prefix=each.name)}
    if not infos:
        return {}
    pulled = client.pull(list(infos))
    return {name: (pulled[name], info.version) for name, info in infos.items()}


def _agree(seen: Values, wanted: Values) -> bool:
    return seen.keys() == wanted.keys() and all(
        version == wanted[name][1] and (wanted[name][0] is None or value.tobytes() == wanted[name][0].tobytes())
        for name, (value, version) in seen.items()
    )


def _difference(seen: Values, options: list[Values]) -> str:
    told = []
    for wanted in options:
        names = sorted({*seen, *wanted})
        unlike = [
            name
            for name in names
            if name not in seen or name not in wanted or not _agree({name: seen[name]}, {name: wanted[name]})
        ]
        told.append(
            "; ".join(f"{name}: got {_short(seen.get(name))}, wanted {_short(wanted.get(name))}" for name in unlike)
        )
    return " | ".join(told)


def _short(held: tuple[Any, int] | None) -> str:
    if held is None:
        return "nothing"
    value, version = held
    return f"version {version} of {'?' if value is None else value.reshape(-1)[:4].tolist()}"


def _told(operation: Operation) -> str:
    return f"{operation.message.request_id} {operation.message.operation}, commit {operation.commit}"


def _commit_of(answer: Answer) -> int | None:
    body = answer.body
    return body.get("commit") if isinstance(body, dict) else None


def _subset_sums(numbers: list[int]) -> set[tuple[int, int]]:
    sums = {(0, 0)}
    for number in numbers:
        sums |= {(total + number, count + 1) for total, count in sums}
    return sums


def _settle(client: Client, seen: Values, commit: int) -> list[Operation]:
    """Take back what a server that came back at `commit` cannot know, as if it had never been asked; return it."""
    known = [at for at, each in enumerate(client.done) if each.commit is not None and each.commit <= commit]
    beyond = [at for at, each in enumerate(client.done) if each.commit is not None and each.commit > commit]
    first, last = (known[-1] + 1 if known else 0), (beyond[0] if beyond else len(client.done))
    if client.open is not None and not beyond:
        # Done, but not answered: a variable that was created and then deleted looks like one that was never there.
        after = dict(client.values)
        client.open.apply(after, None)
        if _agree(seen, after):
            return []
    for kept in range(last, first - 1, -1):
        # Some answers tell no commit: which of those are there shows in what is seen.
        values: Values = {}
        for each in client.done[:kept]:
            each.apply(values, each.answer)
        if _agree(seen, values) or (kept == first and beyond):
            lost, client.done, client.values = client.done[kept:], client.done[:kept], values
            if lost:
                client.open = None
            return lost
    return []
