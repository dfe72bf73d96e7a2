"""A value that is given at the run."""

import paramserver_client.graph as tf

a = tf.placeholder(tf.float32, name="a")
squared = a * a
with tf.Session() as sess:
    found = sess.run(squared, feed_dict={a: 3})
print(found)
