"""A variable with a random first value: what it is before anything has run."""

import paramserver_client.graph as tf

W = tf.Variable(initial_value=tf.random_normal(shape=(1, 4), mean=100, stddev=0.35), name="W")
print(W.name, W.get_shape(), W.dtype.name)
print(W.initial_value.op.type, W.initializer.type)
