"""What `save.py` saved comes back, and is worked with, in a program of its own. Nothing needs initializing."""

import paramserver_client.graph as tf

weight = tf.Variable(tf.zeros([]), name="weight")
bias = tf.Variable(tf.zeros([]), name="bias")
saver = tf.train.Saver()
newest = tf.train.latest_checkpoint("temp")
with tf.Session() as sess:
    for step in range(1, 5):
        saver.restore(sess, f"temp/test-{step}")
        print("w={}, b={}".format(*sess.run([weight, bias])))
        print(f"{sess.run(bias.assign_add(2.0))}")
