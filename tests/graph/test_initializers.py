"""Initializers: what they make, their configurations, and that the server's spec means the same distribution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf
from paramserver_client import ParameterClient
from paramserver_client.graph import initializers
from support.graph_target import Target

SHAPE = [60, 40]


def _fan_limit(fan: float, scale: float) -> float:
    return float(np.sqrt(3 * scale / fan))


MADE: list[tuple[Any, dict[str, Any]]] = [
    (tf.zeros_initializer(), {"mean": 0, "std": 0}),
    (tf.ones_initializer(), {"mean": 1, "std": 0}),
    (tf.constant_initializer(0.25), {"mean": 0.25, "std": 0}),
    (tf.random_normal_initializer(1.0, 2.0, seed=1), {"mean": 1, "std": 2}),
    (tf.truncated_normal_initializer(1.0, 2.0, seed=1), {"mean": 1, "std": 2 * 0.8796}),
    (tf.random_uniform_initializer(-1, 3, seed=1), {"mean": 1, "std": 4 / np.sqrt(12)}),
    (tf.glorot_uniform_initializer(seed=1), {"mean": 0, "std": np.sqrt(2 / 100)}),
    (tf.glorot_normal_initializer(seed=1), {"mean": 0, "std": np.sqrt(2 / 100)}),
    (tf.variance_scaling_initializer(seed=1), {"mean": 0, "std": np.sqrt(1 / 60)}),
    (tf.variance_scaling_initializer(2.0, "fan_out", "uniform", 1), {"mean": 0, "std": np.sqrt(2 / 40)}),
    (tf.variance_scaling_initializer(1.0, "fan_avg", "untruncated_normal", 1), {"mean": 0, "std": np.sqrt(1 / 50)}),
    (initializers.he_normal(1), {"mean": 0, "std": np.sqrt(2 / 60)}),
    (initializers.lecun_uniform(1), {"mean": 0, "std": np.sqrt(1 / 60)}),
]


@pytest.mark.parametrize(("initializer", "wanted"), MADE, ids=lambda value: type(value).__name__)
def test_values_here_and_from_the_server(initializer: Any, wanted: dict[str, Any], target: Target) -> None:
    """The tensor is drawn here, the variable's first value by the server; both must follow the same law."""
    v = tf.get_variable("v", SHAPE, initializer=initializer)
    assert v.initial_value.op.recipe is not None
    with target.session() as sess:
        sess.run(v.initializer)
        for values in sess.run([v, v.initial_value]):
            assert (values.shape, values.dtype) == ((60, 40), np.float32)
            assert abs(values.mean() - wanted["mean"]) < 0.1 * (wanted["std"] + 0.01)
            assert abs(values.std() - wanted["std"]) < 0.05 * wanted["std"] + 1e-6


def test_orthogonal_and_identity(target: Target) -> None:
    tall = tf.get_variable("tall", [6, 2, 4], initializer=tf.orthogonal_initializer(2.0, seed=1))
    eye = tf.get_variable("eye", [2, 3], initializer=initializers.Identity(3.0))
    with target.session() as sess:
        sess.run(tf.global_variables_initializer())
        for values in sess.run([tall, tall.initial_value]):
            flat = values.reshape(12, 4)
            np.testing.assert_allclose(flat.T @ flat, 4 * np.eye(4), atol=1e-5)
        for values in sess.run([eye, eye.initial_value]):
            np.testing.assert_array_equal(values, [[3, 0, 0], [0, 3, 0]])
    with pytest.raises(ValueError, match="at least two-dimensional"):
        tf.orthogonal_initializer()([3])
    with pytest.raises(ValueError, match="2D matrices"):
        initializers.Identity()([3])


CONFIGS: list[tuple[Any, dict[str, Any]]] = [
    (tf.zeros_initializer(tf.int32), {"dtype": "int32"}),
    (tf.constant_initializer([1, 2]), {"value": [1, 2], "dtype": "float32"}),
    (tf.random_normal_initializer(1, 2, 3), {"mean": 1, "stddev": 2, "seed": 3, "dtype": "float32"}),
    (tf.truncated_normal_initializer(), {"mean": 0.0, "stddev": 1.0, "seed": None, "dtype": "float32"}),
    (tf.random_uniform_initializer(1), {"minval": 1, "maxval": None, "seed": None, "dtype": "float32"}),
    (tf.variance_scaling_initializer(), {"scale": 1.0, "mode": "fan_in", "distribution": "truncated_normal",
                                         "seed": None, "dtype": "float32"}),
    (tf.glorot_uniform_initializer(4), {"seed": 4, "dtype": "float32"}),
    (tf.orthogonal_initializer(), {"gain": 1.0, "seed": None, "dtype": "float32"}),
]  # fmt: skip


@pytest.mark.parametrize(("initializer", "config"), CONFIGS, ids=lambda value: type(value).__name__)
def test_configurations_make_the_same_again(initializer: Any, config: dict[str, Any]) -> None:
    assert initializer.get_config() == config
    assert type(initializer).from_config(config).get_config() == config


def test_constants_fill_and_refuse(sess: tf.Session) -> None:
    init = tf.constant_initializer([1, 2, 3])
    assert sess.run(init([2, 2], tf.int32)).tolist() == [[1, 2], [3, 3]]
    with pytest.raises(ValueError, match="Too many elements"):
        init([2])
    with pytest.raises(TypeError, match="Invalid type for initial value"):
        tf.constant_initializer({})
    with pytest.raises(ValueError, match="`scale` must be positive"):
        tf.variance_scaling_initializer(0.0)
    with pytest.raises(ValueError, match="Expected floating point type"):
        tf.random_normal_initializer(dtype=tf.int32)


def test_specs_are_what_the_server_notes() -> None:
    with ParameterClient() as client, tf.Session(client=client) as sess:
        tf.get_variable("normal", [2], initializer=tf.random_normal_initializer(1.0, 0.5, seed=3))
        tf.get_variable("default", [2, 3])
        tf.get_variable("zeros", [2], tf.int32)
        tf.Variable([1.0, 2.5], name="listed")
        tf.Variable(np.arange(5000), name="bytes")
        sess.run(tf.global_variables_initializer())
        specs = {each.name: dict(each.initializer or {}) for each in client.list_variables()}
    assert specs["normal"]["type"] == "random_normal"
    assert (specs["normal"]["mean"], specs["normal"]["stddev"]) == (1.0, 0.5)
    assert 0 <= specs["normal"]["seed"] < 2**53
    assert specs["default"]["type"] == "random_uniform"
    assert specs["default"]["maxval"] == pytest.approx(np.sqrt(6 / 5))
    assert specs["zeros"] == {"type": "zeros"}
    assert specs["listed"] == {"type": "constant", "value": [1.0, 2.5]}


def test_equal_seeds_give_equal_first_values_anywhere(target: Target) -> None:
    drawn = []
    for container in ("a", "a"):
        with tf.Graph().as_default(), tf.Session(target.url or "", container=f"{target.container}/{container}") as sess:
            tf.set_random_seed(4)
            v = tf.get_variable("v", [3])
            sess.run(v.initializer)
            drawn.append(sess.run(v).tolist())
    assert drawn[0] == drawn[1]
