"""The reference, section "variable_scope / get_variable", row by row, and what TensorFlow's own tests ask beyond it."""

from __future__ import annotations

import inspect
import threading
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from paramserver_client.graph.partitions import PartitionInfo


def names(*found: Any) -> list[str]:
    return [each.name for each in found]


@pytest.mark.parametrize(
    ("outer", "inner", "wanted"),
    [
        (False, None, False), (False, True, True), (False, tf.AUTO_REUSE, tf.AUTO_REUSE), (False, False, False),
        (True, None, True), (True, False, True), (True, True, True), (tf.AUTO_REUSE, None, tf.AUTO_REUSE),
        (tf.AUTO_REUSE, False, tf.AUTO_REUSE), (tf.AUTO_REUSE, True, True),
    ],
)  # fmt: skip
def test_reuse_is_inherited_and_cannot_be_switched_off(outer: Any, inner: Any, wanted: Any) -> None:
    with tf.variable_scope("a", reuse=outer) as a:
        with tf.variable_scope("b", reuse=inner) as b:
            assert b.reuse == wanted
        with tf.variable_scope(a, reuse=inner) as again:
            assert again.reuse == wanted
        assert tf.get_variable_scope().reuse == outer
    assert tf.get_variable_scope().reuse is False


def test_reuse_variables_holds_in_the_entered_scope_only() -> None:
    with tf.variable_scope("a") as a:
        tf.get_variable("v", [1])
        a.reuse_variables()
        assert tf.get_variable("v", [1]).name == "a/v:0"
        with pytest.raises(ValueError, match=r"Variable a/u does not exist, or was not created with tf.get_variable"):
            tf.get_variable("u", [1])
    with tf.variable_scope("a") as again:
        assert again.reuse is False
    with tf.variable_scope(a) as jumped:
        assert jumped.reuse is True


def test_existing_and_missing() -> None:
    tf.get_variable("v", [1])
    with pytest.raises(
        ValueError,
        match=r"Variable v already exists, disallowed. Did you mean to set reuse=True or reuse=tf.AUTO_REUSE in VarScope\? "
        r"Originally defined at:\n\n.*test_page_scopes.py",
    ):
        tf.get_variable("v", [1])
    with tf.variable_scope("", reuse=True), pytest.raises(ValueError, match=r"Did you mean to set reuse=tf.AUTO_REUSE"):
        tf.get_variable("w", [1])


def test_a_scope_object_is_entered_from_elsewhere() -> None:
    with tf.variable_scope("a") as a:
        pass
    with tf.variable_scope("b"):
        with tf.variable_scope(a) as inner:
            assert names(tf.get_variable("w", [1]), tf.constant(1, name="c")) == ["a/w:0", "b/a/c:0"]
            assert (inner.name, inner.original_name_scope) == ("a", "a/")
        with tf.variable_scope(a, auxiliary_name_scope=False):
            assert names(tf.get_variable("u", [1]), tf.constant(1, name="c2")) == ["a/u:0", "b/c2:0"]
    with tf.variable_scope("a", reuse=True):
        assert names(tf.get_variable("w"), tf.constant(1, name="c")) == ["a/w:0", "a_1/c:0"]


def test_default_names() -> None:
    made = []
    for _ in range(3):
        with tf.variable_scope(None, "d"):
            made.append(tf.get_variable("v", [1]))
    assert names(*made) == ["d/v:0", "d_1/v:0", "d_2/v:0"]
    with tf.variable_scope("given", "d"):
        assert tf.get_variable("v", [1]).name == "given/v:0"
    with tf.variable_scope("d", reuse=True):
        assert tf.get_variable("v") is made[0]
    with (
        pytest.raises(ValueError, match="reuse=True cannot be used without a name_or_scope"),
        tf.variable_scope(None, "d", reuse=True),
    ):
        pass
    with tf.variable_scope("outer") as outer:
        for wanted in ("outer/layer/v:0", "outer/layer_1/v:0"):
            with tf.variable_scope(None, "layer"):
                assert tf.get_variable("v", [1]).name == wanted
        with tf.variable_scope(outer):
            pass
        with tf.variable_scope(None, "layer"):
            assert tf.get_variable("v", [1]).name == "outer/layer_2/v:0"


def test_empty_and_missing_names() -> None:
    with tf.variable_scope("x"), tf.variable_scope("") as empty:
        assert (empty.name, tf.get_variable("r", [1]).name) == ("x/", "x//r:0")
    with tf.variable_scope("") as root:
        assert root.name == ""
    with pytest.raises(TypeError, match="If default_name is None then name_or_scope is required"):
        tf.variable_scope(None)
    with (
        pytest.raises(TypeError, match=r"VariableScope: name_or_scope must be a string or VariableScope\."),
        tf.variable_scope(3.5),
    ):
        pass
    for odd in ("scope", None):
        with pytest.raises(TypeError, match="auxiliary_name_scope"):
            tf.variable_scope(odd, "default", auxiliary_name_scope="invalid")  # type: ignore[arg-type]


def test_scopes_leave_in_order() -> None:
    outer = tf.variable_scope("bb")
    outer.__enter__()
    with tf.variable_scope("cc"), pytest.raises(RuntimeError, match="Improper nesting of variable_scope"):
        outer.__exit__(None, None, None)
    outer.__exit__(None, None, None)
    assert tf.get_variable_scope().name == ""


def test_defaults_are_inherited_and_can_be_set(run: Any) -> None:
    part = tf.fixed_size_partitioner(2)
    init = tf.constant_initializer(0.3)
    with tf.variable_scope(
        "a", initializer=init, dtype=tf.float64, partitioner=part, regularizer=abs, caching_device="/cpu:7"
    ):
        with tf.variable_scope("b") as b:
            assert (b.initializer, b.dtype, b.partitioner, b.regularizer) == (init, tf.float64, part, abs)
            v = tf.get_variable("v", [])
            assert (v.dtype.base_dtype, v.value().device) == (tf.float64, "/device:CPU:7")
            b.set_partitioner(None)
            b.set_caching_device("")
            b.set_regularizer(tf.no_regularizer)
            b.set_dtype(tf.float16)
            b.set_use_resource(True)
            b.set_initializer(tf.ones_initializer())
            w = tf.get_variable("w", [2])
            assert (w.dtype.base_dtype, w.value().device, b.use_resource) == (tf.float16, "", True)
        with tf.variable_scope("c", partitioner=None) as c:
            assert c.initializer is init
    assert tf.get_variable_scope().initializer is None
    assert [each.tolist() for each in run([v.initial_value, w.initial_value])] == [pytest.approx(0.3), [1.0, 1.0]]


def test_a_constraint_holds_in_its_own_scope_only() -> None:
    with tf.variable_scope("a", constraint=abs):
        assert tf.get_variable("v", [1]).constraint is abs
        with tf.variable_scope("b"):
            assert tf.get_variable("v", [1]).constraint is None
    assert tf.get_variable("own", [1], constraint=abs).constraint is abs


@pytest.mark.parametrize(
    ("shape", "limit"),
    [([4, 6], np.sqrt(6 / 10)), ([5], np.sqrt(6 / 10)), ([], np.sqrt(3)), ([2, 3, 4, 5], np.sqrt(6 / 54))],
)
def test_floats_start_glorot_uniform(shape: list[int], limit: float, run: Any) -> None:
    with tf.variable_scope("", dtype=tf.float64):
        drawn = run([tf.get_variable(f"v{i}", shape).initial_value for i in range(40)])
    assert np.abs(drawn).max() <= limit
    assert np.abs(drawn).max() > 0.7 * limit


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "int64", "bool"])
def test_integers_and_bools_start_with_zeros(dtype: str, run: Any) -> None:
    assert not run(tf.get_variable("v", [3], dtype).initial_value).any()


def test_strings_and_complex_numbers(run: Any) -> None:
    assert run(tf.get_variable("s", [2], tf.string).initial_value).tolist() == [b"", b""]
    with pytest.raises(ValueError, match="An initializer for variable u of <dtype: 'complex64'> is required"):
        tf.get_variable("u", [1], tf.complex64)
    assert run(tf.get_variable("c", [1], tf.complex64, tf.zeros_initializer()).initial_value)[0] == 0


def test_kinds_of_initializers(run: Any) -> None:
    seen: list[Any] = []

    def maker(shape: Any, dtype: Any, partition_info: Any) -> Any:
        seen.append((shape, dtype, partition_info))
        return tf.fill(shape, 7.0)

    made = [
        tf.get_variable("a", [2], initializer=tf.ones_initializer), tf.get_variable("b", [2], initializer=maker),
        tf.get_variable("c", initializer=lambda: [1, 2]), tf.get_variable("d", initializer=tf.constant([3.0])),
        tf.get_variable("e", initializer=5.0), tf.get_variable("f", initializer=5),
        tf.get_variable("g", initializer=np.zeros(2)), tf.get_variable("h", initializer=lambda x=True: [2]),
        tf.get_variable("i", initializer=np.array([1, 2]), dtype=tf.int64),
    ]  # fmt: skip
    assert seen == [([2], tf.float32, None)]
    wanted = ["float32", "float32", "int32", "float32", "float32", "int32", "float64", "int32", "int64"]
    assert [each.dtype.base_dtype.name for each in made] == wanted
    assert run(made[1].initial_value).tolist() == [7.0, 7.0]
    with pytest.raises(ValueError, match="If initializer is a constant, do not specify shape"):
        tf.get_variable("x", [1], initializer=5.0)
    with pytest.raises(ValueError, match=r"Initializer type '.*int32.*' and explicit dtype '.*float64.*' don't match"):
        tf.get_variable("x", initializer=tf.constant(1), dtype=tf.float64)
    for arguments in ({}, {"shape": [None, 2]}, {"initializer": lambda shape: [2]}):
        with pytest.raises(
            ValueError, match=r"The initializer passed is not valid. It should be a callable with no arguments"
        ):
            tf.get_variable("x", **arguments)
    with pytest.raises(TypeError):
        tf.get_variable("x", initializer={})


def test_differences_at_reuse() -> None:
    with tf.variable_scope("a"):
        v = tf.get_variable("v", [2, 3])
    with tf.variable_scope("a", reuse=True):
        assert tf.get_variable("v") is tf.get_variable("v", [None, 3]) is v
        assert tf.get_variable("v", [2, 3], v.dtype, tf.ones_initializer(), trainable=False) is v
        with pytest.raises(
            ValueError, match=r"Trying to share variable a/v, but specified shape \(3, 2\) and found shape \(2, 3\)\."
        ):
            tf.get_variable("v", [3, 2])
        with pytest.raises(
            ValueError, match="Trying to share variable a/v, but specified dtype int32 and found dtype float32_ref"
        ):
            tf.get_variable("v", [2, 3], tf.int32)


def test_custom_getters_call_the_inner_first() -> None:
    log = []

    def getter(which: str, suffix: str) -> Any:
        def get(getter: Any, name: str, *args: Any, **kwargs: Any) -> Any:
            log.append((which, name))
            return tf.identity(getter(name + suffix, *args, **kwargs), name=which)

        return get

    with (
        tf.variable_scope("s", custom_getter=getter("outer", "")),
        tf.variable_scope("t", custom_getter=getter("inner", "_x")),
    ):
        found = tf.get_variable("v", [1])
    assert (log, found.op.type) == ([("inner", "s/t/v"), ("outer", "s/t/v_x")], "Identity")
    for odd in (lambda: tf.variable_scope("u", custom_getter=3), lambda: tf.get_variable("u", custom_getter=3)):
        with pytest.raises(ValueError, match=r"custom_getter .* not callable:"):
            odd()


def test_what_a_custom_getter_is_told() -> None:
    told: dict[str, Any] = {}

    def getter(getter: Any, **kwargs: Any) -> Any:
        told.update(kwargs)
        return getter(**kwargs)

    when, how = tf.VariableSynchronization.ON_READ, tf.VariableAggregation.MEAN
    tf.get_variable("v", [1], custom_getter=getter, synchronization=when, aggregation=how, constraint=abs)
    assert (told["synchronization"], told["aggregation"], told["constraint"], told["reuse"]) == (when, how, abs, False)
    assert (told["trainable"], told["shape"], told["dtype"]) == (False, [1], tf.float32)


def test_two_variables_in_one_getter(run: Any) -> None:
    def getter(getter: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        parts = [getter(f"{name}/{i}", *args, **kwargs) for i in range(2)]
        with tf.name_scope("sum"):
            return parts[0] + parts[1]

    with tf.variable_scope("s", custom_getter=getter):
        found = tf.get_variable("v", [2], initializer=tf.ones_initializer())
    assert (found.name, names(*tf.trainable_variables())) == ("sum/add:0", ["s/v/0:0", "s/v/1:0"])


def test_regularizers(run: Any) -> None:
    def loss(weight: float) -> Any:
        return lambda v: tf.reduce_sum(v) * weight

    with tf.variable_scope("a", regularizer=loss(0.1)):
        tf.get_variable("v", [2], initializer=tf.ones_initializer())
        tf.get_variable("w", [2], initializer=tf.ones_initializer(), regularizer=loss(10.0))
        tf.get_variable("x", [2], regularizer=tf.no_regularizer)
        tf.Variable([1.0])
    with tf.variable_scope("a", reuse=True, regularizer=loss(0.1)):
        tf.get_variable("v")
    losses = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    assert names(*losses) == ["a/v/Regularizer/mul:0", "a/w/Regularizer/mul:0"]
    values = {each: np.ones(2) for each in tf.global_variables()[:2]}
    assert run(tf.losses.get_regularization_loss(), values) == pytest.approx(20.2)
    assert tf.losses.get_regularization_losses("a/v") == losses[:1]
    tf.losses.add_loss(tf.constant(1.0))
    tf.losses.add_loss(tf.constant(1.0), None)
    assert run([tf.losses.get_total_loss(), tf.losses.get_total_loss(False)], values) == [pytest.approx(21.2), 1.0]
    with tf.Graph().as_default(), tf.Session() as sess:
        assert sess.run(tf.losses.get_regularization_loss()) == 0.0


def test_collections() -> None:
    v = tf.get_variable("v", [1], collections=["mine"])
    w = tf.get_variable("w", [1], trainable=False)
    with tf.variable_scope("s") as scope:
        local = tf.get_local_variable("l", [1], collections=["mine"])
        u = tf.get_variable("u", [1])
        assert (scope.global_variables(), scope.local_variables(), scope.trainable_variables()) == ([u], [local], [u])
    assert (tf.get_collection("mine"), tf.global_variables(), tf.trainable_variables()) == ([v, local], [w, u], [v, u])
    assert not local.trainable
    assert inspect.getfullargspec(tf.get_variable)[0] == inspect.getfullargspec(tf.get_local_variable)[0]


def test_on_read_variables_are_not_trained_unless_told() -> None:
    when = tf.VariableSynchronization.ON_READ
    tf.get_variable("a", [], synchronization=when)
    b = tf.get_variable("b", [], synchronization=when, trainable=True)
    c = tf.get_variable("c", [], synchronization=tf.VariableSynchronization.ON_WRITE)
    assert tf.trainable_variables() == [b, c]


# Partitioned


def test_partitioned_variables_in_collections(run: Any) -> None:
    p = tf.get_variable("p", [5, 2], partitioner=tf.fixed_size_partitioner(2), initializer=tf.ones_initializer())
    assert (p.name, names(*tf.global_variables()), [each.shape.as_list() for each in p]) == (
        "p", ["p/part_0:0", "p/part_1:0"], [[3, 2], [2, 2]])  # fmt: skip
    assert (p.as_tensor().name, p.dtype, p.shape.as_list(), p.trainable) == ("p:0", tf.float32, [5, 2], True)
    assert [each.op.colocation_groups() for each in p] == [[b"loc:@p/part_0"], [b"loc:@p/part_1"]]
    assert [each._save_slice_info.spec for each in p] == ["5 2 0,3:0,2", "5 2 3,2:0,2"]  # type: ignore[union-attr]
    with tf.Session() as sess:
        sess.run(p.initializer)
        assert sess.run(p + 0.0).tolist() == [[1.0, 1.0]] * 5
    assert repr(p) == "<tf.PartitionedVariable 'p' shape=(5, 2) partitions=[2, 1]>"
    assert tf.get_variable("scalar", [], partitioner=tf.fixed_size_partitioner(2)).name == "scalar:0"


def test_initializers_of_parts(run: Any) -> None:
    value = np.arange(10.0).reshape(5, 2)
    seen: list[Any] = []

    def maker(shape: Any, dtype: Any = tf.float32, partition_info: Any = None) -> Any:
        seen.append((partition_info.full_shape, partition_info.var_offset, partition_info.single_offset(shape)))
        return tf.zeros(shape, dtype)

    cut = tf.fixed_size_partitioner(2)
    whole = tf.get_variable("a", initializer=tf.constant(value), partitioner=cut)
    plain = tf.get_variable("b", [5, 2], tf.float64, initializer=value, partitioner=cut)
    tf.get_variable("c", [5, 2], initializer=maker, partitioner=cut)
    assert seen == [([5, 2], [0, 0], 0), ([5, 2], [3, 0], 3)]
    for found in (whole, plain):
        np.testing.assert_array_equal(np.concatenate(run([each.initial_value for each in found])), value)


def test_reuse_of_parts() -> None:
    two, three = tf.fixed_size_partitioner(2), tf.fixed_size_partitioner(3)
    with tf.variable_scope("s", partitioner=two) as scope:
        p = tf.get_variable("p", [4, 1])
        single = tf.get_variable("single", [], partitioner=None)
        assert scope.partitioner is two
    with tf.variable_scope("s", reuse=True):
        assert tf.get_variable("p") is p
        assert tf.get_variable("p", [4, 1], partitioner=two) is p
        for arguments, words in (
            ({"shape": [4, 1], "partitioner": three}, "Trying to reuse partitioned variable .* but specified partitions .* and found"),
            ({"shape": [5, 1], "partitioner": two}, "but specified shape .* and found shape"),
            ({"shape": [4, 1], "dtype": tf.int32, "partitioner": two}, "but specified dtype int32 and found dtype float32"),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=words):
                tf.get_variable("p", **arguments)
        with pytest.raises(ValueError, match="PartitionedVariable s/q does not exist"):
            tf.get_variable("q", [4, 1], partitioner=two)
    with tf.variable_scope("s"):
        for name, arguments, words in (
            ("p", {"partitioner": two}, "Partitioned variable with name s/p already exists"),
            ("p", {}, "a partitioned version of the variable was found: s/p/part_0"),
            ("r", {"partitioner": lambda **_: 3}, "Partitioner must return a sequence"),
            ("r", {"partitioner": lambda **_: [1]}, "does not match the Variable's rank"),
            ("r", {"partitioner": lambda **_: [0, 1]}, "Partitioner returned zero partitions"),
            ("r", {"partitioner": lambda **_: [2, 2]}, "Can only slice a variable along one dimension"),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=words):
                tf.get_variable(name, [4, 2] if name == "r" else [4, 1], **arguments)
        with pytest.raises(ValueError, match="fully defined"):
            tf.get_variable("r", [None, 2], partitioner=two)
        tf.get_variable("plain", [4, 1])
        with pytest.raises(ValueError, match="an unpartitioned version of the variable was found: s/plain"):
            tf.get_variable("plain", [4, 1], partitioner=two)
    assert single.name == "s/single:0"
    tf.get_variable("t/part_0", [1])
    with pytest.raises(ValueError, match="t/part_0 was found, but t/part_1 was not"):
        tf.get_variable("t", [4], partitioner=two)
    for number in (1, 2):
        tf.get_variable(f"t/part_{number}", [1])
    with pytest.raises(ValueError, match="so was the extra shard t/part_2"):
        tf.get_variable("t", [4], partitioner=two)


@pytest.mark.parametrize(
    ("partitioner", "shape", "wanted"),
    [
        (tf.fixed_size_partitioner(5), [10, 10], [5, 1]), (tf.fixed_size_partitioner(8, axis=1), [10, 4], [1, 4]),
        (tf.variable_axis_size_partitioner(131072), [4, 8, 16, 32], [1, 1, 1, 1]),
        (tf.variable_axis_size_partitioner(32768, axis=2), [4, 8, 16, 32], [1, 1, 2, 1]),
        (tf.variable_axis_size_partitioner(1024, axis=3), [4, 8, 16, 32], [1, 1, 1, 32]),
        (tf.variable_axis_size_partitioner(1024, axis=3, max_shards=2), [4, 8, 16, 32], [1, 1, 1, 2]),
        (tf.min_max_variable_partitioner(100, 0, 2 << 10), [2048], [4]),
        (tf.min_max_variable_partitioner(16, 0, 256 << 10), [2048, 1024], [16, 1]),
        (tf.min_max_variable_partitioner(100, 3, 256 << 10), [64, 1024, 1, 3], [1, 1, 1, 3]),
        (tf.min_max_variable_partitioner(), [64, 64], [1, 1]),
    ],
)  # fmt: skip
def test_partitioners(partitioner: Any, shape: list[int], wanted: list[int]) -> None:
    assert list(partitioner(shape=tf.TensorShape(shape), dtype=tf.float32)) == wanted


def test_partitioners_of_strings_and_what_they_refuse() -> None:
    by_bytes = tf.variable_axis_size_partitioner(32768, axis=3, bytes_per_string_element=8)
    assert by_bytes(tf.TensorShape([4, 8, 16, 32]), tf.string) == [1, 1, 1, 4]
    assert tf.min_max_variable_partitioner(9, min_slice_size=16)(tf.TensorShape([4]), tf.string) == [4]
    for arguments in ({"max_shard_bytes": 0}, {"max_shard_bytes": 1, "max_shards": -1}):
        with pytest.raises(ValueError, match="must be positive"):
            tf.variable_axis_size_partitioner(**arguments)
    for shape, dtype in (([4], tf.int8), (tf.TensorShape([None]), tf.int8), (tf.TensorShape([4]), "int8")):
        with pytest.raises(ValueError):
            tf.variable_axis_size_partitioner(8)(shape, dtype)
    with pytest.raises(ValueError, match="Can not partition variable along axis 1"):
        tf.min_max_variable_partitioner(2, axis=1)(tf.TensorShape([4]), tf.int8)


def test_partitions_made_by_hand(run: Any) -> None:
    value = tf.constant([[1, 2, 3, 4], [5, 6, 7, 8]])
    with tf.variable_scope("hi") as scope:
        first = tf.create_partitioned_variables([2, 4], [1, 2], value)
        second = tf.create_partitioned_variables([2, 4], [1, 2], value)
        named = tf.create_partitioned_variables([4], [2], tf.zeros_initializer(), name="named", trainable=False)
    assert names(*first, *second, *named) == [
        "hi/PartitionedVariable/part_0:0", "hi/PartitionedVariable/part_1:0", "hi/PartitionedVariable_1/part_0:0",
        "hi/PartitionedVariable_1/part_1:0", "hi/named/part_0:0", "hi/named/part_1:0"]  # fmt: skip
    assert [each._save_slice_info.spec for each in first] == ["2 4 0,2:0,2", "2 4 0,2:2,2"]
    assert run(tf.concat([each.initial_value for each in first], 1)).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    with tf.variable_scope(scope, reuse=True):
        assert tf.create_partitioned_variables([2, 4], [1, 2], value, dtype=tf.int32) == first
    for shape, slicing in (([4], [1, 2]), ([], [])):
        with pytest.raises(ValueError):
            tf.create_partitioned_variables(shape, slicing, value)


def test_what_an_initializer_of_a_part_is_told() -> None:
    info = PartitionInfo([9, 3], [4, 0])
    assert (info.single_offset([1, 3]), info.single_slice_dim([2, 3])) == (4, 0)
    whole = PartitionInfo([9, 3], [0, 0])
    assert (whole.single_offset([9, 3]), whole.single_slice_dim([9, 2])) == (0, 1)
    for full, offset, error in (
        (None, [0], TypeError), ([0, 1], None, TypeError), ("foo", [0], TypeError), ([1], "foo", TypeError),
        ([1, 1], [0], ValueError), ([1, 1], [0, 1], ValueError),
    ):  # fmt: skip
        with pytest.raises(error):
            PartitionInfo(full, offset)  # type: ignore[arg-type]
    for shape, error in ((None, TypeError), ([1, 2, 3], ValueError), ([6, 3], ValueError), ([1, 1], ValueError)):
        with pytest.raises(error):
            info.single_slice_dim(shape)  # type: ignore[arg-type]


# Templates, creators, the old forms, threads


def test_templates_share_their_variables() -> None:
    def line(x: Any, name: str = "w") -> Any:
        return x * tf.get_variable(name, [])

    one, two = tf.make_template("lin", line), tf.make_template("lin", line)
    x = tf.constant(1.0)
    assert one.variable_scope is one.variable_scope_name is None
    assert one.variables == []
    one(x), one(x), two(x)
    assert names(*tf.global_variables()) == ["lin/w:0", "lin_1/w:0"]
    assert (one.name, one.func, one.variable_scope_name, names(*one.trainable_variables)) == (
        "lin",
        line,
        "lin/",
        ["lin/w:0"],
    )
    assert (one.local_variables, one.variables, one.var_scope) == ([], one.global_variables, one.variable_scope)
    named = tf.make_template("lin", line, unique_name_="own", name="u")
    named(x), named(x)
    assert tf.global_variables()[-1].name == "own/u:0"
    with pytest.raises(ValueError, match="Variable own/u already exists"):
        tf.make_template("lin", line, unique_name_="own", name="u")(x)
    now = tf.make_template("now", line, create_scope_now_=True)
    assert (now.variable_scope_name, now(x).name, now(x).name) == ("now/", "now/mul:0", "now_1/mul:0")
    with pytest.raises(ValueError, match="name cannot be None"):
        tf.make_template(None, line)  # type: ignore[arg-type]


def test_templates_know_their_variables() -> None:
    def body() -> Any:
        tf.Variable(1.0, trainable=False)
        return tf.get_variable("w", [1])

    template = tf.make_template("", body)
    with tf.variable_scope("outer"):
        beside = tf.get_variable("x", [])
        w = template()
    assert (template.variable_scope_name, w.name) == ("outer/", "outer//w:0")
    assert template.trainable_variables == [beside, w]
    assert template.non_trainable_variables == [v for v in template.variables if v not in (beside, w)]
    assert len(template.non_trainable_variables) == 1


def test_templates_refuse_new_trainable_variables_and_survive_a_failure() -> None:
    fails = [True]

    def body() -> Any:
        if fails:
            raise KeyError("first")
        tf.get_variable("v", [])
        return tf.Variable(1.0)

    template = tf.make_template("t", body)
    with pytest.raises(KeyError):
        template()
    fails.clear()
    template()
    with pytest.raises(ValueError, match="Trainable variable created when calling a template after the first time"):
        template()


def test_creators() -> None:
    seen = []

    def outer(next_creator: Any, **kwargs: Any) -> Any:
        seen.append(kwargs["name"])
        return next_creator(**kwargs)

    def inner(next_creator: Any, **kwargs: Any) -> Any:
        return next_creator(**{**kwargs, "name": "forced"})

    with tf.variable_creator_scope(outer), tf.variable_creator_scope(inner):
        assert tf.Variable(1.0, name="asked").name == "forced:0"
        assert tf.get_variable("g", []).name == "forced_1:0"
    assert seen == ["forced", "forced"]
    first, second = tf.variable_creator_scope(outer), tf.variable_creator_scope(inner)
    first.__enter__()
    second.__enter__()
    with pytest.raises(RuntimeError, match="without proper nesting"):
        first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    tf.get_default_graph().variable_creators = []


def test_the_old_form_of_a_scope() -> None:
    with tf.variable_op_scope([tf.constant(1)], None, "d") as scope:
        assert (scope.name, tf.get_variable("v", [1]).name) == ("d", "d/v:0")
    tf.enable_resource_variables()
    assert tf.resource_variables_enabled() is False
    tf.disable_resource_variables()


def test_each_thread_stands_where_it_stands() -> None:
    graph, results = tf.get_default_graph(), []

    def work(number: int) -> None:
        with graph.as_default(), tf.variable_scope("foo"):
            try:
                results.append(tf.get_variable("v", []).name)
            except ValueError:
                results.append("exists")

    with tf.variable_scope("bar"):
        for number in range(2):
            thread = threading.Thread(target=work, args=(number,))
            thread.start()
            thread.join()
    assert results == ["foo/v:0", "exists"]


def test_parts_of_one_seed_are_equal_and_others_are_not(sess: tf.Session) -> None:
    one, two = tf.create_partitioned_variables([4, 6], [1, 2], tf.random_uniform_initializer(seed=7))
    three, four = tf.create_partitioned_variables([4, 6], [1, 2], tf.random_uniform_initializer())
    sess.run(tf.global_variables_initializer())
    values = sess.run([one, two, three, four])
    np.testing.assert_array_equal(values[0], values[1])
    assert not np.array_equal(values[2], values[3])
