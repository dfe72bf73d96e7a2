"""Monitored sessions: they prepare, recover and end a session by themselves, and call hooks around every run."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from paramserver_client.client import ParameterClient
from paramserver_client.graph import logs
from paramserver_client.graph.coordinator import Coordinator
from paramserver_client.graph.errors import AbortedError, FailedPreconditionError, OutOfRangeError, UnavailableError
from paramserver_client.graph.graph import Graph, get_default_graph
from paramserver_client.graph.hooks import StepCounterHook, all_hooks
from paramserver_client.graph.node import Tensor
from paramserver_client.graph.saver_hook import CheckpointSaverHook
from paramserver_client.graph.scaffold import ChiefSessionCreator, Scaffold, SessionCreator, WorkerSessionCreator
from paramserver_client.graph.session import Session
from paramserver_client.graph.session_run_hook import (
    SessionRunArgs,
    SessionRunContext,
    SessionRunHook,
    SessionRunValues,
)

_LOST: Final = (AbortedError, UnavailableError)
USE_DEFAULT: Final = object()


class StepContext:
    """What a function given to `run_step_fn` works with."""

    def __init__(self, session: Session, run_with_hooks: Callable[..., Any]) -> None:
        self._session = session
        self._run_with_hooks = run_with_hooks

    @property
    def session(self) -> Session:
        """The session itself; running it calls no hooks."""
        return self._session

    def run_with_hooks(self, *args: Any, **kwargs: Any) -> Any:
        """As `run` of the monitored session."""
        return self._run_with_hooks(*args, **kwargs)

    def request_stop(self) -> None:
        """Leave the function and end the loop, by StopIteration."""
        raise StopIteration("step_fn has requested the iterations to stop.")


class _Hooked:
    """One session with hooks and a coordinator of its own."""

    def __init__(self, session: Session, hooks: Sequence[SessionRunHook], grace_s: float) -> None:
        self.session = session
        self.coord = Coordinator(clean_stop_exception_types=[])
        self._hooks = hooks
        self._grace_s = grace_s
        self._stopped = False
        for hook in hooks:
            hook.after_create_session(session, self.coord)

    def should_stop(self) -> bool:
        self.coord.raise_requested_exception()
        return self._stopped or self.coord.should_stop()

    def run(self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None) -> Any:
        try:
            return self._run(fetches, feed_dict, options, run_metadata)
        except _LOST:
            raise
        except Exception:
            self.coord.raise_requested_exception()  # A thread's error may be what made this one.
            raise

    def _run(self, fetches: Any, feed_dict: Any, options: Any, run_metadata: Any) -> Any:
        if self.should_stop():
            raise RuntimeError("Run called even after should_stop requested.")
        context = SessionRunContext(SessionRunArgs(fetches, feed_dict), self.session)
        wanted: dict[Any, Any] = {"caller": fetches}
        feeds = self._before(context, wanted, feed_dict)
        results = self.session.run(wanted, feeds, options, run_metadata)
        for hook in self._hooks:
            hook.after_run(context, SessionRunValues(results.get(hook), options, run_metadata))
        self._stopped = self._stopped or context.stop_requested
        return results["caller"]

    def _before(self, context: SessionRunContext, wanted: dict[Any, Any], feed_dict: Any) -> Any:
        """Ask all hooks; puts their fetches into `wanted` and gives all feeds."""
        feeds: dict[Any, Any] = {}
        for hook in self._hooks:
            request = hook.before_run(context)
            if request is None:
                continue
            if request.fetches is not None:
                wanted[hook] = request.fetches
            if request.feed_dict:
                _check_apart(feeds, request.feed_dict, "Same tensor is fed by two hooks.")
                feeds.update(request.feed_dict)
        if not feeds or not feed_dict:
            return feed_dict or feeds or None
        _check_apart(feed_dict, feeds, "Same tensor is fed by a SessionRunHook and user.")
        return {**feeds, **feed_dict}

    def close(self) -> None:
        self.coord.request_stop()
        try:
            self.coord.join(stop_grace_period_secs=self._grace_s, ignore_live_threads=True)
        finally:
            self.session.close()


class _MonitoredSession:
    """What both monitored sessions do. After a loss, `recovers` says whether a new session takes its place."""

    StepContext = StepContext

    def __init__(
        self,
        session_creator: SessionCreator | None,
        hooks: Iterable[SessionRunHook] | None,
        recovers: bool,
        stop_grace_period_secs: float = 120,
    ) -> None:
        self._was_final = get_default_graph().finalized
        self._hooks = all_hooks(hooks)
        for hook in self._hooks:
            hook.begin()
        self._creator = session_creator or ChiefSessionCreator()
        self._recovers = recovers
        self._grace_s = stop_grace_period_secs
        self._graph = get_default_graph()
        self._hooked: _Hooked | None = self._create()
        self._closed = False

    @property
    def graph(self) -> Graph | None:
        return None if self._hooked is None else self._hooked.session.graph

    def run(self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None) -> Any:
        """As `Session.run`, with the hooks around it.

        When the server was lost (AbortedError, UnavailableError) or came back without its values, a `MonitoredSession`
        makes a new session, initialized or restored as need be, and runs again.
        A push whose fate could not be learnt is not repeated: it raises `tf.errors.UnknownError`. Raises RuntimeError
        when a stop was asked for, AttributeError after the end.
        """
        return self._again(lambda hooked: hooked.run(fetches, feed_dict, options, run_metadata))

    def run_step_fn(self, step_fn: Callable[..., Any]) -> Any:
        """Call `step_fn(step_context)`, which may run the session with and without hooks. Gives what it returns.

        Raises ValueError unless its one argument is called `step_context`.
        """
        names = tuple(inspect.signature(step_fn).parameters)
        if names not in (("step_context",), ("self", "step_context")):
            raise ValueError(
                "`step_fn` may either have one `step_context` argument, or `self` and `step_context` arguments if it's "
                f"an instance method. Got {names} instead."
            )
        return self._again(lambda hooked: step_fn(StepContext(hooked.session, hooked.run)))

    def should_stop(self) -> bool:
        """Whether the loop should end: a hook or a thread asked for it, or the session is closed."""
        if self._closed:
            return True
        try:
            return self._hooked is not None and self._hooked.should_stop()
        except _LOST:
            if self._recovers:
                self._drop()
                return False
            return True
        except Exception:
            return True

    def close(self) -> None:
        """Call the hooks' `end`, and close the session. Raises RuntimeError when it is closed already."""
        self._end(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if kind is not None and issubclass(kind, OutOfRangeError | StopIteration):
            kind = None
        self._end(kind)
        return kind is None

    def _again(self, work: Callable[[_Hooked], Any]) -> Any:
        if self._closed:
            raise AttributeError("The monitored session is closed and has no session to run; make another one.")
        while True:
            try:
                if self._hooked is None:
                    self._hooked = self._create()
                return work(self._hooked)
            except _LOST as error:
                if not self._recovers:
                    raise
                logs.info("The server was lost; the session is made anew. Error: %s", error)
                self._drop()
            except FailedPreconditionError as error:
                if not self._recovers or self._hooked is None or self._is_ready(self._hooked.session):
                    raise
                logs.info("The server came back without its values; the session is made anew. Error: %s", error)
                self._drop()

    def _is_ready(self, session: Session) -> bool:
        try:
            return self._creator.is_ready(session)
        except _LOST:
            return False

    def _create(self) -> _Hooked:
        while True:
            try:
                with self._graph.as_default():
                    session = self._creator.create_session()
                try:
                    return _Hooked(session, self._hooks, self._grace_s)
                except BaseException:
                    session.close()
                    raise
            except _LOST as error:
                if not self._recovers:
                    raise
                logs.info("The server was lost while a session was being made, which is tried again. Error: %s", error)

    def _drop(self) -> None:
        hooked, self._hooked = self._hooked, None
        if hooked is not None:
            with contextlib.suppress(*_LOST):
                hooked.close()

    def _end(self, kind: type[BaseException] | None) -> None:
        if self._closed:
            raise RuntimeError("Session is already closed.")
        try:
            if kind is None:
                if self._hooked is None:
                    self._hooked = self._create()
                for hook in self._hooks:
                    hook.end(self._hooked.session)
        finally:
            self._closed = True
            try:
                self._drop()
            finally:
                if not self._was_final:
                    self._graph._unsafe_unfinalize()


class MonitoredSession(_MonitoredSession):
    """A session that initializes or restores itself, calls hooks, and goes on after the server was lost.

    The graph is final inside. Hooks are told the end unless an error ended the block; StopIteration and OutOfRangeError
    end it well. It is no `tf.Session`: it cannot be a default session or be given to a Saver.

    >>> import paramserver_client.graph as tf
    >>> with tf.Graph().as_default():
    ...     step = tf.train.get_or_create_global_step()
    ...     count = step.assign_add(1)
    ...     with tf.train.MonitoredSession(hooks=[tf.train.StopAtStepHook(last_step=3)]) as session:
    ...         while not session.should_stop():
    ...             value = session.run(count)
    >>> int(value)
    3
    """

    def __init__(
        self,
        session_creator: SessionCreator | None = None,
        hooks: Iterable[SessionRunHook] | None = None,
        stop_grace_period_secs: float = 120,
    ) -> None:
        super().__init__(session_creator, hooks, True, stop_grace_period_secs)


class SingularMonitoredSession(_MonitoredSession):
    """A monitored session of one worker: it does not recover, and shows its session."""

    def __init__(
        self,
        hooks: Iterable[SessionRunHook] | None = None,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: Any = None,
        checkpoint_dir: str | None = None,
        stop_grace_period_secs: float = 120,
        checkpoint_filename_with_path: str | None = None,
        *,
        container: str = "",
        client: ParameterClient | None = None,
    ) -> None:
        creator = ChiefSessionCreator(
            scaffold, master, config, checkpoint_dir, checkpoint_filename_with_path, container=container, client=client
        )
        super().__init__(creator, hooks, False, stop_grace_period_secs)

    def raw_session(self) -> Session | None:
        """The session itself, to run without hooks and to save; None after the end."""
        return None if self._hooked is None else self._hooked.session


def MonitoredTrainingSession(
    master: str = "",
    is_chief: bool = True,
    checkpoint_dir: str | None = None,
    scaffold: Scaffold | None = None,
    hooks: Iterable[SessionRunHook] | None = None,
    chief_only_hooks: Iterable[SessionRunHook] | None = None,
    save_checkpoint_secs: Any = USE_DEFAULT,
    save_summaries_steps: Any = USE_DEFAULT,
    save_summaries_secs: Any = USE_DEFAULT,
    config: Any = None,
    stop_grace_period_secs: float = 120,
    log_step_count_steps: int | None = 100,
    max_wait_secs: float = 7200,
    save_checkpoint_steps: Any = USE_DEFAULT,
    summary_dir: str | None = None,
    *,
    container: str = "",
    client: ParameterClient | None = None,
    recovery_wait_secs: float = 30,
) -> MonitoredSession:
    """A `MonitoredSession` for training, of the chief or of another worker.

    The chief initializes, or restores the newest checkpoint of `checkpoint_dir`, and saves there every
    `save_checkpoint_secs` (600 unless steps are given) or `save_checkpoint_steps`; the others wait for it, looking every
    `recovery_wait_secs` and for `max_wait_secs` at most. `master` is the server's URL; `container` and `client` are as for
    a session. Arguments about summaries are taken and change nothing, since there are none.
    """
    if not is_chief:
        worker = WorkerSessionCreator(
            scaffold, master, config, max_wait_secs, container=container, client=client,
            recovery_wait_secs=recovery_wait_secs,
        )  # fmt: skip
        return MonitoredSession(worker, hooks, stop_grace_period_secs)
    scaffold = scaffold or Scaffold()
    found = all_hooks(chief_only_hooks)
    if (summary_dir or checkpoint_dir) and log_step_count_steps:
        found.append(StepCounterHook(every_n_steps=log_step_count_steps))
    every_s, every_steps = _save_intervals(save_checkpoint_secs, save_checkpoint_steps)
    if checkpoint_dir and (every_s or every_steps):
        found.append(CheckpointSaverHook(checkpoint_dir, every_s, every_steps, scaffold=scaffold))
    chief = ChiefSessionCreator(scaffold, master, config, checkpoint_dir, container=container, client=client)
    return MonitoredSession(chief, [*found, *all_hooks(hooks)], stop_grace_period_secs)


def _save_intervals(every_s: Any, every_steps: Any) -> tuple[float | None, int | None]:
    """Seconds and steps between checkpoints, with TensorFlow's defaults."""
    if every_s is USE_DEFAULT:
        every_s = 600 if every_steps is USE_DEFAULT else None
    if every_steps is USE_DEFAULT:
        every_steps = None
    return every_s or None, every_steps or None


def _check_apart(one: Mapping[Any, Any], other: Mapping[Any, Any], text: str) -> None:
    if set(one) & set(other):
        names = [each.name if isinstance(each, Tensor) else str(each) for each in set(one) & set(other)]
        raise RuntimeError(f"{text} Conflict(s): {', '.join(names)}")
