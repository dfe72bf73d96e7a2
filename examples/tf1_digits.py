"""A program as one wrote them for TensorFlow 1; of it only the import is different.

It trains a small network on real handwritten digits: pixel levels are looked up in a partitioned embedding, two
convolutions in scopes of their own follow, and a second tower that reuses all variables evaluates. A Saver saves every
100 steps; when the program is killed and started again, it goes on from the newest checkpoint.

    python -m examples.tf1_digits --home run                              # variables in this process
    python -m examples.tf1_digits --home run --url http://127.0.0.1:8080  # variables and checkpoints on a server
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

import paramserver_client.graph as tf
from examples.digits.data import Digits, read_digits

LEVELS = 16
BATCH = 32
SAVE_EVERY = 100


def embedding(levels: Any) -> Any:
    table = tf.get_variable(
        "table", [LEVELS, 4], initializer=tf.random_normal_initializer(stddev=0.5, seed=1),
        partitioner=tf.fixed_size_partitioner(2),
    )  # fmt: skip
    return tf.nn.embedding_lookup(table, levels, partition_strategy="div")


def conv_relu_pool(inputs: Any, shape: list[int]) -> Any:
    weight = tf.get_variable("weight", shape, initializer=tf.truncated_normal_initializer(stddev=0.1, seed=2))
    bias = tf.get_variable("bias", [shape[-1]], initializer=tf.constant_initializer(0.1))
    active = tf.nn.relu(tf.nn.conv2d(inputs, weight, [1, 1, 1, 1], "SAME") + bias)
    return tf.nn.max_pool(active, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")


def tower(levels: Any) -> Any:
    with tf.variable_scope("embedding"):
        layer = embedding(levels)
    with tf.variable_scope("conv1"):
        layer = conv_relu_pool(layer, [3, 3, 4, 8])
    with tf.variable_scope("conv2"):
        layer = conv_relu_pool(layer, [3, 3, 8, 16])
    with tf.variable_scope("dense"):
        weight = tf.get_variable("weight", [4 * 4 * 16, 10], initializer=tf.glorot_uniform_initializer(seed=3))
        bias = tf.get_variable("bias", [10], initializer=tf.zeros_initializer())
        return tf.matmul(tf.reshape(layer, [-1, 4 * 4 * 16]), weight) + bias


def levels_of(digits: Digits) -> np.ndarray:
    """The images at half their size, each pixel as one of 16 levels."""
    halved = digits.images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    return np.rint(halved * (LEVELS - 1)).astype(np.int32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path(".digits"), help="where the digits and checkpoints are kept")
    parser.add_argument("--url", default="", help="a parameter server; without one the variables are in this process")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--kill-after", type=int, default=0, help="kill the program itself after so many steps")
    options = parser.parse_args()
    training, held_out = read_digits(options.home / "digits.npy")
    images, test_images = levels_of(training), levels_of(held_out)

    levels = tf.placeholder(tf.int32, [None, 14, 14], name="levels")
    labels = tf.placeholder(tf.int32, [None], name="labels")
    with tf.variable_scope("net"):
        logits = tower(levels)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    global_step = tf.train.get_or_create_global_step()
    train = tf.train.GradientDescentOptimizer(0.2).minimize(loss, global_step=global_step)
    with tf.variable_scope("net", reuse=True):
        predicted = tf.argmax(tower(levels), 1)
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.cast(predicted, tf.int32), labels), tf.float32))
    saver = tf.train.Saver(max_to_keep=2)

    with tf.Session(options.url) as sess:
        newest = tf.train.latest_checkpoint(str(options.home / "checkpoints"))
        if newest is None:
            sess.run(tf.global_variables_initializer())
        else:
            saver.restore(sess, newest)
        step = int(sess.run(global_step))
        print(f"begins at step {step}", flush=True)
        done = 0
        while step < options.steps:
            chosen = np.random.default_rng(step).integers(0, len(training), BATCH)
            feeds = {levels: images[chosen], labels: training.labels[chosen]}
            _, step, value = sess.run([train, global_step, loss], feeds)
            done += 1
            if step % SAVE_EVERY == 0:
                path = saver.save(sess, str(options.home / "checkpoints" / "model"), global_step=global_step)
                print(f"step {step}: loss {value:.3f}, saved {path}", flush=True)
            if done == options.kill_after:
                os.kill(os.getpid(), signal.SIGKILL)
        right = sess.run(accuracy, {levels: test_images, labels: held_out.labels})
        print(f"held-out accuracy: {100 * right:.2f} %")


if __name__ == "__main__":
    main()
