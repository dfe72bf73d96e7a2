"""`tf.train.Supervisor`: the older driver of a session, with a thread that saves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from paramserver_client.graph.coordinator import Coordinator, LooperThread
from paramserver_client.graph.graph import Graph, GraphKeys, get_default_graph
from paramserver_client.graph.offered import refuse
from paramserver_client.graph.saver import Saver
from paramserver_client.graph.scaffold import Scaffold
from paramserver_client.graph.session import Session
from paramserver_client.graph.session_manager import SessionManager
from paramserver_client.graph.training_util import get_global_step
from paramserver_client.graph.variable_lists import (
    global_variables_initializer,
    report_uninitialized_variables,
)

_DEFAULT: Final = 0


class _SaverThread(LooperThread):
    """Saves every so often, and once more at the end."""

    def __init__(self, supervisor: Supervisor, session: Session, interval_s: float) -> None:
        super().__init__(supervisor.coord, interval_s)
        self._supervisor, self._session = supervisor, session

    def run_loop(self) -> None:
        supervisor = self._supervisor
        if supervisor.saver is not None and supervisor.save_path is not None:
            supervisor.saver.save(self._session, supervisor.save_path, global_step=supervisor.global_step)

    def stop_loop(self) -> None:
        self.run_loop()


class Supervisor:
    """Initializes or restores a session, saves it from a thread of its own, and stops all threads together.

    The graph is final from here on. The chief restores the newest checkpoint of `logdir` and saves
    `logdir/checkpoint_basename` every `save_model_secs`, and at the end; the others wait for it. `summary_op` and
    `summary_writer` are not offered; all else that is not given is made as for a `Scaffold`. `container` and `client` are
    as for a session.
    """

    USE_DEFAULT = _DEFAULT

    def __init__(
        self,
        graph: Graph | None = None,
        ready_op: Any = USE_DEFAULT,
        ready_for_local_init_op: Any = USE_DEFAULT,
        is_chief: bool = True,
        init_op: Any = USE_DEFAULT,
        init_feed_dict: Any = None,
        local_init_op: Any = USE_DEFAULT,
        logdir: str | None = None,
        summary_op: Any = USE_DEFAULT,
        saver: Any = USE_DEFAULT,
        global_step: Any = USE_DEFAULT,
        save_summaries_secs: float = 120,
        save_model_secs: float = 600,
        recovery_wait_secs: float = 30,
        stop_grace_secs: float = 120,
        checkpoint_basename: str = "model.ckpt",
        session_manager: SessionManager | None = None,
        summary_writer: Any = USE_DEFAULT,
        init_fn: Callable[[Session], Any] | None = None,
        local_init_run_options: Any = None,
        *,
        container: str = "",
        client: Any = None,
    ) -> None:
        if summary_op is not None:
            refuse("tf.train.Supervisor", summary_op=(summary_op, _DEFAULT))
        if summary_writer is not None:
            refuse("tf.train.Supervisor", summary_writer=(summary_writer, _DEFAULT))
        refuse("tf.train.Supervisor", local_init_run_options=(local_init_run_options, None))
        self._graph = get_default_graph() if graph is None else graph
        self._is_chief, self._logdir = is_chief, logdir
        self._init_feed_dict, self._init_fn = init_feed_dict, init_fn
        self._save_every_s, self._grace_s = save_model_secs, stop_grace_secs
        self._coord = Coordinator()
        with self._graph.as_default():
            self._ready_op = _or_made(ready_op, "ready_op", GraphKeys.READY_OP, report_uninitialized_variables)
            self._init_op = _or_made(init_op, "init_op", GraphKeys.INIT_OP, global_variables_initializer)
            self._local_init_op = _or_made(
                local_init_op, "local_init_op", GraphKeys.LOCAL_INIT_OP, Scaffold.default_local_init_op
            )
            self._saver: Saver | None = _or_made(saver, "saver", GraphKeys.SAVERS, lambda: Saver(allow_empty=True))
            self._global_step = get_global_step() if global_step is _DEFAULT else global_step
        local = None if ready_for_local_init_op is _DEFAULT else ready_for_local_init_op
        self._manager = session_manager or SessionManager(
            self._local_init_op, self._ready_op, local, self._graph, recovery_wait_secs, container=container,
            client=client,
        )  # fmt: skip
        self._save_path = None if logdir is None else os.path.join(logdir, checkpoint_basename)
        self._graph.finalize()

    @property
    def is_chief(self) -> bool:
        return self._is_chief

    @property
    def coord(self) -> Coordinator:
        return self._coord

    @property
    def session_manager(self) -> SessionManager:
        return self._manager

    @property
    def saver(self) -> Saver | None:
        return self._saver

    @property
    def save_path(self) -> str | None:
        """Where checkpoints are made, without the step."""
        return self._save_path

    @property
    def save_model_secs(self) -> float:
        return self._save_every_s

    @property
    def global_step(self) -> Any:
        return self._global_step

    @property
    def init_op(self) -> Any:
        return self._init_op

    @property
    def ready_op(self) -> Any:
        return self._ready_op

    def prepare_or_wait_for_session(
        self,
        master: str = "",
        config: Any = None,
        wait_for_checkpoint: bool = False,
        max_wait_secs: float = 7200,
        start_standard_services: bool = True,
    ) -> Session:
        """A session that is ready: the chief initializes or restores, and starts saving; the others wait."""
        self._coord.clear_stop()
        if not self._is_chief:
            return self._manager.wait_for_session(master, config=config, max_wait_secs=max_wait_secs)
        session = self._manager.prepare_session(
            master, self._init_op, self._saver, self._logdir, None, wait_for_checkpoint, max_wait_secs, config,
            self._init_feed_dict, self._init_fn,
        )  # fmt: skip
        if start_standard_services:
            self.start_standard_services(session)
        return session

    def start_standard_services(self, sess: Session) -> list[LooperThread]:
        """Start the thread that saves; none without a `logdir`, a saver, or with `save_model_secs=0`.

        Raises RuntimeError for a worker that is not the chief.
        """
        if not self._is_chief:
            raise RuntimeError("Only chief supervisor can start standard services.")
        if self._save_path is None or self._saver is None or not self._save_every_s:
            return []
        thread = _SaverThread(self, sess, self._save_every_s)
        thread.start()
        return [thread]

    def start_queue_runners(self, sess: Session, queue_runners: Sequence[Any] | None = None) -> list[Any]:
        """Start the threads of these queue runners."""
        return [thread for each in queue_runners or () for thread in each.create_threads(sess, coord=self._coord)]

    @contextmanager
    def managed_session(
        self,
        master: str = "",
        config: Any = None,
        start_standard_services: bool = True,
        close_summary_writer: bool = True,
    ) -> Iterator[Session]:
        """A session that is ready inside the block. At its end the threads are stopped, and the first error of the block
        or of a thread is raised; OutOfRangeError ends it well."""
        session = None
        try:
            session = self.prepare_or_wait_for_session(master, config, start_standard_services=start_standard_services)
            yield session
        except Exception as error:
            self.request_stop(error)
        finally:
            try:
                self.stop(close_summary_writer=close_summary_writer)
            finally:
                if session is not None:
                    session.close()

    def loop(
        self, timer_interval_secs: float | None, target: Callable[..., Any], args: Any = None, kwargs: Any = None
    ) -> LooperThread:
        """Start a thread that calls `target` every so many seconds."""
        return LooperThread.loop(self._coord, timer_interval_secs, target, args, kwargs)

    def should_stop(self) -> bool:
        return self._coord.should_stop()

    def request_stop(self, ex: Any = None) -> None:
        """Ask all threads to stop."""
        self._coord.request_stop(ex)

    def wait_for_stop(self) -> None:
        """Wait until a stop is asked for."""
        self._coord.wait_for_stop()

    def stop(self, threads: Any = None, close_summary_writer: bool = True, ignore_live_threads: bool = False) -> None:
        """Stop all threads and wait for them. Raises the first error that was reported."""
        self._coord.request_stop()
        self._coord.join(threads, self._grace_s, ignore_live_threads)


def _or_made(given: Any, name: str, key: str, make: Callable[[], Any]) -> Any:
    return Scaffold.get_or_default(name, key, make) if given is _DEFAULT else given
