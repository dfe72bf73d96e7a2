"""What all optimizers share: the operations they make, what they skip, their errors, and workers that step together."""

from __future__ import annotations

import multiprocessing
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from paramserver_client import Transport
from paramserver_wire.messages import Answer, Message
from support.graph_target import Target
from support.server import Server


def test_names_and_the_global_step(sess: tf.Session) -> None:
    v, step = tf.Variable([1.0]), tf.train.get_or_create_global_step()
    optimizer = tf.train.GradientDescentOptimizer(tf.placeholder_with_default(0.5, []))
    pairs = optimizer.compute_gradients(tf.reduce_sum(v * 3.0))
    assert [variable for _, variable in pairs] == [v]
    plain, counting = optimizer.apply_gradients(pairs), optimizer.apply_gradients(pairs, step, "named")
    assert (plain.name, plain.type, counting.name, counting.type) == ("GradientDescent", "NoOp", "named", "AssignAdd")
    assert tf.get_collection(tf.GraphKeys.TRAIN_OP) == [plain, counting]
    sess.run(tf.global_variables_initializer())
    sess.run([plain, counting])
    assert [value.tolist() for value in sess.run([v, step])] == [[-2.0], 1]
    assert optimizer.get_name() == "GradientDescent"
    assert (optimizer.get_slot_names(), optimizer.variables()) == ([], [])


def test_gradients_that_are_missing_are_skipped(sess: tf.Session) -> None:
    v, other = tf.Variable([1.0]), tf.Variable([1.0])
    optimizer = tf.train.GradientDescentOptimizer(1.0)
    pairs = optimizer.compute_gradients(tf.reduce_sum(v))
    assert pairs[1] == (None, other)
    sess.run(tf.global_variables_initializer())
    sess.run(optimizer.apply_gradients(pairs))
    assert [value.tolist() for value in sess.run([v, other])] == [[0.0], [1.0]]


def test_gradients_can_be_changed_before_they_are_applied(sess: tf.Session) -> None:
    v = tf.Variable([4.0])
    optimizer = tf.train.GradientDescentOptimizer(1.0)
    pairs = [(gradient * 0.5, variable) for gradient, variable in optimizer.compute_gradients(tf.reduce_sum(v * v))]
    sess.run(v.initializer)
    sess.run(optimizer.apply_gradients(pairs))
    assert sess.run(v).tolist() == [0.0]


def test_constraints_hold_after_the_update(sess: tf.Session) -> None:
    v = tf.Variable([3.0], constraint=lambda value: tf.minimum(value, [1.0]))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(v))
    sess.run(v.initializer)
    sess.run(train)
    assert sess.run(v).tolist() == [1.0]


def test_two_optimizers_in_one_run_are_two_pushes(sess: tf.Session) -> None:
    v, w = tf.Variable([1.0], name="v"), tf.Variable([1.0], name="w")
    loss = tf.reduce_sum(v * w)
    one = tf.train.AdagradOptimizer(1.0, 3.0).minimize(loss, var_list=[v])
    two = tf.train.MomentumOptimizer(2.0, 0.5).minimize(loss, var_list=[w])
    sess.run(tf.global_variables_initializer())
    sess.run(tf.group(one, two))
    assert [value.tolist() for value in sess.run([v, w])] == [[0.5], [-1.0]]  # Both from the values before.
    prefix = sess.variables.name(v).removesuffix("v")
    names = {each.name for each in sess.client.optimizers()}
    assert {f"{prefix}Adagrad", f"{prefix}Momentum"} <= names


def test_a_step_waits_for_what_it_must_see_and_is_seen_by_what_follows(sess: tf.Session) -> None:
    v, seen = tf.Variable([1.0], name="v"), tf.Variable([0.0], name="seen")
    with tf.control_dependencies([v.assign([10.0])]):
        train = tf.train.AdagradOptimizer(1.0, initial_accumulator_value=3.0).apply_gradients([([1.0], v)])
    with tf.control_dependencies([train]):
        after = seen.assign(v.read_value())
    sess.run(tf.global_variables_initializer())
    sess.run(after)
    assert sess.run([v, seen])[1].tolist() == [9.5]
    assert sess.run(v).tolist() == [9.5]


def test_an_uninitialized_slot_is_named(sess: tf.Session) -> None:
    v = tf.Variable([1.0], name="v")
    train = tf.train.AdamOptimizer().minimize(tf.reduce_sum(v))
    sess.run(v.initializer)
    with pytest.raises(tf.errors.FailedPreconditionError, match=r"uninitialized value (v/Adam|beta1_power)"):
        sess.run(train)
    sess.run(tf.global_variables_initializer())
    sess.run(train)


def test_an_optimizer_that_was_deleted_is_made_again(sess: tf.Session) -> None:
    v = tf.Variable([1.0], name="v")
    train = tf.train.MomentumOptimizer(1.0, 0.5).minimize(tf.reduce_sum(v))
    sess.run(tf.global_variables_initializer())
    sess.run(train)
    sess.client.delete_optimizer(sess.variables.name(v).removesuffix("v") + "Momentum")
    with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value v/Momentum"):
        sess.run(train)
    sess.run(tf.variables_initializer([v, *tf.global_variables()]))
    sess.run(train)
    assert sess.run(v).tolist() == [0.0]


def test_slots_and_steps_of_an_own_optimizer(sess: tf.Session) -> None:
    class Sums(tf.train.Optimizer):
        """Adds all gradients up in a slot and subtracts the sum."""

        def __init__(self) -> None:
            super().__init__(False, "Sums")

        def _create_slots(self, var_list: Any) -> None:
            for v in var_list:
                self._zeros_slot(v, "sum", self._name)
            self._create_non_slot_variable(1.0, "scale")

        def _apply_dense(self, grad: Any, var: Any) -> Any:
            total = self.get_slot(var, "sum").assign_add(grad)
            with tf.control_dependencies([total]):
                return var.assign_sub(total * self._get_non_slot_variable("scale")).op

        def _apply_sparse(self, grad: Any, var: Any) -> Any:
            assert grad.indices.shape.as_list() == [None]
            return tf.scatter_sub(var, grad.indices, grad.values * grad.values).op

    v, rows = tf.Variable([1.0], name="v"), tf.Variable([[1.0], [1.0], [1.0]], name="rows")
    optimizer = Sums()
    looked = tf.nn.embedding_lookup(rows, [2, 0, 2])
    train = optimizer.minimize(tf.reduce_sum(v * 2.0) + tf.reduce_sum(looked))
    sess.run(tf.global_variables_initializer())
    for wanted in (-1.0, -5.0):
        sess.run(train)
        assert sess.run(v).tolist() == [wanted]
    assert sess.run(rows).tolist() == [[-1.0], [1.0], [-7.0]]
    assert [each.op.name for each in optimizer.variables()] == ["rows/Sums", "scale", "v/Sums"]
    assert optimizer.get_slot_names() == ["sum"]
    with pytest.raises(NotImplementedError, match="does not say how a gradient"):
        tf.train.Optimizer(False, "Bare").apply_gradients([([1.0], v)])
    with pytest.raises(NotImplementedError, match="does not say how some rows"):
        tf.train.Optimizer(False, "Bare").apply_gradients([(tf.IndexedSlices(tf.ones([1, 1]), tf.constant([0])), rows)])


def test_errors() -> None:
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    with pytest.raises(ValueError, match=r"No variables provided\."):
        optimizer.apply_gradients([])
    with pytest.raises(ValueError, match=r"No variables to optimize\."):
        optimizer.minimize(tf.constant(1.0))
    v = tf.Variable([1.0])
    with pytest.raises(ValueError, match=r"No gradients provided for any variable: \["):
        optimizer.apply_gradients([(None, v)])
    with pytest.raises(ValueError, match="No gradients provided for any variable, check your graph"):
        optimizer.minimize(tf.constant(1.0))
    with pytest.raises(ValueError, match="Invalid type"):
        optimizer.minimize(tf.constant(1))
    with pytest.raises(NotImplementedError, match="Trying to update a Tensor"):
        optimizer.apply_gradients([(tf.constant([1.0]), tf.constant([1.0]))])
    with pytest.raises(TypeError, match=r"not a tf\.Variable"):
        optimizer.compute_gradients(tf.constant(1.0), [3])
    with pytest.raises(ValueError, match="Dimension 0 in both shapes must be equal"):
        optimizer.apply_gradients([(tf.constant([1.0, 2.0]), v)])
    with pytest.raises(ValueError, match="gate_gradients must be one of"):
        optimizer.compute_gradients(v, gate_gradients=7)
    with pytest.raises(ValueError, match="aggregation_method=.* is not supported"):  # noqa: RUF043
        optimizer.compute_gradients(v, aggregation_method=2)
    with pytest.raises(ValueError, match="Must specify the optimizer name"):
        tf.train.GradientDescentOptimizer(0.1, name="")


def test_a_step_computed_from_old_values_is_added_to_the_newest(target: Target) -> None:
    """Two workers step from the same values; the server subtracts both."""
    v = tf.Variable([0.0], name="v")
    g = tf.placeholder(tf.float32, [1])
    train = tf.train.GradientDescentOptimizer(1.0).apply_gradients([(g, v)])
    with target.session() as one, target.session() as two:
        one.run(v.initializer)
        for _ in range(10):
            one.run(train, {g: [1.0]})
            two.run(train, {g: [2.0]})
        assert one.run(v).tolist() == [-30.0]


def _classifier() -> dict[str, Any]:
    x, y = tf.placeholder(tf.float32, [None, 8, 8, 1]), tf.placeholder(tf.int32, [None])
    kernel = tf.get_variable("kernel", [3, 3, 1, 4], initializer=tf.truncated_normal_initializer(stddev=0.3, seed=2))
    bias = tf.get_variable("bias", [4], initializer=tf.zeros_initializer())
    layer = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, [1, 1, 1, 1], "SAME"), bias))
    layer = tf.nn.max_pool(layer, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
    weight = tf.get_variable("weight", [64, 3], initializer=tf.glorot_uniform_initializer(seed=2))
    logits = tf.matmul(tf.reshape(layer, [-1, 64]), weight)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    step = tf.train.get_or_create_global_step()
    train = tf.train.GradientDescentOptimizer(0.2).minimize(loss, global_step=step)
    right = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1, output_type=tf.int32), y), tf.float32))
    return {"x": x, "y": y, "loss": loss, "train": train, "right": right, "step": step}


def _bars(count: int, seed: int) -> tuple[Any, Any]:
    """Images with a bar: across, down, or slanting."""
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((count, 8, 8, 1)).astype(np.float32) * 0.3
    classes = rng.integers(0, 3, count)
    at = np.arange(8)
    for image, kind in zip(images, classes, strict=True):
        place = rng.integers(1, 7)
        image[(place, at) if kind == 0 else (at, place) if kind == 1 else (at, (at + place) % 8)] += 2.0
    return images, classes


def _work(url: str, container: str, seed: int) -> None:
    model = _classifier()
    manager = tf.train.SessionManager(recovery_wait_secs=0.01, container=container)
    with manager.wait_for_session(url, max_wait_secs=60) as sess:
        for i in range(40):
            images, classes = _bars(30, 1000 * seed + i)
            sess.run(model["train"], {model["x"]: images, model["y"]: classes})


def test_three_workers_train_a_classifier_through_the_server(graph_server: Server) -> None:
    model = _classifier()
    container = "three-workers"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work, args=(graph_server.url, container, seed)) for seed in (1, 2, 3)]
    for worker in workers:
        worker.start()
    manager = tf.train.SessionManager(container=container)
    with manager.prepare_session(graph_server.url, init_op=tf.global_variables_initializer()) as sess:
        for worker in workers:
            worker.join(90)
            assert worker.exitcode == 0
        images, classes = _bars(200, 7)
        right, steps = sess.run([model["right"], model["step"]], {model["x"]: images, model["y"]: classes})
    assert steps == 120
    assert right > 0.9


def test_slots_with_values_and_of_variables_of_unknown_shape(sess: tf.Session) -> None:
    class Scaled(tf.train.Optimizer):
        """Scales gradients by a slot that starts with a given value."""

        def _create_slots(self, var_list: Any) -> None:
            for v in var_list:
                self._get_or_make_slot(v, tf.constant([2.0, 3.0]), "scale", "Scale")
                assert self._get_or_make_slot(v, tf.constant([9.0]), "scale", "Scale") is self.get_slot(v, "scale")

        def _apply_dense(self, grad: Any, var: Any) -> Any:
            return var.assign_sub(grad * self.get_slot(var, "scale")).op

    v = tf.Variable([0.0, 0.0], name="v")
    train = Scaled(False, "Scaled").apply_gradients([([1.0, 1.0], v)])
    loose = tf.Variable(tf.placeholder_with_default([1.0, 1.0], [None]), validate_shape=False, name="loose")
    momentum = tf.train.MomentumOptimizer(1.0, 0.5)
    step = momentum.apply_gradients([(tf.placeholder_with_default([1.0, 1.0], [None]), loose)])
    sess.run([v.initializer, loose.initializer])
    sess.run(tf.global_variables_initializer())
    sess.run([train, step])
    sess.run(step)
    got = [each.tolist() for each in sess.run([v, loose, momentum.get_slot(loose, "momentum")])]
    assert got == [[-2.0, -3.0], [-1.5, -1.5], [1.5, 1.5]]


def test_a_gradient_that_no_tensor_can_hold() -> None:
    v = tf.Variable([1.0])
    with pytest.raises(TypeError, match="Gradient must be convertible to a Tensor or IndexedSlices, or None"):
        tf.train.GradientDescentOptimizer(1.0).apply_gradients([("text", v)])


class Written(Transport):
    """Notes what is asked of the server."""

    def __init__(self, inner: Transport) -> None:
        self.messages: list[Message] = []
        self._inner = inner

    def deliver(self, message: Message, timeout_s: float) -> Answer:
        self.messages.append(message)
        return self._inner.deliver(message, timeout_s)

    def close(self) -> None:
        self._inner.close()


def test_what_a_step_sends(sess: tf.Session) -> None:
    """The gradients, this step's hyper-parameters, the step to count, and what follows: one transaction."""
    v, step = tf.Variable([1.0], name="v"), tf.train.get_or_create_global_step()
    rate = tf.train.exponential_decay(0.5, step, 1, 0.5)
    other = tf.Variable(0, name="other")
    train = tf.train.MomentumOptimizer(rate, 0.25).apply_gradients([([2.0], v)], global_step=step)
    average = tf.train.ExponentialMovingAverage(0.75)
    with tf.control_dependencies([train]):
        both = tf.group(average.apply([v]), other.assign_add(5))
    sess.run(tf.global_variables_initializer())
    sess.run(both)
    prefix = sess.variables.name(v).removesuffix("v")
    written = Written(sess.client.transport)
    sess.client._transport = written
    sess.run(both)
    sess.client._transport = written._inner
    pull, push = written.messages
    assert (pull.operation, push.operation, push.arguments["name"]) == ("pull", "apply_gradients", f"{prefix}Momentum")
    assert list(push.arguments["gradients"]) == [f"{prefix}v"]
    assert push.arguments["hyper"] == {"learning_rate": 0.25, "momentum": 0.25}
    assert push.arguments["global_step"] == f"{prefix}global_step"
    told = [(each["op"], each.get("target", each.get("name"))) for each in push.arguments["then"]]
    assert told == [("ema", f"{prefix}v/ExponentialMovingAverage"), ("assign_add", f"{prefix}other")]
    got = [np.ravel(value).tolist() for value in sess.run([v, step, other])]
    assert got == [[1.0 - 0.5 * 2.0 - 0.25 * 2.5], [2], [10]]


def test_a_step_that_is_counted_twice_or_by_more_is_no_count(sess: tf.Session) -> None:
    v, step = tf.Variable([1.0], name="v"), tf.train.get_or_create_global_step()
    train = tf.train.AdagradOptimizer(1.0, 3.0).apply_gradients([([1.0], v)], global_step=step)
    twice, more = step.assign_add(1), tf.assign_add(tf.Variable(0, name="more"), 2)
    sess.run(tf.global_variables_initializer())
    sess.run([train, twice, more])
    assert sess.run([step, "more:0"]) == [2, 2]


def test_gradients_and_values_of_an_embedded_session_stay_apart() -> None:
    """It borrows instead of copying: what was fed may be written to afterwards, and what was fetched changes nothing."""
    v, g = tf.Variable([1.0, 1.0], name="v"), tf.placeholder(tf.float32, [2])
    optimizer = tf.train.MomentumOptimizer(1.0, 0.5)
    train = optimizer.apply_gradients([(g, v)])
    slot = optimizer.get_slot(v, "momentum")
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        fed = np.array([1.0, 2.0], np.float32)
        _, value, memory = sess.run([train, v, slot], {g: fed})
        fed[:] = 99.0
        value[:] = 99.0
        memory[:] = 99.0
        assert [each.tolist() for each in sess.run([v, slot])] == [[0.0, -1.0], [1.0, 2.0]]
