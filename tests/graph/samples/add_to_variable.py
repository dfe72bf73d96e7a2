"""Adding to a variable."""

import paramserver_client.graph as tf

w = tf.Variable(tf.random_normal(shape=(1, 4), stddev=0.35), name="weight")
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    before = sess.run(w)
    tf.assign_add(w, [[1, 1, 1, 1]]).eval()
    after = sess.run(w)
print(after - before)
