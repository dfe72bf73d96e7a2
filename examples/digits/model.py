"""The network: two convolutions with pooling and one dense layer, in TensorFlow 1's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import paramserver_client.graph as tf

LEARNING_RATE = 0.1
BATCH = 50


@dataclass(frozen=True)
class Network:
    """The tensors a worker feeds and fetches."""

    images: Any
    labels: Any
    loss: Any
    accuracy: Any
    global_step: Any
    train: Any


def conv_relu_pool(inputs: Any, shape: list[int]) -> Any:
    weight = tf.get_variable("weight", shape, initializer=tf.truncated_normal_initializer(stddev=0.1, seed=1))
    bias = tf.get_variable("bias", [shape[-1]], initializer=tf.constant_initializer(0.1))
    convolved = tf.nn.conv2d(inputs, weight, strides=[1, 1, 1, 1], padding="SAME")
    active = tf.nn.relu(convolved + bias)
    return tf.nn.max_pool(active, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")


def build() -> Network:
    images = tf.placeholder(tf.float32, [None, 28, 28, 1], name="images")
    labels = tf.placeholder(tf.int32, [None], name="labels")
    with tf.variable_scope("conv1"):
        layer = conv_relu_pool(images, [5, 5, 1, 8])
    with tf.variable_scope("conv2"):
        layer = conv_relu_pool(layer, [5, 5, 8, 16])
    with tf.variable_scope("dense"):
        weight = tf.get_variable("weight", [7 * 7 * 16, 10])
        bias = tf.get_variable("bias", [10], initializer=tf.zeros_initializer())
        logits = tf.matmul(tf.reshape(layer, [-1, 7 * 7 * 16]), weight) + bias
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    right = tf.equal(tf.cast(tf.argmax(logits, 1), tf.int32), labels)
    accuracy = tf.reduce_mean(tf.cast(right, tf.float32))
    global_step = tf.train.get_or_create_global_step()
    train = tf.train.GradientDescentOptimizer(LEARNING_RATE).minimize(loss, global_step=global_step)
    return Network(images, labels, loss, accuracy, global_step, train)
