"""`tf.train.Scaffold`: what a driver needs of a graph (initializers, checks, a saver), and the makers of its sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from paramserver_client.client import ParameterClient
from paramserver_client.graph.graph import GraphKeys, add_to_collection, get_collection, get_default_graph
from paramserver_client.graph.node import Operation
from paramserver_client.graph.offered import refuse
from paramserver_client.graph.ops_array import group
from paramserver_client.graph.saver import Saver
from paramserver_client.graph.session import Session
from paramserver_client.graph.session_manager import SessionManager
from paramserver_client.graph.variable_lists import (
    global_variables,
    global_variables_initializer,
    local_variables_initializer,
    report_uninitialized_variables,
    tables_initializer,
)


class Scaffold:
    """The pieces that a driver needs; those that are not given are found in the graph's collections, or made, when
    `finalize` is called. `init_fn(scaffold, session)` runs after `init_op`.

    Raises TypeError when `copy_from_scaffold`, whose pieces fill the gaps, is no scaffold.
    """

    _KEYS: ClassVar = {
        "init_op": GraphKeys.INIT_OP,
        "ready_op": GraphKeys.READY_OP,
        "ready_for_local_init_op": GraphKeys.READY_FOR_LOCAL_INIT_OP,
        "local_init_op": GraphKeys.LOCAL_INIT_OP,
    }

    def __init__(
        self,
        init_op: Any = None,
        init_feed_dict: Any = None,
        init_fn: Callable[[Scaffold, Session], Any] | None = None,
        ready_op: Any = None,
        ready_for_local_init_op: Any = None,
        local_init_op: Any = None,
        summary_op: Any = None,
        saver: Saver | None = None,
        copy_from_scaffold: Scaffold | None = None,
    ) -> None:
        refuse("tf.train.Scaffold", summary_op=(summary_op, None))
        other = copy_from_scaffold
        if other is not None and not isinstance(other, Scaffold):
            raise TypeError("copy_from_scaffold is not a Scaffold instance.")
        own_fn: Callable[[Scaffold, Session], Any] | None = _first(init_fn, other, "_user_init_fn")
        self._user_init_fn = own_fn
        self.init_fn = None if own_fn is None else lambda session: own_fn(self, session)
        self.init_op = _first(init_op, other, "init_op")
        self.init_feed_dict = _first(init_feed_dict, other, "init_feed_dict")
        self.ready_op = _first(ready_op, other, "ready_op")
        self.ready_for_local_init_op = _first(ready_for_local_init_op, other, "ready_for_local_init_op")
        self.local_init_op = _first(local_init_op, other, "local_init_op")
        self.saver = _first(saver, other, "saver")

    def finalize(self) -> Scaffold:
        """Make what is missing, and let the graph be final."""
        makers: dict[str, Callable[[], Any]] = {
            "init_op": global_variables_initializer,
            "ready_op": report_uninitialized_variables,
            "ready_for_local_init_op": lambda: report_uninitialized_variables(global_variables()),
            "local_init_op": Scaffold.default_local_init_op,
        }
        for name, make in makers.items():
            if getattr(self, name) is None:
                setattr(self, name, Scaffold.get_or_default(name, self._KEYS[name], make))
        if self.saver is None:
            self.saver = Scaffold.get_or_default(
                "saver", GraphKeys.SAVERS, lambda: Saver(sharded=True, allow_empty=True)
            )
        self.saver.build()
        get_default_graph().finalize()
        return self

    @staticmethod
    def get_or_default(arg_name: str, collection_key: str, default_constructor: Callable[[], Any]) -> Any:
        """The one element of a collection, made and put there when there is none. Raises RuntimeError for several."""
        found = get_collection(collection_key)
        if len(found) > 1:
            raise RuntimeError(
                f'More than one item in the collection "{collection_key}". Please indicate which one to use by passing '
                f"it to the tf.Scaffold constructor as:  tf.Scaffold({arg_name}=item to use)"
            )
        if found:
            return found[0]
        made = default_constructor()
        if made is not None:
            add_to_collection(collection_key, made)
        return made

    @staticmethod
    def default_local_init_op() -> Operation:
        """What initializes everything that lives in the session."""
        done: Operation = group(local_variables_initializer(), tables_initializer())
        return done


def _first(given: Any, other: Scaffold | None, name: str) -> Any:
    return given if given is not None or other is None else getattr(other, name)


class SessionCreator:
    """Makes sessions for a monitored session, whenever it needs a new one."""

    def create_session(self) -> Session:
        raise NotImplementedError(f"create_session is not implemented for {self}.")

    def is_ready(self, session: Session) -> bool:
        """Whether a session that was ready still is; one that is not has a server that lost values."""
        return True


class _Creator(SessionCreator):
    """`container` and `client` are as for a session."""

    def __init__(
        self, scaffold: Scaffold | None, master: str, config: Any, container: str, client: ParameterClient | None
    ) -> None:
        self._scaffold = scaffold or Scaffold()
        self._master, self._config = master, config
        self._where: dict[str, Any] = {"container": container, "client": client}
        self._made = False

    def _manager(self) -> SessionManager:
        scaffold = self._scaffold.finalize()
        return SessionManager(
            local_init_op=scaffold.local_init_op,
            ready_op=scaffold.ready_op,
            ready_for_local_init_op=scaffold.ready_for_local_init_op,
            graph=get_default_graph(),
            **self._where,
        )

    def is_ready(self, session: Session) -> bool:
        return self._manager().is_ready(session)


class ChiefSessionCreator(_Creator):
    """Makes the chief's sessions: restored from the newest checkpoint, or initialized.

    Only the first one is, though. When a session is lost and made anew, the server has kept what it acknowledged, which
    is newer than any checkpoint of ours; so nothing is restored unless variables have lost their values.
    """

    def __init__(
        self,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: Any = None,
        checkpoint_dir: str | None = None,
        checkpoint_filename_with_path: str | None = None,
        *,
        container: str = "",
        client: ParameterClient | None = None,
    ) -> None:
        super().__init__(scaffold, master, config, container, client)
        self._checkpoint_dir = checkpoint_dir
        self._checkpoint = checkpoint_filename_with_path

    def create_session(self) -> Session:
        manager = self._manager()
        session = manager.resume_session(self._master, self._config) if self._made else None
        if session is None:
            session = manager.prepare_session(
                self._master,
                saver=self._scaffold.saver,
                checkpoint_dir=self._checkpoint_dir,
                checkpoint_filename_with_path=self._checkpoint,
                config=self._config,
                init_op=self._scaffold.init_op,
                init_feed_dict=self._scaffold.init_feed_dict,
                init_fn=self._scaffold.init_fn,
            )
        self._made = True
        return session


class WorkerSessionCreator(_Creator):
    """Makes the sessions of the other workers: they wait, at most `max_wait_secs`, until the chief has initialized."""

    def __init__(
        self,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: Any = None,
        max_wait_secs: float = 30 * 60,
        *,
        container: str = "",
        client: ParameterClient | None = None,
        recovery_wait_secs: float = 30,
    ) -> None:
        super().__init__(scaffold, master, config, container, client)
        self._max_wait_s = max_wait_secs
        self._where["recovery_wait_secs"] = recovery_wait_secs

    def create_session(self) -> Session:
        return self._manager().wait_for_session(self._master, config=self._config, max_wait_secs=self._max_wait_s)
