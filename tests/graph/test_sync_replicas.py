"""Replicas that step together: the reference page's figures, three of them with exact results, stragglers, and deaths."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from paramserver_client import ParameterClient
from paramserver_client.graph.sync_rounds import Round
from support.graph_target import Target
from support.server import Server


def steps_of(model: Model, sessions: Sequence[tf.Session], gradients: Sequence[float]) -> list[Callable[[], Any]]:
    """One run of the training operation for each session, with its gradient."""

    def step(sess: tf.Session, gradient: float) -> Callable[[], Any]:
        return lambda: sess.run(model.train, {model.g: [gradient]})

    return [step(sess, gradient) for sess, gradient in zip(sessions, gradients, strict=True)]


class Model:
    """One variable, whose gradient is fed, trained by replicas together."""

    def __init__(self, wanted: int, total: int | None = None, opt: Any = None, **settings: Any) -> None:
        self.v = tf.Variable([0.0], name="v")
        self.g = tf.placeholder(tf.float32, [1])
        self.step = tf.train.get_or_create_global_step()
        opt = tf.train.GradientDescentOptimizer(1.0) if opt is None else opt
        self.sync = tf.train.SyncReplicasOptimizer(opt, wanted, total, **settings)
        self.train = self.sync.apply_gradients([(self.g, self.v)], self.step)
        self.init = tf.global_variables_initializer()

    def start(self, sess: tf.Session, tokens: int | None = -1) -> None:
        """What the chief does first."""
        sess.run(self.init)
        sess.run(self.sync.chief_init_op)
        if tokens is not None:
            sess.run(self.sync.get_init_tokens_op(tokens))

    def now(self, sess: tf.Session) -> tuple[float, int]:
        v, step = sess.run([self.v, self.step])
        return float(v[0]), int(step)


def together(*works: Callable[[], Any]) -> None:
    """Do all at once, and wait for all; the first error is raised."""
    coord = tf.train.Coordinator()

    def guarded(work: Callable[[], Any]) -> None:
        with coord.stop_on_exception():
            work()

    coord.join([thread for work in works if (thread := threading.Thread(target=guarded, args=(work,))).start() is None])


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does; the test's own limit ends it."""
    while not condition():
        threading.Event().wait(0.005)


def arrived(model: Model, sess: tf.Session) -> int:
    """How many gradients of the present step are on the server."""
    return Round.read(sess.run(model.sync._rounds.vector)).count


def test_one_replica_with_init_tokens_drops_the_stale_gradient(sess: tf.Session) -> None:
    model = Model(1)
    model.start(sess)
    seen = []
    for gradient in (1.0, 3.0, 5.0):
        assert sess.run(model.train, {model.g: [gradient]}) is None
        seen.append(model.now(sess))
    assert seen == [(-1.0, 1), (-1.0, 1), (-6.0, 2)]


def test_two_replicas_apply_the_mean_once_both_are_there(target: Target) -> None:
    model = Model(2)
    with target.session() as one, target.session() as two:
        model.start(one, tokens=None)
        two.run(model.sync.local_step_init_op)

        def second() -> None:
            until(lambda: arrived(model, two) == 1)
            assert model.now(two) == (0.0, 0)
            two.run(model.train, {model.g: [3.0]})

        together(lambda: one.run(model.train, {model.g: [1.0]}), second)
        assert model.now(one) == (-2.0, 1)
        assert [sess.run(model.sync._local_step) for sess in (one, two)] == [1, 1]


def _replica(url: str, container: str, replica: int, steps: int, tokens: int) -> None:
    v = tf.get_variable("v", [3], dtype=tf.float64, initializer=tf.zeros_initializer())
    rows = tf.get_variable("rows", [4, 2], dtype=tf.float64, initializer=tf.zeros_initializer())
    step = tf.train.get_or_create_global_step()
    x = tf.placeholder(tf.float64, [3])
    loss = tf.reduce_sum(tf.square(v - x)) / 2.0 + tf.reduce_sum(tf.nn.embedding_lookup(rows, [replica, 3, 3]))
    sync = tf.train.SyncReplicasOptimizer(tf.train.MomentumOptimizer(0.5, 0.5), 3, replica=replica, wait_s=60.0)
    train = sync.minimize(loss, global_step=step)
    hooks = [sync.make_session_run_hook(replica == 0, num_tokens=tokens), tf.train.StopAtStepHook(last_step=steps)]
    with tf.train.MonitoredTrainingSession(
        url, replica == 0, hooks=hooks, container=container, recovery_wait_secs=0.05
    ) as session:
        while not session.should_stop():
            session.run(train, {x: np.array([1.0, 2.0, 3.0]) * (replica + 1)})


def _expected(steps: int) -> tuple[Any, Any]:
    """The same by hand: the mean of three gradients a step, with momentum."""
    v, rows = np.zeros(3), np.zeros((4, 2))
    a, b = np.zeros(3), np.zeros((4, 2))
    # Rows 0, 1, 2 had a gradient of one replica each; row 3 had twice 1 of all three.
    per_row = np.array([1.0, 1.0, 1.0, 2.0])[:, None] * np.ones((4, 2))
    for _ in range(steps):
        a = 0.5 * a + np.mean([v - np.array([1.0, 2.0, 3.0]) * (k + 1) for k in range(3)], axis=0)
        b = 0.5 * b + per_row
        v, rows = v - 0.5 * a, rows - 0.5 * b
    return v, rows


@pytest.mark.parametrize("tokens", [0, -1])
def test_three_worker_processes_make_exactly_the_steps_of_one(graph_server: Server, tokens: int) -> None:
    container, steps = f"sync-three{tokens}", 8
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_replica, args=(graph_server.url, container, k, steps, tokens)) for k in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(90)
        assert worker.exitcode == 0
    v, rows = _expected(steps)
    with ParameterClient(graph_server.url) as client:
        np.testing.assert_allclose(client.read(f"{container}/v"), v, rtol=1e-6)
        np.testing.assert_allclose(client.read(f"{container}/rows"), rows, rtol=1e-6)
        assert int(client.read(f"{container}/global_step")) == steps


def _mortal(url: str, container: str, replica: int, steps: int) -> None:
    """One of three of which two are enough; the last one is killed when it has handed in its first gradient."""
    model = Model(2, 3, replica=replica, wait_s=60.0)
    hooks = [model.sync.make_session_run_hook(replica == 0, num_tokens=0), tf.train.StopAtStepHook(last_step=steps)]
    with tf.train.MonitoredTrainingSession(
        url, replica == 0, hooks=hooks, container=container, recovery_wait_secs=0.05
    ) as session:
        rounds = model.sync._rounds
        assert rounds is not None
        if replica == 2:
            rounds._token = lambda session, handed_in: os.kill(os.getpid(), signal.SIGKILL)
        while not session.should_stop():
            session.run(model.train, {model.g: [1.0]})


def test_a_replica_that_is_killed_costs_no_step(graph_server: Server) -> None:
    container, steps = "sync-mortal", 12
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_mortal, args=(graph_server.url, container, k, steps)) for k in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(90)
    assert [worker.exitcode for worker in workers] == [0, 0, -signal.SIGKILL]
    with ParameterClient(graph_server.url) as client:
        assert int(client.read(f"{container}/global_step")) == steps
        assert client.read(f"{container}/v").tolist() == [-float(steps)]


@pytest.mark.parametrize("make", [tf.train.AdamOptimizer, tf.train.AdagradOptimizer, tf.train.FtrlOptimizer])
def test_the_mean_goes_through_any_optimizer(target: Target, make: Any) -> None:
    model = Model(2, opt=make(0.1), variable_averages=tf.train.ExponentialMovingAverage(0.5))
    with tf.Graph().as_default(), tf.Session() as alone:
        v, g = tf.Variable([0.0]), tf.placeholder(tf.float32, [1])
        train = make(0.1).apply_gradients([(g, v)])
        alone.run(tf.global_variables_initializer())
        for gradient in (2.0, -1.0):
            alone.run(train, {g: [gradient]})
        wanted = alone.run(v)
    with target.session() as one, target.session() as two:
        model.start(one, tokens=0)
        two.run(model.sync.local_step_init_op)
        for pair in ((1.0, 3.0), (-4.0, 2.0)):
            together(*steps_of(model, (one, two), pair))
        np.testing.assert_allclose(one.run(model.v), wanted, atol=1e-7)
        assert one.run("v/ExponentialMovingAverage:0").shape == (1,)
        assert abs(float(one.run("v/ExponentialMovingAverage:0")[0])) > 0
    assert model.sync.get_slot_names() == model.sync._opt.get_slot_names()
    assert model.sync.variables() == model.sync._opt.variables()
    for name in model.sync.get_slot_names():
        assert model.sync.get_slot(model.v, name) is model.sync._opt.get_slot(model.v, name)


def test_a_backup_replica_is_left_behind(target: Target) -> None:
    """Two of three are enough; the third's gradient of that step is dropped, and it goes on with the others."""
    model = Model(2, 3)
    with target.session() as one, target.session() as two, target.session() as slow:
        model.start(one, tokens=0)
        for sess in (two, slow):
            sess.run(model.sync.local_step_init_op)
        together(*steps_of(model, (one, two), (4.0, 4.0)))
        assert model.now(one) == (-4.0, 1)
        slow.run(model.train, {model.g: [1000.0]})
        assert model.now(one) == (-4.0, 1)
        together(*steps_of(model, (slow, two), (2.0, 2.0)))
        assert model.now(one) == (-6.0, 2)


def test_fewer_replicas_than_gradients_make_several_runs_a_step(sess: tf.Session) -> None:
    model = Model(3, 1)
    with pytest.raises(ValueError, match=r"Too few tokens to finish the first step: 1 \(given\) vs 2 \(needed\)"):
        model.sync.get_init_tokens_op(1)
    model.start(sess, tokens=2)
    for gradient in (3.0, 6.0, 9.0):
        sess.run(model.train, {model.g: [gradient]})
    assert model.now(sess) == (-6.0, 1)


def test_a_full_step_is_applied_by_whoever_sees_it(target: Target) -> None:
    """The replica that handed in the last gradient died before it applied them."""
    model = Model(2, 3)
    with target.session() as one, target.session() as other:
        model.start(one, tokens=0)
        other.run(model.sync.local_step_init_op)
        rounds = model.sync._rounds
        assert rounds is not None
        died, rounds._token = rounds._token, lambda session, handed_in: 0
        try:
            for gradient in (1.0, 3.0):
                one.run(model.train, {model.g: [gradient]})
        finally:
            rounds._token = died
        assert (model.now(one), arrived(model, one)) == ((0.0, 0), 2)
        other.run(model.train, {model.g: [5.0]})  # TensorFlow, too, takes the mean of all that are there.
        assert model.now(one) == (-3.0, 1)


def test_waiting_ends_and_says_who_is_missing(target: Target) -> None:
    model = Model(3, replica=1, wait_s=0.05)
    with target.session() as sess:
        model.start(sess, tokens=None)
        with pytest.raises(
            tf.errors.DeadlineExceededError,
            match=r"Waited 0.05 s for the gradients of step 0: 1 of 3 have arrived, from replica 1\. "
            r"Still missing: replicas 0, 2\.",
        ):
            sess.run(model.train, {model.g: [1.0]})
    tf.reset_default_graph()
    with tf.device(tf.train.replica_device_setter(1, worker_device="/job:worker/task:2")):
        model = Model(4, wait_s=0.05)
    with tf.Session() as sess:
        model.start(sess, tokens=1)
        with pytest.raises(
            tf.errors.DeadlineExceededError,
            match=r"1 of 4 have arrived, from replica 2\. Still missing: replicas 0, 1, 3",
        ):
            sess.run(model.train, {model.g: [1.0]})


def test_waiting_without_numbers(sess: tf.Session) -> None:
    model = Model(3, wait_s=0.0)
    model.start(sess, tokens=None)
    with pytest.raises(
        tf.errors.DeadlineExceededError, match=r"1 of 3 have arrived\. Still missing: 2 more\. Are they"
    ):
        sess.run(model.train, {model.g: [1.0]})


def test_rows_are_averaged_by_how_many_had_them(target: Target) -> None:
    """As TensorFlow's sparse accumulator; rows that nobody had stay as they are, though momentum would move them."""
    v = tf.Variable(np.zeros((4, 1), np.float32), name="v")
    values, indices = tf.placeholder(tf.float32, [None, 1]), tf.placeholder(tf.int64, [None])
    step = tf.train.get_or_create_global_step()
    sync = tf.train.SyncReplicasOptimizer(tf.train.MomentumOptimizer(1.0, 0.5), 2)
    train = sync.apply_gradients([(tf.IndexedSlices(values, indices), v)], step)
    init = tf.global_variables_initializer()
    with target.session() as one, target.session() as two:
        for op in (init, sync.chief_init_op):
            one.run(op)
        two.run(sync.local_step_init_op)

        def hand_in(sess: tf.Session, rows: dict[int, float]) -> Callable[[], Any]:
            fed = {values: [[each] for each in rows.values()], indices: list(rows)}
            return lambda: sess.run(train, fed)

        together(hand_in(one, {0: 1.0, 3: 2.0}), hand_in(two, {3: 6.0}))
        assert one.run(v).ravel().tolist() == [-1.0, 0.0, 0.0, -4.0]
        together(hand_in(one, {1: 5.0}), hand_in(two, {3: 1.0}))
        assert one.run(v).ravel().tolist() == [-1.0, -5.0, 0.0, -4.0 - 3.0]


def test_changes_at_the_same_time_all_count(target: Target) -> None:
    model = Model(1)
    sessions = [target.session() for _ in range(4)]
    try:
        model.start(sessions[0], tokens=None)
        tokens = model.sync.get_init_tokens_op(3)
        together(*[lambda sess=sess: [sess.run(tokens) for _ in range(4)] for sess in sessions])
        assert Round.read(sessions[0].run(model.sync._rounds.vector)).tokens == (0,) * 48
    finally:
        for sess in sessions:
            sess.close()


def test_the_others_go_when_the_chief_ends(target: Target) -> None:
    model = Model(2, wait_s=60.0)
    hook, other = (model.sync.make_session_run_hook(chief, num_tokens=0) for chief in (True, False))
    # The hooks' operations are made before the graph is final.
    graph, ready, results = tf.get_default_graph(), threading.Event(), []

    def work() -> None:
        with (
            graph.as_default(),
            tf.train.MonitoredTrainingSession(
                is_chief=False, hooks=[other], scaffold=scaffold, recovery_wait_secs=0.01, **target.where
            ) as session,
        ):
            ready.set()
            while not session.should_stop():
                results.append(session.run(model.train, {model.g: [1.0]}))
        results.append("ended well")

    hook.begin(), other.begin()
    hook.begin = other.begin = lambda: None
    scaffold = tf.train.Scaffold().finalize()
    with tf.train.MonitoredTrainingSession(hooks=[hook], scaffold=scaffold, **target.where) as chief:
        thread = threading.Thread(target=work)
        thread.start()
        assert ready.wait(30)
        with target.session() as looking:
            until(lambda: arrived(model, looking) == 1)
        assert not chief.should_stop()
    thread.join(30)
    assert results == ["ended well"]


def test_hooks_and_errors() -> None:
    opt = tf.train.SyncReplicasOptimizer(tf.train.GradientDescentOptimizer(1.0), 2)
    v, step = tf.Variable([0.0], name="v"), tf.train.get_or_create_global_step()
    with pytest.raises(ValueError, match="Must supply at least one variable"):
        opt.apply_gradients([], step)
    with pytest.raises(ValueError, match="Global step is required to check staleness"):
        opt.apply_gradients([(tf.ones([1]), v)])
    with pytest.raises(ValueError, match=r"Should be called after apply_gradients\(\)"):
        opt.get_chief_queue_runner()
    with pytest.raises(ValueError, match=r"get_init_tokens_op\(\) should be called after apply_gradients"):
        opt.get_init_tokens_op()
    with pytest.raises(ValueError, match="should be called before using the hook"):
        opt.make_session_run_hook(True).begin()
    with pytest.raises(ValueError, match="Unknown grad type"):
        opt.apply_gradients([([1.0], v)], step)
    assert opt.compute_gradients(v * 2.0)[0][1] is v
    train = opt.minimize(tf.reduce_sum(v), global_step=step)
    assert train.type == "Assign"
    assert opt.get_chief_queue_runner().create_threads(None) == []
    assert opt.get_init_tokens_op(0).name == "no_init_tokens"
    with pytest.raises(ValueError, match="Too many tokens: 1000"):
        opt.get_init_tokens_op(1000)
    assert [each.op.name for each in tf.local_variables()] == ["sync_rep_local_step"]
    assert [each.op.name for each in tf.global_variables()] == ["v", "global_step"]
    hook = opt.make_session_run_hook(False)
    hook.begin()
    with (
        tf.Session() as sess,
        pytest.raises(RuntimeError, match=r"did not make model ready for SyncReplicasOptimizer local_init.*: v, glo"),
    ):
        hook.after_create_session(sess, tf.train.Coordinator())


def test_a_restored_job_forgets_the_gradients_of_another_time(target: Target, tmp_path: Path) -> None:
    model = Model(2)
    saver = tf.train.Saver()
    path = str(tmp_path / "m") if target.kind == "embedded" else f"{target.container}/sync"
    with target.session() as one, target.session() as two:
        model.start(one, tokens=0)
        prefix = saver.save(one, path)
        two.run(model.sync.local_step_init_op)
        together(*steps_of(model, (one, two), (1.0, 1.0)))
        rounds = model.sync._rounds
        assert rounds is not None
        died, rounds._token = rounds._token, lambda session, handed_in: 0
        one.run(model.train, {model.g: [100.0]})
        rounds._token = died
        assert (model.now(one), arrived(model, one)) == ((-1.0, 1), 1)
        saver.restore(one, prefix)
        for op in (model.sync.chief_init_op, model.sync.get_init_tokens_op(0)):
            one.run(op)
        two.run(model.sync.local_step_init_op)
        assert arrived(model, one) == 0
        together(*steps_of(model, (one, two), (2.0, 2.0)))
        assert model.now(one) == (-2.0, 1)


def test_replicas_survive_that_the_server_is_killed_in_the_middle(tmp_path: Path) -> None:
    model = Model(2, wait_s=60.0)
    with Server(data_dir=tmp_path / "data") as server, tf.Session(server.url) as one, tf.Session(server.url) as two:
        model.start(one, tokens=0)
        two.run(model.sync.local_step_init_op)

        def second() -> None:
            until(lambda: arrived(model, two) == 1)
            server.kill()
            server.start()
            two.run(model.train, {model.g: [3.0]})

        together(lambda: one.run(model.train, {model.g: [1.0]}), second)
        assert model.now(one) == (-2.0, 1)


@pytest.mark.parametrize(
    "told",
    [Round(), Round(7, 2, True, (0, -1), (7, 7, 8)), Round(3, 9, False, tuple(range(4)), ())],
)
def test_rounds_are_written_and_read(told: Round) -> None:
    assert Round.read(told.written(4)) == told


def test_what_has_no_room_is_the_oldest_tokens_and_the_last_names() -> None:
    crowded = Round(5, 6, False, tuple(range(6)), (3, 4, 4, 5, 5, 5))
    assert Round.read(crowded.written(4)) == Round(5, 6, False, (0, 1, 2, 3), (4, 5, 5, 5))
