"""All variables get their first values at once."""

import paramserver_client.graph as tf

w = tf.Variable(tf.random_normal(shape=[1, 4], stddev=0.35), name="weight")
b = tf.Variable(tf.zeros([4]), name="bias")
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    found = sess.run([w, b])
print(found)
