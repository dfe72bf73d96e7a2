"""The chief initializes or restores; the others wait, but not for ever."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import paramserver_client.graph as tf
from support.server import Server


class Clock:
    """A clock that only moves when somebody sleeps; `then` happens on each sleep."""

    def __init__(self, then: Any = None) -> None:
        self.now = 0.0
        self.naps: list[float] = []
        self._then = then

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds
        if self._then is not None:
            self._then()


def manager(container: str, clock: Clock | None = None, **settings: Any) -> tf.train.SessionManager:
    clock = clock or Clock()
    return tf.train.SessionManager(container=container, clock=clock, sleep=clock.sleep, **settings)


def test_the_chief_initializes_and_the_others_wait_for_it(graph_server: Server) -> None:
    v = tf.Variable([1.0], name="v")
    local = tf.Variable(0, name="local", collections=["local_variables"], trainable=False)
    chief = manager("manager-wait")
    init = tf.global_variables_initializer()

    def start_chief() -> None:
        with chief.prepare_session(graph_server.url, init_op=init) as sess:
            sess.run(v.assign_add([1.0]))

    clock = Clock(start_chief)
    waiting = manager("manager-wait", clock, recovery_wait_secs=2.0)
    with waiting.wait_for_session(graph_server.url, max_wait_secs=10) as sess:
        assert [value.tolist() for value in sess.run([v, local])] == [[2.0], 0]
    assert clock.naps == [2.0]


def test_waiting_ends_and_names_what_is_missing(graph_server: Server) -> None:
    a, _ = tf.Variable([1.0], name="a"), tf.Variable([1.0], name="layer/b")
    with tf.Session(graph_server.url, container="manager-bounded") as sess:
        sess.run(a.initializer)
    clock = Clock()
    waiting = manager("manager-bounded", clock, recovery_wait_secs=4.0)
    with pytest.raises(
        tf.errors.DeadlineExceededError, match=r"after waiting 10 secs\. Still without a value: layer/b\."
    ):
        waiting.wait_for_session(graph_server.url, max_wait_secs=10)
    assert clock.naps == [4.0, 4.0, 2.0]


def test_the_chief_restores_when_there_is_a_checkpoint(graph_server: Server, tmp_path: Path) -> None:
    v = tf.Variable([1.0], name="v")
    saver = tf.train.Saver()
    init = tf.global_variables_initializer()
    for target, directory in (("", str(tmp_path / "m")), (graph_server.url, "manager-restore")):
        chief = manager("manager-restore")
        with chief.prepare_session(target, init, saver, directory) as sess:
            assert sess.run(v).tolist() == [1.0]
            sess.run(v.assign([8.0]))
            saver.save(sess, f"{directory}/model", 1)
            sess.run(v.assign([9.0]))
        with chief.prepare_session(target, init, saver, directory) as sess:
            assert sess.run(v).tolist() == [8.0]


def test_a_chief_that_cannot_make_it_ready() -> None:
    tf.Variable([1.0], name="v")
    with pytest.raises(RuntimeError, match="no init_op or init_fn or local_init_op was given"):
        manager("").prepare_session("")
    with pytest.raises(RuntimeError, match="did not make model ready: still without a value: v"):
        manager("").prepare_session("", init_op=tf.no_op())
    with pytest.raises(ValueError, match="both checkpoint_dir and checkpoint_filename_with_path"):
        manager("").prepare_session("", checkpoint_dir="a", checkpoint_filename_with_path="b")


def test_init_functions_and_waiting_for_a_checkpoint(tmp_path: Path) -> None:
    v = tf.Variable([1.0], name="v")
    assign = v.assign([5.0])
    with manager("").prepare_session("", init_fn=lambda sess: sess.run(assign)) as sess:
        assert sess.run(v).tolist() == [5.0]
    clock = Clock()
    with manager("", clock, recovery_wait_secs=3.0).prepare_session(
        "",
        tf.global_variables_initializer(),
        tf.train.Saver(),
        str(tmp_path),
        wait_for_checkpoint=True,
        max_wait_secs=7,
    ):
        assert clock.naps == [3.0, 3.0, 1.0]


def test_the_real_clock(graph_server: Server) -> None:
    v = tf.Variable([1.0], name="v")
    init = tf.global_variables_initializer()
    waiting = tf.train.SessionManager(container="manager-real", recovery_wait_secs=0.02)
    started: list[Any] = []

    def wait() -> None:
        with waiting.wait_for_session(graph_server.url, max_wait_secs=30) as sess:
            started.append(sess.run(v).tolist())

    thread = threading.Thread(target=wait)
    thread.start()
    with tf.train.SessionManager(container="manager-real").prepare_session(graph_server.url, init_op=init):
        thread.join(30)
    assert started == [[1.0]]


def test_an_operation_may_say_what_is_ready_and_local_ones_may_fail() -> None:
    v = tf.Variable([1.0], name="v")
    local = tf.Variable(0, name="local", collections=["local_variables"], trainable=False)
    check = tf.assert_variables_initialized([v])
    manager("", ready_op=check).prepare_session("", init_op=v.initializer).close()
    with pytest.raises(RuntimeError, match="model ready for local_init: still without a value: Attempting to use"):
        manager("", ready_for_local_init_op=check).prepare_session("", init_op=tf.no_op())
    with tf.Session() as sess:
        waiting = tf.train.SessionManager(
            local_init_op=tf.no_op(), ready_for_local_init_op=check, client=sess.client, recovery_wait_secs=0.0
        )
        sess.run(v.initializer)
        with pytest.raises(RuntimeError, match="local_init_op did not make model ready: still without a value: local"):
            waiting.wait_for_session("", max_wait_secs=1)
        assert waiting.resume_session() is None
        assert not waiting.is_ready(sess)
        sess.run(local.initializer)
        assert waiting.is_ready(sess)
