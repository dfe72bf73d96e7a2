"""Sessions: they run parts of a graph and hold the connection to the variables."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from paramserver_client.client import ParameterClient, settled
from paramserver_client.graph.devices import DeviceAttributes, listed_devices
from paramserver_client.graph.errors import NotFoundError
from paramserver_client.graph.executor import Program
from paramserver_client.graph.fetches import Fetches, handed_out, read_feeds
from paramserver_client.graph.graph import Graph, get_default_graph
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.node_defs import GraphDef
from paramserver_client.graph.ops_random import make_generator
from paramserver_client.graph.plan import Planner, guarded_variables
from paramserver_client.graph.session_config import ConfigProto
from paramserver_client.graph.state import Variables


class _Defaults(threading.local):
    def __init__(self) -> None:
        self.sessions: list[Any] = []


_defaults: Final = _Defaults()


def get_default_session() -> Any:
    """The innermost session of this thread that is in a `with` block or `as_default`, or None."""
    return _defaults.sessions[-1] if _defaults.sessions else None


def _leave(session: Any, nested: bool = False) -> None:
    """Take the session's innermost place out of the stack; an InteractiveSession may stand above it.

    Raises AssertionError when `nested` and another session that was entered later is still there.
    """
    sessions = _defaults.sessions
    above = [each for each in sessions if not isinstance(each, InteractiveSession)]
    if nested and session in above and above[-1] is not session:
        raise AssertionError(f"Nesting violated for default stack of {type(session)} objects")
    for place in range(len(sessions) - 1, -1, -1):
        if sessions[place] is session:
            del sessions[place]
            return


def _client_of(target: str | None, token: str | None, timeout_s: float) -> ParameterClient:
    """The client of a server, or one with a server of its own in this process. From that a session only borrows: kernels
    write to new arrays, and what is not the session's own is copied before it is handed out."""
    if settled(target, None, None, timeout_s) is not None:
        return ParameterClient(target, token=token, timeout_s=timeout_s)
    from paramserver_client.embedded import EmbeddedTransport  # Needs the server's rooms, as embedded clients do.

    return ParameterClient(timeout_s=timeout_s, transport=EmbeddedTransport.open(lends=True))


class BaseSession:
    """Runs operations of one graph. Safe to use from several threads.

    `target` is the URL of a parameter server, by default that of `PARAMSERVER_URL`; without either the variables are
    in this process and the session's own. `container` is a prefix of names on the server: sessions of one target and
    container share their variables. `client` uses a client that there is instead; it is then not closed with the
    session.
    """

    def __init__(
        self,
        target: str | None = "",
        graph: Graph | None = None,
        config: Any = None,
        *,
        container: str = "",
        token: str | None = None,
        timeout_s: float = 60.0,
        client: ParameterClient | None = None,
    ) -> None:
        if not isinstance(target, str | None):
            raise TypeError(f"target must be a string, but got {type(target)}")
        if config is not None and not isinstance(config, ConfigProto):
            raise TypeError(f"config must be a tf.ConfigProto, but got {type(config)}")
        if target and "://" not in target:
            raise NotFoundError(
                f"No session factory registered for the given session options: {{target: {target!r}}}. Give the URL of "
                "a parameter server, as http://127.0.0.1:8080, or none for an embedded session."
            )
        if graph is not None and not isinstance(graph, Graph):
            raise TypeError(f"graph must be a tf.Graph, but got {type(graph)}")
        if client is not None and target:
            raise ValueError(f"Wanted a target or a client, got both: {target!r} and {client!r}.")
        self._graph = get_default_graph() if graph is None else graph
        if config is not None and config.operation_timeout_in_ms:
            timeout_s = config.operation_timeout_in_ms / 1000
        self._devices = listed_devices(config.device_count if config is not None else None)
        self._target = target or ""
        self._container = container.strip("/")
        self._own_client = client is None
        self._client = _client_of(self._target or None, token, timeout_s) if client is None else client
        self._variables = Variables(self._client, self._container)
        self._lock = threading.Lock()
        self._programs: dict[Any, Program] = {}
        self._guarded: dict[Any, list[Any]] = {}
        self._generators: dict[Operation, np.random.Generator] = {}
        self._closed = False
        self._entered: ExitStack | None = None

    @property
    def graph(self) -> Graph:
        return self._graph

    @property
    def graph_def(self) -> GraphDef:
        """The session's graph in plain values, to look at."""
        return self._graph.as_graph_def()

    def list_devices(self) -> list[DeviceAttributes]:
        """The processors that `config.device_count` speaks of; one without it. Everything runs in this process."""
        return list(self._devices)

    @property
    def target(self) -> str:
        return self._target

    @property
    def container(self) -> str:
        return self._container

    @property
    def client(self) -> ParameterClient:
        """The client under this session. What it pulls is read-only in an embedded session that was given none."""
        return self._client

    @property
    def variables(self) -> Variables:
        """Where this session's variables are."""
        return self._variables

    def close(self) -> None:
        """End the session: local variables, and without a server all variables, are gone. A second time does nothing."""
        if not self._closed:
            self._closed = True
            if self._own_client:
                self._client.close()

    def run(self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None) -> Any:
        """Compute what `fetches` names, and all it depends on; each operation runs at most once.

        `fetches` is a tensor, operation, variable or name, or a list, tuple, dict or namedtuple of these, nested at
        will; the answer has the same structure, with numpy values, and None for operations. `feed_dict` gives values
        in place of tensors. `options` and `run_metadata` have no effect. Variables are read in one pull, and all updates that do not depend on each other's effect
        go out as one push.

        Raises TypeError and ValueError for fetches and feeds that are none, RuntimeError for a closed session or an
        empty graph, and the class of `tf.errors` for what goes wrong in the run; nothing is then changed, except by
        the earlier pushes of a run that needs several.
        """
        if self._closed:
            raise RuntimeError("Attempted to use a closed Session.")
        if self._graph.version == 0:
            raise RuntimeError("The Session graph is empty.  Add operations to the graph before calling run().")
        wanted = Fetches(self._graph, fetches)
        feeds = read_feeds(self._graph, feed_dict)
        elements = tuple(wanted.elements)
        program = self._program(elements, frozenset(feeds))
        values = program.run(feeds, self._variables)
        fed = {id(array) for array in feeds.values()}
        return wanted.build(handed_out(values, lambda array: id(array) not in fed and not program.is_constant(array)))

    def make_callable(
        self, fetches: Any, feed_list: Sequence[Any] | None = None, accept_options: bool = False
    ) -> Callable[..., Any]:
        """A function that runs `fetches`; its arguments are the values of the tensors in `feed_list`, in order.

        With `accept_options` it takes `options` and `run_metadata` too. Raises TypeError when `feed_list` is no list;
        everything else as `run`.
        """
        if feed_list is not None and not isinstance(feed_list, list | tuple):
            raise TypeError("`feed_list` must be a list of tensors.")
        keys = list(feed_list or ())
        Fetches(self._graph, fetches)

        def call(*values: Any, **options: Any) -> Any:
            unknown = set(options) - ({"options", "run_metadata"} if accept_options else set())
            if unknown or len(values) != len(keys):
                raise TypeError(f"Wanted {len(keys)} values, got {len(values)} and {sorted(unknown)}.")
            return self.run(fetches, dict(zip(keys, values, strict=True)))

        return call

    @staticmethod
    def reset(target: str, containers: Sequence[str] | None = None, config: Any = None) -> None:
        """Delete the variables of these containers from the server, for all sessions.

        Raises ValueError without containers: everybody's variables are not deleted from here.
        """
        if not containers:
            raise ValueError("Session.reset wants the names of containers; delete single variables with a client.")
        with ParameterClient(target) as client:
            for container in containers:
                client.delete_variables(prefix=container.strip("/"), confirm=True)

    def _program(self, elements: Sequence[Tensor | Operation], feeds: frozenset[Tensor]) -> Program:
        guarded = self._guarded.get((elements, feeds))
        if guarded is None:
            guarded = self._guarded[elements, feeds] = guarded_variables(elements, feeds)
        missing = self._variables.uninitialized(guarded) if guarded else set()
        flags = {variable: variable not in missing for variable in guarded}
        while True:
            foreign = self._variables.foreign
            key = (elements, feeds, frozenset(missing), foreign)
            with self._lock:
                program = self._programs.get(key)
            if program is None:
                planner = Planner(elements, feeds, flags, foreign)
                plan = planner.plan()
                tensors = [each for each in elements if isinstance(each, Tensor)]
                program = Program(plan, planner, tensors, self._generator, self)
                with self._lock:
                    self._programs[key] = program
            self._variables.create(program.plan.touched)
            if self._variables.foreign == foreign:
                return program

    def _generator(self, op: Operation) -> np.random.Generator:
        with self._lock:
            if op not in self._generators:
                self._generators[op] = make_generator(op.attrs["seeds"])
            return self._generators[op]

    @contextmanager
    def as_default(self) -> Iterator[Self]:
        """Make this the session that `eval` and `run` use in this thread, inside the block. It is not closed after."""
        _defaults.sessions.append(self)
        try:
            yield self
        finally:
            _leave(self, nested=True)


class Session(BaseSession):
    """A session to use in a `with` block, which makes it and its graph the default and closes it at the end.

    >>> import paramserver_client.graph as tf
    >>> with tf.Graph().as_default(), tf.Session() as sess:
    ...     step = tf.Variable(0, name="step")
    ...     sess.run(step.initializer)
    ...     int(sess.run(step.assign_add(1)))
    1
    """

    def __enter__(self) -> Self:
        if self._entered is not None:
            raise RuntimeError("Session context managers are not re-entrant. Use `Session.as_default()`.")
        with ExitStack() as stack:
            stack.enter_context(self._graph.as_default())
            stack.enter_context(self.as_default())
            self._entered = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._entered is not None:
            entered, self._entered = self._entered, None
            entered.close()
        self.close()


class InteractiveSession(BaseSession):
    """A session that is the default from its making to its `close`, for shells and notebooks."""

    _active = 0
    _active_lock = threading.Lock()

    def __init__(self, target: str | None = "", graph: Graph | None = None, config: Any = None, **kwargs: Any) -> None:
        super().__init__(target, graph, config, **kwargs)
        with InteractiveSession._active_lock:
            if InteractiveSession._active > 0:
                warnings.warn(
                    "An interactive session is already active. This can cause out-of-memory errors in some cases. You "
                    "must explicitly call `InteractiveSession.close()` to release resources held by the other "
                    "session(s).",
                    stacklevel=2,
                )
            InteractiveSession._active += 1
        self._stack = ExitStack()
        if graph is not None:
            self._stack.enter_context(graph.as_default())
        _defaults.sessions.append(self)

    def close(self) -> None:
        """Stop being the default session, and end. A second time does nothing."""
        if self._closed:
            return
        with InteractiveSession._active_lock:
            InteractiveSession._active -= 1
        _leave(self)
        self._stack.close()
        super().close()
