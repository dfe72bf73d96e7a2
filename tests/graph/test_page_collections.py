"""The reference, section "Collections, initialisation", on each target."""

from __future__ import annotations

from typing import Any

import pytest

import paramserver_client.graph as tf
from support.graph_target import Target


def test_get_collection_is_a_copy_and_the_ref_is_the_list() -> None:
    tf.add_to_collection("k", 1)
    tf.get_collection("k").append(2)
    assert tf.get_collection("k") == [1]
    tf.get_collection_ref("k").append(3)
    assert (tf.get_collection("k"), tf.get_collection("unknown")) == ([1, 3], [])
    tf.get_collection_ref("new").append(1)
    assert set(tf.get_default_graph().get_all_collection_keys()) == {"k", "new"}
    tf.get_default_graph().clear_collection("k")
    assert tf.get_collection("k") == []


def test_names_are_not_repeated_and_values_are() -> None:
    tf.add_to_collections(["a", "b", "a"], 1)
    tf.add_to_collections(("a",), 1)
    tf.add_to_collections("c", 5)
    assert (tf.get_collection("a"), tf.get_collection("b"), tf.get_collection("c")) == ([1, 1], [1], [5])


def test_a_scope_is_a_regular_expression_at_the_beginning() -> None:
    made = [tf.Variable(1.0, name=name) for name in ("a/x", "ab/x", "a2", "b/a")]
    tf.add_to_collection("variables", "has no name")
    assert tf.global_variables("a") == made[:3]
    assert tf.global_variables("a/") == made[:1]
    assert tf.global_variables(".*a:0$") == made[3:]
    assert tf.global_variables("") == made
    assert tf.global_variables()[-1] == "has no name"
    assert tf.trainable_variables("b") == made[3:]


def test_the_standard_keys() -> None:
    keys = {key: value for key, value in vars(tf.GraphKeys).items() if key.isupper()}
    assert keys["GLOBAL_VARIABLES"] == keys["VARIABLES"] == "variables"
    assert (keys["LOCAL_VARIABLES"], keys["TRAINABLE_VARIABLES"], keys["MODEL_VARIABLES"]) == (
        "local_variables", "trainable_variables", "model_variables")  # fmt: skip
    assert len(keys) >= 31
    model = tf.Variable(1.0, collections=[tf.GraphKeys.MODEL_VARIABLES, tf.GraphKeys.MOVING_AVERAGE_VARIABLES])
    assert tf.model_variables() == tf.moving_average_variables() == [model]
    assert tf.all_variables() == tf.global_variables() == []


def test_initializers_are_named_and_do_nothing_visible(sess: tf.Session) -> None:
    v = tf.Variable(1.0)
    made = [tf.global_variables_initializer(), tf.local_variables_initializer(), tf.variables_initializer([v]),
            tf.variables_initializer([]), tf.variables_initializer(None), tf.initialize_all_variables(),
            tf.initialize_local_variables(), tf.initialize_variables([v], name="own")]  # fmt: skip
    assert [each.name for each in made] == ["init", *(f"init_{i}" for i in range(1, 7)), "own"]
    assert {each.type for each in made} == {"NoOp"}
    assert sess.run(made) == [None] * 8
    assert [tf.initializers.global_variables().type, tf.initializers.variables([v]).type] == ["NoOp"] * 2
    assert tf.initializers.local_variables().type == "NoOp"


def test_an_initializer_is_a_snapshot_of_the_list(sess: tf.Session) -> None:
    listed = [tf.Variable(1.0, name="a")]
    init, report = tf.variables_initializer(listed), tf.report_uninitialized_variables()
    everything = tf.global_variables_initializer()
    late = tf.Variable(2.0, name="late")
    listed.append(late)
    assert sess.run(report).tolist() == [b"a"]
    sess.run([init, everything])
    assert sess.run(report).tolist() == []
    with pytest.raises(tf.errors.FailedPreconditionError, match="Attempting to use uninitialized value late"):
        sess.run(late)


def test_local_and_collectionless_variables_are_not_in_the_global_init(sess: tf.Session) -> None:
    g = tf.Variable(1.0, name="g")
    local = tf.Variable(1.0, name="l", collections=[tf.GraphKeys.LOCAL_VARIABLES])
    none = tf.Variable(1.0, name="n", collections=[])
    sess.run(tf.global_variables_initializer())
    states = sess.run([tf.is_variable_initialized(each) for each in (g, local, none)])
    assert states == [True, False, False]
    assert sess.run(tf.report_uninitialized_variables()).tolist() == [b"l"]
    sess.run(tf.local_variables_initializer())
    assert sess.run(tf.report_uninitialized_variables()).tolist() == []


def test_the_report_is_in_order_of_making_without_numbers(sess: tf.Session) -> None:
    with tf.name_scope("s"):
        v = tf.Variable([1, 2], name="v")
    tf.Variable(1, name="l", collections=[tf.GraphKeys.LOCAL_VARIABLES])
    w = tf.Variable([1, 2], name="w")
    report = tf.report_uninitialized_variables()
    assert (report.dtype, sess.run(report).tolist()) == (tf.string, [b"s/v", b"w", b"l"])
    sess.run(w.initializer)
    assert sess.run(report).tolist() == [b"s/v", b"l"]
    assert sess.run(tf.report_uninitialized_variables([v, w])).tolist() == [b"s/v"]
    with tf.Graph().as_default(), tf.Session() as other:
        assert other.run(tf.report_uninitialized_variables()).size == 0


def test_asserting(sess: tf.Session) -> None:
    assert tf.assert_variables_initialized() is None
    a, b = tf.Variable([1, 2], name="a"), tf.Variable(3, name="b")
    both: Any = tf.assert_variables_initialized()
    sess.run(a.initializer)
    for fetch in (both, both.op):
        with pytest.raises(tf.errors.FailedPreconditionError, match="Attempting to use uninitialized value b"):
            sess.run(fetch)
    sess.run(tf.assert_variables_initialized([a]))
    sess.run(b.initializer)
    assert sess.run(both).tolist() == [1, 0]


def test_initialized_says_a_scalar(sess: tf.Session) -> None:
    v = tf.Variable([1.0])
    known = tf.is_variable_initialized(v)
    assert (known.dtype, known.shape.as_list(), sess.run(known)) == (tf.bool, [], False)
    sess.run(v.assign([2.0]))
    assert sess.run(known)


def test_local_variables_live_in_the_session(target: Target) -> None:
    local = tf.get_local_variable("l", [2], initializer=tf.ones_initializer())
    more = local.assign_add([1.0, 1.0])
    with target.session() as one, target.session() as two:
        for sess in (one, two):
            sess.run(local.initializer)
        one.run(more)
        one.run([local[0].assign(9.0).op])
        one.run(tf.scatter_add(local, [1], [1.0]))
        assert (one.run(local).tolist(), two.run(local).tolist()) == ([9.0, 3.0], [1.0, 1.0])
        assert [each.name for each in one.client.list_variables(prefix=target.container or None)] == []
        p = tf.placeholder(tf.float32)
        with pytest.raises(tf.errors.InvalidArgumentError, match="Assign requires shapes"):
            one.run(local.assign(p), {p: [1.0]})
