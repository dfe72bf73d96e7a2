"""The engine: a whole parameter server but for the network. Thread-safe.

    with Engine.open() as engine:
        engine.perform(Message("create_variable", {"name": "w", "value": np.zeros(3, np.float32)}))

The HTTP app and the embedded client are two doors to it. A message with a request id is performed once, however often
it comes: repeats get the stored answer, and one that is still running is joined.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from paramserver import VERSION
from paramserver.checkpoint import DEFAULT_SHARD_NBYTES, KEEP_EVERY_N_HOURS, CheckpointManager, StartReport
from paramserver.disk import Disk
from paramserver.engine import values
from paramserver.engine.checkpoints import CheckpointOperations
from paramserver.engine.files import FileOperations
from paramserver.engine.groups import GroupOperations
from paramserver.engine.journaling import JOURNAL_LIMIT_NBYTES, MIN_FREE_DISK_NBYTES, DataLog, Durability
from paramserver.engine.operations import Call, Settled, VariableOperations, unheard
from paramserver.engine.optimizers import OptimizerOperations
from paramserver.engine.values import Count, timestamp, uncounted
from paramserver.journal import AHEAD_NBYTES, LARGEST_NBYTES, Progress
from paramserver.store import Claim, Digest, Replay, Running, Selection, Store
from paramserver.store.errors import Draining, Restoring, WouldBlock
from paramserver.store.requests import outcome
from paramserver_wire.messages import OPERATIONS, Answer, Message

PROTOCOL_VERSION: Final = 1
Recover = Literal["refuse", "truncate"]


class Engine(VariableOperations, OptimizerOperations, GroupOperations, CheckpointOperations, FileOperations):
    """A store, its checkpoints (None without a data directory) and the request ids, behind one method per operation."""

    def __init__(
        self,
        store: Store,
        checkpoints: CheckpointManager | None = None,
        *,
        limits: Mapping[str, int | None] | None = None,
        log: DataLog | None = None,
    ) -> None:
        super().__init__(store)
        self.checkpoints = checkpoints
        self.start_report: StartReport | None = None
        # What the network in front of it tells about itself, if there is one.
        self.about_connections: Callable[[], Mapping[str, Any]] | None = None
        self._log = log
        self._starting = checkpoints is not None
        self._limits = dict(limits or {})
        self._started_at = time.time()
        self._draining = False

    @classmethod
    def prepare(
        cls,
        data_dir: str | Path | None = None,
        *,
        memory_limit_nbytes: int | None = None,
        tensor_limit_nbytes: int | None = None,
        checkpoint_every_s: float = 60.0,
        checkpoint_every_commits: int = 0,
        max_to_keep: int = 5,
        keep_checkpoint_every_n_hours: float = KEEP_EVERY_N_HOURS,
        shard_nbytes: int = DEFAULT_SHARD_NBYTES,
        durability: Durability | None = None,
        recover: Recover = "refuse",
        journal_limit_nbytes: int = JOURNAL_LIMIT_NBYTES,
        min_free_disk_nbytes: int = MIN_FREE_DISK_NBYTES,
        segment_nbytes: int = LARGEST_NBYTES,
        disk: Disk | None = None,
        limits: Mapping[str, int | None] | None = None,
    ) -> Engine:
        """An engine that is to be started. Without a data directory nothing is left to do.

        `durability` is `everysec` with a data directory unless given. With `recover="truncate"` a journal that is damaged is
        cut there, and a copy kept. `disk` is for tests.
        """
        log = None
        if data_dir is not None:
            log = DataLog(
                Path(data_dir),
                durability or "everysec",
                truncate=recover == "truncate",
                min_free_nbytes=min_free_disk_nbytes,
                limit_nbytes=journal_limit_nbytes,
                segment_nbytes=segment_nbytes,
                disk=disk,
            )
        store = Store(
            clock=time.time,
            entropy=os.urandom,
            publisher=None if log is None else log.publisher,
            memory_limit_nbytes=memory_limit_nbytes,
            tensor_limit_nbytes=tensor_limit_nbytes,
        )
        if data_dir is None or log is None:
            return cls(store, limits=limits)
        log.open(store)
        checkpoints = CheckpointManager(
            store,
            Path(data_dir),
            clock=time.time,
            every_s=checkpoint_every_s,
            every_commits=checkpoint_every_commits,
            max_to_keep=max_to_keep,
            keep_checkpoint_every_n_hours=keep_checkpoint_every_n_hours,
            shard_nbytes=shard_nbytes,
            log=log,
            log_limit_nbytes=0 if log.journal is None else journal_limit_nbytes,
            disk=disk,
        )
        return cls(store, checkpoints, limits=limits, log=log)

    @classmethod
    def open(cls, data_dir: str | Path | None = None, **options: Any) -> Engine:
        """A running engine; with a data directory, one that has brought back all that was acknowledged in it.

        `options` are those of `prepare`. Blocks while it restores. Raises a `CheckpointError` or `JournalError` when the
        directory cannot be used, naming why.
        """
        engine = cls.prepare(data_dir, **options)
        engine.start()
        return engine

    def start(self, progress: Progress = lambda done, total: None) -> None:
        """Bring back what the data directory holds; until that is done all operations but `server` are refused.

        Blocks; `progress` is told how much of the journal is done. Raises as `open`, and then holds the directory no more.
        """
        if self.checkpoints is None or self._log is None:
            return
        self._log.progress = progress
        self.start_report = self.checkpoints.start()
        try:
            self._log.begin(self.checkpoints)
        except BaseException:
            self.checkpoints.close(final=False)
            raise
        self.checkpoints.save_by_itself()
        self._starting = False

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ---------------------------------------------------------------- performing

    def perform(self, message: Message, digest: Digest = Digest(0, 0), *, donated_nbytes: int = 0) -> Answer:  # noqa: B008
        """Do what the message asks and wait until it is done; a repeat of a request id gets the first one's answer.

        Raises a `StoreError`, `CheckpointError` or `WireError` (each with a `code`); then nothing was changed.
        """
        if message.operation == "read" and message.arguments.get("after_version") is not None:
            return self._read_when_newer(message)
        claim = self.claim(message, digest)
        if isinstance(claim, Running):
            claim.claim.wait()
            claim = outcome(claim.claim)
        if isinstance(claim, Replay):
            return self.replay(message, claim)
        return self.run(message, claim, donated_nbytes=donated_nbytes)

    def claim(self, message: Message, digest: Digest, holder: str = "") -> Claim | Replay | Running | None:
        """Take on the message's request id: a `Claim` must be passed to `run`, a `Replay` to `replay`. `holder` is whose token
        asks, where tokens are told apart.

        `Running` means somebody else is at it: wait for its claim to end, then `outcome` it. None when the message
        has no id or needs none. Never blocks. Raises `TooOld` or `IdempotencyKeyReused`.
        """
        if message.request_id is None or not OPERATIONS[message.operation].mutates:
            return None
        self._refuse_while_restoring(message.operation)
        return self.store.requests.claim(message.request_id, digest, holder)

    def run(
        self,
        message: Message,
        claim: Claim | None = None,
        *,
        blocking: bool = True,
        donated_nbytes: int = 0,
        count: Count = uncounted,
        sees: Callable[[str, bool], bool] | None = None,
        settled: Settled = unheard,
    ) -> Answer:
        """Do what the message asks, once. With `blocking=False` raises `WouldBlock` rather than wait for a lock; the
        claim then stays with the caller, who runs the message again from a thread that may wait.

        `donated_nbytes` is the size of the buffer that holds the message's arrays, when the caller gives it away. `count`
        is called with the bytes of each array that is made for the answer, before it is made, and may raise. `sees` says which
        names a list may show; None: all. `settled` hears from a thread how a save ended that was answered before.
        """
        call = Call(claim, blocking, donated_nbytes, count, sees, settled)
        try:
            if self._draining:
                raise Draining("the server is shutting down; send the request again, it will be taken by its successor")
            self._refuse_while_restoring(message.operation)
            if not blocking and self._log is not None and OPERATIONS[message.operation].mutates:
                return self._run_quickly(message, call)
            if (
                blocking
                and donated_nbytes >= AHEAD_NBYTES
                and self._log is not None
                and self.store.write_ahead(values.arrays_of(message))
            ):
                return self._in_turn(message, call)
            answer: Answer = getattr(self, message.operation)(call, **message.arguments)
        except WouldBlock:
            raise
        except BaseException as error:
            if claim is not None:
                self.store.requests.abandon(claim, error)
            raise
        return answer

    def _run_quickly(self, message: Message, call: Call) -> Answer:
        """Do what the message asks if it can be written down without waiting; else raises `WouldBlock`."""
        nbytes = call.donated_nbytes if call.claim is None else call.claim.digest.nbytes
        if not self.store.try_turn(nbytes):
            raise WouldBlock
        return self._in_turn(message, call)

    def _in_turn(self, message: Message, call: Call) -> Answer:
        """Do what the message asks with the turn to write it down, and give that back."""
        try:
            answer: Answer = getattr(self, message.operation)(call, **message.arguments)
        finally:
            self.store.end_turn()
        return answer

    def replay(self, message: Message, done: Replay) -> Answer:
        """The answer of a request that was done before."""
        return self.tensors_afresh(message.operation, message.arguments, done.answer)

    # ---------------------------------------------------------------- the server itself

    def server(self, call: Call) -> Answer:
        snapshot = self.store.snapshot(Selection(names=[]))
        return Answer(
            {
                "name": "paramserver",
                "version": VERSION,
                "protocol_version": PROTOCOL_VERSION,
                "python": platform.python_version(),
                "numpy": np.__version__,
                "state": self._state(),
                "durability": self.durability,
                "journal": None if self._log is None or self._log.journal is None else self._log.journal.facts(),
                "checkpoints": self.checkpoints is not None,
                "started_at": timestamp(self._started_at),
                "commit": snapshot.commit,
                "variables": self.store.count,
                "memory": {
                    "used_nbytes": self.store.budget.used_nbytes,
                    "limit_nbytes": self.store.budget.limit_nbytes,
                    "idle_nbytes": self.store.pool.idle_nbytes,
                },
                "connections": None if self.about_connections is None else self.about_connections(),
                "limits": self._limits,
            }
        )

    def _state(self) -> str:
        if self._draining:
            return "draining"
        return "restoring" if self.restoring else "ready"

    @property
    def durability(self) -> Durability:
        """What a crash may lose."""
        return "none" if self._log is None else self._log.durability

    @property
    def failed(self) -> bool:
        """Whether the disk of the journal failed, so that changes are refused until the next start."""
        return self._log is not None and self._log.journal is not None and self._log.journal.failed

    @property
    def restoring(self) -> bool:
        """Whether the values are not there yet, or a mixture, and everybody else has to wait."""
        return self._starting or super().restoring

    def _refuse_while_restoring(self, operation: str) -> None:
        if self.checkpoints is None:
            return
        if self._starting and operation != "server":
            raise Restoring("the server is starting and brings back its data; send the request again when that is done")
        super()._refuse_while_restoring(operation)

    @property
    def draining(self) -> bool:
        """Whether new operations are refused because the server is shutting down."""
        return self._draining

    def drain(self) -> None:
        """Refuse new operations from now on; those that run go on to their end."""
        self._draining = True

    def close(self) -> None:
        """Drain, save a final checkpoint (with a data directory) and let the directory go. Safe to call twice."""
        self.drain()
        if self.checkpoints is not None:
            self.checkpoints.close()

    def _read_when_newer(self, message: Message) -> Answer:
        """A long poll for callers that may block."""
        arguments = dict(message.arguments)
        wait_s = float(arguments.get("wait_s") or 0.0)
        deadline = time.monotonic() + wait_s
        changed = threading.Event()
        cancel = self.store.watch(arguments["name"], changed.set)
        try:
            while True:
                changed.clear()
                answer = self.run(Message("read", arguments))
                left_s = deadline - time.monotonic()
                if answer.status != 204 or left_s <= 0:
                    return answer
                changed.wait(left_s)
        finally:
            cancel()
