"""What a monitored session calls around each run: the interface of hooks, and what passes between them and the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from paramserver_client.graph.coordinator import Coordinator
    from paramserver_client.graph.session import BaseSession


class SessionRunArgs(NamedTuple):
    """What a hook adds to a run: fetches of any structure, and feeds."""

    fetches: Any
    feed_dict: Any = None
    options: Any = None


class SessionRunValues(NamedTuple):
    """What a run gave a hook: `results` has the structure of its fetches, None when it asked for nothing."""

    results: Any
    options: Any
    run_metadata: Any


class SessionRunContext:
    """The run that a hook is called for: what the user asked, the session, and a way to end the loop."""

    def __init__(self, original_args: SessionRunArgs, session: BaseSession) -> None:
        self._original_args = original_args
        self._session = session
        self._stop_requested = False

    @property
    def original_args(self) -> SessionRunArgs:
        """What the user gave `run`."""
        return self._original_args

    @property
    def session(self) -> BaseSession:
        """The session itself; running it calls no hooks."""
        return self._session

    @property
    def stop_requested(self) -> bool:
        return self._stop_requested

    def request_stop(self) -> None:
        """Let `should_stop` be true after this run."""
        self._stop_requested = True


class SessionRunHook:
    """Extends a monitored session: override what is needed, all of it does nothing."""

    def begin(self) -> None:
        """Called once, before the session is made; the graph can still be added to."""

    def after_create_session(self, session: BaseSession, coord: Coordinator) -> None:
        """Called when a session was made, also after a recovery. The graph is final."""

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        """Called before each run; what it returns is fetched and fed along."""

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Called after each run that went well."""

    def end(self, session: BaseSession) -> None:
        """Called at the end, unless an error ended it."""
