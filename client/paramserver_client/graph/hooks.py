"""The usual hooks of monitored sessions: stop, log, check, wait. The one that saves is in `saver_hook`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from paramserver_client.graph import logs
from paramserver_client.graph.coordinator import Coordinator
from paramserver_client.graph.graph import get_default_graph
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.session import BaseSession
from paramserver_client.graph.session_run_hook import (
    SessionRunArgs,
    SessionRunContext,
    SessionRunHook,
    SessionRunValues,
)
from paramserver_client.graph.training_util import get_global_step, global_step_before_run


class SecondOrStepTimer:
    """Says when something is due: every so many seconds, or every so many steps, and at first.

    Raises ValueError unless exactly one is given.
    """

    def __init__(self, every_secs: float | None = None, every_steps: int | None = None) -> None:
        if every_secs is None and every_steps is None:
            raise ValueError("Either every_secs or every_steps should be provided.")
        if every_secs is not None and every_steps is not None:
            raise ValueError("Can not provide both every_secs and every_steps.")
        self._every_s, self._every_steps = every_secs, every_steps
        self.reset()

    def reset(self) -> None:
        """Forget when it was triggered."""
        self._last_step: int | None = None
        self._last_time: float | None = None

    def should_trigger_for_step(self, step: int) -> bool:
        """Whether it is due at this step."""
        if self._last_step is None or self._last_time is None:
            return True
        if self._last_step == step:
            return False
        if self._every_s is not None:
            return time.monotonic() >= self._last_time + self._every_s
        return step >= self._last_step + (self._every_steps or 0)

    def update_last_triggered_step(self, step: int) -> tuple[float | None, int | None]:
        """It is done now; gives the seconds and the steps since the last time."""
        now = time.monotonic()
        elapsed_s = None if self._last_time is None else now - self._last_time
        elapsed_steps = None if self._last_step is None else step - self._last_step
        self._last_time, self._last_step = now, step
        return elapsed_s, elapsed_steps

    def last_triggered_step(self) -> int | None:
        """The step of the last time, or None."""
        return self._last_step


class _Never(SecondOrStepTimer):
    def __init__(self) -> None:
        super().__init__(every_steps=1)

    def should_trigger_for_step(self, step: int) -> bool:
        return False


def step_tensor(hook: SessionRunHook) -> Tensor:
    """The global step as it is when a run begins. Raises RuntimeError, which names the hook, when there is none."""
    step = global_step_before_run()
    if step is None:
        raise RuntimeError(f"Global step should be created to use {type(hook).__name__}.")
    return step


class StopAtStepHook(SessionRunHook):
    """Asks to stop once the global step is `last_step`, or `num_steps` after the start.

    Raises ValueError unless exactly one is given; RuntimeError, when training begins, without a global step.
    """

    def __init__(self, num_steps: int | None = None, last_step: int | None = None) -> None:
        if num_steps is None and last_step is None:
            raise ValueError("One of num_steps or last_step must be specified.")
        if num_steps is not None and last_step is not None:
            raise ValueError("Only one of num_steps or last_step can be specified.")
        self._num_steps, self._last_step = num_steps, last_step

    def begin(self) -> None:
        self._step = step_tensor(self)

    def after_create_session(self, session: BaseSession, coord: Coordinator) -> None:
        if self._last_step is None:
            self._last_step = int(session.run(self._step)) + (self._num_steps or 0)

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(self._step)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        last = self._last_step or 0
        # The step was read before the run, which may or may not have counted it up.
        if run_values.results + 1 >= last and run_context.session.run(self._step) >= last:
            run_context.request_stop()


class LoggingTensorHook(SessionRunHook):
    """Logs the values of tensors every `every_n_iter` runs, or every `every_n_secs` seconds, or `at_end`, at INFO.

    `tensors` are a list of tensors or names, or a dict of these by tag; `formatter` makes one text of the values by tag.
    Raises ValueError unless exactly one way is chosen (`at_end` may come on top).
    """

    def __init__(
        self,
        tensors: Any,
        every_n_iter: int | None = None,
        every_n_secs: float | None = None,
        at_end: bool = False,
        formatter: Callable[[Mapping[Any, Any]], str] | None = None,
    ) -> None:
        only_at_end = at_end and every_n_iter is None and every_n_secs is None
        if not only_at_end and (every_n_iter is None) == (every_n_secs is None):
            raise ValueError("either at_end and/or exactly one of every_n_iter and every_n_secs must be provided.")
        if every_n_iter is not None and every_n_iter <= 0:
            raise ValueError(f"invalid every_n_iter={every_n_iter}.")
        self._tensors = tensors if isinstance(tensors, dict) else {each: each for each in tensors}
        self._tags = sorted(tensors) if isinstance(tensors, dict) else list(tensors)
        self._formatter = formatter
        self._at_end = at_end
        self._timer = _Never() if only_at_end else SecondOrStepTimer(every_n_secs, every_n_iter)

    def begin(self) -> None:
        self._timer.reset()
        self._runs = 0
        self._fetches = {tag: _element(tensor) for tag, tensor in self._tensors.items()}

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        self._due = self._timer.should_trigger_for_step(self._runs)
        return SessionRunArgs(self._fetches) if self._due else None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if self._due:
            self._log(run_values.results)
        self._runs += 1

    def end(self, session: BaseSession) -> None:
        if self._at_end:
            self._log(session.run(self._fetches))

    def _log(self, values: Mapping[Any, Any]) -> None:
        elapsed_s, _ = self._timer.update_last_triggered_step(self._runs)
        with np.printoptions(suppress=True):
            text = ", ".join(f"{tag} = {values[tag]}" for tag in self._tags)
            if self._formatter is not None:
                logs.info("%s", self._formatter(values))
            elif elapsed_s is None:
                logs.info("%s", text)
            else:
                logs.info("%s (%.3f sec)", text, elapsed_s)


class StepCounterHook(SessionRunHook):
    """Logs how many steps a second are made, every `every_n_steps` steps or `every_n_secs` seconds, and warns when the
    global step stands still. Raises ValueError unless exactly one is given. No summaries are written."""

    def __init__(
        self,
        every_n_steps: int | None = 100,
        every_n_secs: float | None = None,
        output_dir: str | None = None,
        summary_writer: Any = None,
    ) -> None:
        if (every_n_steps is None) == (every_n_secs is None):
            raise ValueError("exactly one of every_n_steps and every_n_secs should be provided.")
        self._timer = SecondOrStepTimer(every_n_secs, every_n_steps)
        self._last: int | None = None
        self._stands_for = 0

    def begin(self) -> None:
        self._step = step_tensor(self)
        self._tag = f"{get_global_step().op.name}/sec"

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(self._step)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        before = int(run_values.results)
        if self._timer.should_trigger_for_step(before + 1):
            step = int(run_context.session.run(self._step))
            if self._timer.should_trigger_for_step(step):
                elapsed_s, steps = self._timer.update_last_triggered_step(step)
                if elapsed_s and steps is not None:
                    logs.info("%s: %g", self._tag, steps / elapsed_s)
        self._stands_for = self._stands_for + 1 if before == self._last else 0
        if self._stands_for and self._stands_for % 20 == 0:
            logs.warning(
                "It seems that global step (tf.train.get_global_step) has not been increased. Current value (could be "
                "stable): %s. You could increase the global step by passing tf.train.get_global_step() to "
                "Optimizer.apply_gradients or Optimizer.minimize.",
                before,
            )
        self._last = before


class NanLossDuringTrainingError(RuntimeError):
    """The loss became NaN."""

    def __str__(self) -> str:
        return "NaN loss during training."


class NanTensorHook(SessionRunHook):
    """Watches a loss: when it is NaN, raises NanLossDuringTrainingError, or asks to stop with `fail_on_nan_loss=False`."""

    def __init__(self, loss_tensor: Any, fail_on_nan_loss: bool = True) -> None:
        self._loss, self._fails = loss_tensor, fail_on_nan_loss

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(self._loss)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if not np.isnan(run_values.results):
            return
        if self._fails:
            logs.error("Model diverged with loss = NaN.")
            raise NanLossDuringTrainingError
        logs.warning("Model diverged with loss = NaN.")
        run_context.request_stop()


class GlobalStepWaiterHook(SessionRunHook):
    """Lets a worker begin once the global step is `wait_until_step`: workers start one after the other."""

    def __init__(self, wait_until_step: int, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._wait_until_step = wait_until_step
        self._sleep = sleep

    def begin(self) -> None:
        self._started = self._wait_until_step <= 0
        self._step = step_tensor(self)

    def before_run(self, run_context: SessionRunContext) -> None:
        if not self._started:
            logs.info("Waiting for global step %d before starting training.", self._wait_until_step)
        while not self._started:
            self._started = bool(run_context.session.run(self._step) >= self._wait_until_step)
            if not self._started:
                self._sleep(0.5)


class FinalOpsHook(SessionRunHook):
    """Runs `final_ops` at the end of the session; their values are then in `final_ops_values`."""

    def __init__(self, final_ops: Any, final_ops_feed_dict: Any = None) -> None:
        self._final_ops, self._feed_dict = final_ops, final_ops_feed_dict
        self._values: Any = None

    @property
    def final_ops_values(self) -> Any:
        return self._values

    def end(self, session: BaseSession) -> None:
        if self._final_ops is not None:
            self._values = session.run(self._final_ops, feed_dict=self._feed_dict)


class FeedFnHook(SessionRunHook):
    """Feeds what `feed_fn()` gives before each run."""

    def __init__(self, feed_fn: Callable[[], Any]) -> None:
        self.feed_fn = feed_fn

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(fetches=None, feed_dict=self.feed_fn())


def _element(tensor: Any) -> Tensor | Operation:
    """A tensor of the default graph by itself or by name; `loss` is `loss:0`. Raises ValueError for one of several."""
    graph = get_default_graph()
    if not isinstance(tensor, str):
        return graph.as_graph_element(tensor)
    if ":" in tensor:
        return graph.as_graph_element(tensor)
    element = graph.as_graph_element(f"{tensor}:0")
    op = element.op if isinstance(element, Tensor) else element
    if len(op.outputs) > 1:
        raise ValueError(f"Name {tensor} is ambiguous, as this Operation has multiple outputs (at least 2).")
    return element


def all_hooks(hooks: Iterable[SessionRunHook] | None) -> list[SessionRunHook]:
    """The hooks as a list. Raises TypeError for what is none."""
    found = list(hooks or ())
    for hook in found:
        if not isinstance(hook, SessionRunHook):
            raise TypeError(f"Wanted a SessionRunHook, got {hook!r}; make one, not its class.")
    return found
