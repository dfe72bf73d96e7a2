"""What global_variables_initializer is made of."""

import paramserver_client.graph as tf


def initialize_everything() -> tf.Operation:
    return tf.variables_initializer(tf.global_variables())


a = tf.Variable([1.0, 2.0], name="a")
b = tf.Variable(7, name="b")
with tf.Session() as sess:
    answer = sess.run(initialize_everything())
    left = sess.run(tf.report_uninitialized_variables()).tolist()
    found = sess.run([a, b])
