"""The hook that saves, and those who listen to it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from paramserver_client.graph import logs
from paramserver_client.graph.coordinator import Coordinator
from paramserver_client.graph.graph import GraphKeys, get_collection
from paramserver_client.graph.hooks import SecondOrStepTimer, step_tensor
from paramserver_client.graph.saver import Saver
from paramserver_client.graph.session import BaseSession
from paramserver_client.graph.session_run_hook import (
    SessionRunArgs,
    SessionRunContext,
    SessionRunHook,
    SessionRunValues,
)


class CheckpointSaverListener:
    """Is told of each checkpoint that a `CheckpointSaverHook` makes. When `after_save` returns true, training stops."""

    def begin(self) -> None:
        """Called when training begins; the graph can still be added to."""

    def before_save(self, session: BaseSession, global_step_value: int) -> None:
        """Called before a checkpoint is made."""

    def after_save(self, session: BaseSession, global_step_value: int) -> bool | None:
        """Called after a checkpoint was made."""

    def end(self, session: BaseSession, global_step_value: int) -> None:
        """Called when training ends."""


class CheckpointSaverHook(SessionRunHook):
    """Saves the variables at the start, every `save_steps` steps or `save_secs` seconds, and at the end.

    Checkpoints are `<checkpoint_dir>/<checkpoint_basename>-<step>`, made by `saver`, or that of the `scaffold`, or the one
    in the collection SAVERS. Raises ValueError unless exactly one of `save_secs` and `save_steps` is given, or when both
    a saver and a scaffold are; RuntimeError, when training begins, without a global step.
    """

    def __init__(
        self,
        checkpoint_dir: str,
        save_secs: float | None = None,
        save_steps: int | None = None,
        saver: Saver | None = None,
        checkpoint_basename: str = "model.ckpt",
        scaffold: Any = None,
        listeners: Sequence[CheckpointSaverListener] | None = None,
    ) -> None:
        if saver is not None and scaffold is not None:
            raise ValueError("You cannot provide both saver and scaffold.")
        self._saver, self._scaffold = saver, scaffold
        self._path = os.path.join(checkpoint_dir, checkpoint_basename)
        self._timer = SecondOrStepTimer(every_secs=save_secs, every_steps=save_steps)
        self._listeners = list(listeners or ())

    def begin(self) -> None:
        self._step = step_tensor(self)
        for listener in self._listeners:
            listener.begin()

    def after_create_session(self, session: BaseSession, coord: Coordinator) -> None:
        step = int(session.run(self._step))
        self._save(session, step)
        self._timer.update_last_triggered_step(step)

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(self._step)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if not self._timer.should_trigger_for_step(int(run_values.results) + 1):
            return
        step = int(run_context.session.run(self._step))
        if self._timer.should_trigger_for_step(step):
            self._timer.update_last_triggered_step(step)
            if self._save(run_context.session, step):
                run_context.request_stop()

    def end(self, session: BaseSession) -> None:
        step = int(session.run(self._step))
        if step != self._timer.last_triggered_step():
            self._save(session, step)
        for listener in self._listeners:
            listener.end(session, step)

    def _save(self, session: BaseSession, step: int) -> bool:
        """Make a checkpoint; whether a listener wants training to stop."""
        logs.info("Saving checkpoints for %d into %s.", step, self._path)
        for listener in self._listeners:
            listener.before_save(session, step)
        self._chosen_saver().save(session, self._path, global_step=step)
        wishes = [listener.after_save(session, step) for listener in self._listeners]  # All of them are told.
        return any(wishes)

    def _chosen_saver(self) -> Saver:
        if self._saver is None and self._scaffold is not None:
            found: Saver = self._scaffold.saver
            return found
        if self._saver is None:
            savers = get_collection(GraphKeys.SAVERS)
            if not savers:
                raise RuntimeError(
                    f"No items in collection {GraphKeys.SAVERS}. Please add a saver to the collection or provide a "
                    "saver or scaffold."
                )
            if len(savers) > 1:
                raise RuntimeError(
                    f"More than one item in collection {GraphKeys.SAVERS}. Please indicate which one to use by passing "
                    "it to the constructor."
                )
            self._saver = savers[0]
        return self._saver
