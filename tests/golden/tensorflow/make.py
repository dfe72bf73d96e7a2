"""Made the checkpoints in this folder, once, with tensorflow-cpu 2.21 from PyPI; it is no dependency of ours.

python -m venv /tmp/tf && /tmp/tf/bin/pip install tensorflow-cpu==2.21.0 && /tmp/tf/bin/python make.py
"""

import os

import numpy as np
import tensorflow.compat.v1 as tf

HERE = os.path.dirname(os.path.abspath(__file__))
DTYPES = ["float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
          "uint64", "bool", "complex64", "complex128"]  # fmt: skip


def saved(name: str, build, **settings) -> None:
    with tf.Graph().as_default():
        build()
        config = tf.ConfigProto(device_count={"CPU": 2})
        with tf.Session(config=config) as sess:
            sess.run(tf.global_variables_initializer())
            tf.train.Saver(**settings).save(sess, os.path.join(HERE, name), write_meta_graph=False, write_state=False)


def every_dtype() -> None:
    for dtype in DTYPES:
        numbers = np.arange(6).reshape(2, 3)
        value = numbers % 2 == 1 if dtype == "bool" else numbers * (1 + 2j) if "complex" in dtype else numbers
        tf.Variable(tf.constant(value, tf.as_dtype(dtype)), name=f"types/{dtype}", use_resource=False)
    tf.Variable(tf.constant([["a", "b\0c"], ["", "x" * 300]]), name="types/string", use_resource=False)
    tf.Variable(tf.constant(3.5), name="scalar", use_resource=False)
    tf.Variable(tf.zeros([0, 3]), name="empty", use_resource=False)


def in_parts() -> None:
    value = np.arange(200 * 3, dtype=np.float32).reshape(200, 3)
    cut = tf.fixed_size_partitioner(3)
    tf.get_variable("table", initializer=tf.constant(value), partitioner=cut, use_resource=False)
    tf.get_variable("across", initializer=tf.constant(value.T), partitioner=tf.fixed_size_partitioner(2, axis=1),
                    use_resource=False)  # fmt: skip


def on_two_devices() -> None:
    for number in range(40):
        with tf.device(f"/cpu:{number % 2}"):
            tf.Variable(tf.fill([number % 5], float(number)), name=f"layer{number:02}/weights", use_resource=False)


def with_words() -> None:
    tf.Variable(tf.constant([1.5, 2.5]), name="layer/weights", use_resource=False)
    tf.Variable(tf.constant(["a", "b"]), name="vocabulary", use_resource=False)


tf.disable_v2_behavior()
saved("types.ckpt-7", every_dtype)
saved("parts.ckpt", in_parts)
saved("sharded.ckpt", on_two_devices, sharded=True)
saved("words.ckpt", with_words)
