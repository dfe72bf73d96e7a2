"""The reference, section "Value-making ops": constants, ranges, random numbers, and every initializer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from support.graph_target import Target

Run = Callable[..., Any]


def test_constants(run: Run) -> None:
    assert run(tf.constant([1, 2, 3], shape=[2, 2])).tolist() == [[1, 2], [3, 3]]
    assert run(tf.constant(7, shape=[2])).tolist() == [7, 7]
    assert [tf.constant(each).dtype.name for each in (1.0, 1, True, "a", 1j, 2**40, np.float64(1))] == [
        "float32", "int32", "bool", "string", "complex128", "int64", "float64"]  # fmt: skip
    with pytest.raises(ValueError, match=r"Too many elements provided. Needed at most 2, but received 3"):
        tf.constant([1, 2, 3], shape=[2])
    for value, dtype in ((1.5, tf.int32), ("a", tf.float32), (["a"], tf.float32), (1, tf.string), (1j, tf.float32)):
        with pytest.raises(TypeError):
            tf.constant(value, dtype)
    for value in ([[1], [1, 2]], None, [None]):
        with pytest.raises(ValueError):
            tf.constant(value)
    with pytest.raises(TypeError, match="Expected Tensor's shape"):
        tf.constant([1, 2, 3], shape=[3, 1], verify_shape=True)


def test_zeros_ones_and_fills(run: Run) -> None:
    assert (tf.zeros([2]).dtype, tf.ones([2]).dtype, tf.fill([2], 3).dtype, tf.fill([2], 3.0).dtype) == (
        tf.float32, tf.float32, tf.int32, tf.float32)  # fmt: skip
    assert run([tf.zeros(3), tf.ones([], tf.int64), tf.fill([1, 2], 9)])[0].tolist() == [0.0] * 3
    assert run(tf.zeros([2], tf.string)).tolist() == [b"", b""]
    for made in (tf.zeros_like([1, 2]), tf.ones_like([1, 2]), tf.zeros_like(tf.constant([True]))):
        assert made.dtype in (tf.int32, tf.bool)
    assert tf.zeros_like([1], dtype=tf.float64).dtype == tf.float64
    with pytest.raises(ValueError, match="Shape must be rank 0"):
        tf.fill([2], [1, 2])


def test_linspace(run: Run) -> None:
    assert run(tf.linspace(10.0, 12.0, 3)).tolist() == [10.0, 11.0, 12.0]
    assert run(tf.lin_space(5.0, 9.0, 1)).tolist() == [5.0]
    with pytest.raises(ValueError, match="Requires num > 0"):
        tf.linspace(1.0, 2.0, 0)
    with pytest.raises(TypeError, match="not in list of allowed values"):
        tf.linspace(1, 2, 3)


def test_ranges(run: Run) -> None:
    assert run(tf.range(3, 18, 3)).tolist() == [3, 6, 9, 12, 15]
    assert [tf.range(3).dtype, tf.range(3.0).dtype, tf.range(0, 3, 0.5).dtype] == [tf.int32, tf.float32, tf.float32]
    assert (run(tf.range(5)).tolist(), run(tf.range(3, 3)).tolist(), run(tf.range(3, 1, -1)).tolist()) == (
        [0, 1, 2, 3, 4], [], [3, 2])  # fmt: skip
    for arguments in ((1, 5, 0), (5, 1), (1, 5, -1)):
        with pytest.raises(ValueError, match="Requires"):
            tf.range(*arguments)
    assert tf.range(3, dtype=tf.int64).dtype == tf.int64


def test_normal_numbers(run: Run) -> None:
    plain, cut = run([tf.random_normal([4000], 1.0, 2.0, seed=1), tf.truncated_normal([4000], 1.0, 2.0, seed=1)])
    assert abs(plain.mean() - 1.0) < 0.15
    assert abs(plain.std() - 2.0) < 0.15
    assert np.abs(cut - 1.0).max() <= 4.0
    assert abs(cut.std() - 2.0 * 0.8796) < 0.1
    for make in (tf.random_normal, tf.truncated_normal):
        with pytest.raises(TypeError, match="'dtype' has DataType int32 not in list of allowed values"):
            make([2], dtype=tf.int32)


def test_uniform_numbers(run: Run) -> None:
    drawn, whole = run([tf.random_uniform([1000], -1.0, 3.0), tf.random_uniform([1000], 2, 5, tf.int32)])
    assert (drawn.min() >= -1.0, drawn.max() < 3.0, set(whole.tolist())) == (True, True, {2, 3, 4})
    with pytest.raises(ValueError, match="Must specify maxval for integer dtype"):
        tf.random_uniform([2], dtype=tf.int32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Need minval < maxval"):
        run(tf.random_uniform([2], 5, 5, tf.int64))


def test_other_draws(run: Run) -> None:
    logits = np.log([[0.5, 0.5, 1e-30], [1e-30, 1e-30, 1.0]])
    drawn = run(tf.multinomial(logits, 100))
    assert (drawn.dtype, drawn.shape, set(drawn[0].tolist()), set(drawn[1].tolist())) == (
        np.int64,
        (2, 100),
        {0, 1},
        {2},
    )
    with pytest.raises(ValueError, match="rank 2"):
        tf.multinomial([0.5], 3)
    gamma = tf.random_gamma([2000], [[1.0], [4.0]], beta=[2.0, 4.0], seed=3)
    assert gamma.shape.as_list() == [2000, 2, 2]
    np.testing.assert_allclose(run(gamma).mean(0), [[0.5, 0.25], [2.0, 1.0]], rtol=0.15)
    shuffled = run(tf.random_shuffle([[1, 1], [2, 2], [3, 3]]))
    assert sorted(shuffled.tolist()) == [[1, 1], [2, 2], [3, 3]]
    crop = run(tf.random_crop(np.arange(12).reshape(3, 4), [2, 2]))
    assert np.diff(crop, axis=1).tolist() == [[1], [1]]
    assert np.diff(crop, axis=0).tolist() == [[4, 4]]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Need value.shape >= size, got"):
        run(tf.random_crop(np.zeros((2, 2)), [3, 3]))


def test_every_run_draws_anew_and_seeds_repeat() -> None:
    def two_draws(graph_seed: int | None, op_seed: int | None) -> list[Any]:
        with tf.Graph().as_default():
            tf.set_random_seed(graph_seed)
            first, second = (tf.random_uniform([2], seed=op_seed) for _ in range(2))
            with tf.Session() as one, tf.Session() as two:
                return [one.run(first), one.run(first), two.run(first), two.run(first), one.run(second)]

    for graph_seed, op_seed in ((None, 7), (3, None), (3, 7)):
        a1, a2, b1, b2, other = two_draws(graph_seed, op_seed)
        assert not np.array_equal(a1, a2)
        np.testing.assert_array_equal([a1, a2], [b1, b2])
        np.testing.assert_array_equal(two_draws(graph_seed, op_seed)[0], a1)
        assert np.array_equal(a1, other) is (op_seed is not None)
    a1, _, b1, _, _ = two_draws(None, None)
    assert not np.array_equal(a1, b1)


CONFIGS: list[tuple[Any, dict[str, Any]]] = [
    (tf.zeros_initializer(), {"dtype": "float32"}), (tf.ones_initializer(tf.int32), {"dtype": "int32"}),
    (tf.constant_initializer(3), {"value": 3, "dtype": "float32"}),
    (tf.random_uniform_initializer(seed=1), {"minval": 0, "maxval": None, "seed": 1, "dtype": "float32"}),
    (tf.random_normal_initializer(stddev=2.0), {"mean": 0.0, "stddev": 2.0, "seed": None, "dtype": "float32"}),
    (tf.truncated_normal_initializer(), {"mean": 0.0, "stddev": 1.0, "seed": None, "dtype": "float32"}),
    (tf.variance_scaling_initializer(),
     {"scale": 1.0, "mode": "fan_in", "distribution": "truncated_normal", "seed": None, "dtype": "float32"}),
    (tf.uniform_unit_scaling_initializer(2.0), {"factor": 2.0, "seed": None, "dtype": "float32"}),
    (tf.orthogonal_initializer(), {"gain": 1.0, "seed": None, "dtype": "float32"}),
    (tf.glorot_uniform_initializer(5), {"seed": 5, "dtype": "float32"}),
    (tf.glorot_normal_initializer(), {"seed": None, "dtype": "float32"}),
    (tf.initializers.identity(2.0), {"gain": 2.0, "dtype": "float32"}),
]  # fmt: skip


@pytest.mark.parametrize(("initializer", "config"), CONFIGS, ids=lambda each: type(each).__name__)
def test_configs_go_out_and_in(initializer: Any, config: dict[str, Any], run: Run) -> None:
    assert initializer.get_config() == config
    again = type(initializer).from_config(config)
    assert again.get_config() == config
    made = run(again([3, 3], dtype=tf.float64, partition_info=None))
    assert (made.dtype, made.shape) == (np.float64, (3, 3))
    assert run(again([3, 3])).dtype.name == config["dtype"]


def test_what_initializers_make(run: Run) -> None:
    assert run(tf.constant_initializer([1, 2, 3])([2, 2])).tolist() == [[1.0, 2.0], [3.0, 3.0]]
    assert run(tf.constant_initializer([[1, 2], [3, 4]])([4])).tolist() == [1.0, 2.0, 3.0, 4.0]
    q = run(tf.orthogonal_initializer(gain=2.0)([4, 3]))
    np.testing.assert_allclose(q.T @ q, 4.0 * np.eye(3), atol=1e-5)
    for refuse, error, words in (
        (lambda: tf.constant_initializer([1, 2, 3])([2]), ValueError, "Too many elements"),
        (lambda: tf.constant_initializer([1, 2], verify_shape=True)([3]), TypeError, "Expected Tensor's shape"),
        (lambda: tf.constant_initializer(tf.constant(1)), TypeError, "Invalid type for initial value"),
        (lambda: tf.orthogonal_initializer()([3]), ValueError, "at least two-dimensional"),
        (lambda: tf.variance_scaling_initializer(mode="odd"), ValueError, "Invalid `mode` argument"),
        (lambda: tf.variance_scaling_initializer(scale=0.0), ValueError, "`scale` must be positive float"),
        (lambda: tf.variance_scaling_initializer(distribution="odd"), ValueError, "Invalid `distribution` argument"),
        (lambda: tf.random_normal_initializer(dtype=tf.int32), ValueError, "Expected floating point type"),
        (lambda: tf.initializers.identity(dtype=tf.string), ValueError, "Expected floating point type"),
        (lambda: tf.initializers.identity()([1, 2, 3]), ValueError, "2D matrices"),
    ):  # fmt: skip
        with pytest.raises(error, match=words):
            refuse()
    uniform = run(tf.random_uniform_initializer(2, 5, dtype=tf.int32)([100]))
    assert set(uniform.tolist()) == {2, 3, 4}


def test_scaling_goes_by_the_whole_of_a_partitioned_variable(run: Run) -> None:
    cut = tf.fixed_size_partitioner(4)
    parts = tf.get_variable("p", [400, 4], partitioner=cut, initializer=tf.variance_scaling_initializer(seed=1))
    drawn = np.concatenate(run([each.initial_value for each in parts]))
    assert abs(drawn.std() - np.sqrt(1 / 400)) < 0.005


def test_a_part_of_the_identity(run: Run) -> None:
    parts = tf.get_variable(
        "p", [5, 4], partitioner=tf.fixed_size_partitioner(2), initializer=tf.initializers.identity(2.0)
    )
    drawn = np.concatenate(run([each.initial_value for each in parts]))
    np.testing.assert_array_equal(drawn, 2.0 * np.eye(5, 4))
    counted = tf.get_variable("c", [4], initializer=lambda shape, dtype, partition_info: range(shape[0]))
    assert run(counted.initial_value).tolist() == [0.0, 1.0, 2.0, 3.0]


def test_what_the_server_can_make_travels_as_a_recipe(target: Target) -> None:
    makers: dict[str, Any] = {
        "zeros": tf.zeros_initializer(), "ones": tf.ones_initializer(), "constant": tf.constant_initializer(2.5),
        "random_normal": tf.random_normal_initializer(seed=1), "random_uniform": tf.glorot_uniform_initializer(seed=2),
        "truncated_normal": tf.variance_scaling_initializer(seed=3), "orthogonal": tf.orthogonal_initializer(seed=4),
        "identity": tf.initializers.identity(),
    }  # fmt: skip
    made = {kind: tf.get_variable(kind, [3, 3], initializer=maker) for kind, maker in makers.items()}
    with target.session() as sess:
        sess.run(tf.global_variables_initializer())
        values = sess.run(made)
        prefix = f"{target.container}/" if target.container else ""
        specs = {kind: sess.client.get_variable(f"{prefix}{kind}").initializer for kind in made}
    assert {kind: spec["type"] for kind, spec in specs.items() if spec} == {kind: kind for kind in made}
    np.testing.assert_array_equal(values["identity"], np.eye(3))
    np.testing.assert_array_equal(values["constant"], np.full((3, 3), 2.5))
    np.testing.assert_allclose(values["orthogonal"] @ values["orthogonal"].T, np.eye(3), atol=1e-5)


def test_shapes_and_sizes_as_tensors(sess: tf.Session) -> None:
    for shape, dtype in (([], tf.int32), ([1, 2, 3], tf.int32), ([2**31, 2], tf.int64)):
        tensor = tf.convert_to_tensor(tf.TensorShape(shape))
        assert tensor.dtype == dtype
        assert sess.run(tensor).tolist() == shape
    assert tf.convert_to_tensor(tf.TensorShape([1]), dtype=tf.int64).dtype == tf.int64
    for unknown in (tf.TensorShape(None), tf.TensorShape([1, None])):
        with pytest.raises(ValueError, match="Cannot convert a partially known TensorShape to a Tensor"):
            tf.convert_to_tensor(unknown)
    with pytest.raises(ValueError, match="a dimension is too large"):
        tf.convert_to_tensor(tf.TensorShape([2**31]), dtype=tf.int32)
    with pytest.raises(TypeError, match="Cannot convert a TensorShape to dtype float32"):
        tf.convert_to_tensor(tf.TensorShape([1]), dtype=tf.float32)
    with pytest.raises(TypeError, match="Cannot convert a Dimension to dtype float32"):
        tf.convert_to_tensor(tf.Dimension(2), dtype=tf.float32)
    with pytest.raises(ValueError, match="unknown Dimension"):
        tf.convert_to_tensor(tf.Dimension(None))


def test_a_fill_has_no_negative_sizes() -> None:
    with pytest.raises(ValueError, match="Fill dimensions must be >= 0"):
        tf.fill([-1], 7)


def test_there_are_no_tables_to_initialize(sess: tf.Session) -> None:
    assert sess.run(tf.tables_initializer()) is None
    assert tf.initializers.tables_initializer().name == "init_all_tables_1"
