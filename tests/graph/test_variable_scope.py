"""Variable scopes: reuse, nesting, entering again, inheritance, default names, and the errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf

MISSING = "does not exist, or was not created with tf.get_variable"
EXISTS = "already exists, disallowed"


def make(name: str = "v") -> str:
    variable: tf.Variable = tf.get_variable(name, [1])
    return variable.op.name


def op() -> str:
    return tf.constant(1, name="c").op.name


def test_prefixes_of_variables_and_operations() -> None:
    with tf.variable_scope("foo"):
        assert (make(), op(), tf.Variable(1, name="w").op.name) == ("foo/v", "foo/c", "foo/w")
    with tf.variable_scope("foo"):
        assert (make("u"), op(), tf.Variable(1, name="w").op.name) == ("foo/u", "foo_1/c", "foo_1/w")
    with tf.name_scope("names"):
        assert make("free") == "free"
        with tf.variable_scope("bar"):
            assert (make(), op()) == ("bar/v", "names/bar/c")


def test_parts_of_a_variable() -> None:
    g = tf.get_variable("g", [2], initializer=tf.zeros_initializer())
    assert g.initial_value.op.name == "g/Initializer/zeros"
    assert (g.initializer.name, g.value().op.name) == ("g/Assign", "g/read")
    assert tf.get_variable("h", [2]).initial_value.op.name == "h/Initializer/random_uniform"


def test_get_variable_never_finds_a_plain_variable() -> None:
    tf.Variable([1.0], name="v")
    assert make() == "v_1"
    tf.Variable([1.0], name="w")
    with tf.variable_scope(tf.get_variable_scope(), reuse=True), pytest.raises(ValueError, match=MISSING):
        make("w")


def test_reuse() -> None:
    with pytest.raises(ValueError, match=MISSING), tf.variable_scope("a", reuse=True):
        make()
    with tf.variable_scope("a"):
        v = tf.get_variable("v", [1])
        with pytest.raises(ValueError, match=EXISTS):
            make()
    with tf.variable_scope("a", reuse=True):
        assert tf.get_variable("v", [1]) is v
        assert tf.get_variable("v") is v
    with tf.variable_scope("a", reuse=tf.AUTO_REUSE):
        assert tf.get_variable("v", [1]) is v
        assert make("new") == "a/new"
    with tf.variable_scope("a") as scope:
        scope.reuse_variables()
        assert tf.get_variable("v", [1]) is v
    assert tf.get_variable_scope().reuse is False
    with pytest.raises(ValueError, match="reuse parameter must be True or False or None"):
        tf.variable_scope("a", reuse="yes")


@pytest.mark.parametrize(
    ("outer", "inner", "result"),
    [
        (None, None, False),
        (True, None, True),
        (True, False, True),
        (None, True, True),
        (tf.AUTO_REUSE, None, tf.AUTO_REUSE),
        (tf.AUTO_REUSE, False, tf.AUTO_REUSE),
        (tf.AUTO_REUSE, True, True),
        (False, False, False),
    ],
)
def test_reuse_is_inherited_and_not_switched_off(outer: Any, inner: Any, result: Any) -> None:
    with tf.variable_scope("a", reuse=outer), tf.variable_scope("b", reuse=inner) as scope:
        assert (scope.reuse or False) == result


def test_entering_an_object_again() -> None:
    with tf.variable_scope("a") as a:
        make()
    with tf.variable_scope("b"), tf.variable_scope(a) as again:
        assert (make("w"), op()) == ("a/w", "b/a/c")
        assert again.original_name_scope == "a/"
        with tf.variable_scope("deeper"):
            assert make() == "a/deeper/v"
    with tf.variable_scope(a, reuse=True):
        assert make() == "a/v"
    with tf.variable_scope("b"), tf.variable_scope(a, auxiliary_name_scope=False):
        assert (make("x"), op()) == ("a/x", "b_1/c")


def test_entering_the_same_with_object_twice() -> None:
    scope = tf.variable_scope("s")
    with scope:
        assert (make(), op()) == ("s/v", "s/c")
    with scope:
        assert (make("w"), op()) == ("s/w", "s_1/c")


def test_default_names() -> None:
    names = []
    for _ in range(3):
        with tf.variable_scope(None, default_name="d"):
            names.append(make())
    assert names == ["d/v", "d_1/v", "d_2/v"]
    with tf.variable_scope("d", default_name="ignored", reuse=True):
        assert make() == "d/v"
    with tf.variable_scope("outer"), tf.variable_scope(None, "d"):
        assert make() == "outer/d/v"


def test_empty_and_wrong_names() -> None:
    with tf.variable_scope("") as root:
        assert (root.name, make()) == ("", "v")
    with tf.variable_scope("x"), tf.variable_scope("") as inner:
        assert (inner.name, make("r")) == ("x/", "x//r")
    with pytest.raises(TypeError, match="If default_name is None then name_or_scope is required"):
        tf.variable_scope(None)
    with pytest.raises(TypeError, match="name_or_scope must be a string or VariableScope"), tf.variable_scope(3.5):
        pass
    nameless = tf.variable_scope(None, "d", reuse=True)
    with pytest.raises(ValueError, match="reuse=True cannot be used without a name_or_scope"), nameless:
        pass
    with pytest.raises(TypeError, match="auxiliary_name_scope"):
        tf.variable_scope("a", auxiliary_name_scope=1)  # type: ignore[arg-type]
    assert tf.get_variable_scope().name == ""


def test_an_error_inside_restores_what_was() -> None:
    with pytest.raises(RuntimeError), tf.variable_scope("a", reuse=True):
        raise RuntimeError
    assert (make(), op()) == ("v", "c")


def test_mismatches() -> None:
    with tf.variable_scope("a"):
        tf.get_variable("v", [2, 3])
    with tf.variable_scope("a", reuse=True):
        with pytest.raises(
            ValueError, match=r"Trying to share variable a/v, but specified shape \(3, 2\) and found shape \(2, 3\)\."
        ):
            tf.get_variable("v", [3, 2])
        with pytest.raises(
            ValueError, match=r"Trying to share variable a/v, but specified dtype int32 and found dtype float32_ref\."
        ):
            tf.get_variable("v", [2, 3], tf.int32)
        assert tf.get_variable("v", [None, 3], trainable=False, initializer=tf.ones_initializer()).trainable


def test_initializers_of_all_kinds(sess: tf.Session) -> None:
    made = [
        tf.get_variable("object", [2], initializer=tf.ones_initializer()),
        tf.get_variable("class", [2], initializer=tf.ones_initializer),
        tf.get_variable("call", [2], initializer=lambda shape, dtype, partition_info: tf.ones(shape, dtype)),
        tf.get_variable("plain_call", [2], initializer=lambda shape, dtype: tf.ones(shape, dtype)),
        tf.get_variable("no_arguments", initializer=lambda: tf.ones([2])),
        tf.get_variable("tensor", initializer=tf.ones([2])),
        tf.get_variable("list", initializer=[1.0, 1.0]),
        tf.get_variable("array", initializer=np.float64([1, 1])),
    ]
    sess.run(tf.global_variables_initializer())
    for variable, value in zip(made, sess.run(made), strict=True):
        assert value.tolist() == [1.0, 1.0], variable
    assert made[-1].dtype.base_dtype == tf.float64
    assert tf.get_variable("five", initializer=5).dtype.base_dtype == tf.int32
    assert tf.get_variable("half", initializer=5.0).dtype.base_dtype == tf.float32


def test_default_first_values() -> None:
    assert tf.get_variable("conv", [5, 5, 3, 8]).initial_value.op.recipe["maxval"] == pytest.approx(
        np.sqrt(6 / (5 * 5 * 3 + 5 * 5 * 8))
    )
    assert tf.get_variable("vector", [4]).initial_value.op.recipe["maxval"] == pytest.approx(np.sqrt(6 / 8))
    assert tf.get_variable("scalar", []).initial_value.op.recipe["maxval"] == pytest.approx(np.sqrt(3))
    assert tf.get_variable("ints", [2], tf.uint8).initial_value.op.recipe == {"type": "zeros"}
    assert tf.get_variable("flags", [2], tf.bool).initial_value.op.recipe == {"type": "zeros"}
    with pytest.raises(ValueError, match="An initializer for variable u of <dtype: 'complex64'> is required"):
        tf.get_variable("u", [1], tf.complex64)


def test_initializers_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="If initializer is a constant, do not specify shape"):
        tf.get_variable("a", [2], initializer=[1.0, 2.0])
    for shape in (None, [None, 3]):
        with pytest.raises(ValueError, match=r"The initializer passed is not valid\. It should be a callable"):
            tf.get_variable("a", shape, initializer=tf.ones_initializer())
    with pytest.raises(ValueError, match="and explicit dtype"):
        tf.get_variable("a", dtype=tf.int32, initializer=[1.0])


def test_defaults_are_inherited_and_can_be_changed(sess: tf.Session) -> None:
    with tf.variable_scope("a", initializer=tf.constant_initializer(0.4), dtype=tf.float64) as a:
        first = tf.get_variable("v", [1])
        with tf.variable_scope("b") as b:
            second = tf.get_variable("v", [1])
            assert b.dtype == tf.float64
        with tf.variable_scope("c", initializer=tf.constant_initializer(0.1), dtype=tf.float32):
            third = tf.get_variable("v", [1])
        a.set_initializer(tf.ones_initializer())
        a.set_dtype(tf.float32)
        fourth = tf.get_variable("w", [1])
    sess.run(tf.global_variables_initializer())
    values = sess.run([first, second, third, fourth])
    np.testing.assert_allclose([float(each[0]) for each in values], [0.4, 0.4, 0.1, 1.0], rtol=1e-6)
    assert [each.dtype for each in values] == ["float64", "float64", "float32", "float32"]


def test_custom_getters_wrap_each_other() -> None:
    calls: list[str] = []

    def getter(label: str) -> Any:
        def get(inner: Any, name: str, *args: Any, **kwargs: Any) -> Any:
            calls.append(f"{label} {name}")
            return inner(name if label == "outer" else f"{name}_x", *args, **kwargs)

        return get

    with tf.variable_scope("s", custom_getter=getter("outer")), tf.variable_scope("t", custom_getter=getter("inner")):
        v = tf.get_variable("v", [1])
    assert calls == ["inner s/t/v", "outer s/t/v_x"]
    assert v.op.name == "s/t/v_x"


def test_regularizers_run_once_and_are_collected(sess: tf.Session) -> None:
    def regularizer(v: Any) -> Any:
        return tf.reduce_sum(tf.square(v), name="loss")

    with tf.variable_scope("a", regularizer=regularizer):
        tf.get_variable("v", initializer=[1.0, 2.0])
        tf.Variable([5.0])
    with tf.variable_scope("a", reuse=True):
        tf.get_variable("v")
    (loss,) = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    assert loss.op.name == "a/v/Regularizer/loss"
    sess.run(tf.global_variables_initializer())
    assert sess.run(loss) == 5.0


def test_constraints_hold_in_their_scope_only() -> None:
    with tf.variable_scope("a", constraint=tf.abs):
        assert tf.get_variable("v", [1]).constraint is tf.abs
        with tf.variable_scope("b"):
            assert tf.get_variable("v", [1]).constraint is None


def test_collections_of_get_variable() -> None:
    v = tf.get_variable("v", [1], collections=["mine"])
    w = tf.get_variable("w", [1], trainable=False)
    local = tf.get_local_variable("l", [1])
    assert (tf.get_collection("mine"), tf.trainable_variables(), tf.global_variables()) == ([v], [v], [w])
    assert tf.local_variables() == [local]
    with tf.variable_scope("s") as scope:
        inside = tf.get_variable("v", [1])
        assert scope.global_variables() == scope.trainable_variables() == [inside]
        assert scope.local_variables() == []


def test_odd_arguments_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="Partitioner must be callable, but received: 3"):
        tf.get_variable("v", [1], partitioner=3)
    with pytest.raises(ValueError, match="Invalid variable synchronization mode: odd for variable: v"):
        tf.get_variable("v", [1], synchronization="odd")
    with pytest.raises(ValueError, match="Invalid variable aggregation mode: odd for variable: v"):
        tf.get_variable("v", [1], aggregation="odd")
