"""How many requests a run takes, in which order its stages come, and what is shared or drawn where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from paramserver_client.graph.node import Operation, Tensor
from paramserver_client.graph.plan import Plan, Planner, guarded_variables
from support.graph_target import Target, counted

Asked = Callable[..., Counter[str]]


def plan(*targets: Tensor | Operation, feeds: tuple[Tensor, ...] = ()) -> Plan:
    fed = frozenset(feeds)
    flags = dict.fromkeys(guarded_variables(targets, fed), False)
    return Planner(targets, fed, flags).plan()


def asked(sess: tf.Session, fetches: Any, feed_dict: Any = None) -> Counter[str]:
    """What one run of `fetches` asks the server for, once the session knows its variables."""
    sess.run(fetches, feed_dict)
    client = sess.client
    inner = client.transport
    counting = counted(client)
    try:
        sess.run(fetches, feed_dict)
    finally:
        client._transport = inner
    return counting.counts


def test_a_training_step_is_one_pull_and_one_push(sess: tf.Session) -> None:
    x, w = tf.placeholder(tf.float32, [None, 2]), tf.get_variable("w", [2, 1])
    b, step = tf.get_variable("b", [1]), tf.train.get_or_create_global_step()
    loss = tf.reduce_mean(tf.square(tf.matmul(x, w) + b))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss, global_step=step)
    sess.run(tf.global_variables_initializer())
    feeds = {x: np.ones((3, 2), np.float32)}
    assert asked(sess, train, feeds) == {"pull": 1, "push": 1}
    assert asked(sess, [train, loss], feeds) == {"pull": 1, "push": 1}
    assert asked(sess, [train, loss, w, b, step], feeds) == {"pull": 1, "push": 1}
    assert asked(sess, [loss, w], feeds) == {"pull": 1}
    assert sess.run(step) == 6


@pytest.mark.parametrize("centered", [False, True])
def test_a_step_with_slots_a_decay_and_an_average_is_one_push_too(sess: tf.Session, centered: bool) -> None:
    v, step = tf.Variable([1.0, 2.0], name="v"), tf.train.get_or_create_global_step()
    rate = tf.train.exponential_decay(0.1, step, 10, 0.5)
    train = tf.train.RMSPropOptimizer(rate, centered=centered).minimize(tf.reduce_sum(v * v), global_step=step)
    average = tf.train.ExponentialMovingAverage(0.9)
    with tf.control_dependencies([train]):
        both = average.apply([v])
    sess.run(tf.global_variables_initializer())
    assert asked(sess, [both, v]) == {"pull": 1, "apply_gradients": 1}


def test_what_needs_no_server_asks_none(sess: tf.Session) -> None:
    p = tf.placeholder(tf.float32)
    local = tf.Variable(1.0, collections=["local_variables"], trainable=False)
    sess.run(local.initializer)
    v = tf.Variable([1.0])
    assert asked(sess, [p * 2, tf.random_normal([3]), local.assign_add(1.0)], {p: 1}) == {}
    assert asked(sess, v + 1.0, {v: [3.0]}) == {}


def test_writing_without_reading_pulls_nothing(sess: tf.Session) -> None:
    v, w = tf.Variable([1.0]), tf.Variable([2.0])
    sess.run(tf.global_variables_initializer())
    assert asked(sess, [v.assign([3.0]), w.assign_add([1.0])]) == {"push": 1}
    assert asked(sess, [v, w, v + w]) == {"pull": 1}


def test_initializing_is_one_request_for_specs_and_one_for_computed_values(sess: tf.Session) -> None:
    for i in range(5):
        tf.get_variable(f"spec{i}", [3])
    assert asked(sess, tf.global_variables_initializer()) == {"initialize": 1}
    tf.Variable(np.arange(5000), name="bytes")
    assert asked(sess, tf.global_variables_initializer()) == {"initialize": 1, "push": 1}


def test_the_checks_take_one_request(sess: tf.Session) -> None:
    for i in range(5):
        tf.Variable(float(i))
    assert asked(sess, tf.report_uninitialized_variables()) == {"list_variables": 1}


def test_one_push_for_each_read_after_a_write(sess: tf.Session) -> None:
    v = tf.Variable([1.0])
    sess.run(v.initializer)
    with tf.control_dependencies([v.assign_add([1.0])]):
        again = v.assign(v * 2.0)
    assert asked(sess, again) == {"push": 2}


def test_creating_happens_once_a_session(target: Target) -> None:
    v = tf.Variable([1.0], name="v")
    with target.session() as sess:
        counting = counted(sess.client)
        sess.run(v.initializer)
        sess.run(v)
        assert counting.counts == {"create_variable": 1, "initialize": 1, "pull": 1}


def test_updates_of_parts(sess: tf.Session) -> None:
    v, i = tf.Variable([1.0, 2.0]), tf.Variable(0)
    rows = tf.get_variable("rows", [6, 2], partitioner=tf.fixed_size_partitioner(2))
    loss = tf.reduce_sum(tf.nn.embedding_lookup(rows, [0, 5], partition_strategy="div"))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    sess.run(tf.global_variables_initializer())
    assert asked(sess, tf.scatter_add(v, [0], 1.0)) == {"push": 1}
    assert asked(sess, [tf.scatter_mul(v, [0], 2.0), v[0].assign(1.0).op, i.count_up_to(9)]) == {"pull": 1, "push": 2}
    assert asked(sess, i.count_up_to(9)) == {"pull": 1, "push": 1}
    assert asked(sess, train) == {"pull": 1, "push": 1}
    assert asked(sess, [train, loss]) == {"pull": 1, "push": 1}


def test_stages_of_a_step() -> None:
    v, w = tf.Variable([1.0], name="v"), tf.Variable([1.0], name="w")
    add = v.assign_add(w * 2.0)
    (stage,) = plan(add.op).stages
    assert (stage.pulls, [op.name for op in stage.updates], stage.returns) == ([w], ["AssignAdd"], [])
    (stage,) = plan(add).stages
    assert stage.returns == [v]


def test_a_later_reader_waits_for_the_push_and_others_do_not() -> None:
    v = tf.Variable([1.0], name="v")
    before = tf.identity(v + 1.0, name="before")
    with tf.control_dependencies([v.assign_add([1.0])]):
        after = tf.identity(v + 1.0, name="after")
    first, second = plan(before, after).stages
    assert {op.name for op in first.compute} >= {"before", "AssignAdd"}
    assert "after" in {op.name for op in second.compute}
    assert (first.pulls, first.returns, second.pulls) == ([v], [v], [])


def test_what_is_not_needed_is_not_computed() -> None:
    v = tf.Variable([1.0], name="v")
    p = tf.placeholder(tf.float32)
    tf.identity(p + v, name="unused")
    c = tf.constant(1.0) * 2.0
    (stage,) = plan(c).stages
    assert stage.pulls == []
    assert len(stage.compute) == 3
    assert plan(c, feeds=(c,)).stages == []


def test_a_draw_with_two_users_is_computed_here() -> None:
    drawn = tf.random_normal([2])
    a, b = tf.Variable(drawn), tf.Variable(drawn)
    alone = tf.Variable(tf.random_normal([2]))
    (stage,) = plan(a.initializer, b.initializer, alone.initializer).stages
    assert (stage.initialize, len(stage.updates)) == ([alone], 2)
    (stage,) = plan(a.initializer).stages
    assert (stage.initialize, stage.updates) == ([a], [])


def test_a_fed_first_value_is_computed_here() -> None:
    v = tf.Variable([1.0])
    (stage,) = plan(v.initializer, feeds=(v.initializer.inputs[1],)).stages
    assert (stage.initialize, len(stage.updates)) == ([], 1)


def test_many_stages_keep_their_order(sess: tf.Session) -> None:
    v, log = tf.Variable(1), tf.Variable(0)
    sess.run(tf.global_variables_initializer())
    last: Any = tf.no_op()
    for _ in range(5):
        with tf.control_dependencies([last]):
            doubled = v.assign(v.read_value() * 2)
        with tf.control_dependencies([doubled]):
            last = log.assign(log.read_value() * 100 + v.read_value())
    assert sess.run([last, v]) == [204081632, 32]


@pytest.mark.parametrize("order", ["read first", "write first"])
def test_readers_ordered_before_a_write_see_the_old_value(order: str, sess: tf.Session) -> None:
    v = tf.Variable([1.0])
    sess.run(v.initializer)
    if order == "read first":
        read = tf.identity(v * 1.0)
        with tf.control_dependencies([read]):
            write = v.assign([9.0])
        assert [each.tolist() for each in sess.run([read, write])] == [[1.0], [9.0]]
    else:
        with tf.control_dependencies([v.assign([9.0])]):
            read = tf.identity(v * 1.0)
        assert sess.run(read).tolist() == [9.0]
