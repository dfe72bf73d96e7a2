"""A scope within a scope."""

import paramserver_client.graph as tf

with tf.variable_scope("foo"), tf.variable_scope("bar"):
    v = tf.get_variable("v", [1])
print(v.name)
