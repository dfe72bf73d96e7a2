"""The reference, "assign, scatter" and the variables' part of "Collections, initialisation", on each target."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from paramserver_client.graph.dtypes import Array
from support.graph_target import Target


def initialized(sess: tf.Session, *variables: tf.Variable) -> None:
    sess.run(tf.variables_initializer(list(variables)))


# Making


def test_every_kind_of_initial_value(sess: tf.Session) -> None:
    first = tf.Variable([1.0, 2.0], name="first")
    made = [
        first, tf.Variable(np.float64(3.0)), tf.Variable(lambda: [4]), tf.Variable(first.initialized_value() * 2.0),
        tf.Variable(first), tf.Variable(tf.constant(5, tf.int64)), tf.Variable([1, 2], dtype=tf.float32),
        tf.Variable([True]), tf.Variable(np.arange(3)),
    ]  # fmt: skip
    sess.run(tf.global_variables_initializer())
    wanted = [[1.0, 2.0], 3.0, [4], [2.0, 4.0], [1.0, 2.0], 5, [1.0, 2.0], [True], [0, 1, 2]]
    for got, value in zip(sess.run(made), wanted, strict=True):
        np.testing.assert_array_equal(got, value)
    kinds = [each.dtype.base_dtype.name for each in made]
    assert kinds == ["float32", "float64", "int32", "float32", "float32", "int64", "float32", "bool", "int64"]


def test_the_guard_of_initial_values_is_one_level_deep(sess: tf.Session) -> None:
    a = tf.Variable(1.0, name="a")
    b = tf.Variable(a, name="b")
    d = tf.Variable(b, name="d")
    with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value a"):
        sess.run(d.initializer)
    chained = tf.Variable(tf.Variable(a.initialized_value()).initialized_value())
    sess.run(chained.initializer)
    assert sess.run(chained) == 1.0


def test_what_is_said_of_a_variable() -> None:
    v = tf.Variable([1.0], name="v", constraint=abs, synchronization=tf.VariableSynchronization.ON_READ,
                    aggregation=tf.VariableAggregation.MEAN, use_resource=True, caching_device="/job:foo")  # fmt: skip
    assert repr(v) == "<tf.Variable 'v:0' shape=(1,) dtype=float32_ref>"
    assert (v.constraint, v.trainable, v.aggregation) == (abs, False, tf.VariableAggregation.ONLY_FIRST_REPLICA) or (
        v.constraint, v.trainable, v.aggregation) == (abs, False, tf.VariableAggregation.MEAN)  # fmt: skip
    assert (v.device, v.value().device) == ("", "/job:foo")
    assert tf.VariableAggregation.ONLY_FIRST_TOWER is tf.VariableAggregation.ONLY_FIRST_REPLICA
    assert isinstance(tf.VariableV1(1.0), tf.Variable)
    assert tf.Variable(1.0, trainable=True, synchronization=tf.VariableSynchronization.ON_READ).trainable


def test_containers_are_noted() -> None:
    with tf.container("l1"):
        inner = tf.Variable(1.0)
    assert (inner.op.get_attr("container"), tf.Variable(1.0).op.get_attr("container")) == (b"l1", b"")
    assert inner.op.get_attr("dtype") == tf.float32
    with pytest.raises(ValueError, match="has no attr named 'nothing'"):
        inner.op.get_attr("nothing")


def test_a_trainable_variable_is_so_wherever_it_is_put() -> None:
    a = tf.Variable(1.0, collections=[tf.GraphKeys.LOCAL_VARIABLES])
    b = tf.Variable(1.0, collections=[])
    c = tf.Variable(1.0, collections=[tf.GraphKeys.TRAINABLE_VARIABLES, tf.GraphKeys.GLOBAL_VARIABLES])
    assert (tf.trainable_variables(), tf.global_variables(), tf.local_variables()) == ([a, b, c], [c], [a])


def test_strings_live_in_the_session(target: Target) -> None:
    v = tf.get_variable("text", [2], tf.string)
    w = tf.Variable(["a", "b"])
    with target.session() as sess:
        sess.run(tf.global_variables_initializer())
        assert sess.run(v).tolist() == [b"", b""]
        assert sess.run(w.assign(["c", "d"])).tolist() == [b"c", b"d"]
        assert sess.client.list_variables() == [] or "text" not in [each.name for each in sess.client.list_variables()]


# Reading and calculating


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (lambda v: v + 1.0, [3.0]), (lambda v: 1.0 + v, [3.0]), (lambda v: v - 1.0, [1.0]), (lambda v: 1.0 - v, [-1.0]),
        (lambda v: v * 3.0, [6.0]), (lambda v: 3.0 * v, [6.0]), (lambda v: v / 4.0, [0.5]), (lambda v: 4.0 / v, [2.0]),
        (lambda v: v // 1.5, [1.0]), (lambda v: 5.0 // v, [2.0]), (lambda v: v % 1.5, [0.5]), (lambda v: 5.0 % v, [1.0]),
        (lambda v: v**3.0, [8.0]), (lambda v: 3.0**v, [9.0]), (lambda v: -v, [-2.0]), (lambda v: abs(-v), [2.0]),
        (lambda v: v < 3.0, [True]), (lambda v: v <= 2.0, [True]), (lambda v: v > 2.0, [False]),
        (lambda v: v >= 2.0, [True]), (lambda v: v[0], 2.0), (lambda v: v[0:0], []), (lambda v: v[..., None], [[2.0]]),
        (lambda v: np.float32(1.0) + v, [3.0]), (lambda v: np.array([1.0], np.float32) * v, [2.0]),
    ],
)  # fmt: skip
def test_operators(made: Callable[[Any], Any], wanted: Any, run: Callable[..., Any]) -> None:
    v = tf.Variable([2.0])
    np.testing.assert_array_equal(run(made(v), {v: [2.0]}), np.asarray(wanted))


def test_operators_of_other_types(run: Callable[..., Any]) -> None:
    b, i, m = tf.Variable([True, False]), tf.Variable([20]), tf.Variable([[2.0, 3.0]])
    feeds = {b: [True, False], i: [20], m: [[2.0, 3.0]]}
    found = run([operator.and_(b, [True, True]), b | [False, True], b ^ [True, True], ~b, i % 7, 103 % i, m @ [[1.0], [2.0]],
                 m.__rmatmul__([[1.0], [2.0]])], feeds)  # fmt: skip
    wanted = [[True, False], [True, True], [False, True], [False, True], [6], [3], [[8.0]], [[2.0, 3.0], [4.0, 6.0]]]
    for got, value in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, value)


def test_ways_to_read(sess: tf.Session) -> None:
    v = tf.Variable([1.0, 2.0], name="v")
    initialized(sess, v)
    for read in (v, v.value(), v.read_value(), v.initialized_value(), tf.identity(v), "v:0", v.op.outputs[0]):
        np.testing.assert_array_equal(sess.run(read), [1.0, 2.0])
    np.testing.assert_array_equal(v.eval(), [1.0, 2.0])
    np.testing.assert_array_equal(sess.run(v.initial_value), [1.0, 2.0])
    assert sess.run(v.op) is None
    assert (v.read_value().op.name, v._ref().name) == ("read_1", "v:0")


def test_load(sess: tf.Session) -> None:
    v = tf.Variable([1.0, 2.0], name="a")
    v.load([3.0, 4.0], sess)
    np.testing.assert_array_equal(sess.run(v), [3.0, 4.0])
    with pytest.raises(
        ValueError, match=r"Cannot feed value of shape \(3,\) for Tensor 'a/initial_value:0', which has shape '\(2,\)'"
    ):
        v.load([1.0, 2.0, 3.0], sess)


def test_feeding_a_variable_overrides_its_reads_only(sess: tf.Session) -> None:
    v = tf.Variable([1.0])
    initialized(sess, v)
    assert sess.run(v * 2.0, {v: [5.0]}) == [10.0]
    assert sess.run(v) == [1.0]


# Assigning


def test_assignments_give_the_variable(sess: tf.Session) -> None:
    v = tf.Variable([1.0, 1.0], name="v")
    initialized(sess, v)
    add = tf.assign_add(v, [1.0, 2.0])
    assert (add.dtype.name, add.op.type, sess.run(add).tolist()) == ("float32_ref", "AssignAdd", [2.0, 3.0])
    assert sess.run(v.assign_sub([1.0, 1.0])).tolist() == [1.0, 2.0]
    assert sess.run(tf.assign(v, [7, 8])).tolist() == [7.0, 8.0]
    assert sess.run(v.assign([0.0, 0.0]).op) is None
    assert v.assign([0.0, 0.0], read_value=False).type == "Assign"
    assert sess.run([v, v.assign_add([1.0, 1.0])])[1].tolist() == [1.0, 1.0]


def test_the_locking_flags_are_tensorflows() -> None:
    v = tf.Variable([1.0])
    ops = [tf.assign(v, [1.0]), tf.assign_add(v, [1.0]), tf.assign_sub(v, [1.0]), v.assign([1.0]), v.assign_add([1.0]),
           tf.scatter_add(v, [0], [1.0]), tf.scatter_update(v, [0], [1.0])]  # fmt: skip
    assert [each.op.get_attr("use_locking") for each in ops] == [True, False, False, False, False, False, True]


def test_a_fetch_of_two_names_of_one_update_runs_it_once(sess: tf.Session) -> None:
    v = tf.Variable(0)
    initialized(sess, v)
    up = v.assign_add(1)
    assert sess.run([up, up, up.op, v]) == [1, 1, None, 1]


def test_values_of_other_shapes_with_validate_shape_off(target: Target) -> None:
    v = tf.Variable([1.0, 2.0], name="v")
    shapeless = tf.Variable(tf.placeholder(tf.float32, name="first"), validate_shape=False, name="s")
    loose = tf.Variable([[1.0]], shape=tf.TensorShape(None), name="l")
    longer = tf.assign(v, [1.0, 2.0, 3.0], validate_shape=False)
    with target.session() as sess:
        initialized(sess, v, loose)
        assert sess.run(longer).tolist() == [1.0, 2.0, 3.0]
        assert (sess.run(v).tolist(), v.shape.as_list()) == ([1.0, 2.0, 3.0], [2])
        with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value s"):
            sess.run(shapeless)
        sess.run(shapeless.initializer, {"first:0": [[1.0, 2.0]]})
        assert (sess.run(shapeless).tolist(), shapeless.shape.ndims) == ([[1.0, 2.0]], None)
        assert sess.run(shapeless.assign([5.0])).tolist() == [5.0]
        assert sess.run(loose.assign([[1.0, 2.0], [3.0, 4.0]])).tolist() == [[1.0, 2.0], [3.0, 4.0]]
        assert sess.run(shapeless.assign_add([1.0])).tolist() == [6.0]
    with pytest.raises(ValueError, match=r"initial_value must have a shape specified: Tensor\("):
        tf.Variable(tf.placeholder(tf.float32, [None]))


def test_shapes_that_differ_at_run_time_change_nothing(sess: tf.Session) -> None:
    v, p = tf.Variable([1.0, 2.0]), tf.placeholder(tf.float32)
    initialized(sess, v)
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match=r"Assign requires shapes of both tensors to match. lhs shape= \[2\] rhs shape= \[3\]",
    ) as caught:
        sess.run(v.assign(p), {p: [1.0, 2.0, 3.0]})
    assert caught.value.message in str(caught.value)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Parameters and update must be the same size"):
        sess.run(v.assign_add(p), {p: [1.0]})
    assert sess.run(v).tolist() == [1.0, 2.0]


# Slices, rows, elements, counting


def test_slices_can_be_assigned_to(sess: tf.Session) -> None:
    v = tf.Variable([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], name="v")
    initialized(sess, v)
    assert sess.run(v[0].assign([7.0, 8.0, 9.0])).tolist() == [[7.0, 8.0, 9.0], [4.0, 5.0, 6.0]]
    assert sess.run(v[:, 1:2].assign([[0.0], [1.0]])).tolist() == [[7.0, 0.0, 9.0], [4.0, 1.0, 6.0]]
    assert sess.run(v[1, 2].assign(2.0))[1].tolist() == [4.0, 1.0, 2.0]
    part = v[0:1]
    assert part.assign([[1.0, 1.0, 1.0]]).name == f"{part.op.name}/_assign:0"
    with pytest.raises(tf.errors.InvalidArgumentError, match="Cannot assign to the slice"):
        sess.run(v[0].assign([1.0, 2.0]))
    with pytest.raises(ValueError, match="Sliced assignment is only supported for variables"):
        tf.constant([1.0])[0].assign(2.0)


SCATTERS: dict[str, tuple[Callable[..., Any], Callable[[Array, Any, Any], None]]] = {
    "update": (tf.scatter_update, lambda a, i, x: a.__setitem__(i, x)), "add": (tf.scatter_add, np.add.at),
    "sub": (tf.scatter_sub, np.subtract.at), "mul": (tf.scatter_mul, np.multiply.at),
    "div": (tf.scatter_div, np.divide.at), "min": (tf.scatter_min, np.minimum.at), "max": (tf.scatter_max, np.maximum.at),
}  # fmt: skip


@pytest.mark.parametrize("kind", SCATTERS)
def test_scatters_agree_with_numpy_and_repeat(kind: str, sess: tf.Session) -> None:
    scatter, numpy_scatter = SCATTERS[kind]
    start = np.arange(1.0, 13.0, dtype=np.float32).reshape(6, 2)
    v = tf.Variable(start, name=kind)
    initialized(sess, v)
    for indices, updates in (
        (np.array([4, 0]), np.array([[2.0, 3.0], [4.0, 5.0]], np.float32)), (3, np.array([2.0, 2.0], np.float32)),
        (np.array([[1, 1], [1, 5]]), np.full((2, 2, 2), 3.0, np.float32)), (np.array([2, 2], np.int64), np.float32(2.0)),
    ):  # fmt: skip
        wanted = sess.run(v)
        numpy_scatter(wanted, indices, updates)
        np.testing.assert_allclose(sess.run(scatter(v, indices, updates)), wanted)
    method = getattr(v, f"scatter_{kind}")
    wanted = sess.run(v)
    numpy_scatter(wanted, [0], np.array([[2.0, 2.0]], np.float32))
    found = sess.run(method(tf.IndexedSlices(tf.constant([[2.0, 2.0]]), tf.constant([0]))))
    np.testing.assert_allclose(found, wanted)
    of_arrays = tf.IndexedSlices(np.array([[2.0, 2.0]], np.float32), np.array([0]))
    assert sess.run(method(of_arrays)).shape == found.shape
    with pytest.raises(TypeError, match="sparse_delta is not IndexedSlices: 3"):
        method(3)


@pytest.mark.parametrize("kind", SCATTERS)
def test_scatters_refuse_rows_outside(kind: str, sess: tf.Session) -> None:
    scatter, _ = SCATTERS[kind]
    v = tf.Variable([1.0, 2.0, 3.0], name="v")
    initialized(sess, v)
    for indices, words in (([3], r"indices\[0\] = 3 is not in \[0, 3\)"), ([0, -1], r"indices\[1\] = -1 is not in")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=words) as caught:
            sess.run(scatter(v, indices, 1.0))
        assert caught.value.op.type.startswith("Scatter")
    assert sess.run(v).tolist() == [1.0, 2.0, 3.0]


def test_what_scatters_refuse_when_built() -> None:
    v, b = tf.Variable([1.0, 2.0]), tf.Variable([True, False])
    with pytest.raises(
        ValueError, match=r"Shapes must be equal rank, but are 1 and 2 for 'ScatterAdd' \(op: 'ScatterAdd'\)"
    ):
        tf.scatter_add(v, [0], [[1.0]])
    with pytest.raises(ValueError, match="Dimension 0 in both shapes must be equal, but are 2 and 1"):
        tf.scatter_add(v, [0, 1], [1.0])
    with pytest.raises(TypeError, match="'indices' has DataType float32 not in list of allowed values: int32, int64"):
        tf.scatter_add(v, [], [])
    with pytest.raises(TypeError, match="'ref' has DataType bool not in list of allowed values"):
        tf.scatter_add(b, [0], [True])
    with pytest.raises(AttributeError):
        tf.scatter_add(tf.constant([1.0]), [0], [1.0])
    with pytest.raises(TypeError, match="Expected float32"):
        tf.scatter_add(v, [0], ["a"])


def test_scatters_of_bools_and_integers(sess: tf.Session) -> None:
    b, i = tf.Variable([True, False]), tf.Variable([7, -7, 7])
    initialized(sess, b, i)
    assert sess.run(tf.scatter_update(b, 1, True)).tolist() == [True, True]
    assert sess.run(tf.scatter_div(i, [0, 1, 1], [2, 2, 3])).tolist() == [3, -1, 7]
    with pytest.raises(tf.errors.InvalidArgumentError, match="Integer division by zero"):
        sess.run(tf.scatter_div(i, [0], [0]))


def test_scatters_of_elements(sess: tf.Session) -> None:
    v = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
    initialized(sess, v)
    assert sess.run(tf.scatter_nd_add(v, [[0, 1], [0, 1]], [10.0, 10.0])).tolist() == [[1.0, 22.0], [3.0, 4.0]]
    assert sess.run(v.scatter_nd_update([[1]], [[0.0, 0.0]])).tolist() == [[1.0, 22.0], [0.0, 0.0]]
    assert sess.run(v.scatter_nd_sub([[0, 0]], [1.0])).tolist() == [[0.0, 22.0], [0.0, 0.0]]
    assert sess.run(v.scatter_nd_add([[0, 0]], [1.0])).tolist() == [[1.0, 22.0], [0.0, 0.0]]
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"indices\[0\] = \[2, 0\] does not index into shape \[2, 2\]"
    ):
        sess.run(tf.scatter_nd_sub(v, [[2, 0]], [1.0]))
    with pytest.raises(ValueError, match="The last dimension of indices must be <= 2"):
        tf.scatter_nd_update(v, [[0, 0, 0]], [1.0])


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_counting(dtype: tf.DType, sess: tf.Session) -> None:
    v = tf.Variable(tf.constant(0, dtype))
    initialized(sess, v)
    count = v.count_up_to(3)
    assert [sess.run(count) for _ in range(3)] == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(tf.errors.OutOfRangeError, match="Reached limit of 3"):
            sess.run(count)
    assert sess.run(v) == 3
    assert count.dtype == dtype
    with pytest.raises(TypeError, match="'ref' has DataType float32 not in list of allowed values: int32, int64"):
        tf.count_up_to(tf.Variable(1.0), 3)
    with pytest.raises(ValueError, match="Shape must be rank 0 but is rank 1"):
        tf.count_up_to(tf.Variable([1]), 3)


def test_uninitialized_variables(sess: tf.Session) -> None:
    v = tf.Variable([1.0], name="v")
    for use in (v, v.assign_add([1.0]), tf.scatter_add(v, [0], 1.0), tf.scatter_update(v, [0], 1.0), v[0].assign(1.0)):
        with pytest.raises(tf.errors.FailedPreconditionError, match="Attempting to use uninitialized value v"):
            sess.run(use)
    assert sess.run(v.assign([5.0])).tolist() == [5.0]
    assert sess.run(v).tolist() == [5.0]


def test_updates_in_one_run_do_not_lose_each_other(sess: tf.Session) -> None:
    v = tf.Variable([0.0, 0.0])
    initialized(sess, v)
    last: Any = tf.no_op()
    for row in (0, 1, 0):
        with tf.control_dependencies([last]):
            last = tf.scatter_add(v, [row], 1.0)
    together = [tf.scatter_add(v, [0], 10.0), v.assign_add([100.0, 100.0]), tf.scatter_mul(v, [1], 1.0)]
    sess.run(last)
    assert sess.run(v).tolist() == [2.0, 1.0]
    sess.run([each.op for each in together])
    assert sess.run(v).tolist() == [112.0, 101.0]


def test_two_sessions_that_write_at_the_same_time_both_count(target: Target) -> None:
    v = tf.Variable([1.0], name="v")
    double = tf.scatter_mul(v, [0], [2.0])
    with target.session() as one, target.session() as two:
        one.run(v.initializer)
        two.run(v)
        interrupted = 0
        real_write = one.variables.write

        def write(changes: Any, returns: Any) -> Any:
            nonlocal interrupted
            if interrupted < 2:
                interrupted += 1
                two.run(v.assign_add([10.0]))
            return real_write(changes, returns)

        one.variables.write = write  # type: ignore[method-assign]
        assert one.run(double).tolist() == [42.0]


# Partitioned


def test_a_partitioned_variable_on_its_own(sess: tf.Session) -> None:
    v0, v1 = tf.Variable([0.0]), tf.Variable([1.0])
    for part, offset in ((v0, 0), (v1, 1)):
        part._set_save_slice_info(tf.Variable.SaveSliceInfo(v0.name, [2], [offset], [1]))
    whole = tf.PartitionedVariable("two", [2], v0.dtype, [v1, v0], [2])
    assert (len(whole), list(whole), whole.shape, whole.get_shape()) == (2, [v0, v1], [2], [2])
    assert v1._save_slice_info is not None
    assert v1._save_slice_info.spec == "2 1,1"
    initialized(sess, v0, v1)
    np.testing.assert_array_equal(sess.run(whole + 1.0), [1.0, 2.0])
    for update, wanted in ((whole.assign_add(tf.constant([1.0, 2.0])), [1.0, 3.0]), (whole.assign_sub(tf.constant([3.0, 4.0])), [-2.0, -1.0]),
                           (whole.assign([[5.0], [6.0]]), [5.0, 6.0]), (whole.assign_add(whole), [10.0, 12.0])):  # fmt: skip
        assert np.concatenate(sess.run(update)).tolist() == wanted
    with pytest.raises(ValueError, match="Wanted 2 values"):
        whole.assign([[1.0]])


def test_what_is_no_partitioned_variable() -> None:
    part = tf.Variable([0])
    for arguments, words in (
        (("n", [1], tf.int32, [], [1]), "may not be empty"), (("n", [1], tf.int32, [part], [0]), "must be positive"),
        (("n", [1], tf.int32, [part], [1]), "must have a save_slice_info"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            tf.PartitionedVariable(*arguments)
    part._set_save_slice_info(tf.Variable.SaveSliceInfo("n", [2], [0], [1]))
    with pytest.raises(ValueError, match="full shapes must match"):
        tf.PartitionedVariable("n", [3], tf.int32, [part], [2])
    with pytest.raises(ValueError, match=r"len\(shape\) != len\(partitions\)"):
        tf.PartitionedVariable("n", [2], tf.int32, [part], [2, 1])
    for arguments in (("n", [2], tf.int32, part, [2]), ("n", [2], tf.int32, [part], 2)):
        with pytest.raises(TypeError):
            tf.PartitionedVariable(*arguments)


def test_a_lookup_in_parts_trains_only_the_rows_it_used(sess: tf.Session) -> None:
    table = tf.get_variable(
        "table", [5, 2], initializer=tf.ones_initializer(), partitioner=tf.fixed_size_partitioner(2)
    )
    rows = tf.nn.embedding_lookup(table, [4, 0, 0], partition_strategy="div")
    parts = list(table)
    slices = tf.gradients(tf.reduce_sum(rows), parts)
    assert all(isinstance(each, tf.IndexedSlices) for each in slices)
    train = tf.train.GradientDescentOptimizer(0.5).minimize(tf.reduce_sum(rows))
    sess.run(tf.global_variables_initializer())
    first, second = sess.run(slices)
    assert (first.indices.tolist(), second.indices.tolist()) == ([0, 0], [1])
    sess.run(train)
    assert sess.run(table.as_tensor())[:, 0].tolist() == [0.0, 1.0, 1.0, 1.0, 0.5]
    whole = tf.Variable(np.arange(10.0).reshape(5, 2))
    initialized(sess, whole)
    np.testing.assert_array_equal(sess.run(tf.nn.embedding_lookup(whole, [[3]])), [[[6.0, 7.0]]])
    np.testing.assert_array_equal(sess.run(tf.nn.embedding_lookup(parts, [1]))[0, 0], 1.0)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"indices\[0\] = 5 is not in \[0, 5\)"):
        sess.run(tf.nn.embedding_lookup(table, [5]))
    for bad in ({"partition_strategy": "odd"},):
        with pytest.raises(ValueError):
            tf.nn.embedding_lookup(table, [0], **bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Need at least one param"):
        tf.nn.embedding_lookup([], [0])


def test_elements_of_a_scalar_cannot_be_scattered(sess: tf.Session) -> None:
    v = tf.Variable(1.0)
    sess.run(v.initializer)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Output must be at least 1-D"):
        sess.run(tf.scatter_nd_update(v, [[0]], [2.0]))
    assert sess.run(v) == 1.0


def test_what_is_scattered_fits_the_places() -> None:
    v = tf.Variable(np.zeros([2, 2, 2], np.int32))
    with pytest.raises(
        ValueError, match=r"The outer 2 dimensions of indices\.shape=\(3, 2, 2\) must match the outer 2"
    ):
        tf.scatter_nd_update(v, np.zeros([3, 2, 2], np.int32), np.zeros([2, 2, 2], np.int32))
    with pytest.raises(ValueError, match=r"The inner 2 dimensions of input\.shape=\(2, 2, 2\) must match the inner 2"):
        tf.scatter_nd_update(v, np.zeros([2, 2, 1], np.int32), np.zeros([2, 2], np.int32))


def test_indexed_slices_are_tensors_where_one_is_wanted(sess: tf.Session) -> None:
    slices = tf.IndexedSlices(tf.constant([[2, 3], [5, 7]]), tf.constant([0, 2]), tf.constant([3, 2]))
    assert sess.run(tf.convert_to_tensor(slices)).tolist() == [[2, 3], [0, 0], [5, 7]]
    assert sess.run(tf.add(slices, 1)).tolist() == [[3, 4], [1, 1], [6, 8]]
    assert sess.run(tf.scalar_mul(-2, slices)).values.tolist() == [[-4, -6], [-10, -14]]
    assert sess.run(tf.scalar_mul(2.0, tf.constant([1.0]))).tolist() == [2.0]
    with pytest.raises(ValueError, match="without dense_shape"):
        tf.convert_to_tensor(tf.IndexedSlices(slices.values, slices.indices))
    with pytest.raises(ValueError, match="Only scalar multiply works"):
        tf.scalar_mul([1, 2], slices)


def test_rows_are_read(sess: tf.Session) -> None:
    v = tf.Variable([1.0, 2.0])
    sess.run(v.initializer)
    assert sess.run(v.sparse_read([1, 1])).tolist() == [2.0, 2.0]
