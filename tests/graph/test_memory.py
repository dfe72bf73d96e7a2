"""What a training step takes: numpy reports its arrays to tracemalloc, so the figures are exact."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import paramserver_client.graph as tf


@pytest.mark.parametrize("batch", [50, 200])
def test_a_step_of_a_convolutional_network_takes_at_most_three_times_its_activations(batch: int) -> None:
    rng = np.random.default_rng(0)
    images, labels = tf.placeholder(tf.float32, [None, 28, 28, 1]), tf.placeholder(tf.int32, [None])
    layers: list[Any] = [images]
    for filters in (8, 16):
        layers.append(tf.layers.conv2d(layers[-1], filters, 5, padding="same"))
        layers.append(tf.nn.relu(layers[-1]))
        layers.append(tf.layers.max_pooling2d(layers[-1], 2, 2))
    logits = tf.layers.dense(tf.layers.flatten(layers[-1]), 10)
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
    step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    feeds = {images: rng.random((batch, 28, 28, 1), np.float32), labels: rng.integers(0, 10, batch)}
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        activations = sum(value.nbytes for value in sess.run(layers, feeds))
        sess.run(step, feeds)  # Planned once; not counted.
        tracemalloc.start()
        try:
            sess.run(step, feeds)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak <= 3 * activations, f"{peak / activations:.2f} times the activations"
