"""`tf.train.SessionManager`: the chief initializes or restores, the other workers wait until that is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from paramserver_client.client import ParameterClient
from paramserver_client.graph import checkpoint_state
from paramserver_client.graph.errors import DeadlineExceededError, FailedPreconditionError
from paramserver_client.graph.graph import Graph, get_default_graph
from paramserver_client.graph.offered import refuse
from paramserver_client.graph.session import Session
from paramserver_client.graph.variable_lists import (
    local_variables_initializer,
    report_uninitialized_variables,
)


class SessionManager:
    """Makes sessions that are ready to train.

    The chief calls `prepare_session`, the others `wait_for_session`. `local_init_op` runs in every new session, since
    local variables live there; without one the local variables of the graph are initialized. `ready_op` is a tensor
    of the names that are not ready yet, `ready_for_local_init_op` one of those that `local_init_op` must wait for.
    `container` and `client` are as for a session.
    """

    def __init__(
        self,
        local_init_op: Any = None,
        ready_op: Any = None,
        ready_for_local_init_op: Any = None,
        graph: Graph | None = None,
        recovery_wait_secs: float = 30,
        local_init_run_options: Any = None,
        *,
        container: str = "",
        client: ParameterClient | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        refuse("tf.train.SessionManager", local_init_run_options=(local_init_run_options, None))
        self._graph = get_default_graph() if graph is None else graph
        with self._graph.as_default():
            self._ready_op = report_uninitialized_variables() if ready_op is None else ready_op
            self._local_init_op = local_variables_initializer() if local_init_op is None else local_init_op
        self._ready_for_local_init_op = ready_for_local_init_op
        self._recovery_wait_s = recovery_wait_secs
        self._where: dict[str, Any] = {"container": container, "client": client}
        self._clock = clock
        self._sleep = sleep

    def prepare_session(
        self,
        master: str | None = "",
        init_op: Any = None,
        saver: Any = None,
        checkpoint_dir: str | None = None,
        checkpoint_filename_with_path: str | None = None,
        wait_for_checkpoint: bool = False,
        max_wait_secs: float = 7200,
        config: Any = None,
        init_feed_dict: Any = None,
        init_fn: Callable[[Session], Any] | None = None,
    ) -> Session:
        """A session in which everything is initialized: restored from the newest checkpoint of `checkpoint_dir` (or
        from the one given) when there is one, else by `init_op` and `init_fn`.

        Raises RuntimeError when there is neither a checkpoint nor a way to initialize, or when variables are still
        without a value afterwards, naming them.
        """
        session, restored = self.recover_session(
            master, saver, checkpoint_dir, checkpoint_filename_with_path, wait_for_checkpoint, max_wait_secs, config
        )
        with _closed_on_error(session):
            if not restored:
                if init_op is None and not init_fn and self._missing(session, self._ready_op):
                    raise RuntimeError(
                        "Model is not initialized and no init_op or init_fn or local_init_op was given; give one."
                    )
                if init_op is not None:
                    session.run(init_op, feed_dict=init_feed_dict)
                if init_fn:
                    init_fn(session)
            self._check(session, self._ready_for_local_init_op, "Init operations", "model ready for local_init")
            session.run(self._local_init_op)
            self._check(session, self._ready_op, "Init operations", "model ready")
        return session

    def is_ready(self, session: Session) -> bool:
        """Whether everything in the session has a value."""
        return not self._missing(session, self._ready_op)

    def resume_session(self, master: str | None = "", config: Any = None) -> Session | None:
        """A session of variables that are initialized already, with its local variables initialized; None, and nothing
        changed, when some have no value."""
        session = self._session(master, config)
        with _closed_on_error(session):
            if not self._missing(session, self._ready_for_local_init_op):
                session.run(self._local_init_op)
                if not self._missing(session, self._ready_op):
                    return session
        session.close()
        return None

    def recover_session(
        self,
        master: str | None = "",
        saver: Any = None,
        checkpoint_dir: str | None = None,
        checkpoint_filename_with_path: str | None = None,
        wait_for_checkpoint: bool = False,
        max_wait_secs: float = 7200,
        config: Any = None,
    ) -> tuple[Session, bool]:
        """A session, and whether a checkpoint was restored into it. With `wait_for_checkpoint` it waits for one, at
        most `max_wait_secs`."""
        if checkpoint_dir and checkpoint_filename_with_path:
            raise ValueError("Can not provide both checkpoint_dir and checkpoint_filename_with_path.")
        session = self._session(master, config)
        if saver is None or not (checkpoint_dir or checkpoint_filename_with_path):
            return session, False
        path = checkpoint_filename_with_path
        deadline = self._clock() + max_wait_secs
        with _closed_on_error(session):
            while path is None:
                with session.as_default():
                    path = checkpoint_state.latest_checkpoint(checkpoint_dir or "")
                if path is None and (not wait_for_checkpoint or self._clock() >= deadline):
                    return session, False
                if path is None:
                    self._sleep(min(self._recovery_wait_s, max(0.0, deadline - self._clock())))
            saver.restore(session, path)
        return session, True

    def wait_for_session(
        self, master: str | None = "", config: Any = None, max_wait_secs: float = float("inf")
    ) -> Session:
        """A session, once somebody else has initialized the variables. It looks every `recovery_wait_secs`.

        Raises DeadlineExceededError after `max_wait_secs`, naming the variables that are still without a value.
        """
        deadline = self._clock() + max_wait_secs
        session = self._session(master, config)
        first = self._ready_for_local_init_op
        with _closed_on_error(session):
            if first is None:
                session.run(self._local_init_op)
            while missing := self._missing(session, self._ready_op if first is None else first):
                left = deadline - self._clock()
                if left <= 0:
                    raise DeadlineExceededError(
                        f"Session was not ready after waiting {max_wait_secs:g} secs. Still without a value: "
                        f"{', '.join(missing)}. Is the chief running, with the same server and container?"
                    )
                self._sleep(min(self._recovery_wait_s, left))
            if first is not None:
                session.run(self._local_init_op)
                self._check(session, self._ready_op, "local_init_op", "model ready")
        return session

    def _session(self, master: str | None, config: Any) -> Session:
        return Session(master, graph=self._graph, config=config, **self._where)

    def _check(self, session: Session, report: Any, who: str, what: str) -> None:
        missing = self._missing(session, report)
        if missing:
            raise RuntimeError(f"{who} did not make {what}: still without a value: {', '.join(missing)}")

    def _missing(self, session: Session, report: Any) -> list[str]:
        """What `report`, a tensor of names or an operation that fails, says is not ready; nothing without one."""
        if report is None:
            return []
        try:
            names = session.run(report)
        except FailedPreconditionError as error:
            return [str(error)]
        return [] if names is None else [name.decode() for name in np.ravel(names) if isinstance(name, bytes)]


@contextmanager
def _closed_on_error(session: Session) -> Iterator[None]:
    """A session that cannot be handed out is closed."""
    try:
        yield
    except BaseException:
        session.close()
        raise
