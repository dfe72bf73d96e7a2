"""The optimizers: the reference page's figures, their slots by name, in collections and checkpoints, and sparse steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from support.graph_target import Target, counted
from support.optimizer_traces import START, TRACES, Trace

K, C = np.array([1.0, 2.0, 0.5]), np.array([0.5, -1.0, 1.5])
CLASSES = {
    "gradient_descent": tf.train.GradientDescentOptimizer,
    "momentum": tf.train.MomentumOptimizer,
    "adagrad": tf.train.AdagradOptimizer,
    "adadelta": tf.train.AdadeltaOptimizer,
    "adam": tf.train.AdamOptimizer,
    "rmsprop": tf.train.RMSPropOptimizer,
    "ftrl": tf.train.FtrlOptimizer,
    "proximal_gradient_descent": tf.train.ProximalGradientDescentOptimizer,
    "proximal_adagrad": tf.train.ProximalAdagradOptimizer,
}


def make(spec: dict[str, Any], **more: Any) -> tf.train.Optimizer:
    settings = {**spec, **more}
    return CLASSES[settings.pop("type")](**settings)


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
def test_the_traces_of_the_reference_page(sess: tf.Session, trace: Trace) -> None:
    v = tf.Variable(np.array(START, trace.dtype), name="v")
    step = tf.train.get_or_create_global_step()
    k, c = (tf.constant(each.astype(trace.dtype)) for each in (K, C))
    train = make(trace.spec).minimize(tf.reduce_sum(k * tf.square(v - c)), global_step=step)
    sess.run(tf.global_variables_initializer())
    for number, wanted in enumerate(trace.steps, start=1):
        assert sess.run(train) is None
        got, count = sess.run([v, step])
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)
        assert (got.dtype.name, count) == (trace.dtype, number)


SLOTS: dict[str, Any] = {
    "gradient_descent": {},
    "momentum": {"momentum": ("v/Momentum", 0.0)},
    "adagrad": {"accumulator": ("v/Adagrad", 0.1)},
    "adadelta": {"accum": ("v/Adadelta", 0.0), "accum_update": ("v/Adadelta_1", 0.0)},
    "adam": {"m": ("v/Adam", 0.0), "v": ("v/Adam_1", 0.0)},
    "rmsprop": {"rms": ("v/RMSProp", 1.0), "momentum": ("v/RMSProp_1", 0.0)},
    "ftrl": {"accum": ("v/Ftrl", 0.1), "linear": ("v/Ftrl_1", 0.0)},
    "proximal_gradient_descent": {},
    "proximal_adagrad": {"accumulator": ("v/ProximalAdagrad", 0.1)},
}


@pytest.mark.parametrize("kind", CLASSES)
def test_slots_are_global_variables_with_tensorflows_names(sess: tf.Session, kind: str) -> None:
    v = tf.Variable([1.0, 2.0], name="v")
    optimizer = make({"type": kind, "learning_rate": 0.1, **({"momentum": 0.9} if kind == "momentum" else {})})
    assert optimizer.get_slot_names() == []
    assert optimizer.get_slot(v, "m") is None
    optimizer.minimize(tf.reduce_sum(v * v))
    assert optimizer.get_slot_names() == sorted(SLOTS[kind])
    sess.run(tf.global_variables_initializer())
    scalars = ["beta1_power", "beta2_power"] if kind == "adam" else []
    names = [name for name, _ in SLOTS[kind].values()]
    assert [each.op.name for each in optimizer.variables()] == sorted([*scalars, *names])
    assert set(optimizer.variables()) <= set(tf.global_variables())
    assert tf.trainable_variables() == [v]
    for slot, (name, start) in SLOTS[kind].items():
        found = optimizer.get_slot(v, slot)
        assert found is not None
        assert (found.op.name, found.shape.as_list(), found.dtype.base_dtype) == (name, [2], tf.float32)
        assert sess.run(found).tolist() == [np.float32(start)] * 2
    if scalars:
        assert sess.run(scalars_of(scalars)) == [np.float32(0.9), np.float32(0.999)]


def scalars_of(names: list[str]) -> list[Any]:
    return [f"{name}:0" for name in names]


def test_names_go_on_counting_and_scopes_are_put_in_front() -> None:
    w = tf.get_variable("w", [2])
    loss = tf.reduce_sum(w)
    tf.train.AdamOptimizer().minimize(loss)
    second = tf.train.AdamOptimizer()
    second.minimize(loss)
    assert [each.op.name for each in second.variables()] == [
        "beta1_power_1", "beta2_power_1", "w/Adam_2", "w/Adam_3",
    ]  # fmt: skip
    with tf.variable_scope("net"):
        v = tf.get_variable("v", [2])
        inside = tf.train.AdamOptimizer()
        inside.minimize(tf.reduce_sum(v))
    assert [each.op.name for each in inside.variables()] == [
        "net/beta1_power", "net/beta2_power", "net/net/v/Adam", "net/net/v/Adam_1",
    ]  # fmt: skip
    centered = tf.train.RMSPropOptimizer(0.1, centered=True)
    centered.minimize(loss, var_list=[w])
    assert {name: centered.get_slot(w, name).op.name for name in centered.get_slot_names()} == {
        "rms": "w/RMSProp", "mg": "w/RMSProp_1", "momentum": "w/RMSProp_2",
    }  # fmt: skip
    named = tf.train.FtrlOptimizer(0.1, accum_name="n", linear_name="z")
    named.minimize(loss, var_list=[w])
    assert [each.op.name for each in named.variables()] == ["w/n", "w/z"]


def test_two_adams_on_one_variable_keep_their_own_memory(target: Target) -> None:
    v = tf.Variable([1.0], name="v")
    ones = [tf.train.AdamOptimizer(0.1).apply_gradients([([1.0], v)]) for _ in range(2)]
    with target.session() as sess, target.session() as other:
        sess.run(tf.global_variables_initializer())
        sess.run(ones[0])
        other.run(ones[0])
        sess.run(ones[1])
        powers = sess.run(["beta1_power:0", "beta1_power_1:0", "v/Adam:0", "v/Adam_2:0"])
    np.testing.assert_allclose([float(np.ravel(each)[0]) for each in powers], [0.729, 0.81, 0.19, 0.1], atol=1e-6)


def test_slots_are_saved_and_training_goes_on_from_them(target: Target, tmp_path: Path) -> None:
    v = tf.Variable([1.0, 2.0], name="v")
    optimizer = tf.train.AdamOptimizer(0.1)
    train = optimizer.minimize(tf.reduce_sum(v * v))
    saver = tf.train.Saver()
    path = str(tmp_path / "m") if target.kind == "embedded" else f"{target.container}/m"
    with target.session() as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(3):
            sess.run(train)
        prefix = saver.save(sess, path)
        sess.run(train)
        wanted = sess.run([v, *optimizer.variables()])
        sess.run(tf.global_variables_initializer())
        saver.restore(sess, prefix)
        sess.run(train)
        for got, expected in zip(sess.run([v, *optimizer.variables()]), wanted, strict=True):
            np.testing.assert_array_equal(got, expected)
    with target.session() as sess:
        assert sorted(name for name, _ in tf.train.list_variables(prefix)) == [
            "beta1_power", "beta2_power", "v", "v/Adam", "v/Adam_1",
        ]  # fmt: skip


@pytest.mark.parametrize("kind", CLASSES)
def test_rows_change_alone_but_for_adams(sess: tf.Session, kind: str) -> None:
    """The same step as by the whole gradient where there are rows; without one only Adam's rows move."""
    first = np.arange(1.0, 9.0, dtype=np.float32).reshape(4, 2)
    rows, whole = tf.Variable(first, name="rows"), tf.Variable(first, name="whole")
    spec = {"type": kind, "learning_rate": 0.1, **({"momentum": 0.9} if kind == "momentum" else {})}
    looked = tf.nn.embedding_lookup(rows, [2, 0, 2])
    matrix = tf.constant([[1.0, 1.0], [0.0, 0.0], [2.0, 2.0], [0.0, 0.0]])
    sparse = make(spec).minimize(tf.reduce_sum(looked), var_list=[rows])
    dense = make(spec, name="Dense").minimize(tf.reduce_sum(whole * matrix), var_list=[whole])
    sess.run(tf.global_variables_initializer())
    assert not isinstance(tf.gradients(looked, rows)[0], tf.Tensor)
    for _ in range(2):
        sess.run(tf.group(sparse, dense))
    got, wanted = sess.run([rows, whole])
    np.testing.assert_allclose(got[[0, 2]], wanted[[0, 2]], atol=1e-6)
    assert (got[[0, 2]] != first[[0, 2]]).all()
    np.testing.assert_array_equal(got[[1, 3]], first[[1, 3]])


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.05, 0.1), (10.0, 0.0)])
def test_dual_averaging_by_its_formula(sess: tf.Session, l1: float, l2: float) -> None:
    """TensorFlow's kernel: `sign(-G) lr max(|G| - l1 T, 0) / (l2 T lr + sqrt(Q))`; the old value does not count."""
    start = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    v, rows = tf.Variable(start, name="v"), tf.Variable(start, name="rows")
    step = tf.train.get_or_create_global_step()
    g = tf.placeholder(tf.float64, [3, 2])
    optimizer = tf.train.AdagradDAOptimizer(0.5, step, 0.2, l1, l2)
    sparse = tf.IndexedSlices(tf.gather(g, [2, 0, 2]), tf.constant([2, 0, 2]))
    train = optimizer.apply_gradients([(g, v), (sparse, rows)], global_step=step)
    assert optimizer.get_slot_names() == ["gradient_accumulator", "gradient_squared_accumulator"]
    assert [each.op.name for each in optimizer.variables()] == [
        "rows/AdagradDA", "rows/AdagradDA_1", "v/AdagradDA", "v/AdagradDA_1",
    ]  # fmt: skip
    sess.run(tf.global_variables_initializer())
    total, squares = np.zeros((3, 2)), np.full((3, 2), 0.2)
    row_total, row_squares = total.copy(), squares.copy()
    for t, gradient in enumerate(np.random.default_rng(1).normal(size=(3, 3, 2)), start=1):
        sess.run(train, {g: gradient})
        total, squares = total + gradient, squares + gradient**2
        twice = gradient * np.array([[1.0], [0.0], [2.0]])
        row_total, row_squares = row_total + twice, row_squares + twice**2

        def value(total: Any, squares: Any, t: int = t) -> Any:
            shrunk = np.sign(-total) * np.maximum(np.abs(total) - np.float32(l1) * t, 0)
            return 0.5 * shrunk / (np.float32(l2) * t * 0.5 + np.sqrt(squares))

        got, got_rows = sess.run([v, rows])
        np.testing.assert_allclose(got, value(total, squares), atol=1e-6)
        np.testing.assert_allclose(got_rows[[0, 2]], value(row_total, row_squares)[[0, 2]], atol=1e-6)
        assert got_rows[1].tolist() == [3.0, 4.0]
    with pytest.raises(ValueError, match=r"initial_gradient_squared_accumulator_value must be positive: 0\.0"):
        tf.train.AdagradDAOptimizer(0.5, step, 0.0)


def test_adam_moves_rows_that_had_a_gradient_before(sess: tf.Session) -> None:
    v, indices = tf.Variable([[1.0], [1.0]], name="v"), tf.placeholder(tf.int32, [None])
    train = tf.train.AdamOptimizer(0.1).minimize(tf.reduce_sum(tf.nn.embedding_lookup(v, indices)))
    sess.run(tf.global_variables_initializer())
    sess.run(train, {indices: [0]})
    before = sess.run(v)
    sess.run(train, {indices: [1, 1]})
    assert (sess.run(v) != before).all()


def test_learning_rates_are_tensors_placeholders_and_functions(sess: tf.Session) -> None:
    v = tf.Variable([0.0], name="v")
    rate, decay = tf.placeholder(tf.float32, []), tf.constant(0.5)
    fed = tf.train.MomentumOptimizer(rate, decay).apply_gradients([([1.0], v)])
    called = tf.train.AdagradOptimizer(lambda: 2.0, initial_accumulator_value=3.0).apply_gradients([([1.0], v)])
    kept = tf.Variable(4.0, trainable=False)
    variable = tf.train.GradientDescentOptimizer(kept).apply_gradients([([1.0], v)])
    sess.run(tf.global_variables_initializer())
    sess.run(fed, {rate: 1.0})
    sess.run(fed, {rate: 2.0})
    assert sess.run(v).tolist() == [-4.0]  # 1 * 1, then 2 * (0.5 * 1 + 1).
    sess.run(called)
    assert sess.run(v).tolist() == [-5.0]
    sess.run(variable)
    assert sess.run(v).tolist() == [-9.0]
    with pytest.raises(tf.errors.InvalidArgumentError, match="learning_rate: wanted a number of at least 0"):
        sess.run(fed, {rate: -1.0})
    assert sess.run(v).tolist() == [-9.0]


def test_a_worker_that_never_initialized_steps_with_the_chiefs_slots(target: Target) -> None:
    v = tf.Variable([1.0], name="v")
    train = tf.train.AdagradOptimizer(1.0, 3.0).apply_gradients([([1.0], v)])
    with target.session() as chief, target.session() as worker:
        chief.run(tf.global_variables_initializer())
        counting = counted(worker.client)
        worker.run(train)
        first = dict(counting.counts)
        worker.run(train)
        assert (counting.counts - type(counting.counts)(first)) == {"apply_gradients": 1}
        assert chief.run("v/Adagrad:0").tolist() == [5.0]


def test_partitioned_variables_have_slots_that_are_saved_as_one(target: Target, tmp_path: Path) -> None:
    tf.get_variable("p", [4, 2], partitioner=tf.fixed_size_partitioner(2), initializer=tf.ones_initializer())
    parts = tf.trainable_variables()
    train = tf.train.MomentumOptimizer(1.0, 0.9).minimize(sum(tf.reduce_sum(part) for part in parts))
    path = str(tmp_path / "m") if target.kind == "embedded" else f"{target.container}/p"
    with target.session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(train)
        prefix = tf.train.Saver().save(sess, path)
        assert tf.train.list_variables(prefix) == [("p", [4, 2]), ("p/Momentum", [4, 2])]


def test_float16_and_bfloat16(sess: tf.Session) -> None:
    for dtype in (tf.float16, tf.bfloat16):
        v = tf.Variable(tf.ones([2], dtype), name=dtype.name)
        sess.run(v.initializer)
        train = tf.train.AdagradOptimizer(1.0, 3.0).apply_gradients([(tf.ones([2], dtype), v)])
        sess.run(tf.global_variables_initializer())
        sess.run(train)
        assert sess.run(v).astype(float).tolist() == [0.5, 0.5]


def test_local_variables_train_in_the_session(sess: tf.Session) -> None:
    v = tf.Variable([1.0, 2.0], name="v", collections=["local_variables"])
    descent = tf.train.GradientDescentOptimizer(1.0)
    train = descent.minimize(tf.reduce_sum(v) + tf.reduce_sum(tf.nn.embedding_lookup(v, [1])))
    rows = descent.apply_gradients([(tf.IndexedSlices(tf.constant([1.0, 1.0]), tf.constant([0, 0])), v)])
    sess.run(tf.local_variables_initializer())
    counting = counted(sess.client)
    sess.run(train)
    sess.run(rows)
    assert counting.counts == {}
    assert sess.run(v).tolist() == [-2.0, 0.0]
    with pytest.raises(ValueError, match="but 'v' lives in the session"):
        tf.train.AdamOptimizer().minimize(tf.reduce_sum(v))


@pytest.mark.parametrize(
    ("make_one", "message"),
    [
        (lambda: tf.train.AdagradOptimizer(0.1, 0.0), "initial_accumulator_value must be positive: 0.0"),
        (lambda: tf.train.ProximalAdagradOptimizer(0.1, -1.0), "initial_accumulator_value must be positive: -1.0"),
        (lambda: tf.train.FtrlOptimizer(0.1, 0.5), "learning_rate_power 0.500000 needs to be negative or zero"),
        (lambda: tf.train.FtrlOptimizer(0.1, -0.5, -0.1), "initial_accumulator_value -0.100000 needs to be positive"),
        (
            lambda: tf.train.FtrlOptimizer(0.1, l1_regularization_strength=-1.0),
            "l1_regularization_strength -1.000000 needs to be positive or zero",
        ),
        (
            lambda: tf.train.FtrlOptimizer(0.1, l2_shrinkage_regularization_strength=-1.0),
            "l2_shrinkage_regularization_strength -1.000000 needs to be positive or zero",
        ),
        (lambda: tf.train.AdamOptimizer(name=""), "Must specify the optimizer name"),
    ],
)
def test_what_an_optimizer_refuses(make_one: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_one()


def test_the_proximal_ones_are_of_float32() -> None:
    v = tf.Variable(np.ones(2), name="v")
    for optimizer in (tf.train.ProximalGradientDescentOptimizer(0.1), tf.train.ProximalAdagradOptimizer(0.1)):
        with pytest.raises(TypeError, match="has type float32 that does not match type float64 of argument 'var'"):
            optimizer.minimize(tf.reduce_sum(v))


def test_a_gradient_of_another_shape_fails_the_run(sess: tf.Session) -> None:
    v, g = tf.Variable([1.0, 2.0], name="v"), tf.placeholder(tf.float32)
    train = tf.train.MomentumOptimizer(1.0, 0.5).apply_gradients([(g, v)])
    sess.run(tf.global_variables_initializer())
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"var and grad do not have the same shape.*\[2\].*\[3\]"):
        sess.run(train, {g: [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="Dimension 0 in both shapes must be equal"):
        tf.train.MomentumOptimizer(1.0, 0.5).apply_gradients([(tf.ones([3]), v)])
    assert sess.run(v).tolist() == [1.0, 2.0]
