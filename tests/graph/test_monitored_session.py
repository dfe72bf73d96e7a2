"""Monitored sessions: what the chief and the others do, when hooks are called, how they end, and what they survive."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import paramserver_client.graph as tf
from paramserver_client import ParameterClient
from support.graph_target import Target
from support.server import Server


class Diary(tf.train.SessionRunHook):
    """Writes down what it is called for."""

    def __init__(self, fetch: Any = None) -> None:
        self.pages: list[Any] = []
        self._fetch = fetch

    def begin(self) -> None:
        self.pages.append("begin")

    def after_create_session(self, session: Any, coord: Any) -> None:
        assert isinstance(coord, tf.train.Coordinator)
        with pytest.raises(RuntimeError, match="Graph is finalized"):
            tf.constant(1.0)
        self.pages.append("created")

    def before_run(self, run_context: tf.train.SessionRunContext) -> Any:
        self.pages.append(("before", run_context.original_args.feed_dict))
        return None if self._fetch is None else tf.train.SessionRunArgs(self._fetch)

    def after_run(self, run_context: Any, run_values: tf.train.SessionRunValues) -> None:
        self.pages.append(("after", run_values.results))

    def end(self, session: Any) -> None:
        self.pages.append("end")


def counting() -> tf.Tensor:
    return tf.assign_add(tf.train.get_or_create_global_step(), 1)


def place(target: Target, tmp_path: Path) -> str:
    return str(tmp_path / "ckpt") if target.kind == "embedded" else f"{target.container}-ckpt"


def test_hooks_around_a_run_and_at_the_end(target: Target) -> None:
    p = tf.placeholder(tf.float32, [])
    double, triple = p * 2.0, p * 3.0
    silent, asking = Diary(), Diary({"t": triple})
    with tf.train.SingularMonitoredSession([silent, asking], **target.where) as session:
        assert session.graph is tf.get_default_graph()
        assert session.raw_session().run(double, {p: 1.0}) == 2.0
        assert session.run([double], {p: 2.0}) == [4.0]
    assert silent.pages == ["begin", "created", ("before", {p: 2.0}), ("after", None), "end"]
    assert asking.pages[3] == ("after", {"t": 6.0})
    assert session.should_stop()
    assert session.raw_session() is session.graph is None
    with pytest.raises(AttributeError, match="closed"):
        session.run(double, {p: 2.0})
    with pytest.raises(RuntimeError, match="Session is already closed"):
        session.close()
    tf.constant(1.0)  # The graph is open again.


@pytest.mark.parametrize(
    ("error", "ends"),
    [(ValueError("x"), False), (StopIteration(), True), (tf.errors.OutOfRangeError("end"), True)],
)
def test_how_a_block_ends(error: Exception, ends: bool) -> None:
    tf.Variable(0.0)
    diary, caught = Diary(), None
    try:
        with tf.train.MonitoredSession(hooks=[diary]):
            raise error
    except ValueError as raised:
        caught = raised
    assert (caught is None) is ends
    assert ("end" in diary.pages) is ends


def test_training_saves_at_the_start_on_the_way_and_at_the_end_and_goes_on(target: Target, tmp_path: Path) -> None:
    count, local = counting(), tf.Variable(7, collections=["local_variables"], trainable=False, name="l")
    directory = place(target, tmp_path)

    def train(last: int, **settings: Any) -> list[int]:
        hooks = [tf.train.StopAtStepHook(last_step=last)]
        steps = []
        with tf.train.MonitoredTrainingSession(
            checkpoint_dir=directory, hooks=hooks, save_checkpoint_steps=2, **settings, **target.where
        ) as session:
            assert session.run(local) == 7
            while not session.should_stop():
                steps.append(int(session.run(count)))
        return steps

    saver = tf.train.Saver(max_to_keep=10)
    assert train(5, scaffold=tf.train.Scaffold(saver=saver)) == [1, 2, 3, 4, 5]
    assert [path.rpartition("-")[2] for path in saver.last_checkpoints] == ["0", "2", "4", "5"]
    with target.session() as session:
        session.run(tf.train.get_global_step().assign(100))
    assert train(8) == [6, 7, 8]
    with target.session():
        assert tf.train.latest_checkpoint(directory) == f"{directory}/model.ckpt-8"


def test_a_number_of_steps_is_counted_from_where_training_goes_on(target: Target, tmp_path: Path) -> None:
    count, directory = counting(), place(target, tmp_path)
    for wanted in ([1, 2, 3], [4, 5, 6]):
        hooks, steps = [tf.train.StopAtStepHook(num_steps=3)], []
        with tf.train.MonitoredTrainingSession(checkpoint_dir=directory, hooks=hooks, **target.where) as session:
            while not session.should_stop():
                steps.append(int(session.run(count)))
        assert steps == wanted


def test_a_directory_needs_a_global_step(tmp_path: Path) -> None:
    tf.Variable(0.0)
    with pytest.raises(RuntimeError, match="Global step should be created to use StepCounterHook"):
        tf.train.MonitoredTrainingSession(checkpoint_dir=str(tmp_path))


def test_intervals_between_checkpoints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counting()
    made: list[Any] = []
    saving = tf.train.CheckpointSaverHook.__init__

    def noted(self: Any, directory: str, save_secs: Any = None, save_steps: Any = None, **rest: Any) -> None:
        made.append((save_secs, save_steps))
        saving(self, directory, save_secs, save_steps, **rest)

    monkeypatch.setattr(tf.train.CheckpointSaverHook, "__init__", noted)
    for settings in ({}, {"save_checkpoint_secs": 5}, {"save_checkpoint_steps": 3}, {"save_checkpoint_secs": None}):
        tf.train.MonitoredTrainingSession(checkpoint_dir=str(tmp_path), **settings).close()
    assert made == [(600, None), (5, None), (None, 3)]


def test_workers_wait_for_the_chief_and_share_its_variables(target: Target) -> None:
    count = counting()
    started, results = threading.Event(), []
    graph = tf.get_default_graph()

    def work() -> None:
        started.set()
        with (
            graph.as_default(),
            tf.train.MonitoredTrainingSession(is_chief=False, recovery_wait_secs=0.01, **target.where) as session,
        ):
            results.append(int(session.run(count)))

    scaffold = tf.train.Scaffold().finalize()
    assert tf.get_collection("init_op") == [scaffold.init_op]
    worker = threading.Thread(target=work)
    worker.start()
    assert started.wait(30)
    with tf.train.MonitoredTrainingSession(scaffold=scaffold, **target.where) as chief:
        worker.join(60)
        assert int(chief.run(count)) == 2
    assert results == [1]


def test_a_worker_waits_no_longer_than_it_is_told(target: Target) -> None:
    tf.Variable(0.0, name="never")
    with pytest.raises(tf.errors.DeadlineExceededError, match="Still without a value: never"):
        tf.train.MonitoredTrainingSession(is_chief=False, max_wait_secs=0, **target.where)


def test_local_initializers_wait_for_what_they_read(target: Target) -> None:
    v = tf.Variable(3.0, name="v")
    local = tf.Variable(v.read_value() * 2.0, name="l", collections=["local_variables"], trainable=False)
    with tf.train.MonitoredSession(tf.train.ChiefSessionCreator(**target.where)) as session:
        assert session.run(local) == 6.0
        with tf.train.MonitoredSession(tf.train.WorkerSessionCreator(**target.where)) as worker:
            assert worker.run(local) == 6.0


def test_scaffolds(target: Target) -> None:
    v = tf.Variable(1.0, name="v")
    p = tf.placeholder(tf.float32, [])
    told: list[Any] = []
    scaffold = tf.train.Scaffold(
        init_op=v.assign(p).op, init_feed_dict={p: 5.0}, init_fn=lambda given, session: told.append((given, session))
    )
    copied = tf.train.Scaffold(copy_from_scaffold=scaffold)
    with tf.train.SingularMonitoredSession(scaffold=copied, **target.where) as session:
        assert session.run(v) == 5.0
        assert told == [(copied, session.raw_session())]
    assert copied.saver is not None
    assert tf.get_collection("savers") == [copied.saver]
    with pytest.raises(TypeError, match="copy_from_scaffold is not a Scaffold"):
        tf.train.Scaffold(copy_from_scaffold=3)
    tf.add_to_collection("ready_op", tf.no_op())
    tf.add_to_collection("ready_op", tf.no_op())
    with pytest.raises(RuntimeError, match=r'More than one item in the collection "ready_op".*ready_op=item to use'):
        tf.train.Scaffold().finalize()
    with pytest.raises(ValueError, match="summary_op=.* is not supported"):  # noqa: RUF043
        tf.train.Scaffold(summary_op=p)
    with pytest.raises(NotImplementedError):
        tf.train.SessionCreator().create_session()


def test_steps_by_a_function() -> None:
    p = tf.placeholder(tf.float32, [])
    double, diary = p * 2.0, Diary()

    def step(step_context: Any) -> Any:
        if step_context.session.run(double, {p: 1.0}) != 2.0:
            raise AssertionError("the session runs without hooks")
        return step_context.run_with_hooks(double, {p: 3.0})

    def last(step_context: Any) -> None:
        step_context.request_stop()

    with tf.train.MonitoredSession(hooks=[diary]) as session:
        assert session.run_step_fn(step) == 6.0
        with pytest.raises(ValueError, match="one `step_context` argument"):
            session.run_step_fn(lambda other: None)
        session.run_step_fn(last)
        raise AssertionError("it ended before")
    assert diary.pages[2:] == [("before", {p: 3.0}), ("after", None), "end"]


def test_an_error_of_a_thread_is_raised_in_the_loop() -> None:
    class Failing(tf.train.SessionRunHook):
        def after_create_session(self, session: Any, coord: Any) -> None:
            def fail() -> None:
                with coord.stop_on_exception():
                    raise OSError("no more data")

            thread = threading.Thread(target=fail)
            coord.register_thread(thread)
            thread.start()
            thread.join()

    session = tf.train.SingularMonitoredSession([Failing()])
    assert session.should_stop()
    for use in (lambda: session.run([]), session.close):
        with pytest.raises(OSError, match="no more data"):
            use()


def test_a_loop_survives_that_the_server_is_killed_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is lost, as the server stays away longer than its requests may take; a new one goes on from what the
    server kept, which is more than the last checkpoint has."""
    count, diary = counting(), Diary()
    config = tf.ConfigProto(operation_timeout_in_ms=2000)
    resume = tf.train.SessionManager.resume_session
    with Server(data_dir=tmp_path / "data") as server:

        def resumed(*arguments: Any) -> Any:
            if server.process.returncode is not None:
                server.start()
            return resume(*arguments)

        monkeypatch.setattr(tf.train.SessionManager, "resume_session", resumed)
        with tf.train.MonitoredTrainingSession(
            server.url, checkpoint_dir="job", hooks=[diary], save_checkpoint_steps=100, config=config
        ) as session:
            assert [int(session.run(count)) for _ in range(3)] == [1, 2, 3]
            server.kill()
            assert int(session.run(count)) == 4
            assert [diary.pages.count(page) for page in ("begin", "created")] == [1, 2]
        with ParameterClient(server.url) as client:
            assert int(client.read("global_step")) == 4


def test_a_server_that_lost_all_is_given_the_newest_checkpoint(tmp_path: Path) -> None:
    """Without a data directory a killed server comes back empty; the chief restores what a local checkpoint has."""
    v = tf.Variable([1.0], name="v")
    saver, double = tf.train.Saver(), v.assign(v * 2.0)
    with tf.Session() as embedded:
        embedded.run(v.initializer)
        embedded.run(v.assign([21.0]))
        prefix = saver.save(embedded, str(tmp_path / "m"))
    config = tf.ConfigProto(operation_timeout_in_ms=5000)
    with Server() as server:
        creator = tf.train.ChiefSessionCreator(
            tf.train.Scaffold(saver=saver), server.url, config, checkpoint_filename_with_path=prefix
        )
        with tf.train.MonitoredSession(creator) as session:
            assert session.run(double).tolist() == [42.0]
            server.kill()
            server.start()
            assert session.run(double).tolist() == [42.0]


def test_a_singular_session_does_not_recover(tmp_path: Path) -> None:
    count = counting()
    config = tf.ConfigProto(operation_timeout_in_ms=1000)
    with Server() as server:
        session = tf.train.SingularMonitoredSession(master=server.url, config=config)
        session.run(count)
        server.kill()
        with pytest.raises(tf.errors.UnavailableError):
            session.run(count)
        with pytest.raises(tf.errors.UnavailableError), session:
            session.run(count)
        assert session.should_stop()


class Lost(tf.train.SessionRunHook):
    """Lets a thread report that the server was lost."""

    def __init__(self) -> None:
        self.coords: list[tf.train.Coordinator] = []

    def after_create_session(self, session: Any, coord: Any) -> None:
        self.coords.append(coord)


def test_a_loss_that_a_thread_reports(target: Target) -> None:
    v, lost = tf.Variable(1.0, name="v"), Lost()
    with tf.train.MonitoredSession(tf.train.ChiefSessionCreator(**target.where), [lost]) as session:
        for number in (1, 2):
            assert session.run(v) == 1.0
            assert len(lost.coords) == number
            lost.coords[-1].request_stop(tf.errors.UnavailableError("gone"))
            assert not session.should_stop()
        # It was dropped; the end still has a session to call the hooks with.
    assert len(lost.coords) == 3
    with tf.train.SingularMonitoredSession([lost], **target.where) as single:
        lost.coords[-1].request_stop(tf.errors.UnavailableError("gone"))
        assert single.should_stop()
        with pytest.raises(tf.errors.UnavailableError, match="gone"):
            single.run(v)
        lost.coords[-1].clear_stop()


def test_a_creator_of_ones_own_and_feeds_of_both(target: Target) -> None:
    class Mine(tf.train.SessionCreator):
        def create_session(self) -> tf.Session:
            return target.session()

    v, p, q = tf.Variable(1.0, name="v"), tf.placeholder(tf.float32, []), tf.placeholder(tf.float32, [])
    with tf.train.MonitoredSession(Mine(), [tf.train.FeedFnHook(lambda: {p: 5.0})]) as session:
        assert session.run(p + q, {q: 2.0}) == 7.0
        with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value v"):
            session.run(v, {q: 0.0})


def test_a_server_that_goes_while_it_is_asked_what_is_left(target: Target) -> None:
    class Mine(tf.train.SessionCreator):
        made = 0

        def create_session(self) -> tf.Session:
            Mine.made += 1
            session = target.session()
            if Mine.made > 1:
                session.run(v.initializer)
            return session

        def is_ready(self, session: tf.Session) -> bool:
            raise tf.errors.UnavailableError("gone")

    v = tf.Variable(1.0, name="v")
    with tf.train.MonitoredSession(Mine()) as session:
        assert session.run(v) == 1.0
    assert Mine.made == 2


def test_no_server_at_all() -> None:
    tf.Variable(1.0)
    config = tf.ConfigProto(operation_timeout_in_ms=50)
    with pytest.raises(tf.errors.UnavailableError):
        tf.train.SingularMonitoredSession(master="http://127.0.0.1:9", config=config)


def test_a_hook_that_fails_closes_the_session() -> None:
    class Failing(tf.train.SessionRunHook):
        def after_create_session(self, session: Any, coord: Any) -> None:
            self.session = session
            raise OSError("no data")

    hook = Failing()
    with pytest.raises(OSError, match="no data"):
        tf.train.MonitoredSession(hooks=[hook])
    with pytest.raises(RuntimeError, match="closed Session"):
        hook.session.run([])
