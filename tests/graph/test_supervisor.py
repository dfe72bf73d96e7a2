"""The supervisor: a session with a thread that saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import paramserver_client.graph as tf
from support.graph_target import Target


def where(target: Target) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the supervisor and its session are told."""
    settings = dict(target.where)
    master = settings.pop("master", "")
    return settings, {"master": master}


def test_it_restores_trains_saves_and_goes_on(target: Target, tmp_path: Path) -> None:
    count = tf.assign_add(tf.train.get_or_create_global_step(), 1)
    logdir = str(tmp_path / "log") if target.kind == "embedded" else f"{target.container}-log"
    settings, session_of = where(target)
    for expected in (1, 3):
        supervisor = tf.train.Supervisor(logdir=logdir, save_model_secs=1000, **settings)
        assert (supervisor.is_chief, supervisor.save_path) == (True, f"{logdir}/model.ckpt")
        with pytest.raises(RuntimeError, match="Graph is finalized"):
            tf.constant(1.0)
        with supervisor.managed_session(**session_of) as session:
            assert not supervisor.should_stop()
            assert session.run(count) == expected
            session.run(count)
        assert supervisor.should_stop()
    with target.session():
        assert tf.train.latest_checkpoint(logdir) == f"{logdir}/model.ckpt-4"


def test_errors_of_the_block_and_the_end_of_input(target: Target) -> None:
    tf.Variable(0.0)
    settings, session_of = where(target)
    supervisor = tf.train.Supervisor(**settings)
    with pytest.raises(KeyError, match="wrong"), supervisor.managed_session(**session_of):
        raise KeyError("wrong")
    with supervisor.managed_session(**session_of) as session:
        raise tf.errors.OutOfRangeError("no more data")
    with pytest.raises(RuntimeError, match="closed Session"):
        session.run([])


def test_a_worker_waits_and_starts_no_services(target: Target) -> None:
    v = tf.Variable(2.0, name="v")
    settings, session_of = where(target)
    chief = tf.train.Supervisor(init_fn=lambda session: None, **settings)
    worker = tf.train.Supervisor(is_chief=False, recovery_wait_secs=0.01, **settings)
    with chief.managed_session(**session_of), worker.managed_session(**session_of) as session:
        assert session.run(v) == 2.0
        with pytest.raises(RuntimeError, match="Only chief supervisor"):
            worker.start_standard_services(session)
        assert chief.start_standard_services(session) == []
        calls: list[int] = []
        chief.loop(0.001, lambda: (calls.append(1), chief.request_stop()))
        chief.wait_for_stop()
        assert calls
    with pytest.raises(ValueError, match="summary_op=.* is not supported"):  # noqa: RUF043
        tf.train.Supervisor(summary_op=v)
    assert tf.train.Supervisor(summary_op=None, summary_writer=None).saver is not None


def test_its_parts() -> None:
    tf.Variable(2.0, name="v")
    supervisor = tf.train.Supervisor(save_model_secs=7)
    assert supervisor.save_model_secs == 7
    assert supervisor.init_op is tf.get_collection("init_op")[0]
    assert supervisor.ready_op is tf.get_collection("ready_op")[0]
    assert isinstance(supervisor.session_manager, tf.train.SessionManager)
    assert supervisor.save_path is supervisor.global_step is None

    class Runner:
        def create_threads(self, sess: Any, coord: Any) -> list[Any]:
            assert coord is supervisor.coord
            return ["a thread"]

    with supervisor.managed_session() as session:
        assert supervisor.start_queue_runners(session, [Runner(), Runner()]) == ["a thread"] * 2
        assert supervisor.start_queue_runners(session) == []
