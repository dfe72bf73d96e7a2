"""The usual hooks, in real sessions."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from support.graph_target import Target


def counting() -> tuple[tf.Variable, tf.Tensor]:
    step = tf.train.get_or_create_global_step()
    return step, tf.assign_add(step, 1)


def loop(session: Any, fetches: Any, limit: int = 50) -> list[Any]:
    """Run until the session says stop; everything that was fetched."""
    found: list[Any] = []
    while not session.should_stop():
        assert len(found) < limit
        found.append(session.run(fetches))
    return found


def test_stopping_at_a_step_and_after_some_steps(target: Target, tmp_path: Any) -> None:
    _, count = counting()
    for hook, wanted in (
        (tf.train.StopAtStepHook(last_step=3), [1, 2, 3]),
        (tf.train.StopAtStepHook(num_steps=2), [1, 2]),
    ):
        with tf.train.SingularMonitoredSession([hook], **target.where) as session:
            assert [int(each) for each in loop(session, count)] == wanted
    for settings in ({}, {"num_steps": 1, "last_step": 1}):
        with pytest.raises(ValueError, match="num_steps or last_step"):
            tf.train.StopAtStepHook(**settings)


def test_hooks_need_a_global_step() -> None:
    for make in (
        lambda: tf.train.StopAtStepHook(last_step=1),
        lambda: tf.train.StepCounterHook(),
        lambda: tf.train.CheckpointSaverHook("d", save_steps=1),
        lambda: tf.train.GlobalStepWaiterHook(1),
    ):
        with pytest.raises(RuntimeError, match=f"Global step should be created to use {type(make()).__name__}"):
            tf.train.SingularMonitoredSession([make()])
    with pytest.raises(TypeError, match="Wanted a SessionRunHook, got"):
        tf.train.SingularMonitoredSession([tf.train.StepCounterHook])


class Listener(tf.train.CheckpointSaverListener):
    def __init__(self, stop_at: int) -> None:
        self.told: list[tuple[str, int]] = []
        self._stop_at = stop_at

    def begin(self) -> None:
        self.told.append(("begin", -1))

    def before_save(self, session: Any, global_step_value: int) -> None:
        self.told.append(("before", global_step_value))

    def after_save(self, session: Any, global_step_value: int) -> bool:
        self.told.append(("after", global_step_value))
        return global_step_value >= self._stop_at

    def end(self, session: Any, global_step_value: int) -> None:
        self.told.append(("end", global_step_value))


def test_saving_and_its_listeners(target: Target, tmp_path: Any) -> None:
    _, count = counting()
    listener = Listener(stop_at=4)
    directory = str(tmp_path / "ckpt") if target.kind == "embedded" else f"{target.container}-ckpt"
    saver = tf.train.Saver(max_to_keep=10)
    hook = tf.train.CheckpointSaverHook(
        directory, save_steps=2, saver=saver, checkpoint_basename="m", listeners=[listener]
    )
    with tf.train.SingularMonitoredSession([hook], **target.where) as session:
        loop(session, count)
    assert saver.last_checkpoints == [f"{directory}/m-{step}" for step in (0, 2, 4)]
    saves = [(what, step) for step in (0, 2, 4) for what in ("before", "after")]
    assert listener.told == [("begin", -1), *saves, ("end", 4)]


def test_what_a_saving_hook_refuses() -> None:
    counting()
    saver = tf.train.Saver()
    with pytest.raises(ValueError, match="Either every_secs or every_steps"):
        tf.train.CheckpointSaverHook("d")
    with pytest.raises(ValueError, match="Can not provide both"):
        tf.train.CheckpointSaverHook("d", save_secs=1, save_steps=1)
    with pytest.raises(ValueError, match="both saver and scaffold"):
        tf.train.CheckpointSaverHook("d", save_steps=1, saver=saver, scaffold=tf.train.Scaffold())
    with pytest.raises(RuntimeError, match="No items in collection savers"):
        tf.train.CheckpointSaverHook("d", save_steps=1)._chosen_saver()
    tf.add_to_collection("savers", saver)
    assert tf.train.CheckpointSaverHook("d", save_steps=1)._chosen_saver() is saver
    tf.add_to_collection("savers", saver)
    with pytest.raises(RuntimeError, match="More than one item in collection savers"):
        tf.train.CheckpointSaverHook("d", save_steps=1)._chosen_saver()


def test_logging_tensors(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tensorflow")
    _, count = counting()
    tf.multiply(tf.constant(2.0), 3.0, name="six")
    hooks = [
        tf.train.LoggingTensorHook({"b": "six", "a": "six:0"}, every_n_iter=2),
        tf.train.LoggingTensorHook(["six"], at_end=True, formatter=lambda values: f"<{values['six']}>"),
        tf.train.StopAtStepHook(last_step=3),
    ]
    with tf.train.SingularMonitoredSession(hooks) as session:
        loop(session, count)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "a = 6.0, b = 6.0"
    assert lines[1].startswith("a = 6.0, b = 6.0 (0.")
    assert lines[2:] == ["<6.0>"]
    for settings in ({}, {"every_n_iter": 1, "every_n_secs": 1}):
        with pytest.raises(ValueError, match="at_end and/or exactly one"):
            tf.train.LoggingTensorHook([], **settings)
    with pytest.raises(ValueError, match="invalid every_n_iter=0"):
        tf.train.LoggingTensorHook([], every_n_iter=0)


def test_counting_steps(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tensorflow")
    step, count = counting()
    with tf.train.SingularMonitoredSession([tf.train.StepCounterHook(every_n_steps=2)]) as session:
        for _ in range(6):
            session.run(count)
        logged = [record.getMessage() for record in caplog.records]
        assert [line.split(":")[0] for line in logged] == ["global_step/sec"] * 2
        assert all(float(line.split(": ")[1]) > 0 for line in logged)
        for _ in range(22):
            session.run(step)
    assert "global step (tf.train.get_global_step) has not been increased" in caplog.records[-1].getMessage()
    with pytest.raises(ValueError, match="exactly one of every_n_steps"):
        tf.train.StepCounterHook(every_n_steps=None)


def test_nan_losses(caplog: pytest.LogCaptureFixture) -> None:
    loss = tf.placeholder(tf.float32, [])
    with tf.train.SingularMonitoredSession([tf.train.NanTensorHook(loss)]) as session:
        session.run(loss, {loss: 1.0})
        with pytest.raises(tf.train.NanLossDuringTrainingError, match="NaN loss during training"):
            session.run(loss, {loss: np.nan})
    with tf.train.SingularMonitoredSession([tf.train.NanTensorHook(loss, fail_on_nan_loss=False)]) as session:
        session.run(loss, {loss: np.nan})
        assert session.should_stop()
        with pytest.raises(RuntimeError, match="Run called even after should_stop requested"):
            session.run(loss, {loss: 1.0})


def test_waiting_for_a_global_step(target: Target) -> None:
    _, count = counting()
    naps: list[float] = []
    with tf.train.SingularMonitoredSession([tf.train.StopAtStepHook(last_step=9)], **target.where) as chief:

        def sleep(seconds: float) -> None:
            naps.append(seconds)
            chief.run(count)

        creator = tf.train.WorkerSessionCreator(**target.where)
        hooks = [tf.train.GlobalStepWaiterHook(2, sleep=sleep)]
        with tf.train.MonitoredSession(creator, hooks) as worker:
            assert worker.run(count) == 3
            assert worker.run(count) == 4
    assert naps == [0.5, 0.5]


def test_final_operations_and_feeds() -> None:
    p = tf.placeholder(tf.float32, [])
    double = p * 2.0
    final = tf.train.FinalOpsHook({"a": double}, {p: 4.0})
    with tf.train.SingularMonitoredSession([final, tf.train.FeedFnHook(lambda: {p: 5.0})]) as session:
        assert session.run(double) == 10.0
        assert final.final_ops_values is None
        with pytest.raises(RuntimeError, match="fed by a SessionRunHook and user"):
            session.run(double, {p: 1.0})
    assert final.final_ops_values == {"a": 8.0}
    twice = [tf.train.FeedFnHook(lambda: {p: 5.0})] * 2
    with (
        tf.train.SingularMonitoredSession(twice) as session,
        pytest.raises(RuntimeError, match="Same tensor is fed by two hooks"),
    ):
        session.run(double)


def test_timers() -> None:
    timer = tf.train.SecondOrStepTimer(every_steps=3)
    assert timer.should_trigger_for_step(1)
    assert timer.update_last_triggered_step(1) == (None, None)
    assert not timer.should_trigger_for_step(1)
    assert not timer.should_trigger_for_step(3)
    assert timer.should_trigger_for_step(4)
    elapsed, steps = timer.update_last_triggered_step(4)
    assert elapsed is not None
    assert (steps, timer.last_triggered_step()) == (3, 4)
    timer.reset()
    assert timer.last_triggered_step() is None
    often, seldom = (tf.train.SecondOrStepTimer(every_secs=seconds) for seconds in (0.0, 1000.0))
    for each in (often, seldom):
        each.update_last_triggered_step(1)
    assert (often.should_trigger_for_step(2), seldom.should_trigger_for_step(2)) == (True, False)


def test_logging_levels(capsys: pytest.CaptureFixture[str]) -> None:
    before = tf.logging.get_verbosity()
    try:
        tf.logging.set_verbosity(tf.logging.INFO)
        assert tf.logging.get_verbosity() == tf.logging.INFO == logging.INFO
        tf.logging.set_verbosity(tf.logging.ERROR)
        assert logging.getLogger("tensorflow").level == logging.ERROR
    finally:
        logging.getLogger("tensorflow").setLevel(logging.NOTSET)
    assert tf.logging.get_verbosity() == before


def test_names_of_tensors_to_log() -> None:
    tf.split(tf.constant([1.0, 2.0]), 2, name="parts")
    for name, error in (("parts", "Name parts is ambiguous"), ("absent", "absent")):
        with pytest.raises((ValueError, KeyError), match=error):
            tf.train.SingularMonitoredSession([tf.train.LoggingTensorHook([name], every_n_iter=1)])
    tf.train.SingularMonitoredSession([tf.train.LoggingTensorHook(["parts:1"], every_n_iter=1)]).close()


def test_what_is_logged_where_nobody_listens() -> None:
    program = (
        "import paramserver_client.graph as tf\n"
        "tf.logging.info('quiet')\n"
        "tf.logging.set_verbosity(tf.logging.DEBUG)\n"
        "for name in ('debug', 'info', 'warn', 'warning', 'error', 'fatal'):\n"
        "    getattr(tf.logging, name)('%s said', name)\n"
        "tf.logging.log(tf.logging.WARN, 'by number')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "DEBUG:tensorflow:debug said",
        "INFO:tensorflow:info said",
        "WARNING:tensorflow:warn said",
        "WARNING:tensorflow:warning said",
        "ERROR:tensorflow:error said",
        "CRITICAL:tensorflow:fatal said",
        "WARNING:tensorflow:by number",
    ]
