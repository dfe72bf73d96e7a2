"""cond, case and while_loop: what runs, what does not, gradients, and what is refused."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from paramserver_client.graph.control_flow import smart_cond

Run = Callable[..., Any]


def _counted(log: list[str], word: str, x: Any) -> Any:
    def note(value: Any) -> Any:
        log.append(word)
        return value

    return tf.py_func(note, [x], tf.float32)


def test_only_one_side_runs(run: Run) -> None:
    log: list[str] = []
    p = tf.placeholder(tf.bool, [])
    outside = _counted(log, "outside", tf.constant(1.0))
    y = tf.cond(p, lambda: _counted(log, "yes", outside) + 1.0, lambda: _counted(log, "no", outside) - 1.0)
    assert run(y, {p: True}) == 2.0
    assert sorted(log) == ["outside", "yes"]
    log.clear()
    assert run(y, {p: False}) == 0.0
    assert sorted(log) == ["no", "outside"]


def test_constants_and_outer_tensors_as_results(run: Run) -> None:
    p, x = tf.placeholder(tf.bool, []), tf.constant(7.0)
    y = tf.cond(p, lambda: tf.constant(1.0), lambda: x)
    assert [run(y, {p: flag}) for flag in (True, False)] == [1.0, 7.0]
    assert run(tf.cond(p, lambda: 1, lambda: 2), {p: False}) == 2
    assert run(tf.cond(tf.constant(True), lambda: x, lambda: 2 * x)) == 7.0


def test_structures(run: Run) -> None:
    p = tf.placeholder(tf.bool, [])
    Point = collections.namedtuple("Point", "x y")
    pair = tf.cond(p, lambda: (tf.constant(1), [tf.constant(2)]), lambda: (tf.constant(3), [tf.constant(4)]))
    assert run([pair[0], pair[1][0]], {p: False}) == [3, 4]
    named = tf.cond(p, lambda: Point(tf.constant(1), tf.constant(2)), lambda: Point(tf.constant(3), tf.constant(4)))
    assert run(named.y, {p: True}) == 2
    by_key = tf.cond(
        p, lambda: {"b": tf.constant(1), "a": tf.constant(2)}, lambda: {"a": tf.constant(3), "b": tf.constant(4)}
    )
    assert run(by_key, {p: True}) == {"b": 1, "a": 2}
    assert run(tf.cond(p, lambda: [tf.constant(1)], lambda: [tf.constant(2)]), {p: True}) == 1
    assert run(tf.cond(p, lambda: [tf.constant(1)], lambda: [tf.constant(2)], strict=True), {p: True}) == [1]


def test_gradients_flow_through_the_side_that_ran(run: Run) -> None:
    p, x, y = tf.placeholder(tf.bool, []), tf.placeholder(tf.float64, [2]), tf.placeholder(tf.float64, [2])
    z = tf.cond(p, lambda: tf.reduce_sum(x * x * y), lambda: tf.reduce_sum(tf.exp(x))) + tf.reduce_sum(x)
    to_x, to_y = tf.gradients(z, [x, y])
    (second,) = tf.gradients(tf.reduce_sum(to_x), x)
    a, b = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    for flag, wanted in ((True, (2 * a * b + 1, a * a, 2 * b)), (False, (np.exp(a) + 1, 0 * a, np.exp(a)))):
        for got, want in zip(run([to_x, to_y, second], {p: flag, x: a, y: b}), wanted, strict=True):
            np.testing.assert_allclose(got, want)


def test_the_side_not_taken_spoils_no_gradient(run: Run) -> None:
    x = tf.placeholder(tf.float32, [])
    y = tf.cond(x > 0.0, lambda: tf.log(x), lambda: x)
    assert run([y, *tf.gradients(y, x)], {x: -2.0}) == [-2.0, 1.0]
    assert run(tf.gradients(y, x), {x: 4.0}) == [0.25]


def test_conditions_in_conditions(run: Run) -> None:
    x = tf.placeholder(tf.float32, [])
    y = tf.cond(
        x > 0.0,
        lambda: tf.cond(x > 10.0, lambda: x * 100.0, lambda: x * 10.0),
        lambda: tf.cond(x < -10.0, lambda: -x, lambda: x),
    )
    (gradient,) = tf.gradients(y, x)
    for value, wanted in ((20.0, 2000.0), (2.0, 20.0), (-2.0, -2.0), (-20.0, 20.0)):
        assert run([y, gradient], {x: value}) == [wanted, wanted / value]


def test_updates_of_variables(sess: tf.Session) -> None:
    p = tf.placeholder(tf.bool, [])
    v, w = tf.Variable(1.0, name="v"), tf.Variable([1.0, 2.0], name="w")
    updated = tf.cond(p, lambda: v.assign_add(10.0), lambda: v.assign(-1.0))
    rows = tf.cond(p, lambda: tf.scatter_update(w, [0], [9.0]).op, lambda: tf.no_op())
    assert isinstance(rows, tf.Operation)
    with tf.control_dependencies([updated]):
        after = v * 2.0
    sess.run(tf.global_variables_initializer())
    assert sess.run([after, rows], {p: True}) == [22.0, None]
    assert sess.run(w).tolist() == [9.0, 2.0]
    assert sess.run([after, rows], {p: False}) == [-2.0, None]
    assert sess.run(v) == -1.0
    multiplied = tf.cond(p, lambda: tf.scatter_mul(w, [1], [5.0]), lambda: tf.identity(w))
    assert sess.run(multiplied, {p: False}).tolist() == [9.0, 2.0]
    assert sess.run(multiplied, {p: True}).tolist() == [9.0, 10.0]


def test_training_through_a_condition(sess: tf.Session) -> None:
    p, w = tf.placeholder(tf.bool, []), tf.Variable([2.0, 3.0], name="w")
    table = tf.Variable([[1.0], [2.0]], name="table")
    loss = tf.cond(p, lambda: tf.reduce_sum(w * w) + tf.reduce_sum(tf.gather(table, [1, 1])), lambda: tf.constant(5.0))
    step = tf.train.GradientDescentOptimizer(0.25).minimize(loss)
    sess.run(tf.global_variables_initializer())
    sess.run(step, {p: False})
    assert sess.run(w).tolist() == [2.0, 3.0]
    sess.run(step, {p: True})
    assert sess.run(w).tolist() == [1.0, 1.5]
    assert sess.run(table).tolist() == [[1.0], [1.5]]


def test_variables_made_in_a_branch_are_initialized_outside(sess: tf.Session) -> None:
    p = tf.placeholder(tf.bool, [])
    y = tf.cond(
        p, lambda: tf.get_variable("inner", [], initializer=tf.ones_initializer()) * 3.0, lambda: tf.constant(0.0)
    )
    sess.run(tf.global_variables_initializer())
    assert [sess.run(y, {p: flag}) for flag in (True, False)] == [3.0, 0.0]


def test_cond_refuses() -> None:
    p, one, two = tf.placeholder(tf.bool, []), lambda: tf.constant(1.0), lambda: tf.constant(2)
    with pytest.raises(TypeError, match="true_fn must be callable"):
        tf.cond(p, 1.0, one)
    with pytest.raises(TypeError, match="pred must not be a Python bool"):
        tf.cond(True, one, one)
    with pytest.raises(TypeError, match="pred must be a bool tensor, got float32"):
        tf.cond(tf.constant(1.0), one, one)
    with pytest.raises(ValueError, match="must have the same type: float32, int32"):
        tf.cond(p, one, two)
    with pytest.raises(ValueError, match="same structure"):
        tf.cond(p, lambda: (tf.constant(1), tf.constant(1)), lambda: tf.constant(1))
    with pytest.raises(ValueError, match="false_fn must have a return value"):
        tf.cond(p, one, lambda: None)
    with pytest.raises(TypeError, match="both return operations"):
        tf.cond(p, tf.no_op, one)


def test_old_names_and_shapes(run: Run) -> None:
    p = tf.placeholder(tf.bool, [])
    y = tf.cond(p, fn1=lambda: tf.ones([2, 3]), fn2=lambda: tf.ones([2, 4]), name="which")
    assert y.shape.as_list() == [2, None]
    assert y.op.name == "which/Merge"
    assert run(y, {p: False}).shape == (2, 4)


def test_smart_cond(run: Run) -> None:
    for pred in (True, 1, tf.constant(True)):
        assert smart_cond(pred, lambda: "yes", lambda: "no") == "yes"
    p = tf.placeholder(tf.bool, [])
    assert run(smart_cond(p, lambda: tf.constant(1), lambda: tf.constant(2)), {p: False}) == 2
    with pytest.raises(TypeError, match="Expected a bool or a tensor, got 'x'"):
        smart_cond("x", lambda: 1, lambda: 2)


def test_case(run: Run) -> None:
    x = tf.placeholder(tf.int32, [])
    pairs = [(x < 0, lambda: tf.constant(-1)), (x < 10, lambda: tf.constant(1))]
    y = tf.case(pairs, default=lambda: tf.constant(100))
    assert [run(y, {x: value}) for value in (-5, 5, 50)] == [-1, 1, 100]
    only = tf.case(pairs)
    assert run(only, {x: 5}) == 1
    with pytest.raises(tf.errors.InvalidArgumentError, match="no condition holds"):
        run(only, {x: 50})
    alone = tf.case({x < 0: lambda: x})
    assert run(alone, {x: -7}) == -7
    with pytest.raises(tf.errors.InvalidArgumentError, match="no condition holds"):
        run(alone, {x: 7})
    one = tf.case(pairs, default=lambda: tf.constant(100), exclusive=True)
    assert run(one, {x: 5}) == 1
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than one condition holds"):
        run(one, {x: -5})
    with pytest.raises(ValueError, match="at least one pair"):
        tf.case([])


def test_loops(run: Run) -> None:
    n = tf.placeholder(tf.int32, [])
    i, product = tf.while_loop(lambda i, _: i < n, lambda i, p: (i + 1, p * tf.cast(i + 1, tf.float32)), (0, 1.0))
    assert run([i, product], {n: 5}) == [5, 120.0]
    assert run([i, product], {n: 0}) == [0, 1.0]
    assert run(tf.while_loop(lambda i: i < 10, lambda i: i + 3, [0])) == 12
    assert run(tf.while_loop(lambda i: i < 10, lambda i: [i + 3], [0], return_same_structure=True)) == [12]
    assert run(tf.while_loop(lambda i: True, lambda i: i + 1, [0], maximum_iterations=n), {n: 4}) == 4
    assert i.op.type == "While"


def test_loops_of_structures_and_growing_shapes(run: Run) -> None:
    pair = tf.while_loop(lambda i, s: i < 3, lambda i, s: [i + 1, {"a": s["b"], "b": s["a"] + s["b"]}],
                         [0, {"a": tf.constant(1), "b": tf.constant(1)}])  # fmt: skip
    assert run(pair[1]) == {"a": 3, "b": 5}
    _, grown = tf.while_loop(lambda i, x: i < 3, lambda i, x: [i + 1, tf.concat([x, [i]], 0)], [0, tf.zeros([0], tf.int32)],
                             shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])])  # fmt: skip
    assert run(grown).tolist() == [0, 1, 2]
    assert grown.shape.as_list() == [None]


def test_loops_see_variables_and_draw(sess: tf.Session) -> None:
    v = tf.Variable(3.0, name="v")
    with tf.control_dependencies([v.assign_add(1.0)]):
        late = v.read_value()
    total = tf.while_loop(lambda i, s: i < 4, lambda i, s: (i + 1, s + v.read_value() * tf.identity(late)), [0, 0.0])[1]
    sess.run(tf.global_variables_initializer())
    assert sess.run(total) in (48.0, 64.0)  # Read before or after the update: only `late` is ordered.
    drawn = tf.while_loop(lambda i, s: i < 3, lambda i, s: (i + 1, tf.concat([s, tf.random_uniform([1])], 0)),
                          [0, tf.zeros([0])], shape_invariants=[[], [None]])[1]  # fmt: skip
    assert len(set(sess.run(drawn).tolist())) == 3


def test_loops_wait_for_what_their_body_waits_for(sess: tf.Session) -> None:
    v = tf.Variable(0.0, name="v")
    more = v.assign_add(1.0)

    def body(i: Any) -> Any:
        with tf.control_dependencies([more, tf.Assert(i < 3, ["too far", i])]):
            return i + 1

    last = tf.while_loop(lambda i: i < 3, body, [0])
    sess.run(v.initializer)
    assert sess.run(last) == 3
    assert sess.run(v) == 1.0
    with pytest.raises(tf.errors.InvalidArgumentError, match="too far"):
        sess.run(tf.while_loop(lambda i: i < 5, body, [0]))


def test_conditions_and_loops_in_each_other(run: Run) -> None:
    p = tf.placeholder(tf.bool, [])
    collatz = tf.while_loop(
        lambda x, n: x > 1,
        lambda x, n: (tf.cond(tf.equal(x % 2, 0), lambda: x // 2, lambda: 3 * x + 1), n + 1), [6, 0],
    )[1]  # fmt: skip
    assert run(collatz) == 8
    chosen = tf.cond(p, lambda: tf.while_loop(lambda i: i < 5, lambda i: i + 2, [0]), lambda: tf.constant(-1))
    assert [run(chosen, {p: flag}) for flag in (True, False)] == [6, -1]
    triangle = tf.while_loop(lambda i, s: i < 4, lambda i, s: (
        i + 1, tf.while_loop(lambda j, t: j < i, lambda j, t: (j + 1, t + i), [0, s])[1]), [0, 0])[1]  # fmt: skip
    assert run(triangle) == sum(i * i for i in range(4))


def test_loops_refuse(run: Run) -> None:
    v = tf.Variable(0, name="v")
    for wrong in (lambda i: v.assign_add(1) + i, lambda i: tf.cast(tf.is_variable_initialized(v), tf.int32) + i):
        with pytest.raises(ValueError, match="inside a while_loop, where variables can not be changed"):
            tf.while_loop(lambda i: i < 3, wrong, [0])
    with pytest.raises(ValueError, match="must match: got 1 and 2"):
        tf.while_loop(lambda i: i < 3, lambda i: (i, i), [0])
    with pytest.raises(TypeError, match="gives float32 for a variable of int32"):
        tf.while_loop(lambda i: i < 3, lambda i: tf.constant(1.0), [0])
    with pytest.raises(ValueError, match="is not an invariant for the loop"):
        tf.while_loop(lambda x: True, lambda x: tf.concat([x, x], 0), [tf.ones([2])])
    with pytest.raises(ValueError, match="are incompatible"):
        tf.while_loop(lambda x: True, lambda x: x, [tf.ones([2])], shape_invariants=[tf.TensorShape([3])])
    with pytest.raises(ValueError, match="No loop variables provided"):
        tf.while_loop(lambda: True, list, [])
    with pytest.raises(TypeError, match="body must be callable"):
        tf.while_loop(lambda x: x, None, [0])  # type: ignore[arg-type]
    x = tf.constant(1.0)
    y = tf.while_loop(lambda s: s < 10.0, lambda s: s * 2.0, [x])
    with pytest.raises(ValueError, match="Gradients through while_loop are not offered"):
        tf.gradients(y, x)
    assert tf.gradients(tf.stop_gradient(y) + x, x)[0] is not None
    leaked = []
    tf.while_loop(lambda i: i < 3, lambda i: leaked.append(i) or i + 1, [0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="made inside a while_loop can not be had outside"):
        run(leaked[0])


def test_what_a_branch_makes_belongs_to_it(run: Run) -> None:
    p, leaked = tf.placeholder(tf.bool, []), []
    tf.cond(p, lambda: leaked.append(tf.identity(1.0)) or leaked[0], lambda: tf.constant(2.0))
    assert run(leaked[0], {p: True}) == 1.0
    with pytest.raises(tf.errors.InvalidArgumentError, match="in a branch of a condition that was not taken"):
        run(leaked[0], {p: False})


def test_a_training_step_in_a_branch_and_descent_in_a_loop(sess: tf.Session) -> None:
    p, w = tf.placeholder(tf.bool, []), tf.Variable([2.0, 3.0], name="w")
    count = tf.train.get_or_create_global_step()
    loss = tf.reduce_sum(w * w)
    step = tf.cond(p, lambda: tf.train.GradientDescentOptimizer(0.25).minimize(loss, global_step=count), tf.no_op)
    aim = tf.constant([1.0, -2.0])

    def descend(i: Any, x: Any) -> Any:
        return i + 1, x - 0.2 * tf.gradients(tf.reduce_sum(tf.square(x - aim)), x)[0]

    found = tf.while_loop(lambda i, x: i < 50, descend, [0, tf.zeros([2])])[1]
    sess.run(tf.global_variables_initializer())
    sess.run(step, {p: False})
    assert (sess.run(w).tolist(), sess.run(count)) == ([2.0, 3.0], 0)
    sess.run(step, {p: True})
    assert (sess.run(w).tolist(), sess.run(count)) == ([1.0, 1.5], 1)
    np.testing.assert_allclose(sess.run(found), [1.0, -2.0], rtol=1e-5)
