"""Variables: making, initializing, reading, assigning, and the checks; embedded and on a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from support.graph_target import Target


def test_defaults() -> None:
    v = tf.Variable([1.0, 2.0])
    assert (v.name, v.op.name, v.dtype.name, v.shape.known()) == ("Variable:0", "Variable", "float32_ref", (2,))
    assert v.trainable
    assert tf.global_variables() == tf.trainable_variables() == [v]
    assert (v.initializer.type, v.value().op.name) == ("Assign", "Variable/read")
    assert v.initial_value.op.name == "Variable/initial_value"


def test_positions_of_the_arguments() -> None:
    v = tf.Variable([1], False, ["mine"], True, None, "v", None, tf.float32)
    assert (v.op.name, v.dtype.base_dtype, v.trainable) == ("v", tf.float32, False)
    assert tf.get_collection("mine") == [v]
    assert tf.global_variables() == tf.trainable_variables() == []


@pytest.mark.parametrize("collections", [[tf.GraphKeys.LOCAL_VARIABLES], []])
def test_trainable_is_the_default_whatever_the_collections(collections: list[str]) -> None:
    v = tf.Variable(1.0, collections=collections)
    assert tf.trainable_variables() == [v]
    assert tf.global_variables() == []


def test_what_cannot_be_a_variable() -> None:
    with pytest.raises(ValueError, match="initial_value must be specified"):
        tf.Variable()
    with pytest.raises(ValueError, match=r"initial_value must have a shape specified: Tensor\("):
        tf.Variable(tf.placeholder(tf.float32, [None]))
    with pytest.raises(ValueError, match="collections argument to Variable constructor must be a list"):
        tf.Variable(1, collections="variables")
    with pytest.raises(ValueError, match=r"tf.Variable: variable_def=.* is not supported"):
        tf.Variable(1, variable_def=object())
    with pytest.raises(ValueError, match="callable"):
        tf.Variable(1, constraint=3)  # type: ignore[arg-type]


FIRST_VALUES: list[tuple[Any, str]] = [
    (1.5, "float32"),
    (3, "int32"),
    (True, "bool"),
    (np.float64([1, 2]), "float64"),
    (np.int64(7), "int64"),
    (lambda: [1.0, 2.0], "float32"),
    (lambda: tf.ones([2, 2]), "float32"),
    (np.arange(2000, dtype=np.int16), "int16"),
    (np.array([1 + 2j], np.complex64), "complex64"),
    (np.array([np.inf, -np.inf]), "float64"),
    (np.zeros((0, 3), np.float32), "float32"),
]


@pytest.mark.parametrize(("value", "dtype"), FIRST_VALUES, ids=lambda value: str(value)[:20])
def test_first_values(value: Any, dtype: str, sess: tf.Session) -> None:
    v = tf.Variable(value)
    assert v.dtype.base_dtype == dtype
    sess.run(v.initializer)
    found = sess.run(v)
    assert found.dtype == dtype
    wanted = value if not callable(value) else [1.0, 2.0] if v.shape.ndims == 1 else [[1.0, 1.0], [1.0, 1.0]]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "uint8", "int8", "uint16", "uint32", "uint64", "complex128"])
def test_every_dtype_can_be_kept_and_added_to(dtype: str, sess: tf.Session) -> None:
    v = tf.Variable(tf.cast([1, 2], dtype), name="v")
    sess.run(v.initializer)
    found = sess.run(v.assign_add(tf.cast([2, 3], dtype)))
    assert found.dtype == dtype
    assert found.astype(complex).tolist() == [3, 5]


def test_uninitialized(sess: tf.Session) -> None:
    v = tf.Variable([1.0], name="v")
    for fetch in (v, v + 1.0, v.assign_add([1.0]), v.value(), v.read_value()):
        with pytest.raises(tf.errors.FailedPreconditionError, match=r"^Attempting to use uninitialized value v"):
            sess.run(fetch)
    assert sess.run(v.assign([5.0])).tolist() == [5.0]


def test_the_checks(sess: tf.Session) -> None:
    a, b = tf.Variable(1.0, name="a"), tf.Variable(2.0, name="b")
    local = tf.Variable(3.0, name="local", collections=[tf.GraphKeys.LOCAL_VARIABLES])
    report, check = tf.report_uninitialized_variables(), tf.assert_variables_initialized([a, b])
    assert sess.run(report).tolist() == [b"a", b"b", b"local"]
    sess.run(tf.variables_initializer([a]))
    assert sess.run([tf.is_variable_initialized(v) for v in (a, b, local)]) == [True, False, False]
    with pytest.raises(tf.errors.FailedPreconditionError, match="Attempting to use uninitialized value b"):
        sess.run(check)
    sess.run([b.initializer, tf.local_variables_initializer()])
    assert sess.run(report).tolist() == []
    assert sess.run(report).dtype == object
    assert sess.run(check).tolist() == [0, 0]
    assert isinstance(sess.run(tf.is_variable_initialized(a)), np.bool_)


def test_the_checks_without_variables(sess: tf.Session) -> None:
    assert tf.assert_variables_initialized() is None
    assert sess.run(tf.report_uninitialized_variables()).tolist() == []
    for nothing in ([], None):
        assert tf.variables_initializer(nothing).type == "NoOp"


def test_initializers_are_snapshots_of_the_list(sess: tf.Session) -> None:
    a = tf.Variable(1.0, name="a")
    init = tf.global_variables_initializer()
    b = tf.Variable(2.0, name="b")
    assert sess.run(init) is None
    assert sess.run(a) == 1.0
    with pytest.raises(tf.errors.FailedPreconditionError):
        sess.run(b)


def test_initializing_again_resets(sess: tf.Session) -> None:
    v = tf.Variable([1.0, 2.0])
    sess.run(v.initializer)
    sess.run(v.assign([9.0, 9.0]))
    sess.run(v.initializer)
    assert sess.run(v).tolist() == [1.0, 2.0]


def test_first_values_from_other_variables(sess: tf.Session) -> None:
    a = tf.Variable(tf.random_normal([3]), name="a")
    b = tf.Variable(a, name="b")
    c = tf.Variable(a.initialized_value() * 2.0, name="c")
    d = tf.Variable(c.initialized_value() + 1.0, name="d")
    sess.run(tf.global_variables_initializer())
    values = sess.run([a, b, c, d])
    np.testing.assert_array_equal(values[1], values[0])
    np.testing.assert_array_equal(values[2], values[0] * 2)
    np.testing.assert_array_equal(values[3], values[2] + 1)


def test_first_values_alone_take_the_others_initial_value_or_what_it_has(sess: tf.Session) -> None:
    a = tf.Variable([1.0], name="a")
    b = tf.Variable(a + 1.0, name="b")
    sess.run(b.initializer)
    assert sess.run(b).tolist() == [2.0]
    assert sess.run(tf.is_variable_initialized(a)) == np.False_
    sess.run(a.assign([10.0]))
    sess.run(b.initializer)
    assert sess.run(b).tolist() == [11.0]


def test_the_guard_is_one_level_deep(sess: tf.Session) -> None:
    a = tf.Variable([1.0], name="a")
    b = tf.Variable(a, name="b")
    d = tf.Variable(b, name="d")
    with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value a"):
        sess.run(d.initializer)
    sess.run(tf.variables_initializer([a, b]))
    sess.run(d.initializer)
    assert sess.run(d).tolist() == [1.0]


def test_two_variables_of_one_random_tensor_are_equal(sess: tf.Session) -> None:
    drawn = tf.random_normal([4])
    a, b = tf.Variable(drawn, name="a"), tf.Variable(drawn, name="b")
    sess.run(tf.global_variables_initializer())
    np.testing.assert_array_equal(*sess.run([a, b]))


def test_assigning(sess: tf.Session) -> None:
    v = tf.Variable([1.0, 2.0], name="v")
    sess.run(v.initializer)
    assert sess.run(tf.assign(v, [3.0, 4.0])).tolist() == [3.0, 4.0]
    assert sess.run(tf.assign_add(v, [1, 1])).tolist() == [4.0, 5.0]
    assert sess.run(tf.assign_sub(v, [0.5, 0.5])).tolist() == [3.5, 4.5]
    assert sess.run(v.assign_add([1.0, 1.0]).op) is None
    assert v.assign([0.0, 0.0], read_value=False).type == "Assign"
    assert sess.run(v).tolist() == [4.5, 5.5]


def test_what_assigning_refuses() -> None:
    v = tf.Variable([1.0, 2.0], name="v")
    with pytest.raises(
        ValueError,
        match=r"Dimension 0 in both shapes must be equal, but are 2 and 3\. Shapes are \[2\] and \[3\]\. for 'Assign'",
    ):
        v.assign([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="Shapes must be equal rank, but are 1 and 0"):
        v.assign_add(1.0)
    with pytest.raises(
        TypeError,
        match="Input 'value' of 'Assign' Op has type int32 that does not match type float32 of argument 'ref'",
    ):
        v.assign(tf.constant([1, 2]))
    with pytest.raises(TypeError, match="DataType bool not in list"):
        tf.Variable(True).assign_add(True)
    with pytest.raises(AttributeError, match="'Tensor' object has no attribute 'assign'"):
        tf.assign(tf.constant(1.0), 2.0)


def test_a_shape_seen_only_at_run_time_leaves_the_variable_alone(sess: tf.Session) -> None:
    v, p = tf.Variable([1.0, 2.0], name="v"), tf.placeholder(tf.float32)
    sess.run(v.initializer)
    message = r"Assign requires shapes of both tensors to match\. lhs shape= \[2\] rhs shape= \[3\]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        sess.run(v.assign(p), {p: [1, 2, 3]})
    assert sess.run(v).tolist() == [1.0, 2.0]


def test_nan_and_infinity_may_be_assigned(sess: tf.Session) -> None:
    v = tf.Variable([1.0, 2.0])
    found = sess.run(v.assign([np.nan, np.inf]))
    assert np.isnan(found[0])
    assert np.isinf(found[1])


def test_load_and_eval(sess: tf.Session) -> None:
    v = tf.Variable([1.0, 2.0], name="a")
    v.load([5, 6], sess)
    assert v.eval().tolist() == [5.0, 6.0]
    with pytest.raises(
        ValueError, match=r"Cannot feed value of shape \(3,\) for Tensor 'a/initial_value:0', which has shape '\(2,\)'"
    ):
        v.load([1, 2, 3])


def test_operators_on_variables(sess: tf.Session) -> None:
    v = tf.Variable([1.0, 2.0])
    sess.run(v.initializer)
    found = sess.run([v + 1, 2 * v, -v, v[1], abs(-v), v > 1.5, np.float32([1, 1]) + v])
    assert [each.tolist() for each in found] == [[2, 3], [2, 4], [-1, -2], 2, [1, 2], [False, True], [2, 3]]


@pytest.mark.parametrize("use", [list, iter, len, bool])
def test_variables_are_no_python_values(use: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        use(tf.Variable([1.0]))


def test_local_variables_live_in_the_session(target: Target) -> None:
    count = tf.Variable(0, name="count", collections=[tf.GraphKeys.LOCAL_VARIABLES], trainable=False)
    scale = tf.get_local_variable("scale", [2], initializer=tf.constant_initializer(2.0))
    with target.session() as one, target.session() as two:
        for session in (one, two):
            session.run(tf.local_variables_initializer())
        one.run([count.assign_add(1), scale.assign_add([1.0, 1.0])])
        assert one.run([count, scale])[0] == 1
        assert two.run(count) == 0
        assert one.run(scale).tolist() == [3.0, 3.0]
        fetched = one.run(scale)
        fetched[:] = 77
        assert one.run(scale).tolist() == [3.0, 3.0]
        assert one.client.list_variables(prefix=target.container or None) == []
        with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value other"):
            one.run(tf.Variable(1, name="other", collections=["local_variables"]).assign_add(1))


def test_names_a_server_cannot_hold_are_written_another_way_there(sess: tf.Session, target: Target) -> None:
    with tf.variable_scope("x"), tf.variable_scope(""):
        r = tf.get_variable("r", [1], initializer=tf.ones_initializer())
    odd = tf.Variable([2.0], name="a/-b/..")
    assert (r.name, odd.name) == ("x//r:0", "a/-b/..:0")
    sess.run(tf.global_variables_initializer())
    assert [each.tolist() for each in sess.run([r, odd])] == [[1.0], [2.0]]
    names = [each.name.removeprefix(f"{target.container}/") for each in sess.client.list_variables()]
    assert {"x/._./r", "a/._.-b/._..."} <= set(names)


def test_old_names() -> None:
    v = tf.Variable(1)
    assert tf.all_variables() == [v]
    assert tf.initialize_all_variables().type == tf.initialize_variables([v]).type == "NoOp"
    assert tf.initialize_local_variables().type == "NoOp"
