"""y = w x + b, where b's shape is given as a lone number."""

import paramserver_client.graph as tf

w = tf.Variable(tf.random_normal(shape=(1, 4), stddev=0.35), name="weight")
x = tf.ones([4, 1])
b = tf.Variable(tf.zeros(4), name="bias")
y = tf.matmul(w, x) + b
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    found = sess.run(y)
print(found)
