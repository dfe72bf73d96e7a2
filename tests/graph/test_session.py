"""Fetches, feeds, default sessions, control order, sharing: on both targets."""

from __future__ import annotations

import threading
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from paramserver_client import ParameterClient
from support.graph_target import Target
from support.server import Server

Pair = namedtuple("Pair", ["first", "second"])


def test_structures_come_back_as_they_went() -> None:
    a, b = tf.constant(1.0, name="a"), tf.constant([1, 2], name="b")
    with tf.Session() as sess:
        assert sess.run([]) == []
        assert isinstance(sess.run(a), np.float32)
        assert sess.run(a.op) is None
        assert sess.run("a:0") == 1.0
        assert sess.run("a") is None
        nested = sess.run({"x": [a, (a.op, "b:0")], "y": Pair(a, b)})
        assert nested["x"][0] == 1.0
        assert nested["x"][1][0] is None
        assert isinstance(nested["x"][1], tuple)
        assert isinstance(nested["y"], Pair)
        ordered = sess.run(OrderedDict([("z", a), ("a", a)]))
        assert (type(ordered), list(ordered)) == (OrderedDict, ["z", "a"])
        assert sess.run(tf.constant("text")) == b"text"
        assert sess.run([a, a, a]) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("odd", [None, 1.5, np.zeros(2), {1}, object(), [None], iter([])])
def test_what_cannot_be_fetched(odd: Any) -> None:
    tf.constant(1)
    with tf.Session() as sess, pytest.raises(TypeError, match=r"Fetch argument .* has invalid type"):
        sess.run(odd)


@pytest.mark.parametrize("name", ["missing", "missing:0", "a:7", "a:b"])
def test_names_that_are_not_in_the_graph(name: str) -> None:
    tf.constant(1, name="a")
    with tf.Session() as sess, pytest.raises(ValueError, match="cannot be interpreted as a Tensor"):
        sess.run(name)


def test_fetching_from_another_graph() -> None:
    a = tf.constant(1)
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.constant(1)
        with pytest.raises(ValueError, match="is not an element of this graph"):
            sess.run(a)
        with pytest.raises(ValueError, match=r"default session.*graph is different"):
            a.eval()
        with pytest.raises(ValueError, match=r"given session.*graph is different"):
            a.op.run(session=sess)


def test_closed_and_empty() -> None:
    with tf.Session() as sess, pytest.raises(RuntimeError, match="The Session graph is empty"):
        sess.run([])
    a = tf.constant(1)
    sess = tf.Session()
    sess.close()
    sess.close()
    with pytest.raises(RuntimeError, match="Attempted to use a closed Session"):
        sess.run(a)


def test_default_sessions() -> None:
    a = tf.constant(1)
    with pytest.raises(ValueError, match=r"Cannot evaluate tensor using `eval\(\)`: No default session is registered"):
        a.eval()
    with pytest.raises(ValueError, match=r"Cannot execute operation using `run\(\)`: No default session"):
        a.op.run()
    sess = tf.Session()
    with sess.as_default():
        assert (a.eval(), tf.get_default_session()) == (1, sess)
    assert tf.get_default_session() is None
    assert a.eval(session=sess) == 1
    sess.close()
    with tf.Session() as outer, tf.Session() as inner, outer.as_default():
        assert tf.get_default_session() is outer
        with inner.as_default():
            assert tf.get_default_session() is inner
        assert tf.get_default_session() is outer
    interactive = tf.InteractiveSession()
    assert a.eval() == 1
    a.op.run()
    interactive.close()
    assert tf.get_default_session() is None


def test_a_session_takes_its_graph_with_it() -> None:
    with tf.Graph().as_default() as graph:
        a = tf.constant(1, name="a")
    with tf.Session(graph=graph) as sess:
        assert tf.get_default_graph() is graph
        assert sess.graph is graph
        assert a.eval() == 1
    with pytest.raises(TypeError, match=r"graph must be a tf\.Graph"):
        tf.Session(graph=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"config must be a tf\.ConfigProto"):
        tf.Session(config=object())


def test_feeds() -> None:
    p = tf.placeholder(tf.float32, [2], name="p")
    n = tf.placeholder(tf.int32, name="n")
    doubled, c = p * 2, tf.constant(1.0, name="c")
    with tf.Session() as sess:
        assert sess.run(doubled, {p: [1, 2]}).tolist() == [2.0, 4.0]
        assert sess.run(doubled, {"p:0": np.float64([1, 2])}).dtype == np.float32
        assert sess.run(p, {p: [True, False]}).tolist() == [1.0, 0.0]
        assert sess.run(n, {n: 1.5}) == 1
        assert sess.run(n, {n: [2.9, -2.9]}).tolist() == [2, -2]
        assert sess.run(c + 1, {c: 5}) == 6.0
        assert sess.run([p, n], {(p, n): ([1, 2], 3)})[1] == 3


def test_feeds_that_do_not_fit() -> None:
    p = tf.placeholder(tf.float32, [2], name="p")
    n, q = tf.placeholder(tf.int32, [], name="n"), tf.placeholder(tf.int64, name="q")
    with tf.Session() as sess:
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=r"You must feed a value for placeholder tensor 'p' with dtype float and shape \[2\]",
        ):
            sess.run(p * 2)
        with pytest.raises(tf.errors.InvalidArgumentError, match="placeholder tensor 'q' with dtype int64\n"):
            sess.run(q)
        with pytest.raises(
            ValueError, match=r"Cannot feed value of shape \(3,\) for Tensor 'p:0', which has shape '\(2,\)'"
        ):
            sess.run(p, {p: [1, 2, 3]})
        for odd in (None, "text", [[1], [1, 2]], object()):
            with pytest.raises(ValueError):
                sess.run(p, {p: odd})
        with pytest.raises(TypeError, match=r"The value of a feed cannot be a tf\.Tensor object"):
            sess.run(p, {p: tf.constant([1.0, 2.0])})
        for key in ("missing:0", 3, tf.no_op()):
            with pytest.raises(TypeError, match="Cannot interpret feed_dict key as Tensor"):
                sess.run(p, {key: 1})
        with pytest.raises(TypeError, match="feed_dict must be a dictionary"):
            sess.run(p, [1])
        with pytest.raises(TypeError, match="is not compatible with Tensor type int32"):
            sess.run(n, {n: 2**40})


def test_feeding_a_variable_changes_its_reads_only(sess: tf.Session) -> None:
    v = tf.Variable([1.0, 2.0])
    sess.run(v.initializer)
    assert sess.run(v + 1, {v: [10, 20]}).tolist() == [11.0, 21.0]
    assert sess.run(v, {v: [10, 20]}).tolist() == [10.0, 20.0]
    assert sess.run(v).tolist() == [1.0, 2.0]


def test_what_is_fed_is_not_written_to_and_not_handed_back() -> None:
    p = tf.placeholder(tf.float32, [2])
    given = np.float32([1, 2])
    with tf.Session() as sess:
        sess.run(tf.identity(p), {p: given})[:] = 9
    assert given.tolist() == [1.0, 2.0]


def test_values_that_were_fetched_are_the_callers_own(sess: tf.Session) -> None:
    v = tf.Variable([1.0, 2.0])
    sess.run(v.initializer)
    for fetched in (sess.run(v), sess.run(v.assign_add([0.0, 0.0]))):
        fetched[:] = 77
    assert sess.run(v).tolist() == [1.0, 2.0]


def test_control_dependencies_order_effects(sess: tf.Session) -> None:
    v, w = tf.Variable([1.0], name="v"), tf.Variable([0.0], name="w")
    sess.run(tf.global_variables_initializer())
    with tf.control_dependencies([v.assign_add([1.0])]):
        after = v * 10.0
        with tf.control_dependencies([w.assign(v + 100.0)]):
            last = v.assign_sub([0.5])
    assert sess.run([after, last])[0].tolist() == [20.0]
    assert [each.tolist() for each in sess.run([v, w])] == [[1.5], [102.0]]


def test_an_operation_fetched_twice_runs_once(sess: tf.Session) -> None:
    v = tf.Variable(0)
    sess.run(v.initializer)
    add = v.assign_add(1)
    assert sess.run([add, add, add.op]) == [1, 1, None]
    assert sess.run(v) == 1


def test_chained_assignments(sess: tf.Session) -> None:
    v = tf.Variable([1.0])
    assert sess.run(tf.assign_add(tf.assign(v, [5.0]), [1.0])).tolist() == [6.0]
    assert sess.run(tf.identity(v.assign_add([1.0])) * 2.0).tolist() == [14.0]


def test_reading_after_initializing_in_one_run(sess: tf.Session) -> None:
    v = tf.Variable(tf.random_normal([2]), name="v")
    with tf.control_dependencies([v.initializer]):
        doubled = v.read_value() * 2.0
    twice, value = sess.run([doubled, v])
    np.testing.assert_allclose(twice, value * 2)


def test_sessions_without_a_server_are_independent() -> None:
    v = tf.Variable(0)
    with tf.Session() as one, tf.Session() as two:
        for sess in (one, two):
            sess.run(v.initializer)
        one.run(v.assign_add(1))
        assert (one.run(v), two.run(v)) == (1, 0)


def test_sessions_of_one_container_share(target: Target) -> None:
    v = tf.Variable([1.0], name="v")
    with target.session() as one, target.session() as two:
        one.run(v.initializer)
        two.run(v.assign_add([1.0]))
        assert one.run(v).tolist() == [2.0]
        with target.session(container="another/one/") as other:
            with pytest.raises(tf.errors.FailedPreconditionError):
                other.run(v)
            other.run(v.initializer)
            names = [each.name for each in other.client.list_variables(prefix="another")]
            other.client.delete_variables(prefix="another", confirm=True)
        assert names == ["another/one/v"]


def test_the_target_of_the_environment(graph_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAMSERVER_URL", graph_server.url)
    v = tf.Variable([4.0], name="environment/v")
    with tf.Session() as one, tf.Session(None) as two:
        one.run(v.initializer)
        assert two.run(v).tolist() == [4.0]
        one.client.delete_variable("environment/v")


def test_a_target_and_a_client_are_one_too_many() -> None:
    with ParameterClient() as client, pytest.raises(ValueError, match="a target or a client"):
        tf.Session("http://127.0.0.1:1", client=client)


def test_threads_may_share_a_session(sess: tf.Session) -> None:
    v = tf.Variable([0.0, 0.0])
    sess.run(v.initializer)
    add = v.assign_add([1.0, 2.0])
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        for _ in range(25):
            sess.run(add)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sess.run(v).tolist() == [100.0, 200.0]


def test_a_failed_run_changes_nothing(sess: tf.Session) -> None:
    v, w = tf.Variable([1.0], name="v"), tf.Variable([1.0], name="w")
    local = tf.Variable([1.0], name="local", collections=["local_variables"], trainable=False)
    p = tf.placeholder(tf.float32)
    sess.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
    good = [v.assign_add([1.0]), local.assign_add([1.0])]
    for bad in (tf.reshape(p, [7]), w.assign(p), tf.Variable([1.0], name="empty").assign_add([1.0])):
        with pytest.raises((tf.errors.InvalidArgumentError, tf.errors.FailedPreconditionError)):
            sess.run([*good, bad], {p: [1, 2, 3]})
    assert [each.tolist() for each in sess.run([v, w, local])] == [[1.0]] * 3


def test_to_wait_for_what_is_fed_is_to_wait_for_nothing(sess: tf.Session) -> None:
    x = tf.placeholder(tf.float32, [])
    with tf.control_dependencies([x]):
        y = tf.constant(2.0) * 3.0
    assert sess.run(y, {x: 1.0}) == 6.0
    with pytest.raises(tf.errors.InvalidArgumentError, match="You must feed a value for placeholder tensor"):
        sess.run(y)
