"""What a session does about the server's own mind: other initializers, other shapes, deletions, restarts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import paramserver_client.graph as tf
from paramserver_client import ParameterClient
from support.graph_target import Target
from support.server import Server


def on_server(target: Target, name: str) -> str:
    return f"{target.container}/{name}" if target.container else name


def test_the_server_sees_names_types_and_collections(target: Target) -> None:
    with tf.variable_scope("conv1"):
        v = tf.get_variable("weight", [2, 3], collections=["variables", "mine", "no key: 1"])
        tf.get_variable("count", [], tf.int64, trainable=False)
    with target.session() as sess:
        sess.run(tf.global_variables_initializer())
        weight, count = (sess.client.get_variable(on_server(target, f"conv1/{name}")) for name in ("weight", "count"))
        assert (weight.shape, weight.dtype, weight.trainable, weight.version) == ((2, 3), np.float32, True, 1)
        assert weight.collections == ("variables", "mine", "trainable_variables")
        assert (count.dtype, count.trainable, count.collections) == (np.int64, False, ("variables",))
        np.testing.assert_array_equal(sess.run(v), sess.client.read(weight.name))


def test_another_shape_is_refused(target: Target) -> None:
    with target.session() as sess:
        sess.client.create_variable(on_server(target, "v"), value=np.zeros(3, np.float32))
        v = tf.Variable([1.0, 2.0], name="v")
        with pytest.raises(tf.errors.InvalidArgumentError, match="v"):
            sess.run(v.initializer)


def test_another_initializer_on_the_server_does_not_change_what_ours_means(target: Target) -> None:
    with target.session() as sess:
        sess.client.create_variable(on_server(target, "v"), (2,), "float32", "ones")
        v = tf.get_variable("v", [2], initializer=tf.constant_initializer(7.0))
        sess.run(v.initializer)
        assert sess.run(v).tolist() == [7.0, 7.0]


def test_a_variable_created_with_a_value_can_be_initialized_too(target: Target) -> None:
    with target.session() as sess:
        sess.client.create_variable(on_server(target, "v"), value=np.float32([3.0]))
        v = tf.get_variable("v", [1], initializer=tf.ones_initializer())
        assert sess.run(v).tolist() == [3.0]
        sess.run(v.initializer)
        assert sess.run(v).tolist() == [1.0]


def test_variables_that_were_deleted_are_made_again(target: Target) -> None:
    v = tf.Variable([1.0], name="v")
    with target.session() as sess:
        sess.run(v.initializer)
        sess.client.delete_variable(on_server(target, "v"))
        with pytest.raises(tf.errors.FailedPreconditionError, match="Attempting to use uninitialized value v"):
            sess.run(v)
        sess.client.delete_variable(on_server(target, "v"))
        sess.run(v.initializer)
        assert sess.run(v).tolist() == [1.0]
        sess.client.delete_variable(on_server(target, "v"))
        with pytest.raises(tf.errors.FailedPreconditionError, match="Attempting to use uninitialized value v"):
            sess.run(v.assign_add([1.0]))
        sess.client.delete_variable(on_server(target, "v"))
        assert sess.run(v.assign([4.0])).tolist() == [4.0]
        sess.client.delete_variable(on_server(target, "v"))
        assert sess.run(tf.report_uninitialized_variables()).tolist() == [b"v"]


def test_a_session_outlives_a_killed_server_and_loses_nothing(tmp_path: Path) -> None:
    v, late = tf.Variable([1.0], name="v"), tf.Variable([5.0], name="late")
    with Server(data_dir=tmp_path / "data") as server, tf.Session(server.url) as sess:
        sess.run(v.initializer)
        sess.client.save("before")
        sess.run([v.assign_add([1.0]), late.initializer])
        server.kill()
        server.start()
        assert [each.tolist() for each in sess.run([v, late])] == [[2.0], [5.0]]
        assert sess.run(v.assign_add([1.0])).tolist() == [3.0]


def test_a_session_outlives_a_killed_server_without_a_journal(tmp_path: Path) -> None:
    v, late = tf.Variable([1.0], name="v"), tf.Variable([5.0], name="late")
    with Server("--durability", "none", data_dir=tmp_path / "data") as server, tf.Session(server.url) as sess:
        sess.run(v.initializer)
        sess.client.save("before")
        sess.run([v.assign_add([1.0]), late.initializer])
        server.kill()
        server.start()
        assert sess.run(v).tolist() == [1.0]
        with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value late"):
            sess.run(late)
        sess.run(late.initializer)
        assert sess.run([v.assign_add([1.0]), late])[0].tolist() == [2.0]


def test_what_was_fetched_is_the_callers_own(target: Target) -> None:
    v = tf.Variable(np.zeros((300, 300), np.float32), name="v")
    raised = v.assign_add(tf.ones([300, 300]))
    with target.session() as sess:
        sess.run(v.initializer)
        before, through = sess.run([v, tf.identity(v)])
        after = sess.run(raised)
        for array in (before, through, after):
            array[:] = 9.0
        fed = np.full((300, 300), 2.0, np.float32)
        sess.run(v.assign(fed))
        fed[:] = 7.0
        assert sess.run(v).tolist() == np.full((300, 300), 2.0).tolist()
        assert sess.run(raised).tolist() == np.full((300, 300), 3.0).tolist()
        assert (before == 9.0).all()
        assert (after == 9.0).all()


def test_versions_rise_by_one_a_step(target: Target) -> None:
    v = tf.Variable([1.0], name="v")
    with target.session() as sess:
        sess.run(v.initializer)
        for _ in range(3):
            sess.run(v.assign_add([1.0]).op)
        assert sess.client.get_variable(on_server(target, "v")).version == 4


def test_containers_are_written_with_or_without_slashes() -> None:
    v = tf.Variable([1.0], name="v")
    with ParameterClient() as client:
        with tf.Session(client=client, container="/job7/") as sess:
            assert sess.container == "job7"
            sess.run(v.initializer)
        assert client.read("job7/v").tolist() == [1.0]
