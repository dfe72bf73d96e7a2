"""Descriptions of clusters, and where their device setter puts variables."""

from __future__ import annotations

import pytest

import paramserver_client.graph as tf


def test_cluster_specs() -> None:
    spec = tf.train.ClusterSpec({"ps": ["a:1", "b:1"], "worker": {0: "c:1", 2: "d:1"}})
    assert spec.jobs == ["ps", "worker"]
    assert spec.as_dict() == {"ps": ["a:1", "b:1"], "worker": {0: "c:1", 2: "d:1"}}
    assert (spec.num_tasks("ps"), spec.task_indices("worker"), spec.task_address("worker", 2)) == (2, [0, 2], "d:1")
    assert spec.job_tasks("worker") == ["c:1", None, "d:1"]
    assert spec == tf.train.ClusterSpec(spec)
    assert hash(spec) == hash(tf.train.ClusterSpec(spec))
    assert spec != tf.train.ClusterSpec({})
    assert spec
    assert not tf.train.ClusterSpec({})
    assert repr(tf.train.ClusterSpec({"ps": ["a:1"]})) == "ClusterSpec({'ps': ['a:1']})"
    with pytest.raises(ValueError, match="No such job in cluster: 'chief'"):
        spec.num_tasks("chief")
    with pytest.raises(ValueError, match="No task with index 1 in job 'worker'"):
        spec.task_address("worker", 1)
    for wrong in (["a:1"], {"ps": "a:1"}):
        with pytest.raises(TypeError):
            tf.train.ClusterSpec(wrong)


def test_variables_go_round_the_servers_and_all_else_to_the_worker(sess: tf.Session) -> None:
    cluster = {"ps": ["a:1", "b:1"], "worker": ["c:1"]}
    setter = tf.train.replica_device_setter(cluster=cluster, worker_device="/job:worker/task:7")
    with tf.device(setter):
        v, w = tf.Variable([1.0], name="v"), tf.get_variable("w", [1])
        total = v + w
    assert [each.device for each in (v, w, total)] == ["/job:ps/task:0", "/job:ps/task:1", "/job:worker/task:7"]
    sess.run(tf.global_variables_initializer())
    assert sess.run(total).shape == (1,)
    assert tf.train.replica_device_setter() is None
    chosen = tf.train.replica_device_setter(ps_tasks=3, ps_strategy=lambda op: 2, ps_ops=["Const"])
    with tf.device(chosen):
        assert tf.constant(1.0).device == "/job:ps/task:2"
        assert tf.Variable([1.0], name="x").device == "/job:worker"
